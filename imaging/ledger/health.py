"""What the ledger knows of alarms: the oldest that waits, destinations, dead letters, conflicts, models, the clock."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from imaging.domain.alarms import Facts, Outbox, RoleHealth
from imaging.domain.clock_anchor import ClockFacts
from imaging.domain.disk_space import DiskSpace
from imaging.domain.states import UNDONE, UNSENT, ApartState, DeliveryState, StudyState
from imaging.ledger import tables
from imaging.ledger.answers import is_shown
from imaging.ledger.clock import BUILT
from imaging.ledger.store import Ledger, newest

_FIRST_RECEIVING: Final = select(func.min(tables.study.c.first_tick)).where(
    tables.study.c.state == StudyState.RECEIVING, tables.study.c.settle_tick.is_not(None)
)
"""That it is to be looked at says the index; its state alone would not."""


def clock_facts(ledger: Ledger) -> ClockFacts:
    """What tells whether the wall clock, and so the time of the home, can be right."""
    with ledger.read() as connection:
        return _clock(ledger, connection, ledger.clock.now())


def _clock(ledger: Ledger, connection: Connection, now: datetime) -> ClockFacts:
    return ClockFacts(ledger.clock.wall(), now, newest(connection), BUILT)


def facts(ledger: Ledger, space: DiskSpace, running: Collection[str], longest_wait: timedelta) -> Facts:
    """What is known of a home, of which these roles run now on a disk with that room."""
    with ledger.read() as connection:
        now = ledger.clock.now()
        waits = oldest(connection, now, ledger.clock.tick())
        return Facts(
            roles=roles(ledger, connection, running),
            is_served=bool(running),
            disk_space=space,
            clock=_clock(ledger, connection, now),
            outboxes=outboxes(connection, now),
            disabled=_disabled(connection),
            conflicts=quarantined(connection, ApartState.OPEN),
            receiving=waits["receiving"] or timedelta(),
            analysis=waits["job"] or timedelta(),
            comparing=waits["unjudged"] or timedelta(),
            longest_wait=longest_wait,
        )


def oldest(connection: Connection, now: datetime, tick: float) -> Mapping[str, timedelta | None]:
    """How long the oldest study is being received, and the oldest job and copy waits; None: none does.

    For what is in shadow nobody waits.
    """
    job, conflict = tables.job, tables.conflict
    first = connection.scalar(_FIRST_RECEIVING)
    is_unjudged = conflict.c.state == ApartState.UNJUDGED
    since = {
        "job": connection.scalar(select(func.min(job.c.queued_at)).where(job.c.state.in_(UNDONE), is_shown(job))),
        "unjudged": connection.scalar(select(func.min(conflict.c.received_at)).where(is_unjudged)),
    }
    ages = {name: None if at is None else now - at for name, at in since.items()}
    return {"receiving": None if first is None else timedelta(seconds=tick - first)} | ages


def outboxes(connection: Connection, now: datetime) -> list[Outbox]:
    """Each destination, and what waits for it or is dead; also those that are configured no more."""
    peer = tables.peer
    known = {each.name: each for each in connection.execute(select(peer).order_by(peer.c.name))}
    names = [*known, *(each for each in _named_by_deliveries(connection) if each not in known)]
    return [_outbox(connection, each, known.get(each), now) for each in names]


def _outbox(connection: Connection, name: str, peer: Any, now: datetime) -> Outbox:
    delivery = tables.delivery
    query = (
        select(delivery.c.state, func.count(), func.min(delivery.c.created_at))
        .where(delivery.c.destination == name, delivery.c.state.in_([*UNSENT, DeliveryState.DEAD]))
        .group_by(delivery.c.state)
    )
    found = {state: (count, first) for state, count, first in connection.execute(query)}
    dead, _ = found.pop(DeliveryState.DEAD, (0, None))
    return Outbox(
        name,
        is_down=peer is not None and peer.is_up is False,
        why="" if peer is None else peer.why,
        waiting=sum(count for count, _ in found.values()),
        oldest=max((now - first for _, first in found.values()), default=timedelta()),
        dead=dead,
    )


def _named_by_deliveries(connection: Connection) -> Iterator[str]:
    """The destinations that any delivery names, one step in the index for each."""
    destination = tables.delivery.c.destination
    name = connection.scalar(select(func.min(destination)))
    while name is not None:
        yield name
        name = connection.scalar(select(func.min(destination)).where(destination > name))


def roles(ledger: Ledger, connection: Connection, running: Collection[str]) -> list[RoleHealth]:
    """What the supervisor of this place last said of its children; those whose role does not run are stopped.

    Whether another host's run cannot be told from here.
    """
    role = tables.role
    found = connection.execute(select(role).where(role.c.place == ledger.place).order_by(role.c.name)).all()
    return [_as_it_is(RoleHealth(each.name, each.state, each.error), running) for each in found]


def _as_it_is(role: RoleHealth, running: Collection[str]) -> RoleHealth:
    return role if role.name.partition("-")[0] in running else replace(role, state="stopped")


def _disabled(connection: Connection) -> Mapping[str, str]:
    model = tables.model
    found = connection.execute(select(model.c.name, model.c.why).where(~model.c.is_served).order_by(model.c.name))
    return {each.name: each.why for each in found}


def quarantined(connection: Connection, state: ApartState) -> int:
    """How many objects kept apart are in a state."""
    query = select(func.count()).select_from(tables.conflict).where(tables.conflict.c.state == state)
    return connection.scalar(query) or 0
