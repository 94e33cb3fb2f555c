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
    MOST_ASSOCIATIONS,
    Caller,
    Refused,
    is_expected_elsewhere,
    is_named,
    may_call,
    plain_address,
)
from imaging.domain.strangers import Allowance

log = logging.getLogger(__name__)

REQUEST_S: Final = 30.0
"""How long a peer that has connected may take to say who it is, from first to last byte (ARTIM, PS3.8 9.1.5)."""
_MOST_CONNECTIONS: Final = 2 * MOST_ASSOCIATIONS
"""With those that have not asked for an association yet, or are being refused one."""
_MOST_STRANGERS: Final = 50
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
_LARGEST_READ: Final = 1 << 16


class Associations(Protocol):
    """The associations that are open; the acceptor has them."""

    def count(self, address: str | None = None) -> int:
        """How many are open, of one address or in all."""

    def begin(self, connection: socket.socket, request: Request) -> None:
        """Takes over a connection. Raises OSError or RuntimeError where it cannot, and then leaves it open."""


@dataclass(eq=False)
class _Arrival:
    """A connection that has not asked yet; or, once `is_parting`, one that was answered and is to end."""

    connection: socket.socket
    address: str
    is_named: bool
    until: float
    pdu: FirstPdu = field(default_factory=lambda: FirstPdu(ASSOCIATE_RQ))
    is_parting: bool = False


