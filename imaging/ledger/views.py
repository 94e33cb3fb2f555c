"""What people ask of the ledger: the worklist, the status, a study's story, the associations."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)

from imaging.domain.alarms import Health
from imaging.domain.artefacts import REPORT
from imaging.domain.findings import Answer, State, TriageClass, why_of
from imaging.domain.header import Header, age_text
from imaging.domain.priority import ORDER, most_urgent
from imaging.domain.reasons import SUPERSEDED, Reason
from imaging.domain.states import ENDED, DeliveryState, JobState, StudyState
from imaging.domain.worklist import Asked, Listing, PageState, Row, Word
from imaging.ledger import health, returned, tables
from imaging.ledger.jobs import found_codes
from imaging.ledger.receiving import MIXED_PATIENTS, OTHER_CONTENT, SHARED, is_stopped
from imaging.ledger.spared import Spared
from imaging.ledger.store import Ledger

_PEER: Final = {True: "up", False: "down", None: "not tried yet"}


class LedgerWorklist:
    """The worklist's rows, from the ledger (`imaging.domain.worklist.Worklist`). `health`: how its home is now."""

    def __init__(self, ledger: Ledger, health: Callable[[], Health] = Health) -> None:
        self._ledger, self._health = ledger, health
        self._revision = Revision(ledger)
        self._states = Spared(partial(_states_of, ledger), self._revision.now)

    def listing(self, asked: Asked) -> Listing:
        states, study = self.states(), tables.study
        with self._ledger.read() as connection:
            passes = _passes(connection, asked.words)
            total = connection.scalar(select(func.count()).select_from(study)) or 0
            unflagged = total - _count(connection, study.c.flag.is_not(None))
            rest = unflagged if passes is None else _count(connection, study.c.flag.is_(None) & passes)
            pages = max(1, -(-rest // asked.size))
            page = min(max(1, asked.page), pages)
            found = _page(connection, passes, asked.size, (page - 1) * asked.size)
            rows = sorted(_rows(connection, found), key=_place)
            flagged = sum(row.flag is not None for row in rows)
            return Listing(
                rows=tuple(rows),
                page=page,
                pages=pages,
                hidden=max(0, total - rest - flagged),
                total=total,
                counts=states,
                newest=connection.scalar(select(func.max(study.c.id))) or 0,
                new=_later(connection, asked.after, passes),
            )

    def states(self) -> Mapping[PageState, int]:
        """How many studies are in each state; where counting takes long, as they were a while ago (`Spared`)."""
        return self._states.value()

    def rows(self, numbers: Sequence[int], words: Sequence[Word] = ()) -> list[Row]:
        with self._ledger.read() as connection:
            return _rows(connection, _numbered(connection, numbers, _passes(connection, words)))

    def numbered(self, number: int) -> Row | None:
        """The row of our own number, with its reports."""
        with self._ledger.read() as connection:
            row = next(iter(_rows(connection, _numbered(connection, [number]))), None)
            return _with_reports(connection, row) if row else None

    def revision(self) -> object:
        return self._revision.now(), self._health().look, self._states.is_due()

    def health(self) -> Health:
        return self._health()


class Revision:
    """The ledger's revision: another one after each commit of another connection, whatever it changed.

    The databases count commits themselves, so no writer can forget to, and nobody waits for a counter.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._connection: Connection | None = None

    def now(self) -> object:
        """What SQLite counts is counted for one connection, which is therefore kept; and it is read in turn."""
        if not self._ledger.is_sqlite:
            with self._ledger.read() as connection:
                return connection.scalar(text("SELECT CAST(pg_current_snapshot() AS text)"))
        with self._lock:
            self._connection = self._connection or self._ledger.engine.connect()
            with self._connection.begin():
                return self._connection.scalar(text("PRAGMA data_version"))


def _states_of(ledger: Ledger) -> Mapping[PageState, int]:
    state = _page_state()
    with ledger.read() as connection:
        found = connection.execute(select(state, func.count()).group_by(state)).all()
    return Counter({PageState(name): count for name, count in found})


def _page_state() -> ColumnElement[str]:
    """A study's state on the page: that of its most pressing job, if nothing else holds."""
    study, job = tables.study, tables.job
    is_last = _is_last_answer()
    pressing = (
        select(
            func.max(
                case(
                    (job.c.state == JobState.LEASED, 6),
                    (job.c.state == JobState.QUEUED, 5),
                    (and_(job.c.state == JobState.FAILED, is_last), 4),
                    (and_(job.c.state == JobState.NOT_ANALYSED, is_last), 3),
                    (and_(job.c.in_part, is_last), 2),
                    (is_last, 1),
                    else_=0,
                )
            )
        )
        .where(job.c.study_id == study.c.id)
        .correlate(study)
        .scalar_subquery()
    )
    of_jobs = {
        6: PageState.ANALYSING,
        5: PageState.WAITING,
        4: PageState.FAILED,
        2: PageState.IN_PART,
        1: PageState.CLEAR,
    }
    return case(
        (study.c.flag.is_not(None), PageState.FLAGGED),
        (study.c.state == StudyState.RECEIVING, PageState.RECEIVING),
        (and_(study.c.conflicts > 0, is_stopped(study.c.id), pressing < 4), PageState.NOT_ANALYSED),
        (and_(study.c.conflicts > 0, pressing == 1), PageState.IN_PART),
        else_=case(of_jobs, value=pressing, else_=PageState.NOT_ANALYSED),
    )


def _is_last_answer() -> ColumnElement[bool]:
    """Whether a job holds its model's latest answer for its study, as `_answers` finds it."""
    job, later = tables.job, tables.job.alias()
    newer = exists().where(
        later.c.study_id == job.c.study_id, later.c.model == job.c.model, later.c.id > job.c.id, _is_answer(later)
    )
    return and_(_is_answer(job), ~newer)


def _is_answer(job: Any) -> ColumnElement[bool]:
    return and_(job.c.state.in_(sorted(ENDED)), func.coalesce(job.c.reason, "") != SUPERSEDED)


def _passes(connection: Connection, words: Sequence[Word]) -> ColumnElement[bool] | None:
    """Whether a study passes the filter; None where there is none."""
    return and_(*(_has(connection, word) for word in words)) if words else None


def _has(connection: Connection, word: Word) -> ColumnElement[bool]:
    """Whether a study has a word of the filter."""
    study, job = tables.study, tables.job
    ways: list[ColumnElement[bool]] = [study.c.folded.contains(word.text, autoescape=True)]
    if word.states:
        ways.append(_page_state().in_(sorted(word.states)))
    if word.regions:
        region = func.upper(study.c.header["body_part_examined"].as_string())
        ways.append(region.in_(sorted(word.regions)))
    known = connection.scalars(select(job.c.found).where(job.c.found != "").distinct())
    meant = [each for each in known if any(word.names(code) for code in found_codes(each))]
    if meant:
        ways.append(study.c.id.in_(select(job.c.study_id).where(job.c.found.in_(meant), _is_last_answer())))
    return or_(*ways)


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(tables.study).where(which)) or 0


def _later(connection: Connection, after: int | None, passes: ColumnElement[bool] | None) -> frozenset[int]:
    if after is None:
        return frozenset()
    later = select(tables.study.c.id).where(tables.study.c.id > after)
    return frozenset(connection.scalars(later if passes is None else later.where(passes)))


def _page(connection: Connection, passes: ColumnElement[bool] | None, size: int, offset: int) -> list[Any]:
    """The flagged studies, and a part of the rest, each that passes."""
    study = tables.study
    flagged = _studies(passes).where(study.c.flag.is_not(None))
    rest = _studies().where(study.c.flag.is_(None))
    if passes is not None:
        flagged, rest = flagged.where(or_(study.c.flag == TriageClass.STAT, passes)), rest.where(passes)
    order = (*tables.in_order(study), study.c.study_instance_uid)
    return [*connection.execute(flagged), *connection.execute(rest.order_by(*order).limit(size).offset(offset))]


def _place(row: Row) -> tuple[Any, ...]:
    return (*(getattr(row, name) for name in ORDER), row.study_uid)


def _studies(passes: ColumnElement[bool] | None = None) -> Select[Any]:
    """What a row needs of studies. JSON is left as text: `_row` remembers what it made of the same text.

    `passes`: whether a study passes the filter, where it may not.
    """
    study = tables.study
    names = ("id", "study_instance_uid", "state", "folded", "received_at", "due_at", "band", "reason")
    return select(
        *(study.c[name] for name in names),
        study.c.conflicts,
        study.c.corrections,
        and_(study.c.conflicts > 0, is_stopped(study.c.id)).label("is_stopped"),
        study.c.instances,
        _shared(),
        _page_state().label("page_state"),
        (literal(value=True) if passes is None else passes).label("passes"),
        cast(study.c.header, Text).label("header"),
    )


def _shared() -> ColumnElement[int]:
    """How many of a study's UIDs stand for an object of another study as well."""
    study, conflict = tables.study, tables.conflict
    its = (conflict.c.study_id == study.c.id, conflict.c.state == SHARED)
    counted = select(func.count()).select_from(conflict).where(*its).correlate(study)
    return counted.scalar_subquery().label("shared")


def _numbered(connection: Connection, numbers: Sequence[int], passes: ColumnElement[bool] | None = None) -> list[Any]:
    found: list[Any] = []
    for some in _in_parts(numbers):
        found += connection.execute(_studies(passes).where(tables.study.c.id.in_(some)))
    return found


def _in_parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), 500):
        yield numbers[start : start + 500]


