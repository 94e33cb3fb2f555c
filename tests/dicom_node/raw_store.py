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


class RawAssociation:
    """An association with one presentation context, for CT in explicit little endian."""

    def __init__(self, port: int, timeout_s: float = 20.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        user = _item(0x51, struct.pack(">I", 65536)) + _item(0x52, b"2.25.1") + _item(0x55, b"RAW")
        context = _item(0x20, b"\1\0\0\0" + _item(0x30, CT) + _item(0x40, EXPLICIT_LITTLE))
        names = b"IMAGING".ljust(16) + b"RAW".ljust(16) + bytes(32)
        body = struct.pack(">HH", 1, 0) + names + _item(0x10, b"1.2.840.10008.3.1.1.1") + context + _item(0x50, user)
        self._send(1, body)
        kind, _ = self._read_pdu()
        assert kind == 2, f"PDU type {kind} instead of A-ASSOCIATE-AC"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def store(self, command: Mapping[int, bytes], data_set: bytes | None) -> int:
        """The status that a C-STORE request is answered with. `data_set`: None sends no data set PDV."""
        encoded = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in sorted(command.items()))
        self._send_value(1, struct.pack("<HHII", 0, 0, 4, len(encoded)) + encoded)
        if data_set is not None:
            self._send_value(0, data_set)
        kind, body = self._read_pdu()
        assert kind == 4, f"PDU type {kind} instead of a response"
        return _status(body[6:])

    def release(self) -> None:
        self._send(5, bytes(4))
        assert self._read_pdu()[0] == 6

    def _send(self, kind: int, body: bytes) -> None:
        self._socket.sendall(struct.pack(">BBI", kind, 0, len(body)) + body)

    def _send_value(self, is_command: int, value: bytes) -> None:
        self._send(4, struct.pack(">IBB", len(value) + 2, 1, is_command | 2) + value)

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
    said = {
        COMMAND_FIELD: struct.pack("<H", 1),
        MESSAGE_ID: struct.pack("<H", 7),
        DATA_SET_TYPE: struct.pack("<H", 1 if has_data_set else 0x0101),
    }
    if priority is not None:
        said[PRIORITY] = struct.pack("<H", priority)
    for tag, uid in ((AFFECTED_SOP_CLASS, sop_class), (AFFECTED_SOP_INSTANCE, sop_instance)):
        if uid is not None:
            said[tag] = uid + b"\0" * (len(uid) % 2)
    return said


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _status(command_set: bytes) -> int:
    at = 0
    while at + 8 <= len(command_set):
        group, element, length = struct.unpack_from("<HHI", command_set, at)
        if (group, element) == (0, STATUS):
            return int(struct.unpack_from("<H", command_set, at + 8)[0])
        at += 8 + length
    raise AssertionError("the response has no status")
