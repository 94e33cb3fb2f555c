"""The Storage and Verification SCP (PS3.4 A and B), by pynetdicom.

Every C-STORE request gets a response, whatever stands in it: an empty, overlong or absent UID and an empty data set
included. What pynetdicom would drop or abort on is put right before it looks (`_answerable`).
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final, Protocol

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification

from imaging.dicom_node.files import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, StoreRequest
from imaging.dicom_node.reactors import no_delay
from imaging.dicom_node.storing import OUT_OF_RESOURCES, SUCCESS, Status
from imaging.domain.peers import Caller

log = logging.getLogger(__name__)

_config.UNRESTRICTED_STORAGE_SERVICE = True
_config.LOG_HANDLER_LEVEL = "none"  # its own handlers come first, raise on odd commands, and keep ours from being asked
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its lines hold UIDs and values of the wire

_LARGEST_PDU = 1 << 20
_NO_DATA_SET = 0x0101
_CALLING_NOT_RECOGNISED = (0x01, 0x01, 0x03)


@dataclass(frozen=True)
class Opened:
    """An association that was asked for: who, from where, and what became of each context that was proposed.

    A rejected one's contexts were not looked at.
    """

    calling_ae_title: str
    called_ae_title: str
    address: str
    contexts: tuple[Mapping[str, str], ...]


@dataclass
class Tally:
    """What an association brought."""

    stored: int = 0
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


class Receiver(Protocol):
    """What takes the objects; the node's role implements it."""

    def opened(self, who: Opened) -> int:
        """Called once an association is accepted. Returns its number."""

    def rejected(self, who: Opened, why: str) -> None:
        """Called once an association was rejected."""

    def store(self, association: int, request: StoreRequest) -> Status:
        """Called for each C-STORE request; the status is sent when it returns."""

    def closed(self, association: int, how: str, tally: Tally) -> None:
        """Called once at the end, however it ended."""


class Acceptor:
    """Listens for associations. `accept`: who may call; empty: everybody (on loopback)."""

    def __init__(self, ae_title: str, accept: Sequence[Caller], receiver: Receiver) -> None:
        self._accept, self._receiver = accept, receiver
        self._open: dict[Any, tuple[int, Tally]] = {}
        self._lock = threading.Lock()
        self._ae = AE(ae_title=ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_pdu_size = _LARGEST_PDU
        self._ae.maximum_associations = 200
        self._ae.network_timeout = 120
        self._ae.add_supported_context(Verification)
        self._server: Any = None

    def listen(self, host: str, port: int) -> int:
        """Starts to listen; 0 takes a free port. Returns the port. Raises OSError where it cannot be had."""
        handlers = [
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_DIMSE_RECV, _answerable),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_RELEASED, self._on_end, ["released"]),
            (evt.EVT_ABORTED, self._on_end, ["aborted"]),
            (evt.EVT_CONN_CLOSE, self._on_end, ["connection lost"]),
        ]
        self._server = self._ae.start_server((host, port), block=False, evt_handlers=handlers)
        return int(self._server.server_address[1])

    def close(self, drain_s: float) -> None:
        """Takes no more associations; those that are open get `drain_s` seconds, then they are aborted."""
        if self._server is None:
            return
        self._server.shutdown()
        threads = list(self._ae.active_associations)
        for each in threads:
            each.join(drain_s / max(1, len(threads)))
        for each in self._ae.active_associations:
            each.abort()
        self._server.server_close()

    def _on_requested(self, event: evt.Event) -> None:
        if not self._accept:
            return
        asked = event.assoc.requestor
        caller = Caller(asked.primitive.calling_ae_title, asked.address)
        if caller not in self._accept:
            event.assoc.acse.send_reject(*_CALLING_NOT_RECOGNISED)
            evt.trigger(event.assoc, evt.EVT_REJECTED, {})
            event.assoc.is_rejected = True
            event.assoc.kill()

    def _on_rejected(self, event: evt.Event) -> None:
        """By us, as a stranger, or by pynetdicom, of whose associations there are too many."""
        why = event.assoc.acceptor.primitive.reason_str
        log.warning("association_rejected address=%s why=%r", event.assoc.requestor.address, why)
        self._receiver.rejected(_opened(event.assoc), why)

    def _on_accepted(self, event: evt.Event) -> None:
        association = event.assoc
        number = self._receiver.opened(_opened(association))
        with self._lock:
            self._open[association] = number, Tally()
        loop = association._run_reactor

        def run() -> None:
            try:
                loop()
            finally:  # a command that pynetdicom cannot read ends the thread, and nothing tells of it
                self._end(association, "connection lost")

        association._run_reactor = run

    def _on_store(self, event: evt.Event) -> Dataset:
        known = self._open.get(event.assoc)
        if known is None:  # its row could not be written
            return _response(Status(OUT_OF_RESOURCES, "the ledger cannot be written"))
        number, tally = known
        request = event.request
        data = request.DataSet.getbuffer() if request.DataSet is not None else memoryview(b"")
        status = self._receiver.store(
            number,
            StoreRequest(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                data,
            ),
        )
        if status.code == SUCCESS:
            tally.stored += 1
        else:
            tally.refused += 1
            reason = f"0x{status.code:04X} {status.comment}"
            tally.refusals[reason] = tally.refusals.get(reason, 0) + 1
        return _response(status)

    def _on_end(self, event: evt.Event, how: str) -> None:
        self._end(event.assoc, how)

    def _end(self, association: Any, how: str) -> None:
        with self._lock:
            number, tally = self._open.pop(association, (None, None))
        if number is not None and tally is not None:
            self._receiver.closed(number, how, tally)


def _opened(association: Any) -> Opened:
    asked = association.requestor
    return Opened(
        asked.primitive.calling_ae_title,
        asked.primitive.called_ae_title,
        asked.address,
        tuple(_context(each) for each in (*association.accepted_contexts, *association.rejected_contexts)),
    )


def _context(context: Any) -> dict[str, str]:
    chosen = context.transfer_syntax[0] if context.transfer_syntax else ""
    said = {"abstract_syntax": str(context.abstract_syntax), "transfer_syntax": str(chosen)}
    if context.result == 0:
        return said | {"result": "accepted"}
    return said | {"result": "refused", "why": _REFUSALS.get(context.result, f"result {context.result}")}


_REFUSALS: Final = {
    1: "refused by the user",
    2: "no reason given",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
"""Result of a proposed presentation context (PS3.8 9.3.3.2)."""


def _response(status: Status) -> Dataset:
    response = Dataset()
    response.Status = status.code
    if status.comment:
        response.ErrorComment = status.comment.encode("ascii", "replace").decode()[:64]
    return response


def _answerable(event: evt.Event) -> None:
    """Makes a C-STORE request with an absent, empty or overlong UID, or no data set, one that gets an answer."""
    message = event.message
    command = message.command_set
    if command.get("CommandField") != 0x0001:
        return
    if command.get("CommandDataSetType") == _NO_DATA_SET:
        message.data_set = BytesIO()
    for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
        said = str(command.get(keyword, "") or "")
        if not 0 < len(said) <= 64:
            setattr(command, keyword, _PLACEHOLDER)
    for keyword in ("MoveOriginatorApplicationEntityTitle", "MoveOriginatorMessageID"):  # nobody asks for them
        if keyword in command:
            delattr(command, keyword)
    if command.get("Priority") not in (0, 1, 2):
        command.Priority = 0
    if not isinstance(command.get("MessageID"), int):
        command.MessageID = 0


_PLACEHOLDER = "0.0"
"""Stands in a command for a UID that is none; no object has it, so its data set disagrees and the answer says so."""
