"""The objects kept apart, as a person reads them who is to decide."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from imaging.domain.header import Header
from imaging.domain.states import ApartState
from imaging.ledger import tables
from imaging.ledger.quarantine import SHARED
from imaging.ledger.store import Ledger

UNDECIDED: Final = (ApartState.OPEN, ApartState.SHARED)
EVERY: Final = (*UNDECIDED, ApartState.USED, ApartState.DROPPED)


def listed(ledger: Ledger, states: Iterable[str] = UNDECIDED) -> list[dict[str, Any]]:
    """The objects kept apart: who sent them, and whose they and their studies are, so that a person can decide.

    `differs`: what comparing it with the object under its UID found, in English. `first`, `second`: that object (None
    where no other has its UID) and the one kept apart, described. Of a UID that two studies share there is one for
    each, with the other studies and patients in `shared_with`.
    """
    query = _kept_apart().where(tables.conflict.c.state.in_(list(states)))
    with ledger.read() as connection:
        found = [dict(row._mapping) for row in connection.execute(query)]
        for each in found:
            number = each.pop("study_id")
            each["shared_with"] = _others(connection, number, each) if each["why"] == SHARED else []
    return [_both(each) | _patients(each.pop("header"), each.pop("study_header")) for each in found]


def _kept_apart() -> Select[Any]:
    table, study, association = tables.conflict, tables.study, tables.association
    instance, first_from = tables.instance, tables.association.alias()
    is_first = (instance.c.sop_instance_uid == table.c.sop_instance_uid) & (instance.c.study_id == table.c.study_id)
    return (
        select(
            table.c.id,
            table.c.state,
            table.c.why,
            table.c.sop_instance_uid,
            table.c.received_at,
            table.c.size,
            table.c.header,
            table.c.study_id,
            table.c.decision,
            study.c.study_instance_uid,
            study.c.header.label("study_header"),
            association.c.calling_ae_title,
            association.c.address,
            table.c.judgement.label("differs"),
            instance.c.header.label("first_header"),
            instance.c.size.label("first_size"),
            instance.c.received_at.label("first_at"),
            first_from.c.calling_ae_title.label("first_title"),
            first_from.c.address.label("first_address"),
        )
        .join(study, study.c.id == table.c.study_id)
        .outerjoin(association, association.c.id == table.c.association_id)
        .outerjoin(instance, is_first)
        .outerjoin(first_from, first_from.c.id == instance.c.association_id)
        .order_by(table.c.id)
    )


def _others(connection: Connection, study_id: int, notice: Mapping[str, Any]) -> list[dict[str, str]]:
    """The other studies in which the UID of a notice stands for an object, and whom they name."""
    study, instance = tables.study, tables.instance
    query = (
        select(study.c.study_instance_uid, study.c.header)
        .join(instance, instance.c.study_id == study.c.id)
        .where(instance.c.sop_instance_uid == notice["sop_instance_uid"], study.c.id != study_id)
        .order_by(study.c.id)
    )
    return [
        {
            "study_instance_uid": each.study_instance_uid,
            "patient_id": each.header.get("patient_id", ""),
            "patient_name": each.header.get("patient_name", ""),
        }
        for each in connection.execute(query)
    ]


def _both(found: dict[str, Any]) -> dict[str, Any]:
    """The row with both objects described; of a UID that studies share there is no second one here."""
    names = ("first_header", "first_size", "first_at", "first_title", "first_address")
    first = dict(zip(names, (found.pop(name) for name in names), strict=True))
    found["first"] = _described(*first.values()) if first["first_header"] is not None else None
    second = (found["header"], found["size"], found["received_at"], found["calling_ae_title"], found["address"])
    found["second"] = _described(*second) if found["why"] != SHARED else None
    return found


def _described(header: Any, size: int, received_at: datetime, title: str | None, address: str | None) -> dict[str, Any]:
    """An object as a person tells it from another, without its patient. `size` in bytes."""
    known = Header.from_json(header)
    return {
        "modality": known.modality,
        "rows": known.rows,
        "columns": known.columns,
        "frames": known.number_of_frames,
        "image_type": list(known.image_type),
        "view_position": known.view_position,
        "series_instance_uid": known.series_instance_uid,
        "sop_class_uid": known.sop_class_uid,
        "transfer_syntax_uid": known.transfer_syntax_uid,
        "size": size,
        "received_at": received_at.isoformat(timespec="milliseconds"),
        "calling_ae_title": title,
        "address": address,
    }


def _patients(header: Any, study_header: Any) -> dict[str, str]:
    """Whose the object says that it is, and whose the study is shown to be."""
    own, study = Header.from_json(header), Header.from_json(study_header)
    return {
        "patient_id": own.patient_id,
        "patient_name": own.patient_name,
        "study_patient_id": study.patient_id,
        "study_patient_name": study.patient_name,
    }
