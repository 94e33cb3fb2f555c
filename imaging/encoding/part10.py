"""Part 10 files (PS3.10 7): the head that kept objects get, and the parts of a file that is sent or read."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imaging.domain.header import Header
from imaging.domain.peers import is_plain_title
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID as IMPLEMENTATION_CLASS_UID
from imaging.domain.uids import IMPLEMENTATION_VERSION_NAME as IMPLEMENTATION_VERSION_NAME
from imaging.encoding.elements import read_file_meta
from imaging.encoding.headers import Unreadable


@dataclass(frozen=True)
class Announced:
    """What a C-STORE request says of an object that is on its way. `sender`: the AE title that sends it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sender: str = ""


@dataclass(frozen=True)
class StoreRequest:
    """An object on its way: the command's UIDs, the transfer syntax, and the data set as it is encoded.

    `sender`: the AE title that sent it, of a file as its head says; empty where nobody knows.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes | memoryview
    sender: str = ""


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among the paths and in their folders, a folder's in the order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file())
        else:
            yield path


def is_part_10(file: Path) -> bool:
    """Whether it begins as a DICOM file does (PS3.10 7.1). Raises OSError."""
    with file.open("rb") as begin:
        return begin.read(132)[128:] == b"DICM"


def part_10_head(of: Announced | Header) -> bytes:
    """Preamble and file meta information (PS3.10 7.1) of an object as it is kept."""
    elements = {
        0x0002: (b"UI", of.sop_class_uid),
        0x0003: (b"UI", of.sop_instance_uid),
        0x0010: (b"UI", of.transfer_syntax_uid),
        0x0012: (b"UI", IMPLEMENTATION_CLASS_UID),
        0x0013: (b"SH", IMPLEMENTATION_VERSION_NAME),
    }
    if is_plain_title(of.sender):
        elements[0x0017] = b"AE", of.sender
    body = b"\2\0\1\0OB\0\0\2\0\0\0\0\1"  # File Meta Information Version
    for element, (vr, text) in elements.items():
        value = text.encode("ascii", "replace")
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        body += struct.pack("<HH2sH", 2, element, vr, len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def split_part_10(data: bytes | memoryview) -> StoreRequest:
    """A whole file's parts. Raises Unreadable where it is no DICOM file or its head lacks what a command needs."""
    if data[128:132] != b"DICM":
        raise Unreadable("no DICM at offset 128: not a DICOM file (PS3.10 7.1)")
    try:
        found, at = read_file_meta(data, 132)
    except ValueError as error:
        raise Unreadable(f"the file meta information cannot be read: {error}") from None
    fields = [found.get(tag, b"").decode("latin-1").rstrip("\0 ") for tag in _NAMED]
    senders = [found.get(tag, b"").decode("latin-1").strip("\0 ") for tag in _SENDERS]
    if not fields[2]:
        raise Unreadable("the file meta information has no transfer syntax")
    sender = next((each for each in senders if is_plain_title(each)), "")
    return StoreRequest(fields[0], fields[1], fields[2], memoryview(data)[at:], sender)


_NAMED: Final = (0x00020002, 0x00020003, 0x00020010)
"""SOP Class, SOP Instance, Transfer Syntax."""

_SENDERS: Final = (0x00020017, 0x00020016)
"""Sending and Source Application Entity Title (PS3.10 7.1): who sent it, else who wrote the file."""