def _rows(connection: Connection, studies: Sequence[Any]) -> list[Row]:
    model = tables.model
    synthetic = frozenset(connection.scalars(select(model.c.name).where(model.c.is_synthetic)))
    job = tables.job
    query = select(
        job.c.study_id,
        job.c.model,
        job.c.version,
        job.c.state,
        job.c.reason,
        cast(job.c.outcome, Text).label("outcome"),
    )
    jobs: dict[int, list[Any]] = {study.id: [] for study in studies}
    for ids in _in_parts([study.id for study in studies]):
        for each in connection.execute(query.where(job.c.study_id.in_(ids)).order_by(job.c.id)):
            jobs[each.study_id].append(each)
    doubtful = _doubtful(connection, [study.id for study in studies if study.conflicts])
    return [_row(study, tuple(jobs[study.id]), synthetic, doubtful.get(study.id, frozenset())) for study in studies]


def _doubtful(connection: Connection, numbers: Sequence[int]) -> dict[int, frozenset[str]]:
    """By study the SOP Instance UIDs under which there is another content, on which nobody has decided."""
    table, found = tables.conflict, dict[int, set[str]]()
    is_open = (table.c.state == "open") & (table.c.why == OTHER_CONTENT)
    for some in _in_parts(numbers):
        query = select(table.c.study_id, table.c.sop_instance_uid).where(table.c.study_id.in_(some), is_open)
        for each in connection.execute(query):
            found.setdefault(each.study_id, set()).add(each.sop_instance_uid)
    return {number: frozenset(uids) for number, uids in found.items()}


