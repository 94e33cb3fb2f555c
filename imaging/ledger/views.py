"""What people ask of the ledger: the worklist, the status, a study's story, the associations."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from imaging.domain.findings import ModelResult, State
from imaging.domain.header import Header, age_text
from imaging.domain.priority import most_urgent
from imaging.domain.states import ENDED, DeliveryState, JobState, StudyState
from imaging.domain.worklist import PageState, RoleHealth, Row, page_state
from imaging.ledger import tables
from imaging.ledger.receiving import OTHER_CONTENT
from imaging.ledger.store import Ledger


class LedgerWorklist:
    """The worklist's rows, from the ledger (`imaging.domain.worklist.Worklist`)."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def rows(self, limit: int) -> list[Row]:
        study = tables.study
        query = select(study).order_by(*tables.in_order(study), study.c.study_instance_uid).limit(limit)
        with self._ledger.read() as connection:
            found = connection.execute(query).all()
            return _rows(connection, found)

    def numbered(self, number: int) -> Row | None:
        """The row of our own number."""
        with self._ledger.read() as connection:
            found = connection.execute(select(tables.study).where(tables.study.c.id == number)).all()
            row = next(iter(_rows(connection, found)), None)
            return _with_reports(connection, row) if row else None

    def count(self) -> int:
        with self._ledger.read() as connection:
            return connection.scalar(select(func.count()).select_from(tables.study)) or 0

    def health(self) -> list[RoleHealth]:
        return roles(self._ledger)


def _rows(connection: Connection, studies: Sequence[Any]) -> list[Row]:
    job = tables.job
    jobs: dict[int, list[Any]] = {study.id: [] for study in studies}
    for start in range(0, len(studies), 500):
        ids = [study.id for study in studies[start : start + 500]]
        for each in connection.execute(select(job).where(job.c.study_id.in_(ids)).order_by(job.c.id)):
            jobs[each.study_id].append(each)
    return [_row(study, jobs[study.id]) for study in studies]


def _row(study: Any, jobs: Sequence[Any]) -> Row:
    header = Header.from_json(study.header)
    results, running = _answers(jobs), [JobState(each.state) for each in jobs if each.state not in ENDED]
    if study.reason and not results:
        results = [ModelResult(None, None, State.NOT_ANALYSED, study.reason, None)]
    is_receiving = study.state == StudyState.RECEIVING
    state = page_state(is_receiving, running, results, study.conflicts)
    reasons = [each.reason for each in results if each.state is State.NOT_ANALYSED and each.reason]
    if study.conflicts and state is PageState.NOT_ANALYSED:  # it came after the answer
        reasons.insert(0, OTHER_CONTENT)
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
        state=state,
        reason=study.reason or next(iter(reasons), None),
        flag=most_urgent(*(each.flag for each in results)),
        results=tuple(results),
        instances=study.instances,
        conflicts=study.conflicts,
        is_changed=bool(results) and (is_receiving or bool(running)),
    )


def _with_reports(connection: Connection, row: Row) -> Row:
    """The row with the SOP Instance UID of each model's last SR."""
    table = tables.object_
    query = select(table.c.model, table.c.sop_instance_uid).where(table.c.study_id == row.number, table.c.kind == "sr")
    reports = {each.model: each.sop_instance_uid for each in connection.execute(query.order_by(table.c.id))}
    return replace(row, results=tuple(replace(each, sr=reports.get(each.model or "")) for each in row.results))


def _answers(jobs: Iterable[Any]) -> list[ModelResult]:
    """The latest answer of each model; a flag once raised stays on it."""
    latest: dict[str, ModelResult] = {}
    for each in jobs:
        if each.state not in ENDED or each.reason == "superseded":
            continue
        result = _result(each)
        before = latest.get(each.model)
        flag = most_urgent(result.flag, before.flag if before else None)
        latest[each.model] = replace(result, flag=flag)
    return list(latest.values())


