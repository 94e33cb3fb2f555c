"""The Storage SCU (PS3.4 B): encoded objects to a peer, unchanged, over an association that is kept for a burst."""

import logging
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from imaging.dicom_node.files import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    StoreRequest,
    split_part_10,
)
from imaging.dicom_node.reactors import no_delay
from imaging.domain.peers import Address
from imaging.domain.retry import Answer, Passing, Permanent, judged

_config.LOG_HANDLER_LEVEL = "none"
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
_MOST_CONTEXTS: Final = 128  # PS3.8 9.3.2.2: odd numbers up to 255
_NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class Unreachable(Exception):
    """There is no association with the peer; the text says why, in its own words where it gave any."""


class NothingAccepted(Unreachable):
    """The peer takes the association, and none of the presentation contexts: it will not tomorrow either."""


class Sender:
    """Sends to one peer as `ae_title`. Opens an association when it is needed; `close` ends it."""

    def __init__(self, peer: Address, ae_title: str) -> None:
        self._peer, self._ae_title = peer, ae_title
        self._association: Any = None
        self._proposed: set[tuple[str, str]] = set()
        self._message_id = 0

    @property
    def is_open(self) -> bool:
        return self._association is not None and self._association.is_established

    def send(self, data: bytes) -> Answer:
        """Sends one Part 10 object. Raises Unreachable where no association can be had."""
        request = split_part_10(data)
        if not _is_sayable(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid):
            return Permanent("a UID of the object is empty, overlong or no ASCII: no request can name it")
        try:
            self._open([(request.sop_class_uid, request.transfer_syntax_uid)])
            context = self._context(request)
        except NothingAccepted:
            context = None
        if context is None:
            return Permanent(f"the peer accepts no presentation context for SOP class {request.sop_class_uid}")
        chosen = str(context.transfer_syntax[0])
        if chosen != request.transfer_syntax_uid:
            try:
                request = _transcoded(data, request, chosen)
            except Exception as error:  # noqa: BLE001 (what a library makes of a stranger's data set)
                return Permanent(f"it cannot be encoded in the peer's transfer syntax: {type(error).__name__}")
        return self._store(request, context.context_id)

    def echo(self) -> None:
        """C-ECHO. Raises Unreachable where the peer does not answer it."""
        self._open([(str(Verification), str(ImplicitVRLittleEndian))])
        status = self._association.send_c_echo()
        if not status or status.Status != 0:
            raise Unreachable("the peer does not answer C-ECHO")

    def close(self) -> None:
        if self.is_open:
            self._association.release()
        self._association = None

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
        entity = AE(ae_title=self._ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_pdu_size = 1 << 20
        entity.connection_timeout, entity.acse_timeout = CONNECT_S, CONNECT_S
        entity.dimse_timeout, entity.network_timeout = ANSWER_S, ANSWER_S
        try:
            association = entity.associate(
                self._peer.host,
                self._peer.port,
                contexts=[build_context(*each) for each in sorted(_with_native(self._proposed))],
                ae_title=self._peer.ae_title,
                evt_handlers=[(evt.EVT_CONN_OPEN, no_delay)],
            )
        except (OSError, UnicodeError) as error:  # its name is resolved in this thread, before any connection
            raise Unreachable(f"the host {self._peer.host!r} has no address: {_in_words(error)}") from error
        if not association.is_established:
            said = association.acceptor.primitive
            if association.is_aborted and said is not None and said.result == 0:
                raise NothingAccepted("the peer accepts none of the presentation contexts")
            raise Unreachable(_why(association))
        self._association = association

    def _context(self, request: StoreRequest) -> Any | None:
        """The accepted context for this object, its own transfer syntax first."""
        fits = [each for each in self._association.accepted_contexts if each.abstract_syntax == request.sop_class_uid]
        same = [each for each in fits if each.transfer_syntax[0] == request.transfer_syntax_uid]
        native = [each for each in fits if str(each.transfer_syntax[0]) in _NATIVE]
        if request.transfer_syntax_uid not in _NATIVE:
            native = []
        return next(iter([*same, *native]), None)

    def _store(self, request: StoreRequest, context_id: int) -> Answer:
        """A C-STORE with the bytes as they are; pynetdicom's own call would decode and encode them again."""
        self._message_id = self._message_id % 65535 + 1
        primitive = C_STORE()
        primitive.MessageID = self._message_id
        primitive.AffectedSOPClassUID = request.sop_class_uid
        primitive.AffectedSOPInstanceUID = request.sop_instance_uid
        primitive.Priority = 0x00
        primitive.DataSet = BytesIO(request.data)
        association = self._association
        association._reactor_checkpoint.clear()
        try:
            while not association._is_paused and association.is_alive():  # as pynetdicom's own send_c_store does
                association._reactor_checkpoint.wait(0.0005)
            association.dimse.send_msg(primitive, context_id)
            _, response = association.dimse.get_msg(block=True)
        finally:
            association._reactor_checkpoint.set()
        if response is None or response.Status is None:
            self._association.abort()
            self._association = None
            return Passing("the peer ended the association, or did not answer in time")
        return judged(int(response.Status))


def _with_native(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The contexts that are proposed for these pairs: both native syntaxes where an object is native."""
    found = set(pairs)
    return found | {(sop, native) for sop, syntax in found if syntax in _NATIVE for native in _NATIVE}


def _that_fit(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The first of these pairs that one association holds the contexts of."""
    kept: set[tuple[str, str]] = set()
    for pair in pairs:
        if len(_with_native({*kept, pair})) <= _MOST_CONTEXTS:
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


def _in_words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _why(association: Any) -> str:
    if association.is_rejected:
        answer = association.acceptor.primitive
        return f"association rejected: {answer.reason_str}" if answer is not None else "association rejected"
    return "no connection, or no answer to the request for an association"