@lru_cache(maxsize=8192)
def _row(study: Any, jobs: tuple[Any, ...], synthetic: frozenset[str], doubtful: frozenset[str]) -> Row:
    """A study's row. A page is read again and again, and few of its rows have changed meanwhile.

    A conflict that is found after an answer puts it in doubt at once; the model is asked anew as well.
    """
    header = Header.from_json(json.loads(study.header))
    results = [each.doubted_for(doubtful) for each in _answers(jobs)]
    is_running = any(each.state not in ENDED for each in jobs)
    if study.reason and not results:
        results = [Answer(State.NOT_ANALYSED, reason=Reason.parse(study.reason))]
    is_receiving = study.state == StudyState.RECEIVING
    reasons = [each.reason for each in results if each.state is State.NOT_ANALYSED and each.reason]
    if study.is_stopped:  # it came after the answer
        reasons.insert(0, Reason(MIXED_PATIENTS))
    return Row(
        number=study.id,
        study_uid=study.study_instance_uid,
        patient_name=header.patient_name,
        patient_id=header.patient_id,
        issuer=header.issuer_of_patient_id,
        sex=header.patient_sex,
        age=age_text(header),
        modality=header.modality,
        body_part=header.body_part_examined,
        description=header.study_description,
        accession_number=header.accession_number,
        institution=header.institution_name,
        study_date=header.study_date,
        received_at=study.received_at,
        due_at=study.due_at,
        band=study.band,
        state=PageState(study.page_state),
        reason=Reason.parse(study.reason) if study.reason else next(iter(reasons), None),
        flag=most_urgent(*(each.flag for each in results)),
        results=tuple(replace(each, is_synthetic=each.model in synthetic) for each in results),
        instances=study.instances,
        conflicts=study.conflicts,
        shared=study.shared,
        is_changed=bool(results) and (is_receiving or is_running),
        folded=study.folded,
        corrections=study.corrections,
        passes=bool(study.passes),
    )