def _result(job: Any) -> ModelResult:
    if job.outcome is None:
        return ModelResult(job.model, job.version, State(job.state), job.reason, None)
    return ModelResult.from_json(job.outcome)


def roles(ledger: Ledger) -> list[RoleHealth]:
    """What the supervisor last said of its children."""
    with ledger.read() as connection:
        found = connection.execute(select(tables.role).order_by(tables.role.c.name)).all()
    return [RoleHealth(each.name, each.state, each.error) for each in found]


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


def note_model(ledger: Ledger, name: str, version: str, fingerprint: str, why: str = "") -> None:
    """A worker's word on a model: served, or disabled for `why`."""
    values = {"version": version, "fingerprint": fingerprint, "is_served": not why, "why": why}
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


def status(ledger: Ledger) -> dict[str, Any]:
    """Counts per state, the oldest that waits, dead letters, peers and roles."""
    study, job, delivery, peer = tables.study, tables.job, tables.delivery, tables.peer
    with ledger.read() as connection:
        oldest = {
            "receiving": connection.scalar(
                select(func.min(study.c.received_at)).where(study.c.state == StudyState.RECEIVING)
            ),
            "job": connection.scalar(
                select(func.min(job.c.queued_at)).where(job.c.state.in_([JobState.QUEUED, JobState.LEASED]))
            ),
            "delivery": connection.scalar(
                select(func.min(delivery.c.created_at)).where(
                    delivery.c.state.in_([DeliveryState.WAITING, DeliveryState.SENDING])
                )
            ),
        }
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
            "instances": connection.scalar(select(func.count()).select_from(tables.instance)),
            "conflicts": connection.scalar(
                select(func.count()).select_from(tables.conflict).where(tables.conflict.c.state == "open")
            ),
        }
    now = ledger.clock.now()
    return found | {
        "oldest_s": {name: _age(at, now) for name, at in oldest.items()},
        "dead_letters": [{"destination": name, "why": why, "count": count} for name, why, count in dead],
        "peers": [
            {"name": each.name, "state": "up" if each.is_up else "down", "why": each.why, "since": _iso(each.since_at)}
            for each in peers
        ],
        "roles": [vars(each) for each in roles(ledger)],
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


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else round((now - at).total_seconds(), 1)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


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
        .where(object_.c.study_id == study.id)
        .order_by(object_.c.id, delivery.c.id)
    ).all()
    return {
        "study_uid": study.study_instance_uid,
        "state": study.state,
        "waits_for": study.settle_why if study.state == StudyState.RECEIVING else None,
        "reason": study.reason or None,
        "conflicts": study.conflicts,
        "received_at": _iso(study.received_at),
        "due_at": _iso(study.due_at),
        "received": [_said(each) for each in received],
        "revisions": [
            {"number": each.number, "settled_at": _iso(each.settled_at), "signal": each.signal} for each in revisions
        ],
        "results": [_told(each) for each in jobs],
        "deliveries": [_said(each) for each in sent],
    }


def _said(row: Any) -> dict[str, Any]:
    return {key: _iso(value) if isinstance(value, datetime) else value for key, value in row._mapping.items()}


def _told(job: Any) -> dict[str, Any]:
    """A job in the JSON shape of a result; one that is not ended has no findings yet."""
    ended = _result(job) if job.state in ENDED else ModelResult(job.model, job.version, State.NOT_ANALYSED, None, None)
    return ended.to_json() | {
        "state": job.state,
        "result_number": job.result_number,
        "no_report": (job.outcome or {}).get("no_report") or None,
        "queued_at": _iso(job.queued_at),
        "ended_at": _iso(job.ended_at),
        "deaths": job.attempts,
    }


def associations(ledger: Ledger, last: int) -> list[dict[str, Any]]:
    """The last associations, the newest first: who, from where, what was agreed on, how it ended."""
    association = tables.association
    with ledger.read() as connection:
        rows = connection.execute(select(association).order_by(association.c.id.desc()).limit(last)).all()
    return [_said(each) for each in rows]
