"""What may be removed: only studies that are answered and delivered, and on nobody's desk."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, insert, or_, select

from imaging.domain.states import ENDED, DeliveryState, StudyState
from imaging.ledger import tables, wakeups
from imaging.ledger.store import Ledger


def removable(ledger: Ledger, before: datetime) -> list[int]:
    """The row numbers of studies whose last image came before then, and that nothing holds any more.

    What holds a study: being received, a job that is not ended, a delivery that is not delivered, a conflict
    that is open, or a copy that is not compared yet.
    """
    with ledger.read() as connection:
        return list(connection.scalars(_removable(before).order_by(tables.study.c.id)))


def _removable(before: datetime) -> Select[tuple[int]]:
    study, job, delivery, conflict = tables.study, tables.job, tables.delivery, tables.conflict
    return select(study.c.id).where(
        study.c.last_image_at < before,
        study.c.state == StudyState.SETTLED,
        ~exists().where(job.c.study_id == study.c.id, job.c.state.not_in(list(ENDED))),
        ~exists().where(delivery.c.study_id == study.c.id, delivery.c.state != DeliveryState.DELIVERED),
        ~exists().where(conflict.c.study_id == study.c.id, conflict.c.state.in_(["open", "unjudged"])),
    )


def remove(ledger: Ledger, study_id: int, before: datetime, unlink: Callable[[str], None]) -> bool:
    """Removes a study's files and rows; False where it may not be removed any more.

    `unlink` is given the spool keys before the rows are gone for others: a crash leaves no file without a row, and an
    object that is received again meanwhile gets its name after the old file went. The numbers of the last answers stay:
    should the images come again, the next answer needs a UID of its own.
    """
    with ledger.write() as connection:
        # Locked first, and then looked at: PostgreSQL sees what others committed meanwhile in the next statement only.
        connection.execute(select(tables.study.c.id).where(tables.study.c.id == study_id).with_for_update())
        if connection.scalar(_removable(before).where(tables.study.c.id == study_id)) is None:
            return False
        keys = _keys(connection, study_id)
        _keep_numbers(connection, study_id)
        for table in (
            tables.delivery,
            tables.object_,
            tables.job,
            tables.revision,
            tables.conflict,
            tables.instance,
            tables.series,
        ):
            connection.execute(delete(table).where(table.c.study_id == study_id))
        connection.execute(delete(tables.study).where(tables.study.c.id == study_id))
        others = select(tables.study.c.patient_id).where(tables.study.c.patient_id.is_not(None))
        connection.execute(delete(tables.patient).where(tables.patient.c.id.not_in(others)))
        for key in keys:
            unlink(key)
    ledger.wakeups.notify(wakeups.STUDY)
    return True


def remove_associations(ledger: Ledger, before: datetime) -> int:
    """Removes the rows of associations that ended before then and of which no object is left."""
    table = tables.association
    is_named = [exists().where(each.c.association_id == table.c.id) for each in (tables.instance, tables.conflict)]
    with ledger.write() as connection:
        return connection.execute(delete(table).where(table.c.ended_at < before, ~or_(*is_named))).rowcount


def _keep_numbers(connection: Connection, study_id: int) -> None:
    study, job, last_result = tables.study, tables.job, tables.last_result
    uid = connection.execute(select(study.c.study_instance_uid).where(study.c.id == study_id)).scalar_one()
    last = select(job.c.model, func.max(job.c.result_number)).where(job.c.study_id == study_id).group_by(job.c.model)
    for model, number in connection.execute(last).all():
        known = (last_result.c.study_instance_uid == uid, last_result.c.model == model)
        connection.execute(delete(last_result).where(*known))
        connection.execute(insert(last_result).values(study_instance_uid=uid, model=model, result_number=number))


def _keys(connection: Connection, study_id: int) -> list[str]:
    found: list[str] = []
    table: Any
    for table in (tables.instance, tables.conflict):
        found += connection.scalars(select(table.c.key).where(table.c.study_id == study_id))
    return sorted(set(found))