def _with_reports(connection: Connection, row: Row) -> Row:
    """The row with the SOP Instance UID of each model's last SR."""
    table = tables.object_
    query = select(table.c.model, table.c.sop_instance_uid).where(
        table.c.study_id == row.number, table.c.kind == REPORT, table.c.stands_for_id.is_(None)
    )
    reports = {each.model: each.sop_instance_uid for each in connection.execute(query.order_by(table.c.id))}
    return replace(row, results=tuple(replace(each, sr=reports.get(each.model or "")) for each in row.results))


def _answers(jobs: Iterable[Any]) -> list[Answer]:
    """The latest answer of each model; a flag once raised stays on it."""
    latest: dict[str, Answer] = {}
    for each in jobs:
        if each.state not in ENDED or each.reason == SUPERSEDED:
            continue
        result = _result(each)
        before = latest.get(each.model)
        flag = most_urgent(result.flag, before.flag if before else None)
        latest[each.model] = replace(result, triage=flag or result.triage)
    return list(latest.values())


def _result(job: Any) -> Answer:
    said = json.loads(job.outcome) if isinstance(job.outcome, str) else job.outcome
    if said is None:
        state = State(job.state)
        reason, fault = why_of(state, job.reason)
        return Answer(state, reason=reason, fault=fault, model=job.model, version=job.version)
    return Answer.from_json(said)


def note_role(ledger: Ledger, name: str, state: str, error: str = "") -> None:
    """The supervisor's word on a child."""
    _note(ledger, tables.role, name, {"state": state, "error": error})


def keep_roles(ledger: Ledger, kinds: Collection[str], names: Collection[str]) -> None:
    """Forgets the children of these roles ("worker" of "worker-1") that are not among `names`."""
    role = tables.role
    with ledger.write() as connection:
        for known in connection.scalars(select(role.c.name)).all():
            if known.partition("-")[0] in kinds and known not in names:
                connection.execute(delete(role).where(role.c.name == known))


def keep_models(ledger: Ledger, names: Collection[str]) -> None:
    """Forgets the models that are not among `names`."""
    with ledger.write() as connection:
        connection.execute(delete(tables.model).where(tables.model.c.name.not_in(names)))


def note_model(
    ledger: Ledger,
    name: str,
    version: str,
    fingerprint: str,
    why: str = "",
    *,
    is_served: bool = True,
    is_synthetic: bool = False,
) -> None:
    """A worker's word on a model: served or disabled, with what there is to say of that in `why`.

    `is_synthetic`: it was measured on drawn images alone.
    """
    values = {
        "version": version,
        "fingerprint": fingerprint,
        "is_served": is_served,
        "is_synthetic": is_synthetic,
        "why": why,
    }
    _note(ledger, tables.model, name, values)


def _note(ledger: Ledger, table: Table, name: str, values: Mapping[str, Any]) -> None:
    """Puts the latest word on `name` in place of the one before."""
    with ledger.write() as connection:
        if not connection.execute(update(table).where(table.c.name == name).values(values)).rowcount:
            connection.execute(table.insert().values(name=name, **values))


def has_passed(ledger: Ledger, name: str, fingerprint: str) -> bool:
    """Whether the model's golden case passed already with these weights, on this kind of machine."""
    table = tables.model
    known = (table.c.name == name, table.c.fingerprint == fingerprint, table.c.is_served)
    with ledger.read() as connection:
        return connection.scalar(select(table.c.name).where(*known)) is not None


