"""The place of a SOP Instance UID in its study, and the objects that take it from each other."""

from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from imaging.domain.header import Header
from imaging.domain.states import ApartState
from imaging.ledger import tables
from imaging.ledger.instances import Receipt, add_instance
from imaging.ledger.quarantine import OTHER_CONTENT, count_conflicts, note_shared
from imaging.ledger.store import Ledger


def admit(ledger: Ledger, connection: Connection, quarantined: Any) -> None:
    """Gives an object that was kept apart its row in its study, under a new number: it is another input."""
    sender, instance = quarantined.association_id, tables.instance
    receipt = Receipt(
        Header.from_json(quarantined.header),
        quarantined.digest,
        quarantined.size,
        sender,
        quarantined.key,
        quarantined.key,
    )
    elsewhere = select(instance.c.id).where(instance.c.sop_instance_uid == quarantined.sop_instance_uid)
    is_shared = connection.scalar(elsewhere.limit(1)) is not None
    add_instance(ledger, connection, receipt, quarantined.study_id)
    if is_shared:
        note_shared(ledger, connection, quarantined.sop_instance_uid)


def quarantine(connection: Connection, before: Any, why: str, state: ApartState) -> int:
    """Keeps apart the object of an instance's row whose place another one takes. Returns the number of its new row."""
    table = tables.conflict
    names = ("study_id", "sop_instance_uid", "digest", "key", "size", "header", "received_at", "association_id")
    values = {name: before._mapping[name] for name in names}
    of_uid = (table.c.study_id == before.study_id) & (table.c.sop_instance_uid == before.sop_instance_uid)
    was_quarantined = select(table.c.id).where(of_uid, table.c.digest == before.digest)
    forget(connection, list(connection.scalars(was_quarantined)))
    done = connection.execute(insert(table).values(why=why, state=state, **values))
    return int((done.inserted_primary_key or (0,))[0])


def replace_content(ledger: Ledger, connection: Connection, before: Any, receipt: Receipt) -> None:
    """Gives an instance's place to another content, under a new row number: it is another input."""
    instance, study = tables.instance, tables.study
    more = int(receipt.header.has_pixels) - int(Header.from_json(before.header).has_pixels)
    connection.execute(delete(instance).where(instance.c.id == before.id))
    add_instance(ledger, connection, receipt, before.study_id)
    connection.execute(update(study).where(study.c.id == before.study_id).values(instances=study.c.instances + more))


def judge_again(connection: Connection, chosen: Any) -> None:
    """Other copies that contradicted the object which is gone may be what has its place now."""
    table = tables.conflict
    of_uid = (table.c.study_id == chosen.study_id) & (table.c.sop_instance_uid == chosen.sop_instance_uid)
    again = update(table).where(of_uid, table.c.state == ApartState.OPEN, table.c.why == OTHER_CONTENT)
    count = connection.execute(again.values(state=ApartState.UNJUDGED, attempts=0)).rowcount
    count_conflicts(connection, chosen.study_id, -count)


def forget(connection: Connection, numbers: list[int]) -> None:
    """Removes rows of objects that are kept apart no longer, and what points at them."""
    table = tables.conflict
    connection.execute(update(table).where(table.c.replaced_id.in_(numbers)).values(replaced_id=None))
    connection.execute(delete(table).where(table.c.id.in_(numbers)))
