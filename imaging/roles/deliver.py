"""Deliver: sends what is due, one thread per destination, so that one's outage never delays another."""

import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging import crash
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.artefacts import Artefact
from imaging.domain.faults import fingerprint
from imaging.domain.peers import Address, Times
from imaging.domain.retry import Accepted, Answer, Duplicate, Permanent, SopClassRefused, Transient, known_there
from imaging.encoding.headers import Unreadable
from imaging.ledger import deliveries, migrate, wakeups
from imaging.ledger.deliveries import Delivery
from imaging.ledger.store import Ledger
from imaging.results.registry import fallbacks, note
from imaging.roles.child import LOOK_S, Lifecycle
from imaging.roles.outbox import Lost, fetch, keep
from imaging.roles.owner import owner
from imaging.spool import FolderSpool, Spool

log = logging.getLogger(__name__)

_BURST: Final = 16
_DRAIN_S: Final = 5.0
"""How long what is being sent is waited for at a stop; the supervisor waits for 7 s."""
_KEEP_OPEN_S: Final = 1.0
"""How long an association is kept for the next delivery; peers have few of them."""


@dataclass(frozen=True)
class DeliverConfig:
    """What deliver is told. `destinations`: name, address and how long it may take (`Times`), each."""

    name: str
    home: str
    database: str
    ae_title: str
    destinations: Sequence[Sequence[str]]


def run(config: Mapping[str, Any], lifecycle: Lifecycle) -> None:
    """Sends until it is told to stop."""
    settings = DeliverConfig(**config)
    ledger = Ledger(Path(settings.home), settings.database)
    migrate.check(ledger)
    destinations = [_Destination(ledger, settings, index) for index in range(len(settings.destinations))]
    senders = [threading.Thread(target=each.send, args=(lifecycle.stop,), name=each.name) for each in destinations]
    lifecycle.on_stop(lambda: ledger.wakeups.notify(wakeups.DELIVERY))
    for sender in senders:
        sender.start()
    lifecycle.ready({})
    lifecycle.stop.wait()
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

    def __init__(self, ledger: Ledger, config: DeliverConfig, index: int) -> None:
        self.name, address, times_text = config.destinations[index]
        times = Times.parse(times_text)
        self._ledger, self._spool = ledger, FolderSpool(Path(config.home) / "spool")
        self._owner = owner(Path(config.home), config.name)
        self._lease_s = _BURST * (times.connect + times.accept + times.response)
        self._sender = Sender(Address.parse(address), config.ae_title, times)
        self._listener = ledger.wakeups.listen(f"{wakeups.DELIVERY}.{index}")

    def send(self, stop: threading.Event) -> None:
        """Sends until it is told to stop."""
        was_interrupted = False
        while not stop.is_set():
            try:
                if was_interrupted:
                    deliveries.release_leases(self._ledger, self._owner)
                self._look(stop)
                was_interrupted = False
            except Exception as error:
                log.exception("deliveries_interrupted destination=%s error=%s", self.name, type(error).__name__)
                was_interrupted = True
                stop.wait(LOOK_S)  # what is given back, or was due already, would be tried at once, and again
        self._sender.close()
        deliveries.release_leases(self._ledger, self._owner, is_unsent=not was_interrupted)

    def interrupt(self) -> None:
        """Aborts what is being sent; from another thread."""
        self._sender.interrupt()

    def _look(self, stop: threading.Event) -> None:
        """Sends what is due, or waits for it."""
        batch, due_tick = deliveries.claim(self._ledger, self.name, self._owner, _BURST, self._lease_s)
        if batch:
            crash.point("claimed")
            _send(self._ledger, self._spool, self._sender, batch, stop)
        else:
            _rest(self._ledger, self._listener, self._sender, due_tick)


def _rest(ledger: Ledger, listener: wakeups.Listener, sender: Sender, due_tick: float | None) -> None:
    """Waits for the next delivery; an association that is not needed within a second is closed."""
    seconds = LOOK_S if due_tick is None else max(0.0, due_tick - ledger.clock.tick())
    if sender.is_open and listener.wait(min(seconds, _KEEP_OPEN_S)):
        return
    sender.close()  # also where the peer ended it: it waits for an answer to that
    listener.wait(min(seconds, LOOK_S))


def _send(ledger: Ledger, spool: Spool, sender: Sender, batch: Sequence[Delivery], stop: threading.Event) -> None:
    for each in batch:
        if stop.is_set():
            return
        if deliveries.is_held(ledger, each):
            continue
        answer, peer_is_down = _answer(sender, spool, each)
        crash.point("peer-answered")
        if stop.is_set() and isinstance(answer, Transient):
            answer, peer_is_down = Transient("we stopped before it was answered", answer.was_sent), False
        if isinstance(answer, Artefact):
            (kept,) = keep(spool, [answer])
            if deliveries.fall_back(ledger, each, kept):
                log.warning("delivery_fell_back delivery=%d destination=%s", each.id, each.destination)
            continue
        deliveries.conclude(ledger, each, answer, random.random(), peer_is_down=peer_is_down)
        if not isinstance(answer, Accepted):
            log.warning(
                "delivery_not_accepted delivery=%d destination=%s why=%s", each.id, each.destination, answer.why
            )
        if peer_is_down:
            deliveries.release_leases(ledger, each.lease, is_unsent=True)
            return


def _substitute(sender: Sender, delivery: Delivery, sent: Artefact) -> Artefact | None:
    """The same in a SOP class that the peer takes; None where there is no such."""
    syntax = str(ExplicitVRLittleEndian)
    ways = fallbacks(sent.kind, sent.sop_class_uid)
    way = next((each for each in ways if sender.takes(each.sop_class_uid, syntax)), None)
    try:
        return None if way is None else way.make(sent)
    except Exception as error:  # the refusal of the object itself stands
        log.exception("no_substitute delivery=%d error=%s", delivery.id, type(error).__name__)
        return None


def _answer(sender: Sender, spool: Spool, delivery: Delivery) -> tuple[Answer | Artefact, bool]:
    """What the peer said, or what it may take instead; and whether the peer, not this object, seems to be the trouble.

    A peer that has no room, fails or hangs up is taken for down. If it did so before with this object, it may be the
    object that it chokes on: then only this one waits.
    """
    try:
        sent = fetch(spool, delivery.kept)
        answer = sender.send(sent.data)
        substitute = _substitute(sender, delivery, sent) if isinstance(answer, SopClassRefused) else None
    except Unreachable as error:
        return Transient(str(error)), True
    except Lost as error:
        return Permanent(str(error)), False
    except (Unreadable, ValueError) as error:  # of the object: it would be so tomorrow as well
        return Permanent(f"{type(error).__name__} while sending"), False
    except Exception as error:  # noqa: BLE001 (one delivery: the next ones go on)
        return Transient(fingerprint(error), was_sent=True), False
    if isinstance(answer, Duplicate):
        answer = known_there(answer, was_sent=delivery.was_sent)
    if substitute is not None:
        return substitute, False
    if isinstance(answer, Accepted):
        notes = (answer.note, note(sent.kind, sent.sop_class_uid))
        return Accepted("; ".join(filter(None, notes))), False
    return answer, isinstance(answer, Transient) and not delivery.attempts
