"""The Storage and Verification SCP (PS3.4 A and B): one thread per association; who has not asked for one yet
is in `connections`.

Every C-STORE request gets a response, whatever stands in it: an empty, overlong or absent UID and an empty data set
included.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from imaging.dicom_node import negotiation
from imaging.dicom_node.associate import Request
from imaging.dicom_node.commands import C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, Message
from imaging.dicom_node.connections import PendingConnections
from imaging.dicom_node.negotiation import Context
from imaging.dicom_node.refusals import Refusals
from imaging.dicom_node.upper_layer import Association, Broken, Ended
from imaging.domain.ends import End
from imaging.domain.peers import MAX_ASSOCIATIONS, Caller, Refused
from imaging.encoding.part10 import Announced
from imaging.intake.storing import OUT_OF_RESOURCES, SUCCESS, Status

log = logging.getLogger(__name__)

_ABORTED_S: Final = 1.0


@dataclass(frozen=True)
class Opened:
    """An association that was accepted: who, from where, and what became of each context that was proposed."""

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

    def turned_away(self, refused: Sequence[Refused], unread: Mapping[Refused, int]) -> None:
        """Called with those who asked and got no association, and with how many connections were closed unread."""

    def store(self, association: int, what: Announced, pieces: Iterator[memoryview]) -> Status:
        """Called for each C-STORE request; the status is sent when it returns, and the rest of the pieces has come.

        `pieces`: its data set; asking for them raises Ended where the peer goes.
        """

    def closed(self, association: int, end: End, how: str, tally: Tally) -> None:
        """Called once at the end, however it ended; `how`: in words."""


class Acceptor:
    """Listens for associations. `accept`: who may call; none: everybody on loopback.

    `connections_per_address`: how many one address may have open at a time. `max_data_set`: in bytes; a longer one
    ends its association; None: any.
    """

    def __init__(
        self,
        accept: Sequence[Caller],
        receiver: Receiver,
        connections_per_address: int = 64,
        max_data_set: int | None = None,
    ) -> None:
        self._accept, self._receiver, self._max_per_address = accept, receiver, connections_per_address
        self._max_data_set = max_data_set
        self._open: dict[Association, threading.Thread] = {}
        self._lock = threading.Lock()
        self._pending: PendingConnections | None = None
        self._arriving: threading.Thread | None = None

    def listen(self, host: str, port: int) -> int:
        """Starts to listen; 0 takes a free port. Returns the port. Raises OSError where it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=MAX_ASSOCIATIONS)
        self._refusals = Refusals(self._receiver.turned_away)
        self._pending = PendingConnections(listener, self._accept, self._max_per_address, self, self._refusals)
        self._arriving = threading.Thread(target=self._pending.run, name="arrivals", daemon=True)
        self._arriving.start()
        return int(listener.getsockname()[1])

    def close(self, drain_s: float) -> None:
        """Takes no more associations; those that are open get `drain_s` seconds, then they are aborted."""
        if self._pending is None or self._arriving is None:
            return
        self._pending.close()
        self._arriving.join()
        until = time.monotonic() + drain_s
        with self._lock:
            left = dict(self._open)
        for thread in left.values():
            thread.join(max(0.0, until - time.monotonic()))
        for association, thread in left.items():
            if thread.is_alive():
                association.interrupt()
        until = time.monotonic() + _ABORTED_S
        for thread in left.values():
            thread.join(max(0.0, until - time.monotonic()))
        self._refusals.close(_ABORTED_S)

    def count(self, address: str | None = None) -> int:
        """How many associations are open, of one address or in all."""
        with self._lock:
            return sum(address in (None, association.address) for association in self._open)

    def begin(self, connection: socket.socket, request: Request) -> None:
        """Takes over a connection that asked for an association. Raises OSError or RuntimeError."""
        association = Association(connection)
        association.set_timeout(negotiation.SILENCE_S)
        thread = threading.Thread(target=self._serve, args=(association, request), name="association", daemon=True)
        with self._lock:
            thread.start()
            self._open[association] = thread

    def _serve(self, association: Association, request: Request) -> None:
        try:
            self._associate(association, request)
        except Ended:  # it went before it was answered
            pass
        except Exception as error:  # e.g. the ledger cannot be written: the others go on
            log.exception("association_failed address=%s error=%s", association.address, type(error).__name__)
            association.abort()
        finally:
            association.close()
            with self._lock:
                del self._open[association]

    def _associate(self, association: Association, request: Request) -> None:
        contexts = negotiation.accept(association, request)
        number = self._begin(_opened(request, association.address, contexts))
        tally, how, end = Tally(), "connection lost", End.CUT
        association.max_data_set = self._max_data_set
        try:
            syntaxes = {each.id: each.transfer_syntax for each in contexts if each.is_accepted}
            for message in association.messages():
                self._answer(association, number, tally, message, syntaxes[message.context_id])
            how, end = "released", association.end(None)
        except Broken as broken:
            how = str(broken)
            association.abort(broken.reason)
        except Ended as ended:
            how, end = str(ended), association.end(ended)
        finally:
            if number is not None:
                self._receiver.closed(number, end, how, tally)

    def _begin(self, who: Opened) -> int | None:
        try:
            return self._receiver.opened(who)
        except Exception as error:  # its row cannot be written: each request is answered with it
            log.exception("association_not_recorded error=%s", type(error).__name__)
            return None

    def _answer(
        self, association: Association, number: int | None, tally: Tally, message: Message, syntax: str
    ) -> None:
        if message.command == C_ECHO_RQ:
            association.answer(message, SUCCESS)
        elif message.command == C_STORE_RQ:
            status = self._store(number, message, syntax)
            for _ in message.pieces:  # of an object that is refused
                pass
            tally.count(status)
            association.answer(message, status.code, status.comment)
        elif message.command != C_CANCEL_RQ:  # of which a request that was answered needs nothing (PS3.7 9.3.2.3)
            raise Broken(f"command {message.command:#06x}, which is neither C-STORE nor C-ECHO")

    def _store(self, number: int | None, message: Message, syntax: str) -> Status:
        if number is None:
            return Status(OUT_OF_RESOURCES, "the ledger cannot be written")
        sop_class, sop_instance = _or_placeholder(message.sop_class_uid), _or_placeholder(message.sop_instance_uid)
        return self._receiver.store(number, Announced(sop_class, sop_instance, syntax), message.pieces)


def _or_placeholder(uid: str) -> str:
    """No object has it, so its data set disagrees and the answer says so."""
    return uid if 0 < len(uid) <= 64 else "0.0"


def _opened(request: Request, address: str, contexts: Sequence[Context]) -> Opened:
    described = tuple(_context(each) for each in sorted(contexts, key=lambda each: not each.is_accepted))
    return Opened(*request.titles, address, described)


def _context(context: Context) -> dict[str, str]:
    described = {"abstract_syntax": context.abstract_syntax, "transfer_syntax": context.transfer_syntax}
    return described | ({"result": "accepted"} if context.is_accepted else {"result": "refused", "why": context.why})
