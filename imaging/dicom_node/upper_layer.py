"""One association over a blocking socket: PDUs and messages, of either side (PS3.8 9.3, PS3.7 6.3).

One thread reads and answers, or asks and reads; nothing polls. A data set is read where it is used and sent from where
it lies, with no copy between.
"""

import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import Final, cast

from imaging.dicom_node import commands
from imaging.dicom_node.commands import Message

GOODBYE_S: Final = 1.0
LARGEST_PDU: Final = 1 << 20
"""What we take; Maximum Length Received."""

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03
_P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x04, 0x05, 0x06, 0x07
_IS_COMMAND, _IS_LAST = 1, 2
UNEXPECTED_PDU: Final = 0x02
_INVALID_PARAMETER: Final = 0x06

_LARGEST_READ: Final = 1 << 20
_LARGEST_FRAGMENT: Final = 1 << 18
"""Of what is sent, so that a slow line moves one of them within any time-out."""
_SMALLEST_FRAGMENT: Final = 64
_BUFFER: Final = 1 << 16
_KEPT_BUFFER: Final = 16 << 20


class Ended(Exception):
    """The association is over; the text says how."""


class Broken(Ended):
    """The peer broke the protocol, so that the association is aborted. `reason`: of the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, why: str, reason: int = _INVALID_PARAMETER) -> None:
        super().__init__(f"aborted by us: {why}")
        self.reason = reason


class Silent(Broken):
    """The peer said nothing for as long as it may."""

    def __init__(self) -> None:
        super().__init__("the peer was silent for too long")


class Line:
    """A connection. To be used in one thread; `abort` may be called from any.

    `contexts`: the presentation contexts that were accepted. `largest_sent`: what the peer takes in a PDU, in bytes,
    without its head. `address`: the peer's, IPv4 or IPv6.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = cast("BufferedReader", connection.makefile("rb", buffering=_BUFFER))
        self._buffer = bytearray()
        self.contexts: frozenset[int] = frozenset()
        self.largest_sent = _LARGEST_FRAGMENT
        self.address = _plain(connection.getpeername()[0])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait_at_most(self, seconds: float) -> None:
        """How long the peer may be silent, from now on."""
        self._connection.settimeout(seconds)

    def read_associate(self) -> tuple[int, bytes]:
        """The PDU that begins an association or answers its request: its type and all its bytes. Raises Ended."""
        kind, length = self._head()
        if kind == _ABORT:
            raise Ended("aborted")
        if kind not in (ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ) or length > LARGEST_PDU:
            raise Broken("an association did not come first", UNEXPECTED_PDU)
        return kind, struct.pack(">BxI", kind, length) + self._read(length)

    def messages(self) -> Iterator[Message]:
        """Each message, until the peer releases the association. Raises Ended where it ends otherwise."""
        command, size = bytearray(), 0
        elements: dict[int, bytes] | None = None
        for context, flags, length in self._values():
            if flags & _IS_COMMAND:
                if elements is not None or len(command) + length > LARGEST_PDU:
                    raise Broken("a command where a data set was due", UNEXPECTED_PDU)
                command += self._read(length)
                if flags & _IS_LAST:
                    elements, is_whole = _elements(command)
            elif elements is None:
                raise Broken("a data set without a command", UNEXPECTED_PDU)
            else:
                self._read_into_buffer(size, length)
                size += length
                is_whole = bool(flags & _IS_LAST)
            if elements is not None and is_whole:
                yield Message(context, elements, memoryview(self._buffer)[:size])
                if len(self._buffer) > _KEPT_BUFFER:
                    self._buffer = bytearray()
                command, size, elements = bytearray(), 0, None
        self.send_pdu(_RELEASE_RP, bytes(4))

    def send(self, context_id: int, command: bytes, data: bytes | memoryview | None = None) -> None:
        """Sends a message in a presentation context; `data`: None without a data set. Raises Ended."""
        largest = max(_SMALLEST_FRAGMENT, min(self.largest_sent, _LARGEST_FRAGMENT) - 6 & ~1)
        parts = [(_IS_COMMAND, memoryview(command))] + ([] if data is None else [(0, memoryview(data))])
        for is_command, whole in parts:
            for at in range(0, len(whole) or 1, largest):  # an empty data set is a fragment as well
                part = whole[at : at + largest]
                is_last = _IS_LAST if at + largest >= len(whole) else 0
                size = len(part)
                head = struct.pack(">BxIIBB", _P_DATA, size + 6, size + 2, context_id, is_command | is_last)
                self._send(head, part)

    def answer(self, message: Message, status: int, comment: str = "") -> None:
        """Sends the response. Raises Ended where the peer is gone."""
        self.send(message.context_id, message.response(status, comment))

    def send_pdu(self, kind: int, body: bytes) -> None:
        """Sends a PDU. Raises Ended where the peer is gone."""
        self._send(struct.pack(">BxI", kind, len(body)), memoryview(body))

    def is_quiet(self) -> bool:
        """Whether the peer has said nothing, the end of the association and of the connection included."""
        limit = self._connection.gettimeout()
        try:
            self._connection.setblocking(False)
            if not self._reader.peek(1):
                self._connection.recv(1, socket.MSG_PEEK)  # nothing: the end
            return False
        except BlockingIOError:
            self._connection.settimeout(limit)
            return True
        except (OSError, ValueError):  # it is gone
            return False

    def release(self) -> None:
        """A-RELEASE, and the end of the connection; a peer that does not answer is left after a second."""
        until = time.monotonic() + GOODBYE_S
        try:
            self.wait_at_most(GOODBYE_S)
            self.send_pdu(_RELEASE_RQ, bytes(4))
            kind = None
            while kind not in (_RELEASE_RP, _ABORT) and time.monotonic() < until:
                kind, length = self._head()
                self._read(min(length, LARGEST_PDU))
                if kind == _RELEASE_RQ:  # both asked at once (PS3.8 9.2, Sta9)
                    self.send_pdu(_RELEASE_RP, bytes(4))
        except Ended:
            pass
        self._let_go()

    def abort(self, reason: int = 0) -> None:
        """A-ABORT, by the provider where there is a reason; who waits in this association is woken."""
        with suppress(OSError, Ended):  # it is gone already, or takes nothing more
            self.wait_at_most(GOODBYE_S)
            self.send_pdu(_ABORT, bytes((0, 0, 2 if reason else 0, reason)))
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """After the last answer: the peer closes first (PS3.8 9.2.3, Sta13), or we do after a second."""
        until = time.monotonic() + GOODBYE_S
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self.wait_at_most(GOODBYE_S)
            while self._connection.recv(_BUFFER) and time.monotonic() < until:  # else a reset would overtake our answer
                pass
        self._let_go()

    def _let_go(self) -> None:
        self._reader.close()
        self._connection.close()

    def _values(self) -> Iterator[tuple[int, int, int]]:
        """(presentation context, flags, size) of each fragment, which the caller reads; ends at A-RELEASE-RQ."""
        while True:
            kind, length = self._head()
            if kind == _RELEASE_RQ:
                self._read(min(length, _BUFFER))
                return
            if kind == _ABORT:
                raise Ended("aborted")
            if kind != _P_DATA:
                raise Broken(f"PDU type {kind:#04x} in an association", UNEXPECTED_PDU)
            while length:
                size, context, flags = struct.unpack(">IBB", self._read(6)) if length >= 6 else (0, 0, 0)
                if not 2 <= size <= length - 4:
                    raise Broken("a PDU and its values disagree in their lengths")
                if context not in self.contexts:
                    raise Broken("a message in a presentation context that was not accepted")
                length -= size + 4
                yield context, flags, size - 2

    def _head(self) -> tuple[int, int]:
        kind, length = struct.unpack(">BxI", self._read(6))
        return kind, length

    def _read(self, size: int) -> bytes:
        with _said_by_the_socket():
            found = self._reader.read(size)
        if len(found) < size:
            raise Ended("connection lost")
        return found

    def _read_into_buffer(self, at: int, size: int) -> None:
        """Reads behind the first `at` bytes; what a peer claims is allocated as it comes."""
        end = at + size
        while at < end:
            piece = min(end - at, _LARGEST_READ)
            if at + piece > len(self._buffer):
                self._grow(at, at + piece)
            with _said_by_the_socket(), memoryview(self._buffer) as whole, whole[at : at + piece] as part:
                count = self._reader.readinto(part)
            if count < piece:
                raise Ended("connection lost")
            at += piece

    def _grow(self, used: int, size: int) -> None:
        more = bytes(max(size - len(self._buffer), min(used, _LARGEST_READ)))
        try:
            self._buffer.extend(more)
        except BufferError:  # somebody still holds a view of an earlier data set
            self._buffer = self._buffer[:] + more

    def _send(self, head: bytes, body: memoryview) -> None:
        with _said_by_the_socket():
            if len(body) <= _BUFFER:
                self._connection.sendall(b"".join((head, body)))
            else:
                self._connection.sendall(head, socket.MSG_MORE)
                self._connection.sendall(body)


def _plain(address: str) -> str:
    """An IPv4 address as itself where an IPv6 socket holds it, without a scope."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


@contextmanager
def _said_by_the_socket() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Silent from error
    except (OSError, ValueError) as error:  # ValueError: it was closed
        raise Ended("connection lost") from error


def _elements(command: bytearray) -> tuple[dict[int, bytes], bool]:
    """A command's elements, and whether they are the whole message."""
    try:
        elements = commands.decoded(command)
        return elements, not commands.has_data_set(elements)
    except ValueError as error:
        raise Broken(str(error)) from None
