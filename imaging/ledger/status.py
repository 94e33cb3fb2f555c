"""The status of a home: counts, the oldest that waits, dead letters, peers, roles and models."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, select

from imaging.domain.alarms import Outbox
from imaging.domain.states import ApartState, DeliveryState, JobState, StudyState
from imaging.ledger import health, tables
from imaging.ledger.as_json import time_json
from imaging.ledger.store import Ledger

_PEER: Final = {True: "up", False: "down", None: "not tried yet"}


def of(ledger: Ledger, running: Collection[str] = ()) -> dict[str, Any]:
    """Counts per state, the oldest that waits, dead letters, peers and roles. `running`: the roles that run now."""
    with ledger.read() as connection:
        now = ledger.clock.now()
        outboxes = {each.name: each for each in health.outboxes(connection, now)}
        return {
            "studies": _counts(connection, tables.study.c.state, StudyState),
            "jobs": _counts(connection, tables.job.c.state, JobState),
            "deliveries": _counts(connection, tables.delivery.c.state, DeliveryState),
            "instances": sum(_count(connection, each) for each in (tables.instance, tables.returned)),
            "conflicts": health.quarantined(connection, ApartState.OPEN),
            "unjudged": health.quarantined(connection, ApartState.UNJUDGED),
            "oldest_s": _oldest(health.oldest(connection, now, ledger.clock.tick()), outboxes),
            "dead_letters": _dead_letters(connection),
            "peers": _peers(connection, outboxes),
            "roles": [vars(each) for each in health.roles(ledger, connection, running)],
            "models": _models(connection),
        }


def _oldest(waits: Mapping[str, timedelta | None], outboxes: Mapping[str, Outbox]) -> dict[str, float | None]:
    delivery = max((each.oldest for each in outboxes.values() if each.waiting), default=None)
    return {
        "receiving": _seconds(waits["receiving"]),
        "job": _seconds(waits["job"]),
        "delivery": _seconds(delivery),
    }


def _dead_letters(connection: Connection) -> list[dict[str, Any]]:
    delivery = tables.delivery
    query = (
        select(delivery.c.destination, delivery.c.why, func.count().label("count"))
        .where(delivery.c.state == DeliveryState.DEAD)
        .group_by(delivery.c.destination, delivery.c.why)
    )
    return [dict(each._mapping) for each in connection.execute(query)]


def _peers(connection: Connection, outboxes: Mapping[str, Outbox]) -> list[dict[str, Any]]:
    peer = tables.peer
    return [
        {
            "name": each.name,
            "state": _PEER[each.is_up],
            "why": each.why,
            "since": time_json(each.since_at),
            "waiting": outboxes[each.name].waiting,
        }
        for each in connection.execute(select(peer).order_by(peer.c.name))
    ]


def _models(connection: Connection) -> list[dict[str, Any]]:
    model = tables.model
    return [
        {
            "name": each.name,
            "version": each.version,
            "state": "served" if each.is_served else "disabled",
            "why": each.why,
            "mode": each.mode,
        }
        for each in connection.execute(select(model).order_by(model.c.name))
    ]


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _counts(connection: Connection, column: ColumnElement[str], states: Iterable[str]) -> dict[str, int]:
    counts = {str(each): 0 for each in states}
    found = connection.execute(select(column, func.count()).group_by(column))
    return counts | {str(state): int(count) for state, count in found}


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 1)
