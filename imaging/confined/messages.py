"""Messages between the confined process and its parent: JSON, with open files beside it, over a socket pair.

A message is two lengths, then the open files in as many parts as the kernel wants, then the JSON text. Nothing of it is
run, as pickled objects would be.
"""

import array
import json
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_LENGTHS: Final = struct.Struct("!QI")
_AT_ONCE: Final = 253
"""SCM_MAX_FD: how many files the kernel takes with one part."""
MAX_TEXT: Final = 1 << 28
"""Bytes of a text: a study of 100,000 images has less."""
_PART: Final = b"f"
"""What open files are sent beside, and what each part but the last is answered by: files under way count against the
limit of a user, and the sender's own are few."""


class Closed(Exception):
    """The other side is gone."""


@dataclass(frozen=True)
class Message:
    """`files`: open files, closed at the end of the context; None where there were more than may be open."""

    content: Mapping[str, Any]
    files: Sequence[int] | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _close(self.files or ())


def send(to: socket.socket, content: Mapping[str, Any], files: Sequence[Path] = ()) -> None:
    """Sends a message with these files opened. Raises Closed, and OSError where one cannot be opened."""
    text = json.dumps(content, separators=(",", ":")).encode()
    try:
        if not files:
            to.sendall(_LENGTHS.pack(len(text), 0) + text)
            return
        to.sendall(_LENGTHS.pack(len(text), len(files)))
        for first in range(0, len(files), _AT_ONCE):
            _send_files(to, files[first : first + _AT_ONCE])
            if first + _AT_ONCE < len(files):
                _exactly(to, len(_PART))
        to.sendall(text)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def _send_files(to: socket.socket, files: Sequence[Path]) -> None:
    with ExitStack() as opened:
        socket.send_fds(to, [_PART], [opened.enter_context(each.open("rb", buffering=0)).fileno() for each in files])


def receive(of: socket.socket) -> Message:
    """The next message. Raises Closed, also for one that is longer than any that we send."""
    length, count = _LENGTHS.unpack(_exactly(of, _LENGTHS.size))
    if length > MAX_TEXT:
        raise Closed
    files: list[int] | None = []
    try:
        for left in range(count, 0, -_AT_ONCE):
            files = _with_more(files, of, min(left, _AT_ONCE))
            if left > _AT_ONCE:
                of.sendall(_PART)
        return Message(json.loads(_exactly(of, length)), files)
    except BaseException as error:
        _close(files or ())
        if isinstance(error, BrokenPipeError | ConnectionResetError):
            raise Closed from error
        raise


def _with_more(files: list[int] | None, of: socket.socket, count: int) -> list[int] | None:
    """The open files with those of the next part. None, and all are closed, where the kernel kept some back."""
    part = array.array("i")
    data, ancillary, _, _ = of.recvmsg(len(_PART), socket.CMSG_SPACE(_AT_ONCE * part.itemsize))
    for _, _, content in ancillary:
        part.frombytes(content[: len(content) - len(content) % part.itemsize])
    if not data:
        _close(part)
        raise Closed
    if files is None or len(part) < count:
        _close([*part, *(files or ())])
        return None
    return [*files, *part]


def _exactly(of: socket.socket, size: int) -> bytearray:
    held = bytearray(size)
    view, at = memoryview(held), 0
    while at < size:
        count = of.recv_into(view[at:])
        if not count:
            raise Closed
        at += count
    return held


def _close(files: Iterable[int]) -> None:
    for each in files:
        with suppress(OSError):
            os.close(each)
