"""Jobs: ended once with all that they leave, returned when their worker dies, asked again by a person."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, insert, or_, select, update

from imaging import crash
from imaging.domain.artefacts import REPORT, StoredArtefact
from imaging.domain.codes import Code
from imaging.domain.findings import Answer, ImageRef, State, TriageClass
from imaging.domain.header import Header
from imaging.domain.modes import Mode
from imaging.domain.patient import is_one_patient
from imaging.domain.priority import due_after_flag, first_due, most_urgent
from imaging.domain.reasons import SUPERSEDED, Reason
from imaging.domain.states import JOB, UNDONE, DeliveryState, JobEvent, JobState
from imaging.ledger import patients, studies, tables, wakeups
from imaging.ledger.settling import next_result_number
from imaging.ledger.store import BOOTED, Ledger

MODEL_DISABLED: Final = "model-disabled"

MAX_DEATHS: Final = 3
"""Deaths of a worker during one job after which the job is taken for poison."""

# Built once: with each job it would be half of what a statement costs.
_OTHER_JOB: Final = tables.job.alias()
_RETURN: Final = (
    update(tables.job)
    .where(tables.job.c.state == JobState.LEASED)
    .values(
        state=JOB[JobState.LEASED, JobEvent.LEASE_ENDED],
        attempts=tables.job.c.attempts + bindparam("deaths"),
        lease="",
        lease_tick=None,
    )
)
_CONCLUDE: Final = update(tables.job).where(
    tables.job.c.id == bindparam("number"),
    tables.job.c.state == JobState.LEASED,
    tables.job.c.lease == bindparam("holder"),
    tables.job.c.result_number == bindparam("result"),
)
_IS_INPUT: Final = (
    select(func.count())
    .select_from(tables.instance)
    .where(
        tables.instance.c.id.in_(bindparam("instances", expanding=True)),
        tables.instance.c.study_id == bindparam("study"),
    )
)
_ITS_INPUT: Final = select(tables.job.c.instances).where(tables.job.c.id == bindparam("number"))
_SENT_AS: Final = tables.object_.alias()
LAST_REPORT: Final = (
    select(tables.object_.c.sop_class_uid, tables.object_.c.sop_instance_uid, tables.object_.c.series_instance_uid)
    .where(
        tables.object_.c.study_id == bindparam("study"),
        tables.object_.c.model == bindparam("model"),
        tables.object_.c.kind == REPORT,
        tables.object_.c.stands_for_id.is_(None),
        exists().where(
            tables.delivery.c.object_id == _SENT_AS.c.id,
            _SENT_AS.c.study_id == tables.object_.c.study_id,
            func.coalesce(_SENT_AS.c.stands_for_id, _SENT_AS.c.id) == tables.object_.c.id,
        ),
    )
    .order_by(tables.object_.c.id.desc())
    .limit(1)
)
_ADD_OBJECT: Final = insert(tables.object_)
_ADD_DELIVERY: Final = insert(tables.delivery)


@dataclass(frozen=True)
class Job:
    """A leased job: all that a worker needs of the ledger. `instances`: spool key and header facts of the input.

    `predecessor`: the model's last answer for this study that was to be delivered to anybody. `doubtful`: the SOP
    Instance UIDs of the input that have a second content, which nobody has decided on. `mode`: that of its model, when
    it was asked or by now.
    """

    id: int
    study_id: int
    model: str
    version: str
    result_number: int
    deaths: int
    lease: str
    queued_at: datetime
    study: Header
    instances: tuple[tuple[str, Header], ...]
    predecessor: ImageRef | None
    doubtful: frozenset[str] = frozenset()
    mode: Mode = Mode.LIVE


@dataclass(frozen=True)
class NewObject:
    """An object that a job leaves, for the destinations that take its outcome."""

    kept: StoredArtefact
    destinations: tuple[str, ...]


def conclude(ledger: Ledger, job: Job, outcome: Answer, objects: Sequence[NewObject], no_report: str = "") -> bool:
    """Ends a job: its answer, objects and deliveries appear together or not at all.

    `job.version` and `job.mode` are those of the model that answered: an upgrade, or another setting, may lie between
    queueing and answering; the mode is kept, and only a live model raises a flag. `no_report`:
    why there is no object that says it, for who asks for the study's story. An answer about images that are the study's
    no more, or about two patients, is nobody's: the job ends as superseded, and nothing is reported.

    False where the lease had ended: somebody else has the job now, and nothing is written.
    """
    now, outcome = ledger.clock.now(), outcome.in_mode(job.mode)
    with ledger.write() as connection:
        study = studies.locked(connection, job.study_id)
        if study is not None and _is_of_its_study(connection, job, study):
            ended = _end(connection, job, _values(job, outcome, no_report) | {"ended_at": now})
        else:
            outcome, objects = Answer(State.NOT_ANALYSED, reason=Reason(SUPERSEDED)), ()
            ended = _end(connection, job, _values(job, outcome, "") | {"ended_at": now})
        if not ended:
            return False
        if study is not None:
            _raise_study(connection, study, outcome.flag)
        for each in objects:
            _add_object(connection, job, each, now)
        crash.point("conclusion-not-committed")
    crash.point("concluded")
    ledger.wakeups.notify(wakeups.STUDY, *([wakeups.DELIVERY] if objects else []))
    return True


def fail(ledger: Ledger, job: Job, fault: str) -> bool:
    """Ends a job of which nothing else can be said, without a report; `fault`: why, without patients' data."""
    values = _values(job, Answer(State.FAILED, fault=fault), fault) | {"ended_at": ledger.clock.now()}
    with ledger.write() as connection:
        studies.lock(connection, [job.study_id])
        ended = _end(connection, job, values)
    ledger.wakeups.notify(wakeups.STUDY)
    return ended


