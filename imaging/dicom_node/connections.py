"""Connections from their beginning to the request for an association: one thread for all of them.

Who says nothing, or one byte at a time, costs a descriptor and no thread. Who may not call, or asks for what cannot be
read, is answered here (PS3.8 9.2, Sta2 and Sta13).
"""

import logging
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from imaging.dicom_node import associate
from imaging.dicom_node.associate import ASSOCIATE_RJ, ASSOCIATE_RQ, FirstPdu, Malformed, NoAssociate, Request
from imaging.dicom_node.refusals import Refusals
from imaging.dicom_node.upper_layer import ABORT, GOODBYE_S, INVALID_PARAMETER, UNEXPECTED_PDU
from imaging.domain.peers import (
    MAX_ASSOCIATIONS,
    Caller,
    Refused,
    is_expected_elsewhere,
    is_named,
    may_call,
    plain_address,
)
from imaging.domain.rate_limit import RateLimit

log = logging.getLogger(__name__)

REQUEST_S: Final = 30.0
"""How long a peer that has connected may take to say who it is, from first to last byte (ARTIM, PS3.8 9.1.5)."""
_MAX_CONNECTIONS: Final = 2 * MAX_ASSOCIATIONS
"""With those that have not asked for an association yet, or are being refused one."""
_MAX_STRANGERS: Final = 50
_CALLING_NOT_RECOGNISED: Final = (1, 1, 3)
_LOCAL_LIMIT_EXCEEDED: Final = (2, 3, 2)
_REJECTIONS: Final = {
    _CALLING_NOT_RECOGNISED: "Calling AE title not recognised",
    _LOCAL_LIMIT_EXCEEDED: "Local limit exceeded",
}
"""Result, source and reason (PS3.8 9.3.4), in the standard's words."""
_TOO_MANY: Final = "closed: too many connections from this address"
_NOT_NAMED: Final = "closed: an address that is not in --accept"
_PAUSE_S: Final = 0.1
_MAX_READ: Final = 1 << 16


class Associations(Protocol):
    """The associations that are open; the acceptor has them."""

    def count(self, address: str | None = None) -> int:
        """How many are open, of one address or in all."""

    def begin(self, connection: socket.socket, request: Request) -> None:
        """Takes over a connection. Raises OSError or RuntimeError where it cannot, and then leaves it open."""


@dataclass(eq=False)
class _Pending:
    """A connection that has not asked yet; or, once `is_parting`, one that was answered and is to end."""

    connection: socket.socket
    address: str
    is_named: bool
    until: float
    pdu: FirstPdu = field(default_factory=lambda: FirstPdu(ASSOCIATE_RQ))
    is_parting: bool = False


