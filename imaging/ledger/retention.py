"""What may be removed: only studies that are answered and delivered, and on nobody's desk."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, exists, func, insert, or_, select, update

from imaging import crash
from imaging.domain.states import UNCERTAIN, UNDONE, DeliveryState, StudyState
from imaging.ledger import returned_reports, studies, tables, wakeups
from imaging.ledger.answers import in_parts
from imaging.ledger.quarantine import SHARED
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
        ~exists().where(job.c.study_id == study.c.id, job.c.state.in_(UNDONE)),
        ~exists().where(delivery.c.study_id == study.c.id, delivery.c.state != DeliveryState.DELIVERED),
        ~exists().where(conflict.c.study_id == study.c.id, conflict.c.state.in_(UNCERTAIN)),
        ~exists().where(tables.replay.c.study_id == study.c.id),
    )


def remove(ledger: Ledger, study_id: int, before: datetime) -> bool:
    """Removes a study's rows, and leaves its files to `sweep`; False where it may not be removed any more.

    The numbers of the last answers stay: should the images come again, the next answer needs a UID of its own.
    """
    with ledger.write() as connection:
        study = studies.locked(connection, study_id)
        if study is None or connection.scalar(_removable(before).where(tables.study.c.id == study_id)) is None:
            return False
        _discard(connection, _keys(connection, study))
        shared = _shared(connection, study_id)
        _keep_numbers(connection, study)
        connection.execute(delete(tables.returned).where(returned_reports.of_study(study)))
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
        crash.point("removal-not-committed")
    crash.point("removed")
    ledger.wakeups.notify(wakeups.STUDY)
    return True


def sweep(ledger: Ledger, remove_files: Callable[[Collection[str]], None]) -> int:
    """Has each file deleted whose rows are gone, also what a crash left; says how many.

    `remove_files` is given their spool keys, perhaps also of a file that is gone already, and deletes them durably:
    nobody knows of them afterwards. It needs no lock: what is received again meanwhile lies under another key
    (`imaging.spool.folder.key_of`).
    """
    table = tables.discarded
    with ledger.read() as connection:
        keys = list(connection.scalars(select(table.c.key).order_by(table.c.key)))
    remove_files(keys)
    crash.point("files-deleted")
    if keys:
        with ledger.write() as connection:
            for some in in_parts(keys):
                connection.execute(delete(table).where(table.c.key.in_(some)))
    return len(keys)


def _discard(connection: Connection, keys: Collection[str]) -> None:
    if keys:
        connection.execute(insert(tables.discarded), [{"key": key} for key in sorted(keys)])


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


def remove_strays(ledger: Ledger, before: datetime) -> int:
    """Removes reports of ours that came back before then and belong to no study that is left, as `remove` does."""
    with ledger.write() as connection:
        keys = returned_reports.remove_strays(connection, before)
        _discard(connection, keys)
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


def _keys(connection: Connection, study: Any) -> set[str]:
    found = set(connection.scalars(select(tables.returned.c.key).where(returned_reports.of_study(study))))
    table: Any
    for table in (tables.instance, tables.conflict, tables.object_):
        found |= set(connection.scalars(select(table.c.key).where(table.c.study_id == study.id)))
    return found - {""}
