"""What may be removed: only studies that are answered and delivered, and on nobody's desk."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, exists, func, insert, or_, select, update

from imaging.domain.states import ENDED, DeliveryState, StudyState
from imaging.ledger import returned, studies, tables, wakeups
from imaging.ledger.apart import SHARED
from imaging.ledger.store import Ledger

FIRST_RELEASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What was received before it was dated by a clock that had not been set; nobody knows how old it is."""


def date_anew(ledger: Ledger) -> None:
    """Lets the age of studies count from now that were dated by a clock that had not been set."""
    study = tables.study
    with ledger.write() as connection:
        of_unknown_age = update(study).where(study.c.last_image_at < FIRST_RELEASE)
        connection.execute(of_unknown_age.values(last_image_at=ledger.clock.now()))


def removable(ledger: Ledger, before: datetime) -> list[int]:
    """The row numbers of studies whose last image came before then, and that nothing holds any more.

    What holds a study: being received, a job that is not ended, a delivery that is not delivered, a conflict
    that is open, a copy that is not compared yet, or that it is asked for again.
    """
    with ledger.read() as connection:
        return list(connection.scalars(_removable(before).order_by(tables.study.c.id)))


def _removable(before: datetime) -> Select[tuple[int]]:
    study, job, delivery, conflict = tables.study, tables.job, tables.delivery, tables.conflict
    return select(study.c.id).where(
        study.c.last_image_at < before,
        study.c.last_image_at >= FIRST_RELEASE,
        study.c.state == StudyState.SETTLED,
        ~exists().where(job.c.study_id == study.c.id, job.c.state.not_in(list(ENDED))),
        ~exists().where(delivery.c.study_id == study.c.id, delivery.c.state != DeliveryState.DELIVERED),
        ~exists().where(conflict.c.study_id == study.c.id, conflict.c.state.in_(["open", "unjudged"])),
        ~exists().where(tables.replay.c.study_id == study.c.id),
    )


def remove(ledger: Ledger, study_id: int, before: datetime, unlink: Callable[[str], None]) -> bool:
    """Removes a study's files and rows; False where it may not be removed any more.

    `unlink` is given the spool keys before the rows are gone for others: a crash leaves no file without a row, and an
    object that is received again meanwhile gets its name after the old file went. The files of results go after their
    rows, which nothing makes anew; what a crash leaves of them a start removes. The numbers of the last answers stay:
    should the images come again, the next answer needs a UID of its own.
    """
    with ledger.write() as connection:
        study = studies.locked(connection, study_id)
        if study is None or connection.scalar(_removable(before).where(tables.study.c.id == study_id)) is None:
            return False
        keys, results = _keys(connection, study), _results(connection, study_id)
        shared = _shared(connection, study_id)
        _keep_numbers(connection, study)
        connection.execute(delete(tables.returned).where(returned.of_study(study)))
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
        _end_sharing(connection, shared)
        connection.execute(delete(tables.study).where(tables.study.c.id == study_id))
        for key in keys:
            unlink(key)
    for key in results:
        unlink(key)
    ledger.wakeups.notify(wakeups.STUDY)
    return True


def remove_patients(ledger: Ledger) -> int:
    """Removes the patients that no study names any more."""
    table = tables.patient
    is_named = exists().where(tables.study.c.patient_id == table.c.id)
    with ledger.write() as connection:
        return connection.execute(delete(table).where(~is_named)).rowcount


def remove_associations(ledger: Ledger, before: datetime) -> int:
    """Removes the rows of associations that ended before then and of which no object is left."""
    table = tables.association
    naming = (tables.instance, tables.conflict, tables.returned)
    is_named = [exists().where(each.c.association_id == table.c.id) for each in naming]
    with ledger.write() as connection:
        return connection.execute(delete(table).where(table.c.ended_at < before, ~or_(*is_named))).rowcount


def remove_strays(ledger: Ledger, before: datetime, unlink: Callable[[str], None]) -> int:
    """Removes reports of ours that came back before then and belong to no study that is left."""
    with ledger.write() as connection:
        keys = returned.remove_strays(connection, before)
        for key in keys:
            unlink(key)
    return len(keys)


def _shared(connection: Connection, study_id: int) -> list[str]:
    """The UIDs that stand for an object of another study as well."""
    table = tables.conflict
    of_study = (table.c.study_id == study_id, table.c.why == SHARED)
    return list(connection.scalars(select(table.c.sop_instance_uid).where(*of_study)))


def _end_sharing(connection: Connection, uids: Collection[str]) -> None:
    """Takes away the notices of UIDs that stand for one object only by now."""
    table, instance = tables.conflict, tables.instance
    for uid in uids:
        bearers = select(func.count()).select_from(instance).where(instance.c.sop_instance_uid == uid)
        if (connection.scalar(bearers) or 0) < 2:
            connection.execute(delete(table).where(table.c.sop_instance_uid == uid, table.c.why == SHARED))


def _keep_numbers(connection: Connection, study: Any) -> None:
    job, last_result, uid = tables.job, tables.last_result, study.study_instance_uid
    last = select(job.c.model, func.max(job.c.result_number)).where(job.c.study_id == study.id).group_by(job.c.model)
    for model, number in connection.execute(last).all():
        known = (last_result.c.study_instance_uid == uid, last_result.c.model == model)
        connection.execute(delete(last_result).where(*known))
        connection.execute(insert(last_result).values(study_instance_uid=uid, model=model, result_number=number))


def result_keys(ledger: Ledger) -> set[str]:
    """The spool keys of all results."""
    with ledger.read() as connection:
        return set(connection.scalars(select(tables.object_.c.key)))


def _results(connection: Connection, study_id: int) -> list[str]:
    table = tables.object_
    return list(connection.scalars(select(table.c.key).where(table.c.study_id == study_id).order_by(table.c.id)))


def _keys(connection: Connection, study: Any) -> list[str]:
    found: list[str] = []
    table: Any
    for table in (tables.instance, tables.conflict):
        found += connection.scalars(select(table.c.key).where(table.c.study_id == study.id))
    found += connection.scalars(select(tables.returned.c.key).where(returned.of_study(study)))
    return sorted(set(found) - {""})
