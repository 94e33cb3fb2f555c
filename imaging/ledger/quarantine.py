"""Objects that are kept apart, since their study has another patient or their UID another content."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from imaging.domain.states import ApartState
from imaging.ledger import tables
from imaging.ledger.instances import Receipt
from imaging.ledger.store import Ledger

MIXED_PATIENTS: Final = "mixed-patients"
OTHER_CONTENT: Final = "conflict"
SHARED: Final = "shared"
SECOND_COPY: Final = "second copy"
"""Why an object is kept apart: its study has another patient, its UID another content, or one not compared yet; or
why its UID is noted: another study has it too."""
# Built once: with each image it would be half of what a statement costs.
_BEARERS: Final = select(
    tables.instance.c.id,
    tables.instance.c.digest,
    tables.instance.c.key,
    tables.instance.c.header,
    tables.instance.c.study_id,
    tables.instance.c.association_id,
).where(tables.instance.c.sop_instance_uid == bindparam("uid"))


def bearers(connection: Connection, sop_instance_uid: str) -> Sequence[Any]:
    """The objects that have a UID: one for each study that it stands for something in."""
    return connection.execute(_BEARERS, {"uid": sop_instance_uid}).all()


def keep(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int, why: str, state: ApartState) -> str:
    """Notes an object that must not take its UID's place, or not yet. Returns its key, of the row that is there."""
    table, study = tables.conflict, tables.study
    which = (table.c.study_id == study_id, table.c.sop_instance_uid == receipt.header.sop_instance_uid)
    known: str | None = connection.scalar(select(table.c.key).where(*which, table.c.digest == receipt.digest))
    if known is None:
        connection.execute(
            insert(table).values(
                study_id=study_id,
                sop_instance_uid=receipt.header.sop_instance_uid,
                digest=receipt.digest,
                key=receipt.apart,
                size=receipt.size,
                header=receipt.header.to_json(),
                association_id=receipt.association_id,
                why=why,
                state=state,
                received_at=ledger.clock.now(),
            )
        )
        if state == ApartState.OPEN:
            count_conflicts(connection, study_id, 1)
        if why == MIXED_PATIENTS:
            connection.execute(update(study).where(study.c.id == study_id).values(reason=MIXED_PATIENTS))
    return known or receipt.apart


def note_shared(ledger: Ledger, connection: Connection, sop_instance_uid: str) -> None:
    """Says at each study that this UID stands for an object of another study as well, also where a person knew of two.

    Nothing waits for it: reports name images by study, series and instance.
    """
    table = tables.conflict
    for each in bearers(connection, sop_instance_uid):
        notice = (table.c.study_id == each.study_id) & (table.c.sop_instance_uid == sop_instance_uid)
        again = update(table).where(notice, table.c.why == SHARED)
        if connection.execute(again.values(state=ApartState.SHARED, decision=None, decided_at=None)).rowcount:
            continue
        row = {
            "study_id": each.study_id,
            "sop_instance_uid": sop_instance_uid,
            "size": 0,
            "header": each.header,
            "association_id": each.association_id,
            "why": SHARED,
            "state": ApartState.SHARED,
            "received_at": ledger.clock.now(),
        }
        connection.execute(insert(table).values(row))


def is_stopped(study_id: Any) -> Any:
    """Whether a study has an object of another patient, on which nobody has decided, in SQL."""
    table = tables.conflict
    return exists().where(table.c.study_id == study_id, table.c.state == ApartState.OPEN, table.c.why == MIXED_PATIENTS)


def count_conflicts(connection: Connection, study_id: int, more: int) -> None:
    """So many more of a study's objects, or fewer, wait for a person."""
    study = tables.study
    connection.execute(update(study).where(study.c.id == study_id).values(conflicts=study.c.conflicts + more))
