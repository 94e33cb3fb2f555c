"""What is done next: the best queued jobs, in the worklist's order, leased to one worker and read."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Text, bindparam, cast, exists, select, update
from sqlalchemy.exc import SQLAlchemyError

from imaging import crash
from imaging.domain.faults import fingerprint
from imaging.domain.findings import ImageRef
from imaging.domain.header import Header
from imaging.domain.modes import Mode
from imaging.domain.reasons import SUPERSEDED
from imaging.domain.states import JOB, UNDONE, JobEvent, JobState
from imaging.ledger import jobs, tables, wakeups
from imaging.ledger.jobs import Job
from imaging.ledger.quarantine import is_stopped
from imaging.ledger.store import Ledger
from imaging.ledger.workers import LEASE_S

# Built once: with each job it would be half of what a statement costs.
_OTHER_JOB: Final = tables.job.alias()
_QUEUED: Final = (
    select(
        tables.job.c.id,
        tables.job.c.study_id,
        tables.job.c.model,
        tables.job.c.version,
        tables.job.c.result_number,
        tables.job.c.attempts,
        tables.job.c.queued_at,
        tables.job.c.mode,
        cast(tables.job.c.instances, Text).label("instances"),
        cast(tables.job.c.doubtful, Text).label("doubtful"),
    )
    .where(
        tables.job.c.state == JobState.QUEUED,
        tables.job.c.model.in_(bindparam("models", expanding=True)),
        ~exists().where(
            _OTHER_JOB.c.study_id == tables.job.c.study_id,
            _OTHER_JOB.c.model == tables.job.c.model,
            _OTHER_JOB.c.result_number < tables.job.c.result_number,
            _OTHER_JOB.c.state.in_(UNDONE),
        ),
        ~is_stopped(tables.job.c.study_id),
    )
    .order_by(*tables.in_order(tables.job), tables.job.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=tables.job)  # which SQLite has no need of, and no words for
)
"""A study that another patient's object came to meanwhile waits for the person who settles it.

