"""The outbox: one object for one destination, sent in a study's order, tried again by one rule."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import Connection, Update, and_, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from imaging import crash
from imaging.domain.artefacts import StoredArtefact
from imaging.domain.retry import Accepted, Answer, Dead, Permanent, RetryIn, Transient, after_fault
from imaging.domain.states import DELIVERY, UNSENT, DeliveryEvent, DeliveryState
from imaging.ledger import tables, wakeups
from imaging.ledger.quarantine import is_stopped
from imaging.ledger.store import Ledger

LEASE_S: Final = 120.0
"""How long a sender may hold what it claims, unless it says how long its peer may take."""

_KEPT: Final = [each.name for each in fields(StoredArtefact)]
# Built once: with each delivery it would be half of what a statement costs.
_EARLIER: Final = tables.delivery.alias()
_IS_IN_DOUBT: Final = is_stopped(tables.delivery.c.study_id)
"""Whether a delivery's study has an object of another patient that nobody decided about: nothing of it leaves then."""
_IS_NEXT: Final = and_(
    tables.delivery.c.destination == bindparam("destination"),
    tables.delivery.c.state == DeliveryState.WAITING,
    ~_IS_IN_DOUBT,
    ~exists().where(
        _EARLIER.c.study_id == tables.delivery.c.study_id,
        _EARLIER.c.destination == tables.delivery.c.destination,
        _EARLIER.c.state.in_(UNSENT),
        _EARLIER.c.id < tables.delivery.c.id,
    ),
)
"""Whether a delivery waits for nothing but its time: nobody's word, and none of its study's is before it."""
_ORDER: Final = (tables.delivery.c.due_tick, tables.delivery.c.id)
_DUE: Final = (
    select(
        tables.delivery.c.id,
        tables.delivery.c.destination,
        tables.delivery.c.attempts,
        tables.delivery.c.object_id,
        tables.delivery.c.sent_object_id,
        *(tables.object_.c[name] for name in _KEPT),
    )
    .join(tables.object_, tables.object_.c.id == tables.delivery.c.object_id)
    .where(_IS_NEXT, tables.delivery.c.due_tick <= bindparam("tick"))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=tables.delivery)  # which SQLite has no need of, and no words for
)
_DUE_NOW: Final = _DUE.order_by(*_ORDER)
_TO_PROBE_WITH: Final = _DUE.order_by(tables.delivery.c.attempts, *_ORDER)
_NEXT_DUE: Final = select(tables.delivery.c.due_tick).where(_IS_NEXT).order_by(*_ORDER).limit(1)
_CLAIM: Final = (
    update(tables.delivery)
    .where(
        tables.delivery.c.id.in_(bindparam("numbers", expanding=True)),
        tables.delivery.c.state == DeliveryState.WAITING,
    )
    .values(state=DELIVERY[DeliveryState.WAITING, DeliveryEvent.CLAIMED])
)
_RETURN_UNSENT: Final = (
    update(tables.delivery)
    .where(tables.delivery.c.state == DeliveryState.SENDING)
    .values(
        state=DELIVERY[DeliveryState.SENDING, DeliveryEvent.LEASE_ENDED],
        lease="",
        lease_tick=None,
        due_tick=0.0,
    )
)
_RETURN: Final = _RETURN_UNSENT.values(sent_object_id=tables.delivery.c.object_id)
_RETURN_EXPIRED: Final = _RETURN.where(
    tables.delivery.c.destination == bindparam("to"), tables.delivery.c.lease_tick < bindparam("tick")
)
_CONCLUDE: Final = update(tables.delivery).where(
    tables.delivery.c.id == bindparam("number"),
    tables.delivery.c.state == DeliveryState.SENDING,
    tables.delivery.c.lease == bindparam("holder"),
)
_DOWN: Final = select(tables.peer.c.probe_tick).where(
    tables.peer.c.name == bindparam("peer"), tables.peer.c.is_up.is_(False)
)
_PEER: Final = select(tables.peer.c.is_up, tables.peer.c.attempts).where(tables.peer.c.name == bindparam("peer"))


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery: what to send, and who holds it.

    `was_sent`: an earlier attempt may have brought this object there.
    """

    id: int
    destination: str
    attempts: int
    object_id: int
    was_sent: bool
    lease: str
    kept: StoredArtefact


def claim(
    ledger: Ledger, destination: str, owner: str, limit: int, lease_s: float = LEASE_S
) -> tuple[list[Delivery], float | None]:
    """Up to `limit` due deliveries for one destination, and the tick at which the next is due where there is none.

    A destination gets one study's answers in order: later ones wait for the earlier. A peer that is down is probed
    by one delivery, when its own waiting time is over: the one that was tried least, so that a single object that the
    peer chokes on does not hold up the others.
    """
    with ledger.write() as connection:
        tick = ledger.clock.tick()
        connection.execute(_RETURN_EXPIRED, {"to": destination, "tick": tick})
        down = connection.execute(_DOWN, {"peer": destination}).first()
        if down is not None and down.probe_tick > tick:
            return [], (down.probe_tick if _anything_unsent(connection, destination) else None)
        which = {"destination": destination, "tick": tick, "most": limit if down is None else 1}
        rows = connection.execute(_DUE_NOW if down is None else _TO_PROBE_WITH, which).all()
        if not rows:
            return [], connection.scalar(_NEXT_DUE, {"destination": destination})
        claimed = {"numbers": [row.id for row in rows], "lease": owner, "lease_tick": tick + lease_s}
        connection.execute(_CLAIM, claimed)
    found = [
        Delivery(
            row.id,
            row.destination,
            row.attempts,
            row.object_id,
            row.object_id == row.sent_object_id,
            owner,
            StoredArtefact(*(row._mapping[name] for name in _KEPT)),
        )
        for row in rows
    ]
    return found, None


def is_held(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether an object of another patient came to a claimed delivery's study since: the claim is given back then."""
    table = tables.delivery
    query = select(table.c.id).where(table.c.id == delivery.id, _IS_IN_DOUBT)
    with ledger.read() as connection:
        if connection.scalar(query) is None:
            return False
    back = {
        "number": delivery.id,
        "holder": delivery.lease,
        "state": DELIVERY[DeliveryState.SENDING, DeliveryEvent.LEASE_ENDED],
        "lease": "",
        "lease_tick": None,
    }
    with ledger.write() as connection:
        connection.execute(_CONCLUDE, back)
    return True


