"""The outbox: one object for one destination, sent in a study's order, tried again by one rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, select, update

from imaging import crash
from imaging.domain.retry import Accepted, Answer, Dead, Passing, Permanent, RetryIn, after_fault
from imaging.domain.states import DELIVERY, DeliveryEvent, DeliveryState
from imaging.ledger import tables, wakeups
from imaging.ledger.store import Ledger

LEASE_S: Final = 120.0
"""How long a sender may hold a delivery; longer than the longest time-out of one C-STORE."""

_EARLIER: Final = tables.delivery.alias()
"""Made once: an alias takes longer than a query."""
_UNSENT: Final = (DeliveryState.WAITING, DeliveryState.SENDING)


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery: what to send, and who holds it."""

    id: int
    destination: str
    attempts: int
    lease: str
    sop_class_uid: str
    sop_instance_uid: str
    data: bytes


def claim(ledger: Ledger, destination: str, owner: str, limit: int) -> tuple[list[Delivery], float | None]:
    """Up to `limit` due deliveries for one destination, and the tick at which the next is due where there is none.

    A destination gets one study's answers in order: later ones wait for the earlier. A peer that is down is probed
    by one delivery, when its own waiting time is over: the one that was tried least, so that a single object that the
    peer chokes on does not hold up the others.
    """
    peer = tables.peer
    with ledger.write() as connection:
        tick = ledger.clock.tick()
        table = tables.delivery
        _return_leases(connection, (table.c.destination == destination) & (table.c.lease_tick < tick))
        down = connection.execute(
            select(peer.c.probe_tick).where(peer.c.name == destination, peer.c.is_up.is_(False))
        ).first()
        if down is not None and down.probe_tick > tick:
            return [], (down.probe_tick if _anything_unsent(connection, destination) else None)
        is_probe = down is not None
        found = _due(connection, destination, owner, tick, 1 if is_probe else limit, is_probe=is_probe)
        return found, None if found else _next_due(connection, destination)


def _is_next(destination: str) -> ColumnElement[bool]:
    """Whether a delivery waits for nothing but its time: none of its study's is before it."""
    table, earlier = tables.delivery, _EARLIER
    before = and_(
        earlier.c.study_id == table.c.study_id,
        earlier.c.destination == table.c.destination,
        earlier.c.state.in_(_UNSENT),
        earlier.c.id < table.c.id,
    )
    return and_(table.c.destination == destination, table.c.state == DeliveryState.WAITING, ~exists().where(before))


def _due(
    connection: Connection, destination: str, owner: str, tick: float, limit: int, *, is_probe: bool
) -> list[Delivery]:
    """The due ones, claimed; for a probe what was tried least comes first."""
    table, object_ = tables.delivery, tables.object_
    order = (table.c.due_tick, table.c.id)
    query = (
        select(
            table.c.id,
            table.c.destination,
            table.c.attempts,
            object_.c.sop_class_uid,
            object_.c.sop_instance_uid,
            object_.c.data,
        )
        .join(object_, object_.c.id == table.c.object_id)
        .where(_is_next(destination), table.c.due_tick <= tick)
        .order_by(*((table.c.attempts, *order) if is_probe else order))
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True, of=table)
    rows = connection.execute(query).all()
    if rows:
        connection.execute(
            update(table)
            .where(table.c.id.in_([row.id for row in rows]), table.c.state == DeliveryState.WAITING)
            .values(
                state=DELIVERY[DeliveryState.WAITING, DeliveryEvent.CLAIMED],
                lease=owner,
                lease_tick=tick + LEASE_S,
            )
        )
    return [
        Delivery(row.id, row.destination, row.attempts, owner, row.sop_class_uid, row.sop_instance_uid, row.data)
        for row in rows
    ]


def _anything_unsent(connection: Connection, destination: str) -> bool:
    table = tables.delivery
    query = select(table.c.id).where(table.c.destination == destination, table.c.state == DeliveryState.WAITING)
    return connection.scalar(query.limit(1)) is not None


def _next_due(connection: Connection, destination: str) -> float | None:
    table = tables.delivery
    due: float | None = connection.scalar(
        select(table.c.due_tick).where(_is_next(destination)).order_by(table.c.due_tick, table.c.id).limit(1)
    )
    return due


def conclude(ledger: Ledger, delivery: Delivery, answer: Answer, jitter: float, *, peer_is_down: bool) -> bool:
    """Notes what the peer answered. `peer_is_down`: the fault seems to be of the peer, not of this object.

    False where the claim had ended: somebody else has the delivery now.
    """
    table, now = tables.delivery, ledger.clock.now()
    if isinstance(answer, Accepted):
        event, values = DeliveryEvent.ACCEPTED, {"why": answer.note, "ended_at": now}
    else:
        event, values = _after_fault(ledger, delivery, answer, jitter)
    with ledger.write() as connection:
        changed = connection.execute(
            update(table)
            .where(
                table.c.id == delivery.id,
                table.c.state == DeliveryState.SENDING,
                table.c.lease == delivery.lease,
            )
            .values(state=DELIVERY[DeliveryState.SENDING, event], lease="", lease_tick=None, **values)
        ).rowcount
        if changed and peer_is_down and isinstance(answer, Passing):
            _note_down(ledger, connection, delivery.destination, answer, jitter)
        elif changed and not isinstance(answer, Passing):
            _note_up(ledger, connection, delivery.destination)
        crash.point("answer-not-committed")
    ledger.wakeups.notify(wakeups.STUDY)
    return changed == 1