JSON is taken as text here and below: a row that cannot be read must not fail the others', and reading takes long.
"""
_QUEUED_TOGETHER: Final = _QUEUED.where(tables.job.c.attempts == 0)
_LEASE: Final = (
    update(tables.job)
    .where(tables.job.c.id.in_(bindparam("numbers", expanding=True)), tables.job.c.state == JobState.QUEUED)
    .values(state=JOB[JobState.QUEUED, JobEvent.LEASED])
)
_SUPERSEDE: Final = (
    update(tables.job)
    .where(tables.job.c.id.in_(bindparam("numbers", expanding=True)), tables.job.c.state == JobState.QUEUED)
    .values(state=JOB[JobState.QUEUED, JobEvent.SUPERSEDED], reason=SUPERSEDED)
)
_INPUTS: Final = (
    select(tables.instance.c.id, tables.instance.c.key, cast(tables.instance.c.header, Text).label("header"))
    .where(tables.instance.c.id.in_(bindparam("instances", expanding=True)))
    .order_by(tables.instance.c.id)
)
_STUDY_HEADER: Final = select(cast(tables.study.c.header, Text)).where(tables.study.c.id == bindparam("study"))


@dataclass(frozen=True)
class LeaseRequest:
    """Of which models a worker takes jobs. `batches`: how many jobs of a model are taken together."""

    models: Collection[str]
    batches: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Taken:
    """A job as it was found in the queue, not yet read. `row`: its own; `inputs`: those of its images.

    `has_lost_input`: newer content took the place of an image. `fault`: why not even that can be told.
    """

    row: Any
    inputs: Sequence[Any] = ()
    has_lost_input: bool = False
    last_report: Any | None = None
    study_header: str | None = None
    fault: str = ""


def lease(ledger: Ledger, owner: str, request: LeaseRequest) -> list[Job]:
    """The best job that is wanted, and with it as many of the same model as belong together: the best first.

    A model's job waits while an earlier one for the same study has not ended. A job that was there when a worker died
    comes alone. What the jobs are about is read once they are leased, and nobody waits for it; one that cannot be read
    ends as failed, and the next is taken.
    """
    while request.models:
        taken = _lease(ledger, owner, request)
        read = [_read(ledger, each, owner) for each in taken]
        found = [each for each in read if each is not None]
        if found or not taken:
            return found
    return []


def _lease(ledger: Ledger, owner: str, request: LeaseRequest) -> list[_Taken]:
    with ledger.write(is_durable=False) as connection:
        taken = _best(ledger, connection, request)
        if not taken:
            return []
        leased = {"lease": owner, "lease_tick": ledger.clock.tick() + LEASE_S}
        connection.execute(_LEASE, leased | {"numbers": [each.row.id for each in taken]})
        crash.point("lease-not-committed")
    crash.point("leased")
    ledger.wakeups.notify(wakeups.STUDY)
    return taken


def _best(ledger: Ledger, connection: Connection, request: LeaseRequest) -> list[_Taken]:
    """The best queued jobs. One that came back, and of whose input newer content took the place, is superseded."""
    while rows := connection.execute(_QUEUED, {"models": list(request.models), "most": 1}).all():
        model = rows[0].model
        batch_size = request.batches.get(model, 1)
        if not rows[0].attempts and batch_size > 1:
            rows = connection.execute(_QUEUED_TOGETHER, {"models": [model], "most": batch_size}).all()
        taken = [_taken(connection, row) for row in rows]
        gone = [each.row.id for each in taken if each.has_lost_input]
        if not gone:
            return taken
        connection.execute(_SUPERSEDE, {"numbers": gone, "ended_at": ledger.clock.now()})
    return []


def _taken(connection: Connection, row: Any) -> _Taken:
    try:
        numbers = [int(each) for each in json.loads(row.instances)]
    except (TypeError, ValueError) as error:
        return _Taken(row, fault=fingerprint(error))
    inputs = connection.execute(_INPUTS, {"instances": numbers}).all()
    last = connection.execute(jobs.LAST_REPORT, {"study": row.study_id, "model": row.model}).first()
    header = connection.scalar(_STUDY_HEADER, {"study": row.study_id})
    return _Taken(row, inputs, len(inputs) < len(numbers), last, header)


def _read(ledger: Ledger, taken: _Taken, owner: str) -> Job | None:
    """The job that was taken; None where it cannot be read, and has ended so."""
    fault = taken.fault
    if not fault:
        try:
            return _job(taken, owner)
        except Exception as error:  # noqa: BLE001 (this one's trouble: the others go on)
            fault = fingerprint(error)
    row, nobody = taken.row, Header("", "", "", "", "")
    its = (row.id, row.study_id, row.model, row.version, row.result_number, row.attempts)
    job = Job(*its, owner, row.queued_at, nobody, (), None, mode=Mode(row.mode))
    with suppress(SQLAlchemyError):  # nobody renews its lease then: it comes again
        jobs.fail(ledger, job, f"its input cannot be read from the ledger: {fault}")
    return None


def _job(taken: _Taken, owner: str) -> Job:
    row = taken.row
    inputs = [(each.id, each.key, Header.from_json(json.loads(each.header))) for each in taken.inputs]
    doubtful = frozenset(json.loads(row.doubtful or "null") or ())
    return Job(
        row.id,
        row.study_id,
        row.model,
        row.version,
        row.result_number,
        row.attempts,
        owner,
        row.queued_at,
        Header.from_json(json.loads(taken.study_header or "{}")),
        tuple((key, header) for _, key, header in inputs),
        ImageRef(*taken.last_report) if taken.last_report else None,
        frozenset(header.sop_instance_uid for number, _, header in inputs if number in doubtful),
        Mode(row.mode),
    )