def _is_of_its_study(connection: Connection, job: Job, study: Any) -> bool:
    """Whether a job's input is still its study's, and the study one patient's: asked where the answer is written down.

    What came since is no matter: it makes an answer of its own, or is kept apart.
    """
    inputs = set(connection.scalar(_ITS_INPUT, {"number": job.id}) or ())
    if not is_one_patient(patients.named(study)):
        return False
    return connection.scalar(_IS_INPUT, {"instances": sorted(inputs), "study": job.study_id}) == len(inputs)


def _values(job: Job, outcome: Answer, no_report: str) -> dict[str, Any]:
    """What a job's row says of its end."""
    event = {
        State.ANALYSED: JobEvent.FINDINGS,
        State.NOT_ANALYSED: JobEvent.REASON,
        State.FAILED: JobEvent.FAULT,
    }[outcome.state]
    return {
        "state": JOB[JobState.LEASED, event],
        "version": job.version,
        "reason": outcome.why,
        "found": found(each.code for each in outcome.findings if each.present and job.mode is not Mode.SHADOW),
        "outcome": replace(outcome, model=job.model, version=job.version, mode=job.mode).to_json()
        | {"no_report": no_report},
        "in_part": outcome.is_in_part,
        "mode": job.mode,
    }


def _end(connection: Connection, job: Job, values: Mapping[str, Any]) -> bool:
    which = {"number": job.id, "holder": job.lease, "result": job.result_number, "lease_tick": None}
    return connection.execute(_CONCLUDE, which | dict(values)).rowcount == 1


def found(codes: Iterable[Code]) -> str:
    """Codes as the column `found` holds them, "" for none; `found_codes` reads them."""
    known = sorted(set(codes))
    return json.dumps([[each.scheme, each.value, each.meaning] for each in known]) if known else ""


def found_codes(text: str) -> list[Code]:
    """The inverse of `found`."""
    return [Code(*each) for each in json.loads(text)] if text else []


def _raise_study(connection: Connection, row: Any, flag: TriageClass | None) -> None:
    """A flag stays, and may only shorten the due time, of the study and of what is still to be done for it.

    `row`: the study's, locked: of two answers that come together neither lowers what the other raised.
    """
    if flag is None:
        return
    study, job = tables.study, tables.job
    due_at = due_after_flag(row.due_at, row.received_at, flag)
    highest = most_urgent(flag, TriageClass(row.flag) if row.flag else None)
    connection.execute(update(study).where(study.c.id == row.id).values(flag=str(highest), due_at=due_at))
    if due_at < row.due_at:
        undone = (job.c.study_id == row.id) & job.c.state.in_(UNDONE)
        connection.execute(update(job).where(undone).values(due_at=due_at))


