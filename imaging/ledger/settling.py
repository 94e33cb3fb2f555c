"""Studies that may be whole, and what settling them leaves: a revision and a job per model that fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from imaging import crash
from imaging.domain.findings import Answer, State
from imaging.domain.header import Header
from imaging.domain.modes import Mode
from imaging.domain.patient import is_one_patient
from imaging.domain.priority import SHADOW_BAND
from imaging.domain.reasons import SUPERSEDED
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, Incomplete, Pace, Signals, has_gap, is_short, is_volume
from imaging.domain.states import STUDY, UNCERTAIN, ApartState, JobState, StudyEvent, StudyState
from imaging.ledger import patients, studies, tables, wakeups
from imaging.ledger.anew import supersede
from imaging.ledger.quarantine import MIXED_PATIENTS, OTHER_CONTENT
from imaging.ledger.store import Ledger

GIVEN_UP: Final = "given up"
"""The signal of a study that could not be looked at."""

_AT_ONCE: Final = 50

# Built once: with each study it would be half of what a statement costs.
_STUDY: Final = select(tables.study).where(tables.study.c.id == bindparam("study"))
_DUE: Final = (
    select(tables.study.c.id)
    .where(tables.study.c.settle_tick <= bindparam("tick"))
    .order_by(tables.study.c.settle_tick)
    .limit(_AT_ONCE)
)
_NEXT_DUE: Final = select(func.min(tables.study.c.settle_tick)).where(tables.study.c.settle_tick > bindparam("tick"))
_INSTANCES: Final = (
    select(tables.instance.c.id, tables.instance.c.header)
    .where(tables.instance.c.study_id == bindparam("study"))
    .order_by(tables.instance.c.id)
)
_IMAGES: Final = select(tables.instance.c.id).where(tables.instance.c.study_id == bindparam("study"))
_MODALITIES: Final = select(tables.series.c.modality).where(tables.series.c.study_id == bindparam("study"))
_PACES: Final = (
    select(tables.series.c.last_tick, tables.series.c.longest_pause_s, tables.series.c.is_split)
    .where(tables.series.c.study_id == bindparam("study"), tables.series.c.last_tick.is_not(None))
    .order_by(tables.series.c.id)
)
_QUARANTINED: Final = select(tables.conflict.c.state, tables.conflict.c.why, tables.conflict.c.sop_instance_uid).where(
    tables.conflict.c.study_id == bindparam("study"),
    tables.conflict.c.state.in_(UNCERTAIN),
)
_INPUTS_OF_MODELS: Final = (
    select(tables.job.c.model, tables.job.c.version, tables.job.c.instances, tables.job.c.doubtful, tables.job.c.mode)
    .where(tables.job.c.study_id == bindparam("study"), tables.job.c.reason.is_distinct_from(SUPERSEDED))
    .order_by(tables.job.c.id)
)
_LAST_REVISION: Final = select(func.max(tables.revision.c.number)).where(
    tables.revision.c.study_id == bindparam("study")
)
_LAST_RESULT: Final = select(func.max(tables.job.c.result_number)).where(
    tables.job.c.study_id == bindparam("study"), tables.job.c.model == bindparam("model")
)
_LAST_REMOVED: Final = select(tables.last_result.c.result_number).where(
    tables.last_result.c.study_instance_uid
    == select(tables.study.c.study_instance_uid).where(tables.study.c.id == bindparam("study")).scalar_subquery(),
    tables.last_result.c.model == bindparam("model"),
)
_UNCHANGED: Final = update(tables.study).where(
    tables.study.c.id == bindparam("number"),
    tables.study.c.last_tick == bindparam("came"),
)
_RECEIVING: Final = _UNCHANGED.where(tables.study.c.state == StudyState.RECEIVING)
_LOOK_AGAIN: Final = _RECEIVING.where(tables.study.c.ended_tick.is_not_distinct_from(bindparam("ended")))
_SETTLED: Final[Mapping[str, Any]] = {
    "state": STUDY[StudyState.RECEIVING, StudyEvent.COMPLETE],
    "settle_tick": None,
    "cut_tick": None,
    "cut_by": {},
}
_SETTLE: Final = _RECEIVING.values(_SETTLED)
_GIVE_UP: Final = (
    update(tables.study)
    .where(tables.study.c.id == bindparam("number"), tables.study.c.state == StudyState.RECEIVING)
    .values(_SETTLED)
)
_REVISED: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
_ADD_REVISION: Final = insert(tables.revision)
_ADD_JOB: Final = insert(tables.job)


@dataclass(frozen=True)
class Candidate:
    """A study that may be whole. `instances`: header by row number. `doubt`: why its patient is in doubt, or empty.

    `contradicted`: the SOP Instance UIDs under which there is another content, on which nobody has decided. `inputs`:
    what each model was last given and answered or will answer, by model and version, as row numbers; `doubts`: those of
    them that were contradicted then; `shadowed`: the models and versions that were in shadow then.
    """

    id: int
    signals: Signals
    instances: Mapping[int, Header]
    doubt: str
    inputs: Mapping[tuple[str, str], frozenset[int]]
    contradicted: frozenset[str] = frozenset()
    doubts: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    shadowed: frozenset[tuple[str, str]] = frozenset()

    @property
    def doubtful(self) -> frozenset[int]:
        """The instances that are contradicted."""
        return frozenset(n for n, each in self.instances.items() if each.sop_instance_uid in self.contradicted)


@dataclass(frozen=True)
class NewJob:
    """A model that fits, and the row numbers of its input; `doubtful`: those that have an open conflict.

    `fault`: why it is answered as failed at once; empty where it is to be analysed. `mode`: that of the model now.
    """

    model: str
    version: str
    instances: frozenset[int]
    doubtful: frozenset[int] = frozenset()
    fault: str = ""
    mode: Mode = Mode.LIVE

    @property
    def is_shown(self) -> bool:
        """Whether its answer counts for the study."""
        return self.mode is not Mode.SHADOW


@dataclass(frozen=True)
class Whole:
    """A study that is whole, by `signal`, and what it leaves: jobs, or `reason`, why no model is asked; or neither."""

    candidate: Candidate
    signal: str
    jobs: Sequence[NewJob]
    reason: str


def due_studies(ledger: Ledger) -> tuple[list[int], float | None]:
    """The row numbers of the first studies to look at now, and the tick at which the next one is due."""
    with ledger.read() as connection:
        tick = ledger.clock.tick()
        found = list(connection.scalars(_DUE, {"tick": tick}))
        if len(found) == _AT_ONCE:
            return found, tick
        later = connection.scalar(_NEXT_DUE, {"tick": tick})
    return found, later


def candidate(ledger: Ledger, study_id: int) -> Candidate:
    """A study with all that its settling is decided by."""
    with ledger.read() as connection:
        return _candidate(connection, study_id)


def _candidate(connection: Connection, study_id: int) -> Candidate:
    row = connection.execute(_STUDY, {"study": study_id}).one()
    instances = connection.execute(_INSTANCES, {"study": study_id})
    headers = {each.id: Header.from_json(each.header) for each in instances}
    quarantined = _quarantined(connection, row)
    signals = Signals(
        row.first_tick,
        row.last_tick,
        row.ended_tick,
        row.revised_tick,
        is_volume(headers.values()),
        has_gap(list(headers.values())) or is_short(headers.values()),
        row.settle_why == CONFLICT_SETTLED,
        row.settle_why if row.settle_why in JUDGED else "",
        quarantined.has_unjudged,
        row.cut_tick,
        tuple(Pace(*each) for each in connection.execute(_PACES, {"study": study_id})),
    )
    inputs = connection.execute(_INPUTS_OF_MODELS, {"study": study_id}).all()
    modes = {(each.model, each.version): each.mode for each in inputs}
    return Candidate(
        study_id,
        signals,
        headers,
        quarantined.doubt,
        {(each.model, each.version): frozenset(each.instances) for each in inputs},
        quarantined.contradicted,
        {(each.model, each.version): frozenset(each.doubtful or ()) for each in inputs},
        frozenset(which for which, mode in modes.items() if mode == Mode.SHADOW),
    )


@dataclass(frozen=True)
class _Quarantined:
    """What is kept apart of a study, and not decided on.

    Another patient stops the study; another content under a UID only leaves in doubt what was not found there.
    """

    doubt: str
    contradicted: frozenset[str]
    has_unjudged: bool


def _quarantined(connection: Connection, study: Any) -> _Quarantined:
    rows = connection.execute(_QUARANTINED, {"study": study.id}).all()
    is_open = [each for each in rows if each.state == ApartState.OPEN]
    is_mixed = any(each.why == MIXED_PATIENTS for each in is_open)
    return _Quarantined(
        MIXED_PATIENTS if is_mixed or not is_one_patient(patients.named(study)) else "",
        frozenset(each.sop_instance_uid for each in is_open if each.why == OTHER_CONTENT),
        len(is_open) < len(rows),
    )


def look_again(ledger: Ledger, postponed: Sequence[tuple[Candidate, Incomplete]]) -> None:
    """Puts off the next look at each, unless something came meanwhile, or another node settled the study."""
    rows = [
        _which(candidate)
        | {"ended": candidate.signals.ended_tick, "settle_tick": verdict.at, "settle_why": verdict.why}
        for candidate, verdict in sorted(postponed, key=lambda each: each[0].id)  # locked in order, as everywhere
    ]
    with ledger.write(is_durable=False) as connection:
        connection.execute(_LOOK_AGAIN, rows)


def _which(candidate: Candidate) -> dict[str, Any]:
    return {"number": candidate.id, "came": candidate.signals.last_tick}


def postpone(ledger: Ledger, study_id: int, until: float, why: str) -> None:
    """Puts off the next look at a study that cannot be settled now, so that it does not hold up the others."""
    study = tables.study
    with ledger.write(is_durable=False) as connection:
        connection.execute(
            update(study)
            .where(study.c.id == study_id, study.c.state == StudyState.RECEIVING)
            .values(settle_tick=until, settle_why=why)
        )


def settle(ledger: Ledger, candidate: Candidate, signal: str, jobs: Sequence[NewJob], reason: str) -> bool:
    """Takes the study as whole: one revision with its jobs, or none where no model's input changed.

    `reason`: why no model is asked, or empty. False where something came meanwhile.
    """
    return settle_together(ledger, [Whole(candidate, signal, jobs, reason)])[0]


def settle_together(ledger: Ledger, wholes: Sequence[Whole]) -> list[bool]:
    """As `settle`, for many in one durable transaction, since what is received meanwhile waits for each; all or none.

    Which were settled, in their order.
    """
    with ledger.write(is_durable=False) as connection:
        studies.lock(connection, {each.candidate.id for each in wholes})
        settled = [_is_settled(ledger, connection, each) for each in wholes]
        crash.point("settle-not-committed")
    if any(settled):
        crash.point("settled")
        has_jobs = any(each.jobs for each, is_settled in zip(wholes, settled, strict=True) if is_settled)
        ledger.wakeups.notify(wakeups.STUDY, *([wakeups.JOB] if has_jobs else []))
    return settled


def _is_settled(ledger: Ledger, connection: Connection, whole: Whole) -> bool:
    candidate = whole.candidate
    study = studies.locked(connection, candidate.id)
    if study is None or not is_as_seen(connection, study, candidate):
        return False
    values = _which(candidate) | {"settle_why": whole.signal, "reason": whole.reason}
    if not connection.execute(_SETTLE, values).rowcount:
        return False
    if whole.jobs:
        add_revision(ledger, connection, candidate.id, whole.signal, whole.jobs)
    return True


def modalities(ledger: Ledger, study_id: int) -> frozenset[str]:
    """Those of a study's series."""
    with ledger.read() as connection:
        return frozenset(connection.scalars(_MODALITIES, {"study": study_id}))


