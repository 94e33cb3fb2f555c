"""Reports of ours that a PACS sends back: kept, shown with their study, and never taken for somebody's image."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, insert, or_, select

from imaging.domain.header import Header
from imaging.domain.own_results import is_ours, is_result_class
from imaging.ledger import tables
from imaging.ledger.store import Ledger

_REPORT: Final = (
    select(tables.study.c.id)
    .join(tables.object_, tables.object_.c.study_id == tables.study.c.id)
    .where(tables.object_.c.sop_instance_uid == bindparam("uid"))
    .with_for_update(of=tables.study)  # no purge takes it away meanwhile
)
_STUDY: Final = select(tables.study.c.id).where(tables.study.c.study_instance_uid == bindparam("uid")).with_for_update()
_KNOWN: Final = (
    select(tables.returned.c.key)
    .where(tables.returned.c.sop_instance_uid == bindparam("uid"), tables.returned.c.digest == bindparam("digest"))
    .with_for_update()  # no purge takes it away meanwhile
)


def study_of(connection: Connection, header: Header) -> tuple[bool, int | None]:
    """Whether an object is a report of ours, and the study that it belongs to, where there is such.

    A PACS coerces patients, issuers and UIDs: the report's own UID tells, else the device that it names.
    """
    if not is_result_class(header):
        return False, None
    report = connection.scalar(_REPORT, {"uid": header.sop_instance_uid})
    if report is not None:
        return True, report
    if not is_ours(header):
        return False, None
    return True, connection.scalar(_STUDY, {"uid": header.study_instance_uid})


def keep(ledger: Ledger, connection: Connection, study_id: int | None, values: dict[str, Any], header: Header) -> str:
    """Notes a report that came back. Returns its key, also where it was there already.

    `values`: digest, key, size and association.
    """
    which = {"uid": header.sop_instance_uid, "digest": values["digest"]}
    known: str | None = connection.scalar(_KNOWN, which)
    if known is not None:
        return known
    row = {
        "study_id": study_id,
        "study_instance_uid": header.study_instance_uid,
        "sop_instance_uid": header.sop_instance_uid,
        "header": header.to_json(),
        "received_at": ledger.clock.now(),
    }
    connection.execute(insert(tables.returned), row | values)
    return str(values["key"])


def of_study(study: Any) -> ColumnElement[bool]:
    """Whether a row is a study's, which may have begun after it: then by the UID that it bears."""
    table = tables.returned
    bears = table.c.study_id.is_(None) & (table.c.study_instance_uid == study.study_instance_uid)
    return or_(table.c.study_id == study.id, bears)


def remove_strays(connection: Connection, before: Any) -> list[str]:
    """Removes the rows of those that came before then and belong to no study there is; their keys."""
    table, study = tables.returned, tables.study
    stray = (
        table.c.received_at < before,
        table.c.study_id.is_(None),
        ~exists().where(study.c.study_instance_uid == table.c.study_instance_uid),
    )
    return list(connection.scalars(delete(table).where(*stray).returning(table.c.key)))
