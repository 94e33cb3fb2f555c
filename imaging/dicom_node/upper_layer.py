"""The acceptor's side of one association over a blocking socket: PDUs and messages (PS3.8 9.3, PS3.7 6.3).

One thread reads and answers; nothing polls. A data set is read where it is used, with no copy between. What is
negotiated, once an association, is left to pynetdicom's classes.
"""

import logging
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, cast

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_unrestricted
from pynetdicom.sop_class import Verification

from imaging.dicom_node.files import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its lines hold UIDs and values of the wire

REQUEST_S: Final = 30.0
"""How long a peer that has connected may take to say who it is (ARTIM, PS3.8 9.1.5)."""
SILENCE_S: Final = 120.0
"""How long an association may be silent."""
GOODBYE_S: Final = 1.0

C_STORE_RQ: Final = 0x0001
C_ECHO_RQ: Final = 0x0030
C_CANCEL_RQ: Final = 0x0FFF

_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _ABORT = 0x01, 0x04, 0x05, 0x07
_RELEASE_RP: Final = struct.pack(">BxI4x", 0x06, 4)
_IS_COMMAND, _IS_LAST = 1, 2
_LARGEST_PDU: Final = 1 << 20
_LARGEST_READ: Final = 1 << 20
_BUFFER: Final = 1 << 16
_KEPT_BUFFER: Final = 16 << 20

_SOP_CLASS, _COMMAND, _MESSAGE, _RESPONDED, _DATA_SET, _STATUS, _COMMENT, _SOP_INSTANCE = (
    *(0x0002, 0x0100, 0x0110, 0x0120, 0x0800, 0x0900, 0x0902, 0x1000),
)
_NO_DATA_SET, _RESPONSE = 0x0101, 0x8000
_UNEXPECTED_PDU, _INVALID_PARAMETER = 0x02, 0x06
_STORAGE_AND_ECHO: Final = (build_context(Verification),)


class Ended(Exception):
    """The association is over; the text says how."""