def _anything_unsent(connection: Connection, destination: str) -> bool:
    table = tables.delivery
    query = select(table.c.id).where(table.c.destination == destination, table.c.state == DeliveryState.WAITING)
    return connection.scalar(query.limit(1)) is not None


def conclude(ledger: Ledger, delivery: Delivery, answer: Answer, jitter: float, *, peer_is_down: bool) -> bool:
    """Notes what the peer answered. `peer_is_down`: the fault seems to be of the peer, not of this object.

    False where the claim had ended: somebody else has the delivery now.
    """
    if isinstance(answer, Accepted):
        event, values = DeliveryEvent.ACCEPTED, {"why": answer.note, "ended_at": ledger.clock.now()}
    else:
        event, values = _after_fault(ledger, delivery, answer, jitter)
    with ledger.write() as connection:
        which = {"number": delivery.id, "holder": delivery.lease}
        state = {"state": DELIVERY[DeliveryState.SENDING, event], "lease": "", "lease_tick": None}
        changed = connection.execute(_CONCLUDE, which | state | values).rowcount
        if changed and peer_is_down and isinstance(answer, Transient):
            _note_down(ledger, connection, delivery.destination, answer, jitter)
        elif changed and not isinstance(answer, Transient):
            _note_up(ledger, connection, delivery.destination)
        crash.point("answer-not-committed")
    ledger.wakeups.notify(wakeups.STUDY)
    return changed == 1


