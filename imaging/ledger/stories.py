"""A study's whole story, from its receipt to its deliveries."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, exists, func, or_, select

from imaging.domain.findings import Answer, State
from imaging.domain.modes import Mode
from imaging.domain.states import ENDED, StudyState
from imaging.ledger import returned_reports, tables
from imaging.ledger.answers import doubtful, is_answer, of_job
from imaging.ledger.as_json import row_json, time_json
from imaging.ledger.quarantine import SHARED
from imaging.ledger.store import Ledger

NUMBERED: Final = ("study", "job", "delivery", "copy")
"""What logs name by our own row numbers and belongs to a study."""


def of_row(ledger: Ledger, kind: str, number: int) -> list[dict[str, Any]]:
    """The whole story of the study that a row of this kind (of NUMBERED) belongs to; nothing where there is none."""
    study = tables.study
    table = {"job": tables.job, "delivery": tables.delivery, "copy": tables.conflict}.get(kind)
    which = (
        study.c.id == number if table is None else study.c.id.in_(select(table.c.study_id).where(table.c.id == number))
    )
    with ledger.read() as connection:
        return [_story(connection, each) for each in connection.execute(select(study).where(which)).all()]


def named(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """The whole story of the studies with this Study Instance UID or Accession Number."""
    study = tables.study
    with ledger.read() as connection:
        found = connection.execute(select(study).where(study.c.study_instance_uid == name)).all()
        if not found:
            accession = study.c.header["accession_number"].as_string()
            found = connection.execute(select(study).where(accession == name)).all()
        return [_story(connection, each) for each in found]


def _story(connection: Connection, study: Any) -> dict[str, Any]:
    return {
        "row": study.id,
        "study_uid": study.study_instance_uid,
        "site": study.site,
        "state": study.state,
        "waits_for": study.settle_why if study.state == StudyState.RECEIVING else None,
        "reason": study.reason or None,
        "conflicts": study.conflicts,
        "corrections": study.corrections,
        "copies": _copies(connection, study.id),
        "received_at": time_json(study.received_at),
        "due_at": time_json(study.due_at),
        "shared": _shared_uids(connection, study.id),
        "received": _received(connection, study.id),
        "returned": _returned(connection, study),
        "revisions": _revisions(connection, study.id),
        "results": _results(connection, study.id),
        "deliveries": _deliveries(connection, study.id),
    }


def _received(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """The associations that brought what the study has now."""
    instance, association = tables.instance, tables.association
    query = (
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
        .where(instance.c.study_id == study_id)
        .group_by(association.c.id)
        .order_by(association.c.id)
    )
    return [row_json(each) for each in connection.execute(query)]


def _revisions(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    table = tables.revision
    query = select(table.c.number, table.c.settled_at, table.c.signal).where(table.c.study_id == study_id)
    return [row_json(each) for each in connection.execute(query.order_by(table.c.number))]


def _results(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """Each job's answer; what is in doubt by now is so in each model's latest."""
    job = tables.job
    query = select(job, is_answer(job).label("is_answer")).where(job.c.study_id == study_id).order_by(job.c.id)
    jobs = connection.execute(query).all()
    last = {each.model: each.id for each in jobs if each.is_answer}.values()
    in_doubt = doubtful(connection, [study_id]).get(study_id, frozenset())
    return [_job_story(each, in_doubt if each.id in last else frozenset()) for each in jobs]


def _deliveries(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """Each object with each of its deliveries, or with none where it goes nowhere and is no other's substitute."""
    object_, delivery = tables.object_, tables.delivery
    query = (
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
        .where(object_.c.study_id == study_id, or_(delivery.c.id.is_not(None), ~_is_stood_for(object_)))
        .order_by(object_.c.id, delivery.c.id)
    )
    return [row_json(each) for each in connection.execute(query)]


def _copies(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """The objects kept apart of a study: what each is taken for, what comparing it found, and who sent it."""
    table, association = tables.conflict, tables.association
    names = ("id", "state", "why", "judgement", "sop_instance_uid", "received_at", "judged_at")
    query = (
        select(*(table.c[name] for name in names), association.c.calling_ae_title, association.c.address)
        .select_from(table.outerjoin(association, association.c.id == table.c.association_id))
        .where(table.c.study_id == study_id, table.c.why != SHARED)
    )
    return [row_json(each) for each in connection.execute(query.order_by(table.c.id))]


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
    return [row_json(each) for each in connection.execute(query)]


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
        .where(returned_reports.of_study(study))
        .order_by(table.c.id)
    )
    return [row_json(each) for each in connection.execute(query)]


def _is_stood_for(object_: Any) -> ColumnElement[bool]:
    other = object_.alias()
    return exists().where(other.c.stands_for_id == object_.c.id)


def _job_story(job: Any, doubtful: frozenset[str]) -> dict[str, Any]:
    """A job in the JSON shape of a result; one that is not ended has no findings yet."""
    none_yet = Answer(State.NOT_ANALYSED, model=job.model, version=job.version, mode=Mode(job.mode))
    ended = of_job(job).doubted_for(doubtful) if job.state in ENDED else none_yet
    return ended.to_json() | {
        "state": job.state,
        "result_number": job.result_number,
        "no_report": (job.outcome or {}).get("no_report") or None,
        "queued_at": time_json(job.queued_at),
        "ended_at": time_json(job.ended_at),
        "deaths": job.attempts,
    }
