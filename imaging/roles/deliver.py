"""Deliver: sends what is due, one thread per destination, so that one's outage never delays another."""

import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging import crash
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.faults import fingerprint
from imaging.domain.peers import Address, Times
from imaging.domain.retry import Accepted, Answer, Duplicate, NotTaken, Passing, Permanent, known_there
from imaging.encoding.headers import Unreadable
from imaging.ledger import deliveries, migrate, wakeups
from imaging.ledger.deliveries import Delivery, Substitute
from imaging.ledger.store import Ledger
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR, comprehensive
from imaging.roles.child import LOOK_S, Life

log = logging.getLogger(__name__)

_BURST: Final = 16
_DRAIN_S: Final = 5.0
"""How long what is being sent is waited for at a stop; the supervisor waits for 7 s."""
_KEEP_OPEN_S: Final = 1.0
"""How long an association is kept for the next delivery; peers have few of them."""


_FELL_BACK: Final = "as Comprehensive SR: the peer takes no Comprehensive 3D SR"


@dataclass(frozen=True)
class DeliverConfig:
    """What deliver is told. `destinations`: name, address and how long it may take (`Times`), each."""

    name: str
    home: str
    database: str
    ae_title: str
    destinations: Sequence[Sequence[str]]


def run(config: Mapping[str, Any], life: Life) -> None:
    """Sends until it is told to stop."""
    told = DeliverConfig(**config)
    ledger = Ledger(Path(told.home), told.database)
    migrate.check(ledger)
    destinations = [_Destination(ledger, told, index) for index in range(len(told.destinations))]
    senders = [threading.Thread(target=each.send, args=(life.stop,), name=each.name) for each in destinations]
    life.on_stop(lambda: ledger.wakeups.notify(wakeups.DELIVERY))
    for sender in senders:
        sender.start()
    life.ready({})
    life.stop.wait()
    _drain(destinations, senders)


def _drain(destinations: Sequence["_Destination"], senders: Sequence[threading.Thread]) -> None:
    """What is being sent is waited for, for a while; then its association is aborted, and it is sent again."""
    until = time.monotonic() + _DRAIN_S
    for sender in senders:
        sender.join(max(0.0, until - time.monotonic()))
    for destination, sender in zip(destinations, senders, strict=True):
        if sender.is_alive():
            destination.interrupt()
    for sender in senders:
        sender.join()


class _Destination:
    """One destination, and what is sent to it."""

    def __init__(self, ledger: Ledger, told: DeliverConfig, index: int) -> None:
        self.name, address, said = told.destinations[index]
        times = Times.parse(said)
        self._ledger = ledger
        self._owner = f"deliver:{self.name}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease_s = _BURST * (times.connect + times.accept + times.response)
        self._sender = Sender(Address.parse(address), told.ae_title, times)
        self._listener = ledger.wakeups.listen(f"{wakeups.DELIVERY}.{index}")

    def send(self, stop: threading.Event) -> None:
        """Sends until it is told to stop."""
        was_interrupted = False
        while not stop.is_set():
            try:
                if was_interrupted:
                    deliveries.give_back(self._ledger, self._owner)
                self._look(stop)
                was_interrupted = False
            except Exception as error:
                log.exception("deliveries_interrupted destination=%s error=%s", self.name, type(error).__name__)
                was_interrupted = True
                stop.wait(LOOK_S)  # what is given back, or was due already, would be tried at once, and again
        self._sender.close()
        deliveries.give_back(self._ledger, self._owner, is_unsent=not was_interrupted)

    def interrupt(self) -> None:
        """Aborts what is being sent; from another thread."""
        self._sender.interrupt()

    def _look(self, stop: threading.Event) -> None:
        """Sends what is due, or waits for it."""
        batch, due_tick = deliveries.claim(self._ledger, self.name, self._owner, _BURST, self._lease_s)
        if batch:
            crash.point("claimed")
            _send(self._ledger, self._sender, batch, stop)
        else:
            _rest(self._ledger, self._listener, self._sender, due_tick)


def _rest(ledger: Ledger, listener: wakeups.Listener, sender: Sender, due_tick: float | None) -> None:
    """Waits for the next delivery; an association that is not needed within a second is closed."""
    seconds = LOOK_S if due_tick is None else max(0.0, due_tick - ledger.clock.tick())
    if sender.is_open and listener.wait(min(seconds, _KEEP_OPEN_S)):
        return
    sender.close()  # also where the peer ended it: it waits for an answer to that
    listener.wait(min(seconds, LOOK_S))


def _send(ledger: Ledger, sender: Sender, batch: Sequence[Delivery], stop: threading.Event) -> None:
    for each in batch:
        if stop.is_set():
            return
        if deliveries.is_held(ledger, each):
            continue
        answer, peer_is_down = _answer(sender, each)
        crash.point("peer-answered")
        if stop.is_set() and isinstance(answer, Passing):
            answer, peer_is_down = Passing("we stopped before it was answered", answer.was_sent), False
        if isinstance(answer, Substitute):
            if deliveries.fall_back(ledger, each, answer):
                log.warning("delivery_fell_back delivery=%d destination=%s", each.id, each.destination)
            continue
        deliveries.conclude(ledger, each, answer, random.random(), peer_is_down=peer_is_down)
        if not isinstance(answer, Accepted):
            log.warning(
                "delivery_not_accepted delivery=%d destination=%s why=%s", each.id, each.destination, answer.why
            )
        if peer_is_down:
            deliveries.give_back(ledger, each.lease, is_unsent=True)
            return


def _substitute(sender: Sender, delivery: Delivery) -> Substitute | None:
    """The same answer as Comprehensive SR, for who takes that and no Comprehensive 3D SR; else None."""
    if delivery.sop_class_uid != SR_CLASS or not sender.takes(COMPREHENSIVE_SR, str(ExplicitVRLittleEndian)):
        return None
    try:
        other = comprehensive(delivery.data)
    except Exception as error:  # the refusal of the object itself stands
        log.exception("no_substitute delivery=%d error=%s", delivery.id, type(error).__name__)
        return None
    return Substitute(COMPREHENSIVE_SR, other.sop_instance_uid, other.series_instance_uid, other.data)


def _answer(sender: Sender, delivery: Delivery) -> tuple[Answer | Substitute, bool]:
    """What the peer said, or what it may take instead; and whether the peer, not this object, seems to be the trouble.

    A peer that has no room, fails or hangs up is taken for down. If it did so before with this object, it may be the
    object that it chokes on: then only this one waits.
    """
    try:
        answer = sender.send(delivery.data)
        substitute = _substitute(sender, delivery) if isinstance(answer, NotTaken) else None
    except Unreachable as error:
        return Passing(str(error)), True
    except (Unreadable, ValueError) as error:  # of the object: it would be so tomorrow as well
        return Permanent(f"{type(error).__name__} while sending"), False
    except Exception as error:  # noqa: BLE001 (one delivery: the next ones go on)
        return Passing(fingerprint(error), was_sent=True), False
    if isinstance(answer, Duplicate):
        answer = known_there(answer, was_sent=delivery.was_sent)
    if substitute is not None:
        return substitute, False
    if isinstance(answer, Accepted) and delivery.sop_class_uid == COMPREHENSIVE_SR:
        return Accepted("; ".join(filter(None, (answer.note, _FELL_BACK)))), False
    return answer, isinstance(answer, Passing) and not delivery.attempts