def fall_back(ledger: Ledger, delivery: Delivery, substitute: StoredArtefact) -> bool:
    """Sends the substitute in place of the claimed delivery's object, at once and in its turn.

    It says the same, in a SOP class that the destination may take. False where the claim had ended: somebody else has
    the delivery now.
    """
    table = tables.delivery
    with ledger.write() as connection:
        changed = connection.execute(
            _CONCLUDE,
            {
                "number": delivery.id,
                "holder": delivery.lease,
                "state": DELIVERY[DeliveryState.SENDING, DeliveryEvent.FELL_BACK],
                "lease": "",
                "lease_tick": None,
                "due_tick": 0.0,
            },
        ).rowcount
        if not changed:
            return False
        number = _substituted(ledger, connection, delivery, substitute)
        connection.execute(update(table).where(table.c.id == delivery.id).values(object_id=number))
        crash.point("fall-back-not-committed")
    ledger.wakeups.notify(wakeups.STUDY)
    return True


def _substituted(ledger: Ledger, connection: Connection, delivery: Delivery, substitute: StoredArtefact) -> int:
    """The row of the substitute, which another destination may have needed before."""
    object_ = tables.object_
    same = select(object_.c.id).where(object_.c.sop_instance_uid == substitute.sop_instance_uid)
    known: int | None = connection.scalar(same)
    if known is not None:
        return known
    row = connection.execute(
        select(object_.c.id.label("stands_for_id"), object_.c.study_id, object_.c.job_id, object_.c.model).where(
            object_.c.id == delivery.object_id
        )
    ).one()
    new = insert(object_).values(**row._mapping, **asdict(substitute), built_at=ledger.clock.now())
    try:
        with connection.begin_nested():
            return int((connection.execute(new).inserted_primary_key or (0,))[0])
    except IntegrityError:  # another destination needed it just now
        return int(connection.execute(same).scalar_one())


def _after_fault(
    ledger: Ledger, delivery: Delivery, fault: Transient | Permanent, jitter: float
) -> tuple[DeliveryEvent, dict[str, Any]]:
    next_step = after_fault(delivery.attempts, fault, jitter)
    values: dict[str, Any] = {"why": next_step.why}
    if fault.was_sent:
        values["sent_object_id"] = delivery.object_id
    if isinstance(next_step, Dead):
        return DeliveryEvent.REFUSED, values | {"ended_at": ledger.clock.now()}
    due = ledger.clock.tick() + next_step.wait.total_seconds()
    return DeliveryEvent.FAILED_FOR_NOW, values | {"due_tick": due, "attempts": delivery.attempts + 1}


def _note_down(ledger: Ledger, connection: Connection, name: str, fault: Transient, jitter: float) -> None:
    """The peer is probed again after a time of its own."""
    peer = tables.peer
    row = connection.execute(_PEER, {"peer": name}).first()
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
    known = connection.execute(_PEER, {"peer": name}).first()
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


def release_leases(ledger: Ledger, owner: str, *, is_unsent: bool = False) -> int:
    """Returns what a sender that ended had claimed. Sending twice is harmless.

    `owner`: what the names of those who held it begin with. It may have arrived, for all that anybody knows, unless
    `is_unsent`.
    """
    table, query = tables.delivery, _RETURN_UNSENT if is_unsent else _RETURN
    query = query.where(table.c.lease.startswith(owner, autoescape=True))
    with ledger.write() as connection:
        returned = connection.execute(query).rowcount
    if returned:
        ledger.wakeups.notify(wakeups.DELIVERY)
    return returned


GONE: Final = (
    "no destination of this name is configured; configure it and run `imaging replay`, or run `imaging replay --to "
    "NEW --of OLD`"
)
"""Why what waited for a destination that was taken out of the settings is dead."""