def status(ledger: Ledger, running: Collection[str] = ()) -> dict[str, Any]:
    """Counts per state, the oldest that waits, dead letters, peers and roles. `running`: the roles that run now."""
    study, job, delivery, peer = tables.study, tables.job, tables.delivery, tables.peer
    with ledger.read() as connection:
        now = ledger.clock.now()
        oldest = health.oldest(connection, now, ledger.clock.tick())
        outboxes = {each.name: each for each in health.outboxes(connection, now)}
        peers = connection.execute(select(peer).order_by(peer.c.name)).all()
        dead = connection.execute(
            select(delivery.c.destination, delivery.c.why, func.count())
            .where(delivery.c.state == DeliveryState.DEAD)
            .group_by(delivery.c.destination, delivery.c.why)
        ).all()
        models = connection.execute(select(tables.model).order_by(tables.model.c.name)).all()
        found = {
            "studies": _counts(connection, study.c.state, StudyState),
            "jobs": _counts(connection, job.c.state, JobState),
            "deliveries": _counts(connection, delivery.c.state, DeliveryState),
            "instances": sum(
                connection.scalar(select(func.count()).select_from(each)) or 0
                for each in (tables.instance, tables.returned)
            ),
            "conflicts": health.kept_apart(connection, "open"),
            "unjudged": health.kept_apart(connection, "unjudged"),
        }
    return found | {
        "oldest_s": {
            "receiving": _seconds(oldest["receiving"]),
            "job": _seconds(oldest["job"]),
            "delivery": _seconds(max((each.oldest for each in outboxes.values() if each.waiting), default=None)),
        },
        "dead_letters": [{"destination": name, "why": why, "count": count} for name, why, count in dead],
        "peers": [
            {
                "name": each.name,
                "state": _PEER[each.is_up],
                "why": each.why,
                "since": _iso(each.since_at),
                "waiting": outboxes[each.name].waiting,
            }
            for each in peers
        ],
        "roles": [vars(each) for each in health.roles(ledger, running)],
        "models": [
            {
                "name": each.name,
                "version": each.version,
                "state": "served" if each.is_served else "disabled",
                "why": each.why,
            }
            for each in models
        ],
    }


def _counts(connection: Connection, column: ColumnElement[str], states: Iterable[str]) -> dict[str, int]:
    counts = {str(each): 0 for each in states}
    found = connection.execute(select(column, func.count()).group_by(column))
    return counts | {str(state): int(count) for state, count in found}


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 1)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


NUMBERED: Final = ("study", "job", "delivery", "copy")
"""What logs name by our own row numbers and belongs to a study."""


def story_of_row(ledger: Ledger, kind: str, number: int) -> list[dict[str, Any]]:
    """The whole story of the study that a row of this kind (of NUMBERED) belongs to; nothing where there is none."""
    study = tables.study
    table = {"job": tables.job, "delivery": tables.delivery, "copy": tables.conflict}.get(kind)
    which = (
        study.c.id == number if table is None else study.c.id.in_(select(table.c.study_id).where(table.c.id == number))
    )
    with ledger.read() as connection:
        return [_story(connection, each) for each in connection.execute(select(study).where(which)).all()]