def _after_fault(
    ledger: Ledger, delivery: Delivery, fault: Passing | Permanent, jitter: float
) -> tuple[DeliveryEvent, dict[str, Any]]:
    next_step = after_fault(delivery.attempts, fault, jitter)
    if isinstance(next_step, Dead):
        return DeliveryEvent.REFUSED, {"why": next_step.why, "ended_at": ledger.clock.now()}
    due = ledger.clock.tick() + next_step.wait.total_seconds()
    return DeliveryEvent.FAILED_FOR_NOW, {"why": next_step.why, "due_tick": due, "attempts": delivery.attempts + 1}


def _note_down(ledger: Ledger, connection: Connection, name: str, fault: Passing, jitter: float) -> None:
    """The peer is probed again after a time of its own."""
    peer = tables.peer
    row = connection.execute(select(peer.c.is_up, peer.c.attempts).where(peer.c.name == name)).first()
    attempts = row.attempts if row is not None else 0
    next_step = after_fault(attempts, fault, jitter)
    assert isinstance(next_step, RetryIn)
    values: dict[str, Any] = {
        "is_up": False,
        "why": fault.why,
        "probe_tick": ledger.clock.tick() + next_step.wait.total_seconds(),
        "attempts": attempts + 1,
    }
    if row is None:
        connection.execute(insert(peer).values(name=name, since_at=ledger.clock.now(), **values))
    else:
        values |= {} if row.is_up is False else {"since_at": ledger.clock.now()}
        connection.execute(update(peer).where(peer.c.name == name).values(values))


def _note_up(ledger: Ledger, connection: Connection, name: str) -> None:
    """What waited because the peer was down is due at once, in its order."""
    peer, table = tables.peer, tables.delivery
    known = connection.execute(select(peer.c.is_up).where(peer.c.name == name)).first()
    values: dict[str, Any] = {
        "is_up": True,
        "why": "",
        "probe_tick": 0.0,
        "attempts": 0,
        "since_at": ledger.clock.now(),
    }
    if known is None:
        connection.execute(insert(peer).values(name=name, **values))
    elif not known.is_up:
        connection.execute(update(peer).where(peer.c.name == name).values(values))
        waiting = (table.c.destination == name) & (table.c.state == DeliveryState.WAITING)
        connection.execute(update(table).where(waiting).values(due_tick=0.0))


def give_back(ledger: Ledger, owner: str | None = None) -> int:
    """Returns what a sender that ended had claimed; None: whatever is claimed. Sending twice is harmless."""
    table = tables.delivery
    with ledger.write() as connection:
        which = table.c.state == DeliveryState.SENDING
        if owner is not None:
            which = table.c.lease.startswith(owner, autoescape=True)
        returned = _return_leases(connection, which)
    if returned:
        ledger.wakeups.notify(wakeups.DELIVERY)
    return returned


def _return_leases(connection: Connection, which: ColumnElement[bool]) -> int:
    table = tables.delivery
    return connection.execute(
        update(table)
        .where(table.c.state == DeliveryState.SENDING, which)
        .values(
            state=DELIVERY[DeliveryState.SENDING, DeliveryEvent.LEASE_ENDED],
            lease="",
            lease_tick=None,
            due_tick=0.0,
        )
    ).rowcount


def give_up(ledger: Ledger, configured: Sequence[str]) -> int:
    """Lets go of what waits for destinations that are not configured any more: nothing waits for ever, unsaid."""
    table = tables.delivery
    with ledger.write() as connection:
        return connection.execute(
            update(table)
            .where(table.c.state == DeliveryState.WAITING, table.c.destination.not_in(configured))
            .values(
                state=DELIVERY[DeliveryState.WAITING, DeliveryEvent.DESTINATION_GONE],
                why="no destination of this name is configured; `imaging replay` once it is",
                ended_at=ledger.clock.now(),
            )
        ).rowcount


def keep_peers(ledger: Ledger, configured: Sequence[str]) -> None:
    """Knows the configured destinations, tried or not, and forgets all others."""
    peer = tables.peer
    with ledger.write() as connection:
        connection.execute(delete(peer).where(peer.c.name.not_in(configured)))
        known = set(connection.scalars(select(peer.c.name)))
        for name in configured:
            if name not in known:
                connection.execute(insert(peer).values(name=name, why="", since_at=ledger.clock.now()))


def peers(ledger: Ledger) -> list[str]:
    """The names of the destinations that are known."""
    with ledger.read() as connection:
        return list(connection.scalars(select(tables.peer.c.name).order_by(tables.peer.c.name)))


def replay(ledger: Ledger, destinations: Sequence[str] = ()) -> int:
    """Sends dead letters again, of the named destinations or of all."""
    table = tables.delivery
    query = (
        update(table)
        .where(table.c.state == DeliveryState.DEAD)
        .values(
            state=DELIVERY[DeliveryState.DEAD, DeliveryEvent.REPLAYED],
            due_tick=0.0,
            attempts=0,
            why="",
            ended_at=None,
        )
    )
    if destinations:
        query = query.where(table.c.destination.in_(destinations))
    with ledger.write() as connection:
        replayed = connection.execute(query).rowcount
    if replayed:
        ledger.wakeups.notify(wakeups.DELIVERY)
    return replayed
