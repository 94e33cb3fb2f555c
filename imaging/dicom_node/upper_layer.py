"""One association over a blocking socket: PDUs and messages, of either side (PS3.8 9.3, PS3.7 6.3).

One thread reads and answers, or asks and reads; nothing polls. A data set is handed on in pieces as it comes, so that
its size costs no memory, and is sent from where it lies.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from imaging.dicom_node import commands
from imaging.dicom_node.associate import ASSOCIATE_AC, ASSOCIATE_RJ, MAX_PDU, FirstPdu, Malformed
from imaging.dicom_node.commands import Message
from imaging.domain.ends import End
from imaging.domain.peers import plain_address
from imaging.intake.storing import SenderGone

GOODBYE_S: Final = 1.0

_P_DATA, _RELEASE_RQ, _RELEASE_RP, ABORT = 0x04, 0x05, 0x06, 0x07
_IS_COMMAND, _IS_LAST = 1, 2
UNEXPECTED_PDU: Final = 0x02
INVALID_PARAMETER: Final = 0x06

MAX_PIECE: Final = 1 << 20
"""Of a data set, in bytes."""
_MAX_FRAGMENT: Final = 1 << 18
"""Of what is sent, so that a slow line moves one of them within any time-out."""
_BUFFER: Final = 1 << 16
_READ_DIRECTLY: Final = 1 << 15
"""From so many bytes on they are read where they belong, else through the buffer, with what follows them."""
_RESET_S: Final = 0.1
"""How long after its end a connection's reset is waited for, which tells that the peer left an answer unread."""


class Ended(SenderGone):
    """The association is over; the text says how."""


class Aborted(Ended):
    """The peer sent an A-ABORT."""

    def __init__(self) -> None:
        super().__init__("aborted")


