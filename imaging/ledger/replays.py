"""Settled studies that a command asks for again: marked here, and taken up by the node, which knows today's models."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, insert, literal, select, update

from imaging.domain.priority import first_due
from imaging.domain.reasons import SUPERSEDED
from imaging.domain.states import StudyState
from imaging.ledger import studies, tables, wakeups
from imaging.ledger.answers import is_shown
from imaging.ledger.settling import Candidate, NewJob, add_revision, is_as_seen
from imaging.ledger.store import Ledger

SIGNAL: Final = "asked for again"


@dataclass(frozen=True)
class Mark:
    """A study that is asked for again, by row number; for one model, or where `model` is empty for all."""

    id: int
    study_id: int
    model: str


def mark_for_model(ledger: Ledger, model: str, since: datetime | None) -> int:
    """Marks the settled studies received since then that the model may not have answered, but in shadow; says how many.

    Whether it fits and has answered for the images of today, the node finds out.
    """
    study, job = tables.study, tables.job
    answered = exists().where(
        job.c.study_id == study.c.id,
        job.c.model == model,
        job.c.reason.is_distinct_from(SUPERSEDED),
        job.c.queued_at >= study.c.last_image_at,
        is_shown(job),
    )
    which = [study.c.state == StudyState.SETTLED, ~answered]
    which += [] if since is None else [study.c.received_at >= since]
    return _mark(ledger, model, *which)


def mark_studies(ledger: Ledger, study_uids: Sequence[str]) -> int:
    """Marks those of these studies that are settled, for all models; says how many."""
    study = tables.study
    return _mark(ledger, "", study.c.state == StudyState.SETTLED, study.c.study_instance_uid.in_(study_uids))


def _mark(ledger: Ledger, model: str, *which: ColumnElement[bool]) -> int:
    study, replay = tables.study, tables.replay
    is_marked = exists().where(replay.c.study_id == study.c.id, replay.c.model == model)
    found = select(study.c.id, literal(model)).where(*which)
    with ledger.write() as connection:
        # Ordered, so that the first to come is looked at first.
        new = found.where(~is_marked).order_by(study.c.id)
        connection.execute(insert(replay).from_select(["study_id", "model"], new))
        numbers = (
            select(replay.c.id).join(study, study.c.id == replay.c.study_id).where(replay.c.model == model, *which)
        )
        count = len(connection.execute(numbers).all())
    ledger.wakeups.notify(wakeups.SETTLE)
    return count


_NEXT: Final = (
    select(tables.replay)
    .join(tables.study, tables.study.c.id == tables.replay.c.study_id)
    .where(tables.study.c.state == StudyState.SETTLED)
    .order_by(tables.replay.c.id)
)
"""One that is being received waits: once it is whole, all of today's models are asked anyway."""


def marked(ledger: Ledger, maximum: int) -> list[Mark]:
    """The first marks whose study is settled."""
    with ledger.read() as connection:
        return [Mark(each.id, each.study_id, each.model) for each in connection.execute(_NEXT.limit(maximum))]


def unmark(ledger: Ledger, mark: Mark) -> None:
    """Lets go of a mark that leaves nothing to do."""
    with ledger.write() as connection:
        connection.execute(delete(tables.replay).where(tables.replay.c.id == mark.id))


def settle_again(ledger: Ledger, mark: Mark, candidate: Candidate, jobs: Sequence[NewJob]) -> bool:
    """Adds a revision with these jobs to a settled study, and lets go of the mark.

    What one model is asked for, of many studies, stands behind what waits: it is due as if it had come now. False where
    something came meanwhile, so that the study is to be looked at once more.
    """
    study = tables.study
    with ledger.write() as connection:
        row = studies.locked(connection, mark.study_id)
        if row is None or row.state != StudyState.SETTLED or not is_as_seen(connection, row, candidate):
            return False
        connection.execute(delete(tables.replay).where(tables.replay.c.id == mark.id))
        if any(each.is_shown for each in jobs):
            connection.execute(update(study).where(study.c.id == mark.study_id).values(reason=""))
        due_at = first_due(ledger.clock.now()) if mark.model else None
        add_revision(ledger, connection, mark.study_id, SIGNAL, jobs, due_at)
    ledger.wakeups.notify(wakeups.STUDY, wakeups.JOB)
    return True
