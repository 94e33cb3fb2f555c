"""Command sets (PS3.7 6.3.1): what a message says of itself, always in Implicit VR Little Endian."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pynetdicom.sop_class import Verification

C_STORE_RQ: Final = 0x0001
C_ECHO_RQ: Final = 0x0030
C_CANCEL_RQ: Final = 0x0FFF
RESPONSE: Final = 0x8000
"""The bit of Command Field that makes a request's response."""

_SOP_CLASS, _COMMAND, _MESSAGE, _RESPONDED, _PRIORITY, _DATA_SET, _STATUS, _COMMENT, _SOP_INSTANCE = (
    *(0x0002, 0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900, 0x0902, 0x1000),
)
_MEDIUM: Final = 0
_SOME_DATA_SET, _NO_DATA_SET = 0x0001, 0x0101

_ALWAYS_ALONE: Final = (C_STORE_RQ | RESPONSE, C_ECHO_RQ | RESPONSE)


@dataclass(frozen=True)
class Message:
    """A command with its data set, both as they come.

    `pieces`: the data set in the order in which it comes; each is valid until the next one is asked for, and all are to
    be taken before the next message is asked for.
    """

    context_id: int
    elements: dict[int, bytes]
    pieces: Iterator[memoryview]

    @property
    def command(self) -> int | None:
        """Command Field (0000,0100)."""
        return self._number(_COMMAND)

    @property
    def status(self) -> int | None:
        """Status (0000,0900), which a response has."""
        return self._number(_STATUS)

    @property
    def responds_to(self) -> int | None:
        """Message ID Being Responded To (0000,0120), which a response has."""
        return self._number(_RESPONDED)

    @property
    def sop_class_uid(self) -> str:
        """Affected SOP Class UID (0000,0002), empty where there is none."""
        return _text(self.elements.get(_SOP_CLASS, b""))

    @property
    def sop_instance_uid(self) -> str:
        """Affected SOP Instance UID (0000,1000), empty where there is none."""
        return _text(self.elements.get(_SOP_INSTANCE, b""))

    def response(self, status: int, comment: str, largest: int | None = None) -> bytes:
        """The command set of the response (PS3.7 9.3.1.2, 9.3.5.2).

        Without the UIDs, which are optional, where it has more than `largest` bytes with them.
        """
        answer = {
            _COMMAND: _short((self.command or 0) | RESPONSE),
            _RESPONDED: _short(self._number(_MESSAGE) or 0),
            _DATA_SET: _short(_NO_DATA_SET),
            _STATUS: _short(status),
        }
        if comment:
            answer[_COMMENT] = _even(comment.encode("ascii", "replace")[:64])
        uids = {_SOP_CLASS: self.sop_class_uid, _SOP_INSTANCE: self.sop_instance_uid}
        sayable = {tag: _even(uid.encode()) for tag, uid in uids.items() if 0 < len(uid) <= 64 and uid.isascii()}
        whole = _encoded(answer | sayable)
        return whole if largest is None or len(whole) <= largest else _encoded(answer)

    def _number(self, element: int) -> int | None:
        raw = self.elements.get(element)
        return int.from_bytes(raw[:2], "little") if raw else None


def c_store(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of a C-STORE request (PS3.7 9.3.1.1)."""
    return _encoded(
        {
            _SOP_CLASS: _even(sop_class_uid.encode("ascii")),
            _COMMAND: _short(C_STORE_RQ),
            _MESSAGE: _short(message_id),
            _PRIORITY: _short(_MEDIUM),
            _DATA_SET: _short(_SOME_DATA_SET),
            _SOP_INSTANCE: _even(sop_instance_uid.encode("ascii")),
        }
    )


def c_echo(message_id: int) -> bytes:
    """The command set of a C-ECHO request (PS3.7 9.3.5.1)."""
    return _encoded(
        {
            _SOP_CLASS: _even(Verification.encode("ascii")),
            _COMMAND: _short(C_ECHO_RQ),
            _MESSAGE: _short(message_id),
            _DATA_SET: _short(_NO_DATA_SET),
        }
    )


def decoded(raw: bytearray) -> dict[int, bytes]:
    """The elements of group 0000 by their element number. Raises ValueError where they do not add up."""
    found, at = {}, 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise ValueError("a command that ends inside an element")
        group, element, length = struct.unpack_from("<HHI", raw, at)
        if at + 8 + length > len(raw):
            raise ValueError("a command that ends inside an element")
        if group == 0:
            found[element] = bytes(raw[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def has_data_set(elements: dict[int, bytes]) -> bool:
    """Whether a data set follows, as Command Data Set Type (0000,0800) says.

    After a response to C-STORE or C-ECHO none does, whatever stands there (PS3.7 9.3.1.2, 9.3.5.2). Raises ValueError
    where nobody can know what follows.
    """
    if int.from_bytes(elements.get(_COMMAND, b"")[:2], "little") in _ALWAYS_ALONE:
        return False
    if not elements.get(_COMMAND) or _DATA_SET not in elements:
        raise ValueError("a command without Command Field or Command Data Set Type")
    return int.from_bytes(elements[_DATA_SET][:2], "little") != _NO_DATA_SET


def _encoded(elements: dict[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


def _even(value: bytes) -> bytes:
    return value + bytes(len(value) % 2)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")