def give_up(ledger: Ledger, study_id: int, models: Sequence[tuple[str, str, Mode]], fault: str) -> bool:
    """Settles a study that cannot be looked at: each of these models, by name, version and mode, is answered as failed.

    `imaging replay` asks them again. False where it was settled meanwhile.
    """
    with ledger.write() as connection:
        studies.lock(connection, [study_id])
        inputs = frozenset(connection.scalars(_IMAGES, {"study": study_id}))
        jobs = [NewJob(model, version, inputs, fault=fault, mode=mode) for model, version, mode in models]
        reason = "" if any(each.is_shown for each in jobs) else "no-model"
        whole = {"number": study_id, "settle_why": GIVEN_UP, "reason": reason}
        if not connection.execute(_GIVE_UP, whole).rowcount:
            return False
        if jobs:
            add_revision(ledger, connection, study_id, GIVEN_UP, jobs)
    ledger.wakeups.notify(wakeups.STUDY)
    return True


def is_as_seen(connection: Connection, study: Any, candidate: Candidate) -> bool:
    """Whether nothing came to a study, nor to what is kept apart of it, since it was looked at. `study`: its row."""
    quarantined = _quarantined(connection, study)
    seen = (candidate.signals.last_tick, candidate.doubt, candidate.contradicted)
    return (study.last_tick, quarantined.doubt, quarantined.contradicted) == seen