class Arrivals:
    """Takes connections of a listener until `close`. `callers`: who may call; none: everybody on loopback."""

    def __init__(
        self,
        listener: socket.socket,
        callers: Sequence[Caller],
        most_per_address: int,
        associations: Associations,
        refusals: Refusals,
    ) -> None:
        self._listener, self._callers, self._most_per_address = listener, callers, most_per_address
        self._associations, self._refusals = associations, refusals
        self._allowance = Allowance()
        self._arrivals: dict[_Arrival, None] = {}  # the oldest first
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._is_closed = False
        listener.setblocking(False)

    def run(self) -> None:
        """Until `close`."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while not self._is_closed:
            for key, _ in self._selector.select(self._seconds()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._arrivals:  # it may have made room for another just now
                    self._hear(key.data)
            self._end_late()
        for each in list(self._arrivals):
            self._drop(each)
        for held in (self._selector, self._listener, self._woken, self._waker):
            held.close()

    def close(self) -> None:
        """Takes no more connections, and leaves those that have not asked."""
        self._is_closed = True
        with suppress(OSError):
            self._waker.send(b"x")

    def _seconds(self) -> float | None:
        if not self._arrivals:
            return None
        return max(0.0, min(each.until for each in self._arrivals) - time.monotonic())

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
        if (known or self._allowance.hears(address, now)) and self._has_room(address, known):
            connection.setblocking(False)
            arrival = _Arrival(connection, address, known, now + REQUEST_S)
            self._arrivals[arrival] = None
            self._selector.register(connection, selectors.EVENT_READ, arrival)
        else:
            connection.close()
            self._refusals.count(address, _TOO_MANY if known else _NOT_NAMED)

    def _has_room(self, address: str, is_named: bool) -> bool:
        """Whether one more is held; of those that have said nothing yet, the oldest makes room for it."""
        here = [each for each in self._arrivals if each.address == address]
        strangers = [] if is_named else [each for each in self._arrivals if not each.is_named]
        crowds = (
            (here, self._associations.count(address), self._most_per_address),
            (strangers, 0, _MOST_STRANGERS),
            (list(self._arrivals), self._associations.count(), _MOST_CONNECTIONS),
        )
        for arrivals, open_, most in crowds:
            if len(arrivals) + open_ >= most:
                if not arrivals:
                    return False
                self._make_room(arrivals[0])
        return True

    def _make_room(self, oldest: _Arrival) -> None:
        if oldest in self._arrivals:  # it may have made room already
            if not oldest.is_parting:
                self._refusals.count(oldest.address, _TOO_MANY if oldest.is_named else _NOT_NAMED)
            self._drop(oldest)

    # What they say ----------------------------------------------------------------------------------------

    def _hear(self, arrival: _Arrival) -> None:
        some = self._said(arrival)
        if some is None:
            return
        if not some:
            self._end(arrival, "connection lost")
        elif not arrival.is_parting:
            self._read(arrival, some)

    def _said(self, arrival: _Arrival) -> bytes | None:
        """What came; empty at the end, None for nothing."""
        size = _LARGEST_READ if arrival.is_parting else min(arrival.pdu.missing, _LARGEST_READ)
        try:
            return arrival.connection.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _read(self, arrival: _Arrival, some: bytes) -> None:
        try:
            arrival.pdu.feed(some)
            if not arrival.pdu.missing:
                self._ask(arrival, associate.read_request(arrival.pdu.body))
        except NoAssociate as error:
            log.warning("association_not_begun address=%s why=%r", arrival.address, str(error))
            self._part(arrival, _abort(UNEXPECTED_PDU))
        except Malformed as error:
            self._refuse(arrival, "association_not_begun", f"aborted by us: the request cannot be parsed: {error}")
            self._part(arrival, _abort(INVALID_PARAMETER))

    def _ask(self, arrival: _Arrival, request: Request) -> None:
        rejection, why = self._rejection(arrival.address, request.titles[0])
        if rejection is None:
            try:
                self._hand_over(arrival, request)
                return
            except (OSError, RuntimeError) as error:  # it went again, or there is no thread for it
                log.warning("connection_not_taken error=%s", type(error).__name__)
                rejection, why = _LOCAL_LIMIT_EXCEEDED, _REJECTIONS[_LOCAL_LIMIT_EXCEEDED]
        self._refuse(arrival, "association_rejected", f"rejected: {why}")
        self._part(arrival, _pdu(ASSOCIATE_RJ, bytes((0, *rejection))))

    def _rejection(self, address: str, title: str) -> tuple[tuple[int, int, int] | None, str]:
        if not may_call(title, address, self._callers):
            from_here = " from this address" if is_expected_elsewhere(title, self._callers) else ""
            return _CALLING_NOT_RECOGNISED, _REJECTIONS[_CALLING_NOT_RECOGNISED] + from_here
        if self._associations.count() >= MOST_ASSOCIATIONS:
            return _LOCAL_LIMIT_EXCEEDED, _REJECTIONS[_LOCAL_LIMIT_EXCEEDED]
        return None, ""

    def _hand_over(self, arrival: _Arrival, request: Request) -> None:
        """Raises OSError or RuntimeError, and the connection is still ours."""
        self._selector.unregister(arrival.connection)  # first: whoever has it then may close it at once
        try:
            self._associations.begin(arrival.connection, request)
        except (OSError, RuntimeError):
            arrival.connection.setblocking(False)
            self._selector.register(arrival.connection, selectors.EVENT_READ, arrival)
            raise
        del self._arrivals[arrival]

    # How they go ------------------------------------------------------------------------------------------

    def _end_late(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._arrivals if each.until <= now]:
            self._end(each, f"aborted by us: the request was not complete after {REQUEST_S:g} s")

    def _end(self, arrival: _Arrival, how: str) -> None:
        """Of who was not answered; it has a row if it said anything: else it is a port that is looked at."""
        if not arrival.is_parting and arrival.pdu.kind is not None:
            self._refuse(arrival, "association_not_begun", how)
        self._drop(arrival)

    def _refuse(self, arrival: _Arrival, event: str, how: str) -> None:
        calling, called = associate.titles(arrival.pdu.body)
        log.warning("%s address=%s calling=%r called=%r why=%r", event, arrival.address, calling, called, how)
        self._refusals.add(Refused(calling, called, arrival.address, how))

    def _part(self, arrival: _Arrival, answer: bytes) -> None:
        """Says the last word; the peer closes first (PS3.8 9.2.3, Sta13), or we do after a second."""
        arrival.is_parting, arrival.until = True, time.monotonic() + GOODBYE_S
        try:
            arrival.connection.send(answer)
            arrival.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(arrival)

    def _drop(self, arrival: _Arrival) -> None:
        del self._arrivals[arrival]
        self._selector.unregister(arrival.connection)
        arrival.connection.close()


def _abort(reason: int) -> bytes:
    return _pdu(ABORT, bytes((0, 0, 2, reason)))


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body