class Broken(Ended):
    """The peer broke the protocol, so that the association was aborted. `reason`: of the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, why: str, reason: int = _INVALID_PARAMETER) -> None:
        super().__init__(f"aborted by us: {why}")
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """A command with its data set, both as they came. `data`: valid until the next message is read."""

    context_id: int
    elements: dict[int, bytes]
    data: memoryview

    @property
    def command(self) -> int | None:
        """Command Field (0000,0100)."""
        return self._number(_COMMAND)

    @property
    def sop_class_uid(self) -> str:
        """Affected SOP Class UID (0000,0002), empty where there is none."""
        return _text(self.elements.get(_SOP_CLASS, b""))

    @property
    def sop_instance_uid(self) -> str:
        """Affected SOP Instance UID (0000,1000), empty where there is none."""
        return _text(self.elements.get(_SOP_INSTANCE, b""))

    def response(self, status: int, comment: str) -> bytes:
        """The command set of the response (PS3.7 9.3.1.2, 9.3.5.2)."""
        answer = {
            _COMMAND: _short((self.command or 0) | _RESPONSE),
            _RESPONDED: _short(self._number(_MESSAGE) or 0),
            _DATA_SET: _short(_NO_DATA_SET),
            _STATUS: _short(status),
        }
        for element, uid in ((_SOP_CLASS, self.sop_class_uid), (_SOP_INSTANCE, self.sop_instance_uid)):
            if 0 < len(uid) <= 64 and uid.isascii():
                answer[element] = _even(uid.encode())
        if comment:
            answer[_COMMENT] = _even(comment.encode("ascii", "replace")[:64])
        return _encoded(answer)

    def _number(self, element: int) -> int | None:
        raw = self.elements.get(element)
        return int.from_bytes(raw[:2], "little") if raw else None


@dataclass(frozen=True)
class Proposal:
    """An A-ASSOCIATE-RQ that was read."""

    primitive: A_ASSOCIATE

    @property
    def calling_ae_title(self) -> str:
        """Without padding."""
        return str(self.primitive.calling_ae_title)

    @property
    def called_ae_title(self) -> str:
        """Without padding."""
        return str(self.primitive.called_ae_title)

    def negotiated(self) -> tuple[list[PresentationContext], list[SCP_SCU_RoleSelectionNegotiation]]:
        """What becomes of each proposed context, and the roles: Verification and all that may be Storage are taken."""
        roles = {
            each.sop_class_uid: (each.scu_role, each.scp_role)
            for each in self.primitive.user_information
            if isinstance(each, SCP_SCU_RoleSelectionNegotiation)
        }
        proposed = self.primitive.presentation_context_definition_list
        contexts, taken = negotiate_unrestricted(proposed, list(_STORAGE_AND_ECHO), roles)
        return contexts, taken


class Line:
    """An accepted connection. To be read from in one thread; `abort` may be called from any."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = cast("BufferedReader", connection.makefile("rb", buffering=_BUFFER))
        self._buffer = bytearray()
        self._contexts: frozenset[int] = frozenset()
        self.address: str = connection.getpeername()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(REQUEST_S)

    def proposal(self) -> Proposal:
        """Waits for the A-ASSOCIATE-RQ. Raises Ended."""
        kind, length = self._head()
        if kind != _ASSOCIATE_RQ or length > _LARGEST_PDU:
            raise Broken("no request for an association came first", _UNEXPECTED_PDU)
        asked = A_ASSOCIATE_RQ()
        try:
            asked.decode(struct.pack(">BxI", kind, length) + self._read(length))
            return Proposal(asked.to_primitive())
        except Ended:
            raise
        except Exception as error:  # whatever the library makes of a stranger's bytes
            raise Broken(f"its request for an association cannot be read ({type(error).__name__})") from error

    def accept(self, proposal: Proposal) -> list[PresentationContext]:
        """Answers with A-ASSOCIATE-AC. Returns the contexts with their results."""
        contexts, roles = proposal.negotiated()
        length, implementation, version = (
            MaximumLengthNotification(),
            ImplementationClassUIDNotification(),
            ImplementationVersionNameNotification(),
        )
        length.maximum_length_received = _LARGEST_PDU
        implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        answer = A_ASSOCIATE()
        answer.application_context_name = "1.2.840.10008.3.1.1.1"
        answer.calling_ae_title = proposal.primitive.calling_ae_title
        answer.called_ae_title = proposal.primitive.called_ae_title
        answer.result, answer.result_source = 0x00, 0x01
        answer.presentation_context_definition_results_list = contexts
        answer.user_information = [length, implementation, version, *roles]
        pdu = A_ASSOCIATE_AC()
        pdu.from_primitive(answer)
        self._send(pdu.encode())
        self._contexts = frozenset(int(each.context_id) for each in contexts if each.result == 0)
        self._connection.settimeout(SILENCE_S)
        return contexts

    def reject(self, result: int, source: int, diagnostic: int) -> None:
        """Answers with A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
        self._send(struct.pack(">BxIxBBB", 0x03, 4, result, source, diagnostic))

    def messages(self) -> Iterator[Message]:
        """Each message, until the association is released. Raises Ended where it ends otherwise."""
        values = self._values()
        command, size = bytearray(), 0
        elements: dict[int, bytes] | None = None
        for context, flags, length in values:
            if flags & _IS_COMMAND:
                if elements is not None or len(command) + length > _LARGEST_PDU:
                    raise Broken("a command where a data set was due", _UNEXPECTED_PDU)
                command += self._read(length)
                if flags & _IS_LAST:
                    elements = _decoded(command)
                is_whole = elements is not None and not _has_data_set(elements)
            elif elements is None:
                raise Broken("a data set without a command", _UNEXPECTED_PDU)
            else:
                self._read_into_buffer(size, length)
                size += length
                is_whole = bool(flags & _IS_LAST)
            if elements is not None and is_whole:
                yield Message(context, elements, memoryview(self._buffer)[:size])
                if len(self._buffer) > _KEPT_BUFFER:
                    self._buffer = bytearray()
                command, size, elements = bytearray(), 0, None
        self._send(_RELEASE_RP)

    def answer(self, message: Message, status: int, comment: str = "") -> None:
        """Sends the response. Raises Ended where the peer is gone."""
        command = message.response(status, comment)
        head = struct.pack(">BxIIBB", _P_DATA, len(command) + 6, len(command) + 2, message.context_id, 3)
        self._send(head + command)

    def abort(self, reason: int = 0) -> None:
        """A-ABORT, by the provider where there is a reason; who waits in this association is woken."""
        try:
            self._connection.settimeout(GOODBYE_S)
            self._connection.sendall(struct.pack(">BxIxxBB", _ABORT, 4, 2 if reason else 0, reason))
        except OSError:  # it is gone already
            pass
        self.shut()

    def shut(self) -> None:
        """Ends the connection, so that who reads from it sees its end."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is gone already
            pass

    def close(self) -> None:
        """After the last answer: the peer closes first (PS3.8 9.2.3, Sta13), or we do after a second."""
        until = time.monotonic() + GOODBYE_S
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(GOODBYE_S)
            while self._connection.recv(_BUFFER) and time.monotonic() < until:  # else a reset would overtake our answer
                pass
        except OSError:
            pass
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
                raise Broken(f"PDU type {kind:#04x} in an association", _UNEXPECTED_PDU)
            while length:
                size, context, flags = struct.unpack(">IBB", self._read(6)) if length >= 6 else (0, 0, 0)
                if not 2 <= size <= length - 4:
                    raise Broken("a PDU and its values disagree in their lengths")
                if context not in self._contexts:
                    raise Broken("a message in a presentation context that was not accepted")
                length -= size + 4
                yield context, flags, size - 2

    def _head(self) -> tuple[int, int]:
        kind, length = struct.unpack(">BxI", self._read(6))
        return kind, length

    def _read(self, size: int) -> bytes:
        try:
            found = self._reader.read(size)
        except TimeoutError as error:
            raise Broken("the peer was silent for too long") from error
        except (OSError, ValueError) as error:
            raise Ended("connection lost") from error
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
            with memoryview(self._buffer) as whole, whole[at : at + piece] as part:
                self._fill(part)
            at += piece

    def _grow(self, used: int, size: int) -> None:
        more = bytes(max(size - len(self._buffer), min(used, _LARGEST_READ)))
        try:
            self._buffer.extend(more)
        except BufferError:  # somebody still holds a view of an earlier data set
            self._buffer = self._buffer[:] + more

    def _fill(self, view: memoryview) -> None:
        try:
            count = self._reader.readinto(view)
        except TimeoutError as error:
            raise Broken("the peer was silent for too long") from error
        except (OSError, ValueError) as error:
            raise Ended("connection lost") from error
        if count < len(view):
            raise Ended("connection lost")

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Ended("connection lost") from error


def _has_data_set(elements: dict[int, bytes]) -> bool:
    """Command Data Set Type (0000,0800): without it, or without a command, nobody knows what follows."""
    if not elements.get(_COMMAND) or _DATA_SET not in elements:
        raise Broken("a command without Command Field or Command Data Set Type")
    return int.from_bytes(elements[_DATA_SET][:2], "little") != _NO_DATA_SET


def _decoded(raw: bytearray) -> dict[int, bytes]:
    """The elements of group 0000 by their element number (PS3.7 6.3.1: Implicit VR Little Endian)."""
    found, at = {}, 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise Broken("a command that ends inside an element")
        group, element, length = struct.unpack_from("<HHI", raw, at)
        if at + 8 + length > len(raw):
            raise Broken("a command that ends inside an element")
        if group == 0:
            found[element] = bytes(raw[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def _encoded(elements: dict[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


def _even(value: bytes) -> bytes:
    return value + bytes(len(value) % 2)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")