class PendingConnections:
    """Takes connections of a listener until `close`. `callers`: who may call; none: everybody on loopback."""

    def __init__(
        self,
        listener: socket.socket,
        callers: Sequence[Caller],
        max_per_address: int,
        associations: Associations,
        refusals: Refusals,
    ) -> None:
        self._listener, self._callers, self._max_per_address = listener, callers, max_per_address
        self._associations, self._refusals = associations, refusals
        self._rate_limit = RateLimit()
        self._pending: dict[_Pending, None] = {}  # the oldest first
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._is_closed = False
        listener.setblocking(False)

    def run(self) -> None:
        """Until `close`."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        while not self._is_closed:
            for key, _ in self._selector.select(self._seconds()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._pending:  # it may have made room for another just now
                    self._receive(key.data)
            self._end_late()
        for each in list(self._pending):
            self._drop(each)
        for held in (self._selector, self._listener, self._wake_receiver, self._wake_sender):
            held.close()

    def close(self) -> None:
        """Takes no more connections, and leaves those that have not asked."""
        self._is_closed = True
        with suppress(OSError):
            self._wake_sender.send(b"x")

    def _seconds(self) -> float | None:
        if not self._pending:
            return None
        return max(0.0, min(each.until for each in self._pending) - time.monotonic())

    # Who comes in -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, peer = self._listener.accept()
        except BlockingIOError:  # it is gone already
            return
        except OSError as error:
            log.warning("connection_not_taken error=%s", error.strerror)  # no descriptor is free, say
            time.sleep(_PAUSE_S)
            return
        address, now = plain_address(peer[0]), time.monotonic()
        known = is_named(address, self._callers)
        if (known or self._rate_limit.admits(address, now)) and self._has_room(address, known):
            connection.setblocking(False)
            pending = _Pending(connection, address, known, now + REQUEST_S)
            self._pending[pending] = None
            self._selector.register(connection, selectors.EVENT_READ, pending)
        else:
            connection.close()
            self._refusals.count(address, _TOO_MANY if known else _NOT_NAMED)

    def _has_room(self, address: str, is_named: bool) -> bool:
        """Whether one more is held; of those that have said nothing yet, the oldest makes room for it."""
        here = [each for each in self._pending if each.address == address]
        strangers = [] if is_named else [each for each in self._pending if not each.is_named]
        crowds = (
            (here, self._associations.count(address), self._max_per_address),
            (strangers, 0, _MAX_STRANGERS),
            (list(self._pending), self._associations.count(), _MAX_CONNECTIONS),
        )
        for arrivals, open_, maximum in crowds:
            if len(arrivals) + open_ >= maximum:
                if not arrivals:
                    return False
                self._make_room(arrivals[0])
        return True

    def _make_room(self, oldest: _Pending) -> None:
        if oldest in self._pending:  # it may have made room already
            if not oldest.is_parting:
                self._refusals.count(oldest.address, _TOO_MANY if oldest.is_named else _NOT_NAMED)
            self._drop(oldest)

    # What they say ----------------------------------------------------------------------------------------

    def _receive(self, pending: _Pending) -> None:
        some = self._received(pending)
        if some is None:
            return
        if not some:
            self._end(pending, "connection lost")
        elif not pending.is_parting:
            self._read(pending, some)

    def _received(self, pending: _Pending) -> bytes | None:
        """What came; empty at the end, None for nothing."""
        size = _MAX_READ if pending.is_parting else min(pending.pdu.missing, _MAX_READ)
        try:
            return pending.connection.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _read(self, pending: _Pending, some: bytes) -> None:
        try:
            pending.pdu.feed(some)
            if not pending.pdu.missing:
                self._ask(pending, associate.read_request(pending.pdu.body))
        except NoAssociate as error:
            log.warning("association_not_begun address=%s why=%r", pending.address, str(error))
            self._part(pending, _abort(UNEXPECTED_PDU))
        except Malformed as error:
            self._refuse(pending, "association_not_begun", f"aborted by us: the request cannot be parsed: {error}")
            self._part(pending, _abort(INVALID_PARAMETER))

    def _ask(self, pending: _Pending, request: Request) -> None:
        rejection, why = self._rejection(pending.address, request.titles[0])
        if rejection is None:
            try:
                self._hand_over(pending, request)
                return
            except (OSError, RuntimeError) as error:  # it went again, or there is no thread for it
                log.warning("connection_not_taken error=%s", type(error).__name__)
                rejection, why = _LOCAL_LIMIT_EXCEEDED, _REJECTIONS[_LOCAL_LIMIT_EXCEEDED]
        self._refuse(pending, "association_rejected", f"rejected: {why}")
        self._part(pending, _pdu(ASSOCIATE_RJ, bytes((0, *rejection))))

    def _rejection(self, address: str, title: str) -> tuple[tuple[int, int, int] | None, str]:
        if not may_call(title, address, self._callers):
            from_here = " from this address" if is_expected_elsewhere(title, self._callers) else ""
            return _CALLING_NOT_RECOGNISED, _REJECTIONS[_CALLING_NOT_RECOGNISED] + from_here
        if self._associations.count() >= MAX_ASSOCIATIONS:
            return _LOCAL_LIMIT_EXCEEDED, _REJECTIONS[_LOCAL_LIMIT_EXCEEDED]
        return None, ""

    def _hand_over(self, pending: _Pending, request: Request) -> None:
        """Raises OSError or RuntimeError, and the connection is still ours."""
        self._selector.unregister(pending.connection)  # first: whoever has it then may close it at once
        try:
            self._associations.begin(pending.connection, request)
        except (OSError, RuntimeError):
            pending.connection.setblocking(False)
            self._selector.register(pending.connection, selectors.EVENT_READ, pending)
            raise
        del self._pending[pending]

    # How they go ------------------------------------------------------------------------------------------

    def _end_late(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._pending if each.until <= now]:
            self._end(each, f"aborted by us: the request was not complete after {REQUEST_S:g} s")

    def _end(self, pending: _Pending, how: str) -> None:
        """Of who was not answered; it has a row if it said anything: else it is a port that is looked at."""
        if not pending.is_parting and pending.pdu.kind is not None:
            self._refuse(pending, "association_not_begun", how)
        self._drop(pending)

    def _refuse(self, pending: _Pending, event: str, how: str) -> None:
        calling, called = associate.titles(pending.pdu.body)
        log.warning("%s address=%s calling=%r called=%r why=%r", event, pending.address, calling, called, how)
        self._refusals.add(Refused(calling, called, pending.address, how))

    def _part(self, pending: _Pending, answer: bytes) -> None:
        """Says the last word; the peer closes first (PS3.8 9.2.3, Sta13), or we do after a second."""
        pending.is_parting, pending.until = True, time.monotonic() + GOODBYE_S
        try:
            pending.connection.send(answer)
            pending.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(pending)

    def _drop(self, pending: _Pending) -> None:
        del self._pending[pending]
        self._selector.unregister(pending.connection)
        pending.connection.close()


def _abort(reason: int) -> bytes:
    return _pdu(ABORT, bytes((0, 0, 2, reason)))


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body