class Broken(Ended):
    """The peer broke the protocol, so that the association is aborted. `reason`: of the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, why: str, reason: int = INVALID_PARAMETER) -> None:
        super().__init__(f"aborted by us: {why}")
        self.reason = reason


class Silent(Broken):
    """The peer said nothing for as long as it may."""

    def __init__(self) -> None:
        super().__init__("the peer was silent for too long")


class Association:
    """A connection. To be used in one thread; `interrupt` may be called from any.

    `contexts`: the presentation contexts that were accepted. `max_fragment`: what the peer takes in a PDU, in bytes,
    without its head. `max_data_set`: in bytes; a longer one ends the association; None: any. `address`: the
    peer's, IPv4 or IPv6.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inflow = _Inflow(connection)
        self._piece = bytearray()
        self._is_under_way, self._is_ended_by_us = False, False
        self._timeout_s = GOODBYE_S
        self.contexts: frozenset[int] = frozenset()
        self.max_fragment = _MAX_FRAGMENT
        self.max_data_set: int | None = None
        self.address = plain_address(connection.getpeername()[0])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def set_timeout(self, seconds: float) -> None:
        """How long the peer may be silent, from now on."""
        self._timeout_s = seconds
        self._limit(seconds)

    def _limit(self, seconds: float) -> None:
        # By the kernel: Python's own time-outs ask twice for each read, and let none wait until all is there.
        self._connection.settimeout(None)
        micros = max(1, int(seconds * 1e6))
        limit = struct.pack("@ll", micros // 1_000_000, micros % 1_000_000)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def limit_pdu_length(self, maximum_length: int) -> None:
        """What the peer said that it takes in a PDU, in bytes; 0: any (PS3.8 D.1)."""
        self.max_fragment = maximum_length or _MAX_FRAGMENT

    def read_associate(self) -> tuple[int, bytes]:
        """The PDU that answers a request for an association: its type and its body. Raises Ended.

        All of it has to come within the time that the peer may be silent.
        """
        pdu, until = FirstPdu(ASSOCIATE_AC, ASSOCIATE_RJ), time.monotonic() + self._timeout_s
        while pdu.missing:
            if time.monotonic() > until:
                raise Silent
            self._limit(until - time.monotonic())
            some = self._inflow.some(pdu.missing)
            if pdu.kind is None and some[0] == ABORT:
                raise Aborted
            try:
                pdu.feed(some)
            except Malformed as error:
                raise Broken(str(error), UNEXPECTED_PDU) from None
        self._limit(self._timeout_s)
        assert pdu.kind is not None
        return pdu.kind, pdu.body

    def messages(self) -> Iterator[Message]:
        """Each message, until the peer releases the association. Raises Ended where it ends otherwise.

        What is not taken of a message's data set is read and dropped before the next message.
        """
        command, fragments = bytearray(), self._fragments()
        for context, flags, length in fragments:
            if not flags & _IS_COMMAND:
                raise Broken("a data set without a command", UNEXPECTED_PDU)
            if len(command) + length > MAX_PDU:
                raise Broken("a command where a data set was expected", UNEXPECTED_PDU)
            command += self._inflow.read(length)
            if not flags & _IS_LAST:
                continue
            elements, has_data_set = _elements(command)
            pieces = self._pieces(fragments) if has_data_set else iter(())
            yield Message(context, elements, pieces)
            for _ in pieces:
                pass
            command = bytearray()
        with suppress(Ended):  # who does not wait for the answer has released it as well
            self.send_pdu(_RELEASE_RP, bytes(4))

    def _pieces(self, fragments: Iterator[tuple[int, int, int]]) -> Iterator[memoryview]:
        """A data set, in pieces as long as the buffer but for the last."""
        if not self._piece:
            self._piece = bytearray(MAX_PIECE)
        buffer = memoryview(self._piece)
        size, total, is_last = 0, 0, False
        while not is_last:
            _, flags, length = next(fragments, (0, _IS_COMMAND, 0))
            total += length
            if flags & _IS_COMMAND:
                raise Broken("a command where a data set was expected", UNEXPECTED_PDU)
            if self.max_data_set is not None and total > self.max_data_set:
                raise Broken(f"a data set of more than {self.max_data_set >> 20} MiB")
            is_last = bool(flags & _IS_LAST)
            while length:
                if size == MAX_PIECE:
                    yield buffer
                    size = 0
                part = min(length, MAX_PIECE - size)
                self._inflow.fill(buffer[size : size + part])
                size, length = size + part, length - part
        yield buffer[:size]

    def send(self, context_id: int, command: bytes, data: bytes | memoryview | None = None) -> None:
        """Sends a message in a presentation context; `data`: None without a data set. Raises Ended."""
        largest = self._largest_fragment
        parts = [(_IS_COMMAND, memoryview(command))] + ([] if data is None else [(0, memoryview(data))])
        for is_command, whole in parts:
            for at in range(0, len(whole) or 1, largest):  # an empty data set is a fragment as well
                part = whole[at : at + largest]
                is_last = _IS_LAST if at + largest >= len(whole) else 0
                size = len(part)
                head = struct.pack(">BxIIBB", _P_DATA, size + 6, size + 2, context_id, is_command | is_last)
                self._send(head, part)

    @property
    def _largest_fragment(self) -> int:
        """Of a value that is sent, in bytes: even, and its PDU is none too large for the peer."""
        return min(self.max_fragment, _MAX_FRAGMENT) - 6 & ~1

    def answer(self, message: Message, status: int, comment: str = "") -> None:
        """Sends the response. Raises Ended where the peer is gone."""
        self.send(message.context_id, message.response(status, comment, self._largest_fragment))
        self._is_under_way = False

    def end(self, ended: Ended | None) -> End:
        """How an association ended in which we answered. `ended`: what was raised; None: it was released."""
        is_begun = self._is_under_way or (self._inflow.is_waiting and not isinstance(ended, Aborted))
        if is_begun or self._is_ended_by_us or isinstance(ended, Broken):
            return End.CUT
        if ended is None:
            return End.RELEASED
        return End.ABORTED if isinstance(ended, Aborted) or self._is_reset() else End.CLOSED

    def _is_reset(self) -> bool:
        """Whether the peer reset the connection; it does so as well where it closed it with an answer unread."""
        try:
            waiting = select.poll()
            waiting.register(self._connection, 0)  # for what is told unasked: an error, the end of both directions
            return bool(waiting.poll(1000 * _RESET_S))
        except (OSError, ValueError):  # it is gone
            return True

    def send_pdu(self, kind: int, body: bytes) -> None:
        """Sends a PDU. Raises Ended where the peer is gone."""
        self._send(struct.pack(">BxI", kind, len(body)), memoryview(body))

    def is_quiet(self) -> bool:
        """Whether the peer has said nothing, the end of the association and of the connection included."""
        if self._inflow.is_waiting:
            return False
        try:
            self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except (OSError, ValueError):  # it is gone
            pass
        return False

    def release(self) -> None:
        """A-RELEASE, and the end of the connection; a peer that does not answer is left after a second."""
        until = time.monotonic() + GOODBYE_S
        try:
            self.set_timeout(GOODBYE_S)
            self.send_pdu(_RELEASE_RQ, bytes(4))
            kind = None
            while kind not in (_RELEASE_RP, ABORT) and time.monotonic() < until:
                kind, length = self._head()
                self._inflow.read(min(length, MAX_PDU))
                if kind == _RELEASE_RQ:  # both asked at once (PS3.8 9.2, Sta9)
                    self.send_pdu(_RELEASE_RP, bytes(4))
        except Ended:
            pass
        self._close_socket()

    def abort(self, reason: int = 0) -> None:
        """A-ABORT, by the provider where there is a reason."""
        self._is_ended_by_us = True
        with suppress(OSError, Ended):  # it is gone already, or takes nothing more
            self.set_timeout(GOODBYE_S)
            self.send_pdu(ABORT, bytes((0, 0, 2 if reason else 0, reason)))
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def interrupt(self) -> None:
        """A-ABORT from another thread; who waits in this association is woken."""
        self.abort()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """After the last answer: the peer closes first (PS3.8 9.2.3, Sta13), or we do after a second."""
        until = time.monotonic() + GOODBYE_S
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self.set_timeout(GOODBYE_S)
            while self._connection.recv(_BUFFER) and time.monotonic() < until:  # else a reset would overtake our answer
                pass
        self._close_socket()

    def _close_socket(self) -> None:
        if self._is_ended_by_us:  # who goes on sending is told so by a reset; else it would wait for us to read on
            with suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        self._connection.close()

    def _fragments(self) -> Iterator[tuple[int, int, int]]:
        """(presentation context, flags, size) of each fragment, which the caller reads; ends at A-RELEASE-RQ."""
        while True:
            kind, length = self._head()
            if kind == _RELEASE_RQ:
                self._inflow.read(min(length, _BUFFER))
                return
            if kind == ABORT:
                raise Aborted
            self._is_under_way = True
            if kind != _P_DATA:
                raise Broken(f"PDU type {kind:#04x} in an association", UNEXPECTED_PDU)
            while length:
                size, context, flags = _VALUE_HEAD.unpack(self._inflow.read(6)) if length >= 6 else (0, 0, 0)
                if not 2 <= size <= length - 4:
                    raise Broken("the lengths of a PDU and of its values disagree")
                if context not in self.contexts:
                    raise Broken("a message in a presentation context that was not accepted")
                length -= size + 4
                yield context, flags, size - 2

    def _head(self) -> tuple[int, int]:
        kind, length = _PDU_HEAD.unpack(self._inflow.read(6))
        return kind, length

    def _send(self, head: bytes, body: memoryview) -> None:
        with _socket_errors_as_ended():
            if len(body) <= _BUFFER:
                self._connection.sendall(b"".join((head, body)))
            else:
                self._connection.sendall(head, socket.MSG_MORE)
                self._connection.sendall(body)


_PDU_HEAD: Final = struct.Struct(">BxI")
_VALUE_HEAD: Final = struct.Struct(">IBB")


class _Inflow:
    """The bytes that come. What is short is read through a buffer, with what follows it; what is long, in its place."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(_BUFFER))
        self._at = self._end = 0

    @property
    def is_waiting(self) -> bool:
        """Whether bytes have come that nobody read."""
        return self._at < self._end

    def read(self, size: int) -> bytes:
        """So many bytes. What a peer claims is allocated as it comes. Raises Ended where they do not come."""
        if size <= _BUFFER:
            while self._end - self._at < size:
                self._more(size)
            found = bytes(self._buffer[self._at : self._at + size])
            self._at += size
            return found
        whole = bytearray()
        while len(whole) < size:
            part = bytearray(min(size - len(whole), MAX_PIECE))
            self.fill(memoryview(part))
            whole += part
        return bytes(whole)

    def some(self, size: int) -> bytes:
        """At least one byte, at most so many. Raises Ended where none comes."""
        if not self.is_waiting:
            self._more(1)
        return self.read(min(size, self._end - self._at))

    def fill(self, part: memoryview) -> None:
        """Fills `part`. Raises Ended where so many bytes do not come."""
        at, size = 0, len(part)
        while at < size:
            if self._at < self._end:
                count = min(size - at, self._end - self._at)
                part[at : at + count] = self._buffer[self._at : self._at + count]
                self._at += count
                at += count
            elif size - at < _READ_DIRECTLY:
                self._more(1)
            else:
                at += self._receive(part[at:], socket.MSG_WAITALL)

    def _more(self, size: int) -> None:
        """Reads on behind what is there, so that `size` bytes have room."""
        if self._at + size > _BUFFER or self._at == self._end:
            left = self._end - self._at
            self._buffer[:left] = bytes(self._buffer[self._at : self._end])
            self._at, self._end = 0, left
        self._end += self._receive(self._buffer[self._end :])

    def _receive(self, part: memoryview, flags: int = 0) -> int:
        try:
            # Once a read: the kernel falls back to late acknowledgements, for which a sender with Nagle's algorithm
            # waits before it sends the end of an object.
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            count = self._connection.recv_into(part, 0, flags)
        except (TimeoutError, BlockingIOError) as error:
            raise Silent from error
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise Ended("connection lost") from error
        if not count:
            raise Ended("connection lost")
        return count


@contextmanager
def _socket_errors_as_ended() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, BlockingIOError) as error:
        raise Silent from error
    except (OSError, ValueError) as error:  # ValueError: it was closed
        raise Ended("connection lost") from error


def _elements(command: bytearray) -> tuple[dict[int, bytes], bool]:
    """A command's elements, and whether a data set follows."""
    try:
        elements = commands.decoded(command)
        return elements, commands.has_data_set(elements)
    except ValueError as error:
        raise Broken(str(error)) from None