def _add_object(connection: Connection, job: Job, new: NewObject, now: datetime) -> None:
    row = {"study_id": job.study_id, "job_id": job.id, "model": job.model, "built_at": now} | asdict(new.kept)
    object_id = int((connection.execute(_ADD_OBJECT, row).inserted_primary_key or (0,))[0])
    for destination in new.destinations:
        delivery = {
            "study_id": job.study_id,
            "object_id": object_id,
            "destination": destination,
            "state": DeliveryState.WAITING,
            "due_tick": 0.0,
            "created_at": now,
        }
        connection.execute(_ADD_DELIVERY, delivery)


def release_leases(ledger: Ledger, owner: str, *, running_jobs: Collection[int] = ()) -> int:
    """Returns the leases of a worker that ended; that it died counts against the jobs that were `running_jobs`.

    Where the machine went with it nobody knows which were: then it counts against all that it held.
    """
    job = tables.job
    its = _RETURN.where(job.c.lease.startswith(owner, autoescape=True))
    suspects = or_(job.c.id.in_(running_jobs), job.c.lease_tick == BOOTED)
    with ledger.write() as connection:
        returned = connection.execute(its.where(suspects), {"deaths": 1}).rowcount
        returned += connection.execute(its, {"deaths": 0}).rowcount
    if returned:
        ledger.wakeups.notify(wakeups.JOB, wakeups.STUDY)
    return returned


def replay(ledger: Ledger, study_uids: Sequence[str] | None = None) -> int:
    """Queues failed jobs again, each as its model's next answer; with `study_uids` also what was not analysed there.

    Only a model's last job for a study: where a later revision came, that one answers.
    """
    job, study = tables.job, tables.study
    which = job.c.state == JobState.FAILED
    if study_uids is not None:
        ids = select(study.c.id).where(study.c.study_instance_uid.in_(study_uids))
        which = job.c.state.in_([JobState.NOT_ANALYSED, JobState.FAILED]) & job.c.study_id.in_(ids)
    return _replay(ledger, which)


def replay_disabled(ledger: Ledger, model: str, since: datetime | None) -> int:
    """Queues again what was not analysed since the model was disabled, of studies received since then.

    They stand behind what waits: they are due as if their study had come now.
    """
    job = tables.job
    which = (job.c.state == JobState.NOT_ANALYSED) & (job.c.model == model) & (job.c.reason == MODEL_DISABLED)
    if since is not None:
        which &= job.c.received_at >= since
    return _replay(ledger, which, due_at=first_due(ledger.clock.now()))


def _replay(ledger: Ledger, which: ColumnElement[bool], **values: Any) -> int:
    job, later = tables.job, _OTHER_JOB
    is_last = ~exists().where(
        later.c.study_id == job.c.study_id,
        later.c.model == job.c.model,
        later.c.result_number > job.c.result_number,
    )
    with ledger.write() as connection:
        rows = connection.execute(
            select(job.c.id, job.c.study_id, job.c.model, job.c.state).where(which, is_last)
        ).all()
        studies.lock(connection, {row.study_id for row in rows})
        replayed = 0
        for row in rows:
            replayed += connection.execute(
                update(job)
                .where(job.c.id == row.id, job.c.state == row.state)
                .values(
                    state=JOB[JobState(row.state), JobEvent.REPLAYED],
                    result_number=next_result_number(connection, row.study_id, row.model),
                    reason=None,
                    outcome=None,
                    in_part=False,
                    ended_at=None,
                    attempts=0,
                    queued_at=ledger.clock.now(),
                    **values,
                )
            ).rowcount
    if replayed:
        ledger.wakeups.notify(wakeups.JOB, wakeups.STUDY)
    return replayed