def story(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """The whole story of the studies with this Study Instance UID or Accession Number."""
    study = tables.study
    with ledger.read() as connection:
        found = connection.execute(select(study).where(study.c.study_instance_uid == name)).all()
        if not found:
            accession = study.c.header["accession_number"].as_string()
            found = connection.execute(select(study).where(accession == name)).all()
        return [_story(connection, each) for each in found]


def _story(connection: Connection, study: Any) -> dict[str, Any]:
    instance, association, revision = tables.instance, tables.association, tables.revision
    job, object_, delivery = tables.job, tables.object_, tables.delivery
    received = connection.execute(
        select(
            association.c.id,
            association.c.calling_ae_title,
            association.c.address,
            association.c.ended_how,
            func.count(instance.c.id).label("instances"),
            func.min(instance.c.received_at).label("first_at"),
            func.max(instance.c.received_at).label("last_at"),
        )
        .select_from(instance.outerjoin(association, association.c.id == instance.c.association_id))
        .where(instance.c.study_id == study.id)
        .group_by(association.c.id)
        .order_by(association.c.id)
    ).all()
    revisions = connection.execute(
        select(revision).where(revision.c.study_id == study.id).order_by(revision.c.number)
    ).all()
    jobs = connection.execute(select(job).where(job.c.study_id == study.id).order_by(job.c.id)).all()
    sent = connection.execute(
        select(
            object_.c.job_id,
            object_.c.sop_instance_uid,
            object_.c.kind,
            object_.c.built_at,
            delivery.c.destination,
            delivery.c.state,
            delivery.c.why,
            delivery.c.attempts,
            delivery.c.ended_at,
        )
        .select_from(object_.outerjoin(delivery, delivery.c.object_id == object_.c.id))
        .where(object_.c.study_id == study.id, or_(delivery.c.id.is_not(None), ~_is_stood_for(object_)))
        .order_by(object_.c.id, delivery.c.id)
    ).all()
    doubtful = _doubtful(connection, [study.id]).get(study.id, frozenset())
    last = {each.model: each.id for each in jobs if each.state in ENDED and each.reason != SUPERSEDED}.values()
    return {
        "row": study.id,
        "study_uid": study.study_instance_uid,
        "site": study.site,
        "state": study.state,
        "waits_for": study.settle_why if study.state == StudyState.RECEIVING else None,
        "reason": study.reason or None,
        "conflicts": study.conflicts,
        "corrections": study.corrections,
        "copies": [_said(each) for each in _copies(connection, study.id)],
        "received_at": _iso(study.received_at),
        "due_at": _iso(study.due_at),
        "shared": _shared_uids(connection, study.id),
        "received": [_said(each) for each in received],
        "returned": _returned(connection, study),
        "revisions": [
            {"number": each.number, "settled_at": _iso(each.settled_at), "signal": each.signal} for each in revisions
        ],
        "results": [_told(each, doubtful if each.id in last else frozenset()) for each in jobs],
        "deliveries": [_said(each) for each in sent],
    }


def _copies(connection: Connection, study_id: int) -> Sequence[Any]:
    """The objects kept apart of a study: what each is taken for, what comparing it found, and who sent it."""
    table, association = tables.conflict, tables.association
    names = ("id", "state", "why", "judgement", "sop_instance_uid", "received_at", "judged_at")
    query = (
        select(*(table.c[name] for name in names), association.c.calling_ae_title, association.c.address)
        .select_from(table.outerjoin(association, association.c.id == table.c.association_id))
        .where(table.c.study_id == study_id, table.c.why != SHARED)
    )
    return connection.execute(query.order_by(table.c.id)).all()


def _shared_uids(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """The UIDs that stand for an object of another study as well, each with those studies."""
    study, instance, conflict = tables.study, tables.instance, tables.conflict
    query = (
        select(conflict.c.sop_instance_uid, study.c.study_instance_uid.label("study_uid"))
        .join(instance, instance.c.sop_instance_uid == conflict.c.sop_instance_uid)
        .join(study, study.c.id == instance.c.study_id)
        .where(conflict.c.study_id == study_id, conflict.c.why == SHARED, study.c.id != study_id)
        .order_by(conflict.c.id, study.c.id)
    )
    return [_said(each) for each in connection.execute(query)]


def _returned(connection: Connection, study: Any) -> list[dict[str, Any]]:
    """The reports of ours that a PACS sent back, as it wrote them."""
    table, association = tables.returned, tables.association
    query = (
        select(
            table.c.sop_instance_uid,
            table.c.received_at,
            association.c.calling_ae_title,
            association.c.address,
            table.c.header["patient_id"].as_string().label("patient_id"),
            table.c.header["issuer_of_patient_id"].as_string().label("issuer"),
            table.c.study_instance_uid.label("study_uid"),
        )
        .outerjoin(association, association.c.id == table.c.association_id)
        .where(returned.of_study(study))
        .order_by(table.c.id)
    )
    return [_said(each) for each in connection.execute(query)]


def _is_stood_for(object_: Any) -> ColumnElement[bool]:
    other = object_.alias()
    return exists().where(other.c.stands_for_id == object_.c.id)


def _said(row: Any) -> dict[str, Any]:
    return {key: _iso(value) if isinstance(value, datetime) else value for key, value in row._mapping.items()}


def _told(job: Any, doubtful: frozenset[str]) -> dict[str, Any]:
    """A job in the JSON shape of a result; one that is not ended has no findings yet."""
    none_yet = Answer(State.NOT_ANALYSED, model=job.model, version=job.version)
    ended = _result(job).doubted_for(doubtful) if job.state in ENDED else none_yet
    return ended.to_json() | {
        "state": job.state,
        "result_number": job.result_number,
        "no_report": (job.outcome or {}).get("no_report") or None,
        "queued_at": _iso(job.queued_at),
        "ended_at": _iso(job.ended_at),
        "deaths": job.attempts,
    }


def associations(ledger: Ledger, last: int, before: int | None = None) -> list[dict[str, Any]]:
    """The last associations, the newest first: who, from where, what was agreed on, how it ended.

    `before`: the number of one; it and newer ones are left out.
    """
    association = tables.association
    wanted = select(association).order_by(association.c.id.desc()).limit(last)
    if before is not None:
        wanted = wanted.where(association.c.id < before)
    with ledger.read() as connection:
        rows = connection.execute(wanted).all()
    return [_said(each) for each in rows]
