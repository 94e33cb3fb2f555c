"""The study's row is the lock: whatever changes a study locks its row first, several in the order of their numbers.

So two nodes on one PostgreSQL never change a study from a state that the other has left, nor wait in a circle. What was
read before the lock is read again behind it: there PostgreSQL sees what others committed meanwhile in the next
statement only. SQLite has one writer at a time, and no words for this.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from imaging.ledger import tables

# Built once: with each image it would be half of what a statement costs.
_ONE: Final = select(tables.study).where(tables.study.c.id == bindparam("study")).with_for_update()
_SEVERAL: Final = (
    select(tables.study.c.id)
    .where(tables.study.c.id.in_(bindparam("studies", expanding=True)))
    .order_by(tables.study.c.id)
    .with_for_update()
)
_OF_STUDY: Final = (
    *(tables.study.c.id, tables.study.c.study_instance_uid, tables.study.c.state, tables.study.c.header),
    *(tables.study.c.first_tick, tables.study.c.ended_tick, tables.study.c.settle_why, tables.study.c.cut_tick),
    *(tables.study.c.cut_by, tables.study.c.last_association, tables.study.c.conflicts, tables.study.c.persons),
)
_NAMED: Final = (
    select(*_OF_STUDY)
    .where(tables.study.c.study_instance_uid.in_(bindparam("uids", expanding=True)))
    .order_by(tables.study.c.id)
    .with_for_update()
)


def locked(connection: Connection, study_id: int) -> Any | None:
    """The row of a study as it is from now on until this transaction ends; None where it was removed."""
    return connection.execute(_ONE, {"study": study_id}).first()


def lock(connection: Connection, numbers: Collection[int]) -> None:
    """Locks several studies, each of which may be read then."""
    if numbers:
        connection.execute(_SEVERAL, {"studies": sorted(numbers)})


def of_uid(connection: Connection, study_uid: str) -> Any | None:
    """What receiving asks of a study, locked; None where it has no row."""
    return locked_by_uid(connection, {study_uid}).get(study_uid)


def locked_by_uid(connection: Connection, uids: Collection[str]) -> dict[str, Any]:
    """What receiving asks of the studies of these UIDs, by UID; what has no row yet is left out."""
    found = connection.execute(_NAMED, {"uids": sorted(uids)})
    return {each.study_instance_uid: each for each in found}
