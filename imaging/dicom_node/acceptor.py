"""The Storage and Verification SCP (PS3.4 A and B): one thread per association.

Every C-STORE request gets a response, whatever stands in it: an empty, overlong or absent UID and an empty data set
included.
"""

import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pynetdicom.presentation import PresentationContext

from imaging.dicom_node import negotiation
from imaging.dicom_node.commands import C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, Message
from imaging.dicom_node.files import StoreRequest
from imaging.dicom_node.negotiation import Proposal
from imaging.dicom_node.storing import OUT_OF_RESOURCES, SUCCESS, Status
from imaging.dicom_node.upper_layer import Broken, Ended, Line
from imaging.domain.ends import End
from imaging.domain.peers import Caller

log = logging.getLogger(__name__)

_MOST_ASSOCIATIONS: Final = 200
_MOST_CONNECTIONS: Final = 2 * _MOST_ASSOCIATIONS
"""With those that have not asked for an association yet, or are being refused one."""
_CALLING_NOT_RECOGNISED: Final = (1, 1, 3)
_LOCAL_LIMIT_EXCEEDED: Final = (2, 3, 2)
_REJECTIONS: Final = {
    _CALLING_NOT_RECOGNISED: "Calling AE title not recognised",
    _LOCAL_LIMIT_EXCEEDED: "Local limit exceeded",
}
"""Result, source and reason (PS3.8 9.3.4), in the standard's words."""
_PAUSE_S: Final = 0.1
_ABORTED_S: Final = 1.0


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

    def count(self, status: Status) -> None:
        """Counts a C-STORE by what it was answered with."""
        if status.code == SUCCESS:
            self.stored += 1
            return
        self.refused += 1
        reason = f"0x{status.code:04X} {status.comment}"
        self.refusals[reason] = self.refusals.get(reason, 0) + 1


class Receiver(Protocol):
    """What takes the objects; the node's role implements it."""

    def opened(self, who: Opened) -> int:
        """Called once an association is accepted. Returns its number."""

    def rejected(self, who: Opened, why: str) -> None:
        """Called once an association was rejected."""

    def store(self, association: int, request: StoreRequest) -> Status:
        """Called for each C-STORE request; the status is sent when it returns."""

    def closed(self, association: int, end: End, how: str, tally: Tally) -> None:
        """Called once at the end, however it ended; `how`: in words."""


