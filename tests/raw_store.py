"""A C-STORE requestor that says whatever it is told to: one association, PDUs put together by hand (PS3.8 9.3)."""

import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Self

CT = b"1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1"
AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE, COMMAND_FIELD, MESSAGE_ID = 0x0002, 0x1000, 0x0100, 0x0110
PRIORITY, DATA_SET_TYPE, STATUS = 0x0700, 0x0800, 0x0900


def item(kind: int, value: bytes) -> bytes:
    """An item of a PDU or of an item (PS3.8 9.3.2)."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


def context(number: int, abstract: bytes, *transfers: bytes) -> bytes:
    """A presentation context item (PS3.8 9.3.2.2)."""
    return item(
        0x20, bytes((number, 0, 0, 0)) + item(0x30, abstract) + b"".join(item(0x40, each) for each in transfers)
    )


ONE_CONTEXT = context(1, CT, EXPLICIT_LITTLE)


def user(*items: bytes, maximum: int = 65536) -> bytes:
    """A user information item (PS3.8 9.3.2.3)."""
    return item(0x50, item(0x51, struct.pack(">I", maximum)) + item(0x52, b"2.25.1") + b"".join(items))


USER = user(item(0x55, b"RAW"))


def request(
    contexts: bytes = ONE_CONTEXT,
    information: bytes = USER,
    *,
    called: bytes = b"IMAGING".ljust(16),
    calling: bytes = b"RAW".ljust(16),
    application: bytes = b"1.2.840.10008.3.1.1.1",
) -> bytes:
    """An A-ASSOCIATE-RQ without its head (PS3.8 9.3.2)."""
    fixed = struct.pack(">HH", 1, 0) + called + calling + bytes(32)
    return fixed + item(0x10, application) + contexts + information


def results(answer: bytes) -> dict[int, tuple[int, bytes]]:
    """Result and transfer syntax of each context of an A-ASSOCIATE-AC without its head (PS3.8 9.3.3)."""
    found, at = {}, 68
    while at < len(answer):
        kind, size = struct.unpack_from(">BxH", answer, at)
        if kind == 0x21:
            found[answer[at + 4]] = answer[at + 6], answer[at + 12 : at + 4 + size]
        at += 4 + size
    return found


def value(flags: int, fragment: bytes, context: int = 1) -> bytes:
    """A presentation data value (PS3.8 9.3.5.1)."""
    return struct.pack(">IBB", len(fragment) + 2, context, flags) + fragment


def encoded(elements: Mapping[int, bytes]) -> bytes:
    """The elements of a command set without its length (PS3.7 6.3.1)."""
    return b"".join(struct.pack("<HHI", 0, tag, len(raw)) + raw for tag, raw in sorted(elements.items()))


class RawAssociation:
    """An association, of one presentation context for CT in explicit little endian unless another is asked for."""

    def __init__(
        self, port: int, timeout_s: float = 20.0, body: bytes | None = None, address: str = "127.0.0.1"
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s, (address, 0))
        self.largest = 0
        self._send(1, request() if body is None else body)
        kind, self.answer = self._read_pdu()
        assert kind == 2, f"PDU type {kind} instead of A-ASSOCIATE-AC"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def store(self, command: Mapping[int, bytes], data_set: bytes | None, number: int = 1) -> int:
        """The status that a C-STORE request is answered with. `data_set`: None sends no data set PDV."""
        data = encoded(command)
        self._send_value(1, struct.pack("<HHII", 0, 0, 4, len(data)) + data, number)
        if data_set is not None:
            self._send_value(0, data_set, number)
        return self.status()

    def status(self) -> int:
        """The status of the response that comes next, in however many PDUs; `largest`: the greatest of them."""
        data, is_last = b"", False
        while not is_last:
            kind, body = self._read_pdu()
            assert kind == 4, f"PDU type {kind} instead of a response"
            self.largest = max(self.largest, len(body))
            data, is_last = data + body[6:], bool(body[5] & 2)
        return _status(data)

    def release(self) -> None:
        self._send(5, bytes(4))
        assert self._read_pdu()[0] == 6

    def _send(self, kind: int, body: bytes) -> None:
        self._socket.sendall(struct.pack(">BBI", kind, 0, len(body)) + body)

    def _send_value(self, is_command: int, fragment: bytes, number: int = 1) -> None:
        self._send(4, value(is_command | 2, fragment, number))

    def _read_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._read(6))
        return kind, self._read(length)

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self._socket.recv(size - len(found))
            assert more, "the node closed the connection"
            found += more
        return found


def command(
    sop_class: bytes | None, sop_instance: bytes | None, *, has_data_set: bool = True, priority: int | None = 0
) -> dict[int, bytes]:
    """The elements of a C-STORE request (PS3.7 9.3.1.1); None leaves one out."""
    data = {
        COMMAND_FIELD: struct.pack("<H", 1),
        MESSAGE_ID: struct.pack("<H", 7),
        DATA_SET_TYPE: struct.pack("<H", 1 if has_data_set else 0x0101),
    }
    if priority is not None:
        data[PRIORITY] = struct.pack("<H", priority)
    for tag, uid in ((AFFECTED_SOP_CLASS, sop_class), (AFFECTED_SOP_INSTANCE, sop_instance)):
        if uid is not None:
            data[tag] = uid + b"\0" * (len(uid) % 2)
    return data


def _status(command_set: bytes) -> int:
    at = 0
    while at + 8 <= len(command_set):
        group, element, length = struct.unpack_from("<HHI", command_set, at)
        if (group, element) == (0, STATUS):
            return int(struct.unpack_from("<H", command_set, at + 8)[0])
        at += 8 + length
    raise AssertionError("the response has no status")
