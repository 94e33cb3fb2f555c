"""Associations as rows: who asked, what was agreed on, how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from imaging import crash
from imaging.domain.ends import End
from imaging.ledger import arrivals, tables, wakeups
from imaging.ledger.as_json import row_json
from imaging.ledger.store import Ledger

_ADD: Final = insert(tables.association)
_END: Final = (
    update(tables.association)
    .where(tables.association.c.id.in_(bindparam("numbers", expanding=True)))
    .values(stored=tables.association.c.stored + bindparam("brought"))
)


@dataclass(frozen=True)
class AssociationEnd:
    """How an association ended and what it brought. `refusals`: how often each status and reason was answered.

    `how`: in words; `end`: what that means for its studies.
    """

    how: str
    stored: int
    refused: int
    refusals: Mapping[str, int] = field(default_factory=dict)
    end: End = End.RELEASED


def begin(ledger: Ledger, calling: str, called: str, address: str, contexts: Sequence[Mapping[str, str]]) -> int:
    """A row for an association that was asked for. Returns its number, which logs may name."""
    row = {
        "calling_ae_title": calling,
        "called_ae_title": called,
        "address": address,
        "site": ledger.site,
        "node": ledger.node,
        "started_at": ledger.clock.now(),
        "contexts": list(contexts),
        "refusals": {},
    }
    with ledger.write(is_durable=False) as connection:
        return int((connection.execute(_ADD, row).inserted_primary_key or (0,))[0])


def end(ledger: Ledger, number: int, ended: AssociationEnd) -> None:
    """Notes the end; studies of which no other open association sends are looked at at once (`arrivals.note_end`)."""
    with ledger.write(is_durable=False) as connection:
        _end(ledger, connection, [number], ended)
        crash.point("association-end-not-committed")
    crash.point("association-ended")
    ledger.wakeups.notify(wakeups.SETTLE)


def end_lost(ledger: Ledger) -> int:
    """Ends what an earlier process of this node left open: its senders were cut off. Other hosts' go on."""
    table, instance = tables.association, tables.instance
    kept = select(func.count()).where(instance.c.association_id == table.c.id).scalar_subquery()
    with ledger.write() as connection:
        lost = list(
            connection.scalars(select(table.c.id).where(table.c.ended_at.is_(None), table.c.node == ledger.node))
        )
        if lost:
            _end(ledger, connection, lost, AssociationEnd("cut by a restart", 0, 0, end=End.CUT))
            connection.execute(update(table).where(table.c.id.in_(lost)).values(stored=kept))
    return len(lost)


def _end(ledger: Ledger, connection: Connection, numbers: Sequence[int], ended: AssociationEnd) -> None:
    row = {
        "ended_at": ledger.clock.now(),
        "ended_how": ended.how,
        "ended_as": ended.end,
        "brought": ended.stored,
        "refused": ended.refused,
        "refusals": dict(ended.refusals),
    }
    connection.execute(_END, row | {"numbers": list(numbers)})
    arrivals.note_end(connection, numbers, ledger.clock.tick())


def listed(ledger: Ledger, last: int, before: int | None = None) -> list[dict[str, Any]]:
    """The last associations, the newest first: who, from where, what was agreed on, how it ended.

    `before`: the number of one; it and newer ones are left out.
    """
    association = tables.association
    wanted = select(association).order_by(association.c.id.desc()).limit(last)
    if before is not None:
        wanted = wanted.where(association.c.id < before)
    with ledger.read() as connection:
        rows = connection.execute(wanted).all()
    return [row_json(each) for each in rows]