class Acceptor:
    """Listens for associations. `accept`: who may call; empty: everybody (on loopback)."""

    def __init__(self, accept: Sequence[Caller], receiver: Receiver) -> None:
        self._accept, self._receiver = accept, receiver
        self._open: dict[Line, threading.Thread] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._is_closed = False

    def listen(self, host: str, port: int) -> int:
        """Starts to listen; 0 takes a free port. Returns the port. Raises OSError where it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = listener = socket.create_server((host, port), family=family, backlog=_MOST_ASSOCIATIONS)
        threading.Thread(target=self._take, args=(listener,), name="acceptor", daemon=True).start()
        return int(listener.getsockname()[1])

    def close(self, drain_s: float) -> None:
        """Takes no more associations; those that are open get `drain_s` seconds, then they are aborted."""
        if self._listener is None:
            return
        self._is_closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        until = time.monotonic() + drain_s
        with self._lock:
            left = dict(self._open)
        for thread in left.values():
            thread.join(max(0.0, until - time.monotonic()))
        for line, thread in left.items():
            if thread.is_alive():
                line.abort()
        until = time.monotonic() + _ABORTED_S
        for thread in left.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _take(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if self._is_closed:
                    return
                log.warning("connection_not_taken error=%s", error.strerror)  # no descriptor is free, say
                time.sleep(_PAUSE_S)
                continue
            try:
                if len(self._open) >= _MOST_CONNECTIONS:
                    raise RuntimeError("too many")
                self._begin_thread(Line(connection))
            except (OSError, RuntimeError) as error:  # it went again, or there are too many: the peer sees the end
                log.warning("connection_not_taken error=%s", type(error).__name__)
                connection.close()

    def _begin_thread(self, line: Line) -> None:
        thread = threading.Thread(target=self._serve, args=(line,), name="association", daemon=True)
        with self._lock:
            thread.start()
            self._open[line] = thread

    def _serve(self, line: Line) -> None:
        try:
            self._associate(line)
        except Broken as broken:
            log.warning("association_not_begun address=%s why=%r", line.address, str(broken))
            line.abort(broken.reason)
        except Ended:  # it connected and went: a port that is looked at
            pass
        except Exception as error:  # e.g. the ledger cannot be written: the others go on
            log.exception("association_failed address=%s error=%s", line.address, type(error).__name__)
            line.abort()
        finally:
            line.close()
            with self._lock:
                del self._open[line]

    def _associate(self, line: Line) -> None:
        proposal = negotiation.proposal(line)
        refusal = self._refusal(proposal, line.address)
        if refusal is not None:
            why = _REJECTIONS[refusal]
            if refusal == _CALLING_NOT_RECOGNISED and proposal.calling_ae_title in {
                each.ae_title for each in self._accept
            }:
                why += " from this address"
            log.warning("association_rejected address=%s why=%r", line.address, why)
            try:
                negotiation.reject(line, *refusal)
            finally:
                self._receiver.rejected(_opened(proposal, line.address, ()), why)
            return
        contexts = negotiation.accept(line, proposal)
        number = self._begin(_opened(proposal, line.address, contexts))
        tally, how, end = Tally(), "connection lost", End.CUT
        try:
            syntaxes = {int(each.context_id): str(each.transfer_syntax[0]) for each in contexts if each.result == 0}
            for message in line.messages():
                self._answer(line, number, tally, message, syntaxes[message.context_id])
            how, end = "released", line.end(None)
        except Broken as broken:
            how = str(broken)
            line.abort(broken.reason)
        except Ended as ended:
            how, end = str(ended), line.end(ended)
        finally:
            if number is not None:
                self._receiver.closed(number, end, how, tally)

    def _begin(self, who: Opened) -> int | None:
        try:
            return self._receiver.opened(who)
        except Exception as error:  # its row cannot be written: each request is answered with it
            log.exception("association_not_recorded error=%s", type(error).__name__)
            return None

    def _refusal(self, proposal: Proposal, address: str) -> tuple[int, int, int] | None:
        if self._accept and Caller(proposal.calling_ae_title, address) not in self._accept:
            return _CALLING_NOT_RECOGNISED
        with self._lock:
            return _LOCAL_LIMIT_EXCEEDED if len(self._open) > _MOST_ASSOCIATIONS else None

    def _answer(self, line: Line, number: int | None, tally: Tally, message: Message, syntax: str) -> None:
        if message.command == C_ECHO_RQ:
            line.answer(message, SUCCESS)
        elif message.command == C_STORE_RQ:
            status = self._store(number, message, syntax)
            tally.count(status)
            line.answer(message, status.code, status.comment)
        elif message.command != C_CANCEL_RQ:  # of which a request that was answered needs nothing (PS3.7 9.3.2.3)
            raise Broken(f"command {message.command:#06x}, which is neither C-STORE nor C-ECHO")

    def _store(self, number: int | None, message: Message, syntax: str) -> Status:
        if number is None:
            return Status(OUT_OF_RESOURCES, "the ledger cannot be written")
        sop_class, sop_instance = _or_placeholder(message.sop_class_uid), _or_placeholder(message.sop_instance_uid)
        return self._receiver.store(number, StoreRequest(sop_class, sop_instance, syntax, message.data))


def _or_placeholder(uid: str) -> str:
    """No object has it, so its data set disagrees and the answer says so."""
    return uid if 0 < len(uid) <= 64 else "0.0"


def _opened(proposal: Proposal, address: str, contexts: Sequence[PresentationContext]) -> Opened:
    told = tuple(_context(each) for each in sorted(contexts, key=lambda each: int(each.result or 0)))
    return Opened(proposal.calling_ae_title, proposal.called_ae_title, address, told)


def _context(context: PresentationContext) -> dict[str, str]:
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