def add_revision(
    ledger: Ledger,
    connection: Connection,
    study_id: int,
    signal: str,
    jobs: Sequence[NewJob],
    due_at: datetime | None = None,
) -> None:
    """A revision of a study with its jobs; `due_at`: when they are due, where it is not when the study is."""
    now = ledger.clock.now()
    number = 1 + (connection.scalar(_LAST_REVISION, {"study": study_id}) or 0)
    row: dict[str, Any] = {"study_id": study_id, "number": number, "settled_at": now, "signal": signal}
    revision_id = int((connection.execute(_ADD_REVISION, row).inserted_primary_key or (0,))[0])
    connection.execute(_REVISED, {"number": study_id, "revised_tick": ledger.clock.tick()})
    place = connection.execute(_STUDY, {"study": study_id}).one()
    for each in jobs:
        supersede(ledger, connection, study_id, each.model)
        row = {
            "study_id": study_id,
            "revision_id": revision_id,
            "model": each.model,
            "version": each.version,
            "result_number": next_result_number(connection, study_id, each.model),
            "instances": sorted(each.instances),
            "doubtful": sorted(each.doubtful),
            "state": JobState.QUEUED,
            "band": place.band if each.is_shown else SHADOW_BAND,
            "due_at": due_at or place.due_at,
            "received_at": place.received_at,
            "queued_at": now,
            "mode": each.mode,
        }
        if each.fault:
            failed = Answer(State.FAILED, fault=each.fault, model=each.model, version=each.version, mode=each.mode)
            outcome = failed.to_json() | {"no_report": each.fault}
            row |= {"state": JobState.FAILED, "reason": each.fault, "ended_at": now, "outcome": outcome}
        connection.execute(_ADD_JOB, row)


def next_result_number(connection: Connection, study_id: int, model: str) -> int:
    """The number of this model's next answer for this study, also where earlier ones were removed with it."""
    which = {"study": study_id, "model": model}
    last = connection.scalar(_LAST_RESULT, which)
    if last is None:
        last = connection.scalar(_LAST_REMOVED, which)
    return 1 + (last or 0)