def give_up(ledger: Ledger, configured: Sequence[str]) -> int:
    """Lets go of what waits for destinations that are not configured any more: nothing waits for ever, unsaid."""
    table = tables.delivery
    with ledger.write() as connection:
        return connection.execute(
            update(table)
            .where(table.c.state == DeliveryState.WAITING, table.c.destination.not_in(configured))
            .values(
                state=DELIVERY[DeliveryState.WAITING, DeliveryEvent.DESTINATION_GONE],
                why=GONE,
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


_FIRST: Final = tables.object_.alias()
_FIRST_OBJECT: Final = (
    select(func.coalesce(_FIRST.c.stands_for_id, _FIRST.c.id))
    .where(_FIRST.c.id == tables.delivery.c.object_id)
    .correlate(tables.delivery)
    .scalar_subquery()
)
"""The object that a delivery began with, where it was sent another in its place."""
_AGAIN: Final[Mapping[str, Any]] = {"object_id": _FIRST_OBJECT, "due_tick": 0.0, "attempts": 0, "why": ""}


def replay(ledger: Ledger, destinations: Sequence[str] = ()) -> int:
    """Sends dead letters again, of the named destinations or of all, as the objects that they were first.

    Those for a destination that is not known any more stay dead: nothing would ever send them.
    """
    query = _revive().where(tables.delivery.c.destination.in_(select(tables.peer.c.name)))
    if destinations:
        query = query.where(tables.delivery.c.destination.in_(destinations))
    with ledger.write() as connection:
        replayed = connection.execute(query).rowcount
    if replayed:
        ledger.wakeups.notify(wakeups.DELIVERY, wakeups.STUDY)
    return replayed


def _revive() -> Update:
    state = DELIVERY[DeliveryState.DEAD, DeliveryEvent.REPLAYED]
    return (
        update(tables.delivery)
        .where(tables.delivery.c.state == DeliveryState.DEAD)
        .values(state=state, ended_at=None, **_AGAIN)
    )


def gone(ledger: Ledger) -> dict[str, int]:
    """How much is undelivered for destinations that are not known any more, by their names."""
    table = tables.delivery
    query = (
        select(table.c.destination, func.count().label("undelivered"))
        .where(table.c.state.in_(_UNDELIVERED), table.c.destination.not_in(select(tables.peer.c.name)))
        .group_by(table.c.destination)
        .order_by(table.c.destination)
    )
    with ledger.read() as connection:
        return {each.destination: each.undelivered for each in connection.execute(query)}


_UNDELIVERED: Final = (DeliveryState.WAITING, DeliveryState.DEAD)


@dataclass(frozen=True)
class Moved:
    """How many deliveries have another destination now, and how many were dropped since it had their object already."""

    count: int
    dropped: int


def move(ledger: Ledger, old: str, new: str) -> Moved:
    """Sends to `new` what is undelivered for `old`, waiting or dead, as the objects that they were first.

    Each object goes to a destination once. What came to `old` unheard of says nothing of what `new` has.
    """
    table, object_, there = tables.delivery, tables.object_, tables.delivery.alias()
    is_there = exists().where(
        there.c.destination == new,
        there.c.object_id == object_.c.id,
        func.coalesce(object_.c.stands_for_id, object_.c.id) == _FIRST_OBJECT,
    )
    undelivered = (table.c.destination == old, table.c.state.in_(_UNDELIVERED))
    to_new: dict[str, Any] = {"destination": new, "sent_object_id": None}
    with ledger.write() as connection:
        dropped = connection.execute(delete(table).where(*undelivered, is_there)).rowcount
        count = connection.execute(_revive().where(table.c.destination == old).values(to_new)).rowcount
        waiting = update(table).where(table.c.destination == old, table.c.state == DeliveryState.WAITING)
        count += connection.execute(waiting.values(**_AGAIN, **to_new)).rowcount
    ledger.wakeups.notify(wakeups.DELIVERY, wakeups.STUDY)
    return Moved(count, dropped)


def send_now(ledger: Ledger, destinations: Sequence[str] = ()) -> int:
    """Makes all that waits for the named destinations, or for any, due at once, as if it had never been tried."""
    table, peer = tables.delivery, tables.peer
    known = select(peer.c.name).where(peer.c.name.in_(destinations)) if destinations else select(peer.c.name)
    waiting = update(table).where(table.c.state == DeliveryState.WAITING, table.c.destination.in_(known))
    with ledger.write() as connection:
        connection.execute(update(peer).where(peer.c.name.in_(known)).values(probe_tick=0.0, attempts=0))
        due = connection.execute(waiting.values(due_tick=0.0, attempts=0)).rowcount
    if due:
        ledger.wakeups.notify(wakeups.DELIVERY)
    return due
