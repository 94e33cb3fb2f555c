"""The Storage SCU (PS3.4 B): encoded objects to a peer, unchanged, over an association that is kept for a burst."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Final

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from imaging.dicom_node import commands, negotiation
from imaging.dicom_node.commands import C_ECHO_RQ, C_STORE_RQ, RESPONSE, Message
from imaging.dicom_node.negotiation import Rejected
from imaging.dicom_node.upper_layer import Association, Broken, Ended, Silent
from imaging.domain.peers import Address, Times
from imaging.domain.retry import Answer, Permanent, SopClassRefused, Transient, judged
from imaging.encoding.part10 import StoreRequest, split_part_10

_MAX_CONTEXTS: Final = 128  # PS3.8 9.3.2.2: odd numbers up to 255
_NO_MESSAGE: Final = (0, None)
"""What some peers say that they respond to: no message of ours has it, and only one of ours is ever unanswered."""
_NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class Unreachable(Exception):
    """There is no association with the peer; the text says why, in its own words where it gave any."""


class NoConnection(Unreachable):
    """Nobody takes the connection."""


class NoAssociation(Unreachable):
    """The peer took the connection, and did not say whether it takes the association."""


class Refused(Unreachable):
    """The peer rejected the association, or a message in it."""


class NoResponse(Unreachable):
    """The peer took the association, and did not answer a message in it."""


class NothingAccepted(Unreachable):
    """The peer takes the association, and none of the presentation contexts: it will not tomorrow either."""


class Sender:
    """Sends to one peer as `ae_title`. Opens an association when it is needed; `close` ends it."""

    def __init__(self, peer: Address, ae_title: str, times: Times | None = None) -> None:
        self._peer, self._ae_title, self._times = peer, ae_title, times or Times()
        self._association: Association | None = None
        self._messages: Iterator[Message] = iter(())
        self._accepted: dict[tuple[str, str], int] = {}
        self._proposed: set[tuple[str, str]] = set()
        self._message_id = 0

    @property
    def is_open(self) -> bool:
        """Whether there is an association that the peer, as far as it said, has not ended."""
        return self._association is not None and self._association.is_quiet()

    def send(self, data: bytes) -> Answer:
        """Sends one Part 10 object. Raises Unreachable where no association can be had."""
        request = split_part_10(data)
        if not _is_sayable(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid):
            return Permanent("a UID of the object is empty, too long or not ASCII, so it cannot be sent")
        chosen = self._syntax(request.sop_class_uid, request.transfer_syntax_uid)
        if chosen is None:
            return SopClassRefused(f"the peer accepts no presentation context for SOP class {request.sop_class_uid}")
        if chosen != request.transfer_syntax_uid:
            try:
                request = _transcoded(data, request, chosen)
            except Exception as error:  # noqa: BLE001 (what a library makes of a stranger's data set)
                return Permanent(f"it cannot be encoded in the peer's transfer syntax: {type(error).__name__}")
        context_id = self._accepted[request.sop_class_uid, chosen]
        command = commands.c_store(self._next_id(), request.sop_class_uid, request.sop_instance_uid)
        try:
            return judged(self._status(C_STORE_RQ, context_id, command, request.data))
        except Ended as ended:
            return Transient(_no_answer("C-STORE", ended, self._times.response), was_sent=True)

    def takes(self, sop_class_uid: str, transfer_syntax_uid: str) -> bool:
        """Whether the peer accepts a context for such an object. Raises Unreachable."""
        return self._syntax(sop_class_uid, transfer_syntax_uid) is not None

    def echo(self) -> None:
        """C-ECHO, for which nothing has to be done first: it is waited for as for an association.

        Raises Unreachable where the peer does not answer it.
        """
        pair = str(Verification), str(ImplicitVRLittleEndian)
        self._open([pair])
        if pair not in self._accepted or self._association is None:
            raise Refused("the peer accepts no presentation context for C-ECHO")
        seconds = min(self._times.accept, self._times.response)
        self._association.set_timeout(seconds)
        try:
            status = self._status(C_ECHO_RQ, self._accepted[pair], commands.c_echo(self._next_id()))
        except Ended as ended:
            raise NoResponse(f"accepts the association, but gives {_no_answer('C-ECHO', ended, seconds)}") from ended
        self._association.set_timeout(self._times.response)
        if status != 0:
            raise Refused(f"the peer answers C-ECHO with status 0x{status:04X}")

    def close(self) -> None:
        """Releases the association, if there is one."""
        if self._association is not None:
            self._association.release()
            self._association = None

    def interrupt(self) -> None:
        """Aborts the association, if there is one; may be called from any thread, and who waits in it is woken."""
        association = self._association
        if association is not None:
            association.interrupt()

    def propose(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Opens the association with contexts for these pairs of SOP class and transfer syntax, as many as it holds."""
        sayable = [pair for pair in sorted(pairs) if _is_sayable(*pair)]
        if sayable:
            self._open(sayable)

    def _open(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Opens the association with at least the first pair; what does not fit beside it waits for the next one."""
        if self.is_open and self._proposed.issuperset(pairs):
            return
        self.close()
        self._proposed = _that_fit([*pairs, *sorted(self._proposed)])
        try:
            association, self._accepted = negotiation.associate(
                self._peer, self._ae_title, sorted(_with_native(self._proposed)), self._times
            )
        except (socket.gaierror, UnicodeError) as error:
            raise NoConnection(f"the host {self._peer.host!r} has no address: {_in_words(error)}") from error
        except TimeoutError as error:
            raise NoConnection(f"no connection within {self._times.connect:g} s") from error
        except OSError as error:
            raise NoConnection(f"no connection: {_in_words(error)}") from error
        except Rejected as rejected:
            raise Refused(str(rejected)) from rejected
        except Ended as ended:
            why = _no_answer("the request for an association", ended, self._times.accept)
            raise NoAssociation(why) from ended
        self._association, self._messages = association, association.messages()
        if not self._accepted:
            self.close()
            raise NothingAccepted("the peer accepts none of the presentation contexts")

    def _syntax(self, sop_class_uid: str, own: str) -> str | None:
        """The accepted transfer syntax for such an object, its own first. Raises Unreachable."""
        try:
            self._open([(sop_class_uid, own)])
        except NothingAccepted:
            return None
        wanted = [own, *(_NATIVE if own in _NATIVE else ())]
        return next((each for each in wanted if (sop_class_uid, each) in self._accepted), None)

    def _next_id(self) -> int:
        self._message_id = self._message_id % 65535 + 1
        return self._message_id

    def _status(
        self, command_field: int, context_id: int, command: bytes, data: bytes | memoryview | None = None
    ) -> int:
        """Sends the request of the last message ID and reads the status of its response. Raises Ended."""
        association = self._association
        assert association is not None
        try:
            association.send(context_id, command, data)
            answer = next(self._messages, None)
            if answer is None:
                raise Ended("released by the peer")
            is_to_this = answer.responds_to in (self._message_id, *_NO_MESSAGE)
            if answer.command != command_field | RESPONSE or not is_to_this or answer.status is None:
                raise Broken("its response does not belong to any of our requests")
        except Ended as ended:
            association.abort(ended.reason if isinstance(ended, Broken) else 0)
            association.close()
            self._association = None
            raise
        return answer.status


def _with_native(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The contexts that are proposed for these pairs: both native syntaxes where an object is native."""
    found = set(pairs)
    return found | {(sop, native) for sop, syntax in found if syntax in _NATIVE for native in _NATIVE}


def _that_fit(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The first of these pairs that one association holds the contexts of."""
    kept: set[tuple[str, str]] = set()
    for pair in pairs:
        if len(_with_native({*kept, pair})) <= _MAX_CONTEXTS:
            kept.add(pair)
    return kept


def _is_sayable(*uids: str) -> bool:
    """Whether contexts and commands can hold these UIDs, legal or not: files of strangers have longer ones."""
    return all(uid.isascii() and 0 < len(uid) <= 64 for uid in uids)


def _transcoded(data: bytes, request: StoreRequest, syntax: str) -> StoreRequest:
    """A native data set in the other native encoding."""
    encoded = encode(dcmread(BytesIO(data)), syntax == ImplicitVRLittleEndian, True)
    if encoded is None:
        raise ValueError("the object cannot be encoded in the peer's transfer syntax")
    return StoreRequest(request.sop_class_uid, request.sop_instance_uid, syntax, encoded)


def _no_answer(request_name: str, ended: Ended, seconds: float) -> str:
    """That a peer did not answer in its time, or how it ended the association in place of an answer."""
    return f"no answer to {request_name}" + (f" within {seconds:g} s" if isinstance(ended, Silent) else f": {ended}")


def _in_words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
