"""DICOM's upper layer over blocking sockets (PS3.8), as much of it as measuring needs: a C-STORE SCU and a Storage SCP.

pynetdicom's ends poll and copy, so that they and not the node would be measured. A request is answered in the thread
that read it, and a data set goes to the socket as slices of what the caller holds. This is no node: no TLS, no
asynchronous operations, and a peer is trusted to keep the order of messages.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

from imaging.domain.peers import Address
from imaging.encoding.part10 import StoreRequest

VERIFICATION: Final = "1.2.840.10008.1.1"
IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"

_APPLICATION_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
_IMPLEMENTATION: Final = b"2.25.206318117411923184209176342118401"
_ASSOCIATE_RQ, _ASSOCIATE_AC, _ASSOCIATE_RJ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = range(1, 8)
_CONTEXT_RQ, _CONTEXT_AC, _ABSTRACT, _TRANSFER, _USER, _LENGTH, _CLASS = 0x20, 0x21, 0x30, 0x40, 0x50, 0x51, 0x52
_SOP_CLASS, _COMMAND, _MESSAGE, _RESPONDED, _PRIORITY, _DATA_SET, _STATUS, _SOP_INSTANCE = (
    *(0x0002, 0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900, 0x1000),
)
_C_STORE_RQ, _C_ECHO_RQ, _RESPONSE, _NO_DATA_SET = 0x0001, 0x0030, 0x8000, 0x0101
_IS_COMMAND, _IS_LAST = 1, 2
_MAX_PDU: Final = 1 << 20
_MAX_BUFFERS: Final = 512
"""Handed to one sendmsg; Linux takes 1024."""

Buffer = bytes | memoryview
Command = dict[int, int | str]


class WireError(Exception):
    """The association cannot go on; the text says why."""


class Association:
    """An association that we asked for; as a context manager it is released at the end, or cut after an error."""

    def __init__(
        self, peer: Address, contexts: Iterable[tuple[str, str]], ae_title: str = "BENCH", timeout_s: float = 60
    ) -> None:
        """`contexts`: pairs of abstract and transfer syntax. Raises WireError."""
        self._peer, self._message = peer, 0
        proposed = {2 * index + 1: pair for index, pair in enumerate(contexts)}
        try:
            self._socket = socket.create_connection((peer.host, peer.port), timeout_s)
        except OSError as error:
            raise WireError(f"no connection to {peer}: {error.strerror or error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")
        self._socket.sendall(_associate_request(peer.ae_title, ae_title, proposed))
        kind, body = _read_pdu(self._reader)
        if kind != _ASSOCIATE_AC:
            self._close()
            raise WireError(f"{peer} refused the association" if kind == _ASSOCIATE_RJ else f"{peer} sent PDU {kind}")
        accepted, self._fragment = _read_accept(body)
        self._contexts = {proposed[number]: number for number in accepted}

    def __enter__(self) -> "Association":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.release()
        else:
            self._close()

    def echo(self) -> int:
        """C-ECHO; returns the status."""
        return self._ask(VERIFICATION, IMPLICIT_LITTLE, {_COMMAND: _C_ECHO_RQ, _DATA_SET: _NO_DATA_SET}, None)

    def store(self, request: StoreRequest) -> int:
        """C-STORE; returns the status, 0 for success. Raises WireError."""
        command: Command = {_COMMAND: _C_STORE_RQ, _PRIORITY: 0, _DATA_SET: 1, _SOP_INSTANCE: request.sop_instance_uid}
        return self._ask(request.sop_class_uid, request.transfer_syntax_uid, command, request.data)

    def release(self) -> None:
        """A-RELEASE, and its answer."""
        try:
            self._socket.sendall(_pdu(_RELEASE_RQ, bytes(4)))
            _read_pdu(self._reader)
        except (OSError, WireError):  # what was sent is answered for: the peer's manners are not measured
            pass
        self._close()

    def _ask(self, sop_class: str, syntax: str, command: Command, data: Buffer | None) -> int:
        context = self._contexts.get((sop_class, syntax))
        if context is None:
            raise WireError(f"{self._peer} did not accept {sop_class} in {syntax}")
        self._message = self._message % 0xFFFF + 1
        whole: Command = {_SOP_CLASS: sop_class, _MESSAGE: self._message, **command}
        buffers: list[Buffer] = [_pdu(_P_DATA, _pdv(context, _IS_COMMAND | _IS_LAST, _encoded(whole)))]
        if data is not None:
            buffers += _fragments(context, memoryview(data), self._fragment)
        try:
            _send_all(self._socket, buffers)
            kind, body = _read_pdu(self._reader)
        except OSError as error:
            raise WireError(f"{self._peer} broke the connection: {error.strerror or error}") from error
        if kind != _P_DATA:
            raise WireError(f"{self._peer} answered with PDU {kind} where a response was due")
        return int(_decoded(b"".join(fragment for _, _, fragment in _pdvs(body)))[_STATUS])

    def _close(self) -> None:
        self._reader.close()
        self._socket.close()


class Acceptor:
    """A Storage and Verification SCP on loopback that takes every presentation context.

    Each C-STORE is answered with success; then `on_store` is called in the association's thread, with the time at
    which the last byte had come (`time.time()`). Raises OSError where the port (0: any free one) is taken. `close` ends
    it with all its associations.
    """

    def __init__(self, port: int, on_store: Callable[[float, StoreRequest], None]) -> None:
        self._on_store = on_store
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="acceptor", daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *tuple(self._open)):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # it went by itself
                pass
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, connection.makefile("rb") as reader:
                _, request = _read_pdu(reader)
                contexts = _proposed(request)
                connection.sendall(_associate_accept(request, contexts))
                self._answer_all(connection, reader, contexts)
        except (OSError, WireError):  # the peer went away; it knows what it did not get an answer to
            pass
        finally:
            self._open.discard(connection)

    def _answer_all(self, connection: socket.socket, reader: BinaryIO, contexts: Mapping[int, str]) -> None:
        command, data = bytearray(), bytearray()
        while (pdu := _read_pdu(reader))[0] == _P_DATA:
            for context, flags, fragment in _pdvs(pdu[1]):
                (command if flags & _IS_COMMAND else data).extend(fragment)
                if not flags & _IS_LAST:
                    continue
                at, proposed = time.time(), _decoded(command)
                if flags & _IS_COMMAND and proposed[_DATA_SET] != _NO_DATA_SET:
                    continue  # the data set follows
                connection.sendall(_pdu(_P_DATA, _pdv(context, _IS_COMMAND | _IS_LAST, _encoded(_response(proposed)))))
                if proposed[_COMMAND] == _C_STORE_RQ:
                    uids = str(proposed[_SOP_CLASS]), str(proposed[_SOP_INSTANCE])
                    self._on_store(at, StoreRequest(*uids, contexts[context], bytes(data)))
                command, data = bytearray(), bytearray()
        if pdu[0] == _RELEASE_RQ:
            connection.sendall(_pdu(_RELEASE_RP, bytes(4)))


# Protocol Data Units (PS3.8 9.3)


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def _pdv(context: int, flags: int, fragment: bytes) -> bytes:
    return struct.pack(">IBB", len(fragment) + 2, context, flags) + fragment


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _read_pdu(reader: BinaryIO) -> tuple[int, bytes]:
    head = reader.read(6)
    kind, length = struct.unpack(">BxI", head) if len(head) == 6 else (0, 0)
    body = reader.read(length)
    if not kind or len(body) < length:
        raise WireError("the peer closed the connection")
    return kind, body


def _pdvs(body: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """(presentation context, flags, fragment)."""
    view, at = memoryview(body), 0
    while at < len(view):
        length, context, flags = struct.unpack_from(">IBB", view, at)
        yield context, flags, view[at + 6 : at + 4 + length]
        at += 4 + length


def _items(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        yield kind, body[at + 4 : at + 4 + length]
        at += 4 + length


def _user_information() -> bytes:
    return _item(_USER, _item(_LENGTH, struct.pack(">I", _MAX_PDU)) + _item(_CLASS, _IMPLEMENTATION))


def _associate_request(called: str, calling: str, contexts: Mapping[int, tuple[str, str]]) -> bytes:
    body = struct.pack(">H2x16s16s32x", 1, called.encode().ljust(16), calling.encode().ljust(16))
    body += _item(0x10, _APPLICATION_CONTEXT)
    for number, (abstract, transfer) in contexts.items():
        syntaxes = _item(_ABSTRACT, abstract.encode()) + _item(_TRANSFER, transfer.encode())
        body += _item(_CONTEXT_RQ, bytes((number, 0, 0, 0)) + syntaxes)
    return _pdu(_ASSOCIATE_RQ, body + _user_information())


def _read_accept(body: bytes) -> tuple[list[int], int]:
    """The numbers of the accepted contexts, and how many bytes of a data set a PDU may hold."""
    accepted, largest = [], 0
    for kind, item in _items(body, 68):
        if kind == _CONTEXT_AC and item[2] == 0:
            accepted.append(item[0])
        if kind == _USER:
            largest = next((struct.unpack(">I", value)[0] for each, value in _items(item, 0) if each == _LENGTH), 0)
    return accepted, min(largest or _MAX_PDU, _MAX_PDU) - 6


def _proposed(body: bytes) -> dict[int, str]:
    """The transfer syntax that we choose, by number of the context."""
    chosen = {}
    for kind, item in _items(body, 68):
        if kind == _CONTEXT_RQ:
            offered = [_text(value) for each, value in _items(item, 4) if each == _TRANSFER]
            chosen[item[0]] = EXPLICIT_LITTLE if EXPLICIT_LITTLE in offered else offered[0]
    return chosen


def _associate_accept(request: bytes, contexts: Mapping[int, str]) -> bytes:
    body = request[:68] + _item(0x10, _APPLICATION_CONTEXT)
    for number, transfer in contexts.items():
        body += _item(_CONTEXT_AC, bytes((number, 0, 0, 0)) + _item(_TRANSFER, transfer.encode()))
    return _pdu(_ASSOCIATE_AC, body + _user_information())


# Commands (PS3.7 6.3: group 0000, Implicit VR Little Endian)


def _text(value: Buffer | bytearray) -> str:
    return bytes(value).decode("ascii", "replace").strip("\0 ")


def _encoded(command: Command) -> bytes:
    body = b""
    for element, value in sorted(command.items()):
        raw = value.encode() if isinstance(value, str) else struct.pack("<H", value)
        raw += bytes(len(raw) % 2)
        body += struct.pack("<HHI", 0, element, len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _decoded(raw: Buffer | bytearray) -> Command:
    found: Command = {}
    at = 0
    while at + 8 <= len(raw):
        element, length = struct.unpack_from("<2xHI", raw, at)
        value = raw[at + 8 : at + 8 + length]
        found[element] = struct.unpack("<H", value)[0] if length == 2 else _text(value)
        at += 8 + length
    return found


def _response(proposed: Command) -> Command:
    uids = {element: proposed[element] for element in (_SOP_CLASS, _SOP_INSTANCE) if element in proposed}
    answer = {_COMMAND: int(proposed[_COMMAND]) | _RESPONSE, _RESPONDED: proposed[_MESSAGE]}
    return uids | answer | {_DATA_SET: _NO_DATA_SET, _STATUS: 0}


# Sending without copies


def _fragments(context: int, data: memoryview, size: int) -> Iterator[Buffer]:
    """The data set as P-DATA, each PDU's head and its slice of the data."""
    for at in range(0, max(1, len(data)), size):
        piece = data[at : at + size]
        is_last = _IS_LAST if at + size >= len(data) else 0
        yield struct.pack(">BxIIBB", _P_DATA, len(piece) + 6, len(piece) + 2, context, is_last)
        yield piece


def _send_all(connection: socket.socket, buffers: Sequence[Buffer]) -> None:
    waiting = [memoryview(each) for each in buffers]
    first = 0
    while first < len(waiting):
        sent = connection.sendmsg(waiting[first : first + _MAX_BUFFERS])
        while first < len(waiting) and sent >= len(waiting[first]):
            sent -= len(waiting[first])
            first += 1
        if sent:
            waiting[first] = waiting[first][sent:]
