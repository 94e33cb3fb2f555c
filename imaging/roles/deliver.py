"""Deliver: sends what is due, one thread per destination, so that one's outage never delays another."""

import logging
import os
import random
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging import crash
from imaging.dicom_node.headers import Unreadable
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.faults import fingerprint
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted, Answer, NotTaken, Passing, Permanent
from imaging.ledger import deliveries, migrate, wakeups
from imaging.ledger.deliveries import Delivery, Substitute
from imaging.ledger.store import Ledger
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR, comprehensive
from imaging.roles.child import LOOK_S, Life

log = logging.getLogger(__name__)

_BURST: Final = 16
_KEEP_OPEN_S: Final = 1.0
"""How long an association is kept for the next delivery; peers have few of them."""


_FELL_BACK: Final = "as Comprehensive SR: the peer takes no Comprehensive 3D SR"


@dataclass(frozen=True)
class DeliverConfig:
    """What deliver is told. `destinations`: name and address, each."""

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
    senders = [
        threading.Thread(target=_send_to, args=(ledger, name, address, told.ae_title, index, life.stop), name=name)
        for index, (name, address) in enumerate(told.destinations)
    ]
    life.on_stop(lambda: ledger.wakeups.notify(wakeups.DELIVERY))
    for each in senders:
        each.start()
    life.ready({})
    life.stop.wait()
    for each in senders:
        each.join()


def _send_to(ledger: Ledger, name: str, address: str, ae_title: str, index: int, stop: threading.Event) -> None:
    owner = f"deliver:{name}:{os.getpid()}:{secrets.token_hex(4)}"
    sender = Sender(Address.parse(address), ae_title)
    listener = ledger.wakeups.listen(f"{wakeups.DELIVERY}.{index}")
    due_tick: float | None = None
    while not stop.is_set():
        try:
            batch, due_tick = deliveries.claim(ledger, name, owner, _BURST)
            if batch:
                crash.point("claimed")
            _send(ledger, sender, batch, stop)
        except Exception as error:
            log.exception("deliveries_interrupted destination=%s error=%s", name, type(error).__name__)
            deliveries.give_back(ledger, owner)
            stop.wait(LOOK_S)  # what was given back, or was due already, would be tried at once, and again
            continue
        if not batch:
            _rest(ledger, listener, sender, due_tick)
    sender.close()
    deliveries.give_back(ledger, owner)


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
            deliveries.give_back(ledger, each.lease)
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
        return Passing(fingerprint(error)), False
    if substitute is not None:
        return substitute, False
    if isinstance(answer, Accepted) and delivery.sop_class_uid == COMPREHENSIVE_SR:
        return Accepted("; ".join(filter(None, (answer.note, _FELL_BACK)))), False
    return answer, isinstance(answer, Passing) and not delivery.attempts
