"""What was received: associations and instances, and what an instance means for its study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import OperationalError

from imaging import crash
from imaging.domain.header import Header, same_patient
from imaging.domain.priority import REST_BAND, first_due
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, VOLUME_MODALITIES, Patience
from imaging.domain.states import JOB, STUDY, JobEvent, JobState, StudyEvent, StudyState
from imaging.domain.worklist import searched
from imaging.ledger import tables, wakeups
from imaging.ledger.store import Ledger

MIXED_PATIENTS: Final = "mixed-patients"
OTHER_CONTENT: Final = "conflict"
SECOND_COPY: Final = "second copy"
"""Why an object is kept apart: its study has another patient, its UID another content, or one not compared yet."""

# Built once: with each image it would be half of what a statement costs.
_INSTANCE: Final = select(
    tables.instance.c.digest, tables.instance.c.key, tables.instance.c.header, tables.instance.c.study_id
).where(tables.instance.c.sop_instance_uid == bindparam("uid"))
_STUDY: Final = select(
    tables.study.c.id,
    tables.study.c.state,
    tables.study.c.header,
    tables.study.c.first_tick,
    tables.study.c.settle_why,
).where(tables.study.c.study_instance_uid == bindparam("uid"))
_PATIENT: Final = select(tables.patient.c.id).where(
    tables.patient.c.value == bindparam("value"), tables.patient.c.issuer == bindparam("issuer")
)
_SERIES: Final = select(tables.series.c.id).where(
    tables.series.c.study_id == bindparam("study_id"),
    tables.series.c.series_instance_uid == bindparam("series_instance_uid"),
)
_ENDED: Final = select(tables.association.c.ended_at).where(tables.association.c.id == bindparam("number"))
_END: Final = (
    update(tables.association)
    .where(tables.association.c.id.in_(bindparam("numbers", expanding=True)))
    .values(stored=tables.association.c.stored + bindparam("brought"))
)
_OF_OPEN: Final = (
    select(tables.instance.c.study_id)
    .join(tables.association, tables.association.c.id == tables.instance.c.association_id)
    .where(tables.association.c.ended_at.is_(None))
)
_ITS_STUDIES_END: Final = update(tables.study).where(
    tables.study.c.id.in_(
        select(tables.instance.c.study_id).where(
            tables.instance.c.association_id.in_(bindparam("numbers", expanding=True))
        )
    ),
    tables.study.c.id.not_in(_OF_OPEN),
    tables.study.c.state == StudyState.RECEIVING,
)
_SUPERSEDE: Final = (
    update(tables.job)
    .where(tables.job.c.state == JobState.QUEUED, tables.job.c.study_id == bindparam("study"))
    .values(state=JOB[JobState.QUEUED, JobEvent.SUPERSEDED], reason="superseded")
)
_SUPERSEDE_MODEL: Final = _SUPERSEDE.where(tables.job.c.model == bindparam("asked"))
_TOUCH: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
_ADD_ASSOCIATION: Final = insert(tables.association)
_ADD_PATIENT: Final = insert(tables.patient)
_ADD_STUDY: Final = insert(tables.study)
_ADD_SERIES: Final = insert(tables.series)
_ADD_INSTANCE: Final = insert(tables.instance)


@dataclass(frozen=True)
class Receipt:
    """An object that is whole in the spool and wants its row. `key`: its final name, `apart`: if it is kept apart."""

    header: Header
    digest: str
    size: int
    association_id: int | None
    key: str
    apart: str


@dataclass(frozen=True)
class Recorded:
    """What became of a receipt. `key` is the final name of the object, also where it was there already.

    `conflict` says why it is kept apart; empty where it is not, or harmlessly so. `is_unjudged`: it is kept apart until
    a worker has compared it with what has its UID. `is_over`: nothing more comes from where it came from, so that its
    study is looked at at once.
    """

    key: str
    study_id: int
    conflict: str = ""
    is_over: bool = False
    is_unjudged: bool = False


@dataclass(frozen=True)
class AssociationEnd:
    """How an association ended and what it brought. `refusals`: how often each status and reason was answered."""

    how: str
    stored: int
    refused: int
    refusals: Mapping[str, int] = field(default_factory=dict)


def begin_association(
    ledger: Ledger, calling: str, called: str, address: str, contexts: Sequence[Mapping[str, str]]
) -> int:
    """A row for an association that was asked for. Returns its number, which logs may name."""
    with ledger.write() as connection:
        return _add_association(ledger, connection, calling, called, address, contexts)


def reject_association(ledger: Ledger, calling: str, called: str, address: str, why: str) -> None:
    """A row for an association that was asked for in vain."""
    with ledger.write() as connection:
        number = _add_association(ledger, connection, calling, called, address, [])
        _end_associations(ledger, connection, [number], AssociationEnd(f"rejected: {why}", 0, 0))


def _add_association(
    ledger: Ledger,
    connection: Connection,
    calling: str,
    called: str,
    address: str,
    contexts: Sequence[Mapping[str, str]],
) -> int:
    row = {
        "calling_ae_title": calling,
        "called_ae_title": called,
        "address": address,
        "started_at": ledger.clock.now(),
        "contexts": list(contexts),
        "refusals": {},
    }
    return _key(connection.execute(_ADD_ASSOCIATION, row))


def end_association(ledger: Ledger, number: int, end: AssociationEnd) -> None:
    """Notes the end; studies of which no other open association sends are looked at at once."""
    with ledger.write() as connection:
        _end_associations(ledger, connection, [number], end)
        crash.point("association-end-not-committed")
    crash.point("association-ended")
    ledger.wakeups.notify(wakeups.SETTLE)


def end_lost_associations(ledger: Ledger) -> int:
    """Ends what a dead node left open: being cut by a restart is an end as well."""
    table, instance = tables.association, tables.instance
    kept = select(func.count()).where(instance.c.association_id == table.c.id).scalar_subquery()
    with ledger.write() as connection:
        lost = list(connection.scalars(select(table.c.id).where(table.c.ended_at.is_(None))))
        if lost:
            _end_associations(ledger, connection, lost, AssociationEnd("cut by a restart", 0, 0))
            connection.execute(update(table).where(table.c.id.in_(lost)).values(stored=kept))
    return len(lost)


def _end_associations(ledger: Ledger, connection: Connection, numbers: Sequence[int], end: AssociationEnd) -> None:
    tick = ledger.clock.tick()
    row = {
        "ended_at": ledger.clock.now(),
        "ended_how": end.how,
        "brought": end.stored,
        "refused": end.refused,
        "refusals": dict(end.refusals),
    }
    connection.execute(_END, row | {"numbers": list(numbers)})
    connection.execute(_ITS_STUDIES_END, {"numbers": list(numbers), "ended_tick": tick, "settle_tick": tick})


def record(ledger: Ledger, receipts: Sequence[Receipt], patience: Patience) -> list[Recorded | Exception]:
    """Gives each receipt its row, all in one durable transaction; a bad one fails alone.

    Raises where the database itself is in trouble: then none has its row.
    """
    results: list[Recorded | Exception] = []
    with ledger.write() as connection:
        for receipt in receipts:
            try:
                with connection.begin_nested():
                    results.append(_record(ledger, connection, receipt, patience))
            except (OperationalError, MemoryError):
                raise  # a full disk, say: SQLite rolls back the whole transaction then, not to the savepoint
            except Exception as error:  # noqa: BLE001 (handed to the one who waits for this receipt)
                results.append(error)
        crash.point("record-not-committed")
    done = [each for each in results if isinstance(each, Recorded)]
    topics = [wakeups.SETTLE] * any(each.is_over for each in done)
    topics += [wakeups.JOB] * any(each.is_unjudged for each in done)
    ledger.wakeups.notify(wakeups.STUDY, *topics)
    return results


def _record(ledger: Ledger, connection: Connection, receipt: Receipt, patience: Patience) -> Recorded:
    header = receipt.header
    known = connection.execute(_INSTANCE, {"uid": header.sop_instance_uid}).first()
    if known is not None and _touch(ledger, connection, known.study_id):
        if known.digest == receipt.digest:
            return Recorded(known.key, known.study_id)
        return _keep_second(ledger, connection, receipt, known)
    study = _study_of(connection, header)
    if study is not None and not same_patient([header, Header.from_json(study.header)]):
        return _keep_apart(ledger, connection, receipt, study.id, MIXED_PATIENTS, "open")
    study_id = _add_study(ledger, connection, header, patience) if study is None else int(study.id)
    _add_instance(ledger, connection, receipt, study_id)
    if study is not None:
        _extend_study(ledger, connection, study, header, patience)
    is_over = _is_over(connection, receipt.association_id)
    if is_over:
        _look_now(ledger, connection, study_id)
    return Recorded(receipt.key, study_id, is_over=is_over)


def _keep_second(ledger: Ledger, connection: Connection, receipt: Receipt, known: Any) -> Recorded:
    """Keeps apart an object under a UID that is known: what it is, a worker says once it has compared the pixels."""
    header, first = receipt.header, Header.from_json(known.header)
    if header.study_instance_uid != first.study_instance_uid:
        return _keep_apart(ledger, connection, receipt, known.study_id, OTHER_CONTENT, "open")
    if not same_patient([header, first]):
        return _keep_apart(ledger, connection, receipt, known.study_id, MIXED_PATIENTS, "open")
    if not header.has_pixels and not first.has_pixels:
        return _keep_apart(ledger, connection, receipt, known.study_id, "no image", "noted")
    return _keep_apart(ledger, connection, receipt, known.study_id, SECOND_COPY, "unjudged")


def _touch(ledger: Ledger, connection: Connection, study_id: int) -> bool:
    """So that no purge takes away what is just being acknowledged again. False where one did, while this waited."""
    return connection.execute(_TOUCH, {"number": study_id, "last_image_at": ledger.clock.now()}).rowcount == 1


def _is_over(connection: Connection, association_id: int | None) -> bool:
    """Whether nothing more comes from there: a crash cut it, or it was lost while this object was written down."""
    return association_id is None or connection.scalar(_ENDED, {"number": association_id}) is not None


def _look_now(ledger: Ledger, connection: Connection, study_id: int) -> None:
    study, tick = tables.study, ledger.clock.tick()
    connection.execute(
        update(study)
        .where(study.c.id == study_id, study.c.state == StudyState.RECEIVING)
        .values(ended_tick=tick, settle_tick=tick)
    )


def _study_of(connection: Connection, header: Header) -> Any:
    return connection.execute(_STUDY, {"uid": header.study_instance_uid}).first()


def _add_study(ledger: Ledger, connection: Connection, header: Header, patience: Patience) -> int:
    now, tick = ledger.clock.now(), ledger.clock.tick()
    row = {
        "study_instance_uid": header.study_instance_uid,
        "patient_id": _patient(connection, header),
        "state": StudyState.RECEIVING,
        "header": header.to_json(),
        "folded": searched(header),
        "received_at": now,
        "last_image_at": now,
        "band": REST_BAND,
        "due_at": first_due(now),
        "first_tick": tick,
        "last_tick": tick,
        "settle_tick": _look_at(header, tick, tick, patience),
        "settle_why": "just begun",
        "instances": int(header.has_pixels),
    }
    return _key(connection.execute(_ADD_STUDY, row))


def _patient(connection: Connection, header: Header) -> int | None:
    if not header.patient:
        return None
    issued = {"value": header.patient_id, "issuer": header.issuer_of_patient_id}
    known = connection.scalar(_PATIENT, issued)
    if known is not None:
        return int(known)
    told = {"name": header.patient_name, "birth_date": header.patient_birth_date, "sex": header.patient_sex}
    return _key(connection.execute(_ADD_PATIENT, issued | told))


def _look_at(header: Header, first_tick: float, tick: float, patience: Patience) -> float:
    """Once it is silent, or at the cap: where images come all the time nothing else would ask whether it is reached."""
    silent = tick + (patience.volume_open_s if header.modality in VOLUME_MODALITIES else patience.film_s)
    return min(silent, first_tick + patience.longest_s)


def _add_instance(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int) -> None:
    header = receipt.header
    series = {"study_id": study_id, "series_instance_uid": header.series_instance_uid}
    series_id = connection.scalar(_SERIES, series)
    if series_id is None:
        series_id = _key(connection.execute(_ADD_SERIES, series | {"modality": header.modality}))
    row = {
        "study_id": study_id,
        "series_id": series_id,
        "association_id": receipt.association_id,
        "sop_instance_uid": header.sop_instance_uid,
        "digest": receipt.digest,
        "key": receipt.key,
        "size": receipt.size,
        "header": header.to_json(),
        "received_at": ledger.clock.now(),
    }
    connection.execute(_ADD_INSTANCE, row)


def _extend_study(ledger: Ledger, connection: Connection, known: Any, header: Header, patience: Patience) -> None:
    """One more instance of a study; it opens a settled study again only where it may be some model's input."""
    study, tick = tables.study, ledger.clock.tick()
    first = Header.from_json(known.header)
    values: dict[str, Any] = {"instances": study.c.instances + int(header.has_pixels)}
    speaks = _speaking(first, header)
    if speaks != first:
        values |= {"header": speaks.to_json(), "folded": searched(speaks), "patient_id": _patient(connection, speaks)}
    if not header.has_pixels or _is_ours(connection, header.sop_instance_uid):
        connection.execute(update(study).where(study.c.id == known.id).values(values))
        return
    first_tick = known.first_tick
    if known.state == StudyState.SETTLED:
        first_tick = tick
        values |= {"state": STUDY[StudyState.SETTLED, StudyEvent.LATE_INSTANCE], "settle_why": "late images"}
    if known.settle_why in JUDGED:  # it waited for that alone, and now for more images
        values["settle_why"] = "late images"
    values |= {
        "last_image_at": ledger.clock.now(),
        "first_tick": first_tick,
        "last_tick": tick,
        "ended_tick": None,
        "settle_tick": _look_at(header, first_tick, tick, patience),
    }
    connection.execute(update(study).where(study.c.id == known.id).values(values))


def _speaking(first: Header, header: Header) -> Header:
    """What a study is shown by: whoever is named first is its patient, and an image tells more than other objects."""
    if header.patient and not first.patient:
        return header
    if header.patient_id != first.patient_id:
        return first
    chosen = header if _tells_more(header, first) else first
    return replace(chosen, issuer_of_patient_id=first.issuer_of_patient_id or header.issuer_of_patient_id)


def _tells_more(header: Header, first: Header) -> bool:
    """Of one identifier, or none: whether a study is better shown by this header than by the one it has."""
    if bool(header.patient_name) != bool(first.patient_name):
        return bool(header.patient_name)
    return header.has_pixels and not first.has_pixels


def _is_ours(connection: Connection, sop_instance_uid: str) -> bool:
    table = tables.object_
    return connection.scalar(select(table.c.id).where(table.c.sop_instance_uid == sop_instance_uid)) is not None


def _keep_apart(
    ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int, why: str, state: str
) -> Recorded:
    """Notes an object that must not take its UID's place, or not yet."""
    table, study = tables.conflict, tables.study
    known = connection.scalar(
        select(table.c.key).where(
            table.c.sop_instance_uid == receipt.header.sop_instance_uid, table.c.digest == receipt.digest
        )
    )
    if known is None:
        connection.execute(
            insert(table).values(
                study_id=study_id,
                sop_instance_uid=receipt.header.sop_instance_uid,
                digest=receipt.digest,
                key=receipt.apart,
                size=receipt.size,
                header=receipt.header.to_json(),
                association_id=receipt.association_id,
                why=why,
                state=state,
                received_at=ledger.clock.now(),
            )
        )
        if state == "open":
            connection.execute(update(study).where(study.c.id == study_id).values(conflicts=study.c.conflicts + 1))
    conflict = why if state == "open" else ""
    return Recorded(known or receipt.apart, study_id, conflict, is_unjudged=state == "unjudged")


def _key(done: Any) -> int:
    return int(done.inserted_primary_key[0])


def conflicts(ledger: Ledger, states: Iterable[str] = ("open",)) -> list[dict[str, Any]]:
    """The objects kept apart: who sent them, and whose they and their studies are, so that a person can decide.

    `differs`: what comparing it with the object under its UID found, in English. `first`, `second`: that object (None
    where no other has its UID) and the one kept apart, described.
    """
    table, study, association = tables.conflict, tables.study, tables.association
    instance, first_from = tables.instance, tables.association.alias()
    query = (
        select(
            table.c.id,
            table.c.state,
            table.c.why,
            table.c.sop_instance_uid,
            table.c.received_at,
            table.c.size,
            table.c.header,
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
        .outerjoin(
            instance,
            (instance.c.sop_instance_uid == table.c.sop_instance_uid) & (instance.c.study_id == table.c.study_id),
        )
        .outerjoin(first_from, first_from.c.id == instance.c.association_id)
        .where(table.c.state.in_(list(states)))
        .order_by(table.c.id)
    )
    with ledger.read() as connection:
        found = [dict(row._mapping) for row in connection.execute(query)]
    return [_both(each) | _patients(each.pop("header"), each.pop("study_header")) for each in found]


def _both(found: dict[str, Any]) -> dict[str, Any]:
    """The row with both objects described."""
    names = ("first_header", "first_size", "first_at", "first_title", "first_address")
    first = dict(zip(names, (found.pop(name) for name in names), strict=True))
    found["first"] = described(*first.values()) if first["first_header"] is not None else None
    found["second"] = described(
        found["header"], found["size"], found["received_at"], found["calling_ae_title"], found["address"]
    )
    return found


def described(header: Any, size: int, received_at: datetime, title: str | None, address: str | None) -> dict[str, Any]:
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


def is_stopped(study_id: Any) -> Any:
    """Whether a study has an object of another patient, on which nobody has decided, in SQL."""
    table = tables.conflict
    return exists().where(table.c.study_id == study_id, table.c.state == "open", table.c.why == MIXED_PATIENTS)


def settle_conflict(ledger: Ledger, number: int, use: bool) -> str:
    """A person's word on an object kept apart: `use` puts it in its UID's place, else it stays apart for good.

    The study is looked at again; with `use`, what was queued for it is decided anew. Returns why nothing was done,
    empty where it was.
    """
    table, study = tables.conflict, tables.study
    with ledger.write() as connection:
        row = connection.execute(select(table).where(table.c.id == number, table.c.state == "open")).first()
        if row is None:
            return "no open conflict has this number"
        if use and _crosses_studies(connection, row):
            return "the object and the one in its UID's place are of two studies; only `drop` is possible"
        connection.execute(update(table).where(table.c.id == number).values(state="used" if use else "dropped"))
        connection.execute(update(study).where(study.c.id == row.study_id).values(conflicts=study.c.conflicts - 1))
        if use:
            _use(ledger, connection, row)
            supersede(ledger, connection, row.study_id)
            _judge_anew(connection, row)
        tick = ledger.clock.tick()
        connection.execute(
            update(study)
            .where(study.c.id == row.study_id)
            .values(
                state=STUDY[StudyState.SETTLED, StudyEvent.CONFLICT_SETTLED],  # as from receiving
                first_tick=tick,
                last_tick=tick,
                ended_tick=tick,
                settle_tick=tick,
                revised_tick=None,
                settle_why=CONFLICT_SETTLED,
            )
        )
    ledger.wakeups.notify(wakeups.SETTLE, wakeups.JOB)
    return ""


def _judge_anew(connection: Connection, chosen: Any) -> None:
    """Other copies that contradicted the object which is gone may be what has its place now."""
    table, study = tables.conflict, tables.study
    again = (
        update(table)
        .where(
            table.c.study_id == chosen.study_id,
            table.c.sop_instance_uid == chosen.sop_instance_uid,
            table.c.state == "open",
            table.c.why == OTHER_CONTENT,
        )
        .values(state="unjudged", attempts=0)
    )
    count = connection.execute(again).rowcount
    connection.execute(update(study).where(study.c.id == chosen.study_id).values(conflicts=study.c.conflicts - count))


def _crosses_studies(connection: Connection, chosen: Any) -> bool:
    """Whether a study would get an object whose header names another, or lose one to another."""
    study, instance = tables.study, tables.instance
    of = connection.scalar(select(study.c.study_instance_uid).where(study.c.id == chosen.study_id))
    place = connection.scalar(select(instance.c.study_id).where(instance.c.sop_instance_uid == chosen.sop_instance_uid))
    return Header.from_json(chosen.header).study_instance_uid != of or place not in (None, chosen.study_id)


def supersede(ledger: Ledger, connection: Connection, study_id: int, model: str | None = None) -> None:
    """Ends queued jobs, of one model or of all, whose input is not the study's any more."""
    which = {"study": study_id, "ended_at": ledger.clock.now()}
    if model is None:
        connection.execute(_SUPERSEDE, which)
    else:
        connection.execute(_SUPERSEDE_MODEL, which | {"asked": model})


def _use(ledger: Ledger, connection: Connection, chosen: Any) -> None:
    """Puts an object that was kept apart in its UID's place, under a new row number: it is another input.

    What was there before is kept apart in its turn.
    """
    instance = tables.instance
    same = instance.c.sop_instance_uid == chosen.sop_instance_uid
    before = connection.execute(select(instance).where(same)).first()
    if before is None:
        study, more = tables.study, int(Header.from_json(chosen.header).has_pixels)
        connection.execute(
            update(study).where(study.c.id == chosen.study_id).values(instances=study.c.instances + more)
        )
    else:
        put_aside(connection, before, OTHER_CONTENT, "dropped")
        connection.execute(delete(instance).where(same))
    header, sender = Header.from_json(chosen.header), chosen.association_id
    receipt = Receipt(header, chosen.digest, chosen.size, sender, chosen.key, chosen.key)
    _add_instance(ledger, connection, receipt, chosen.study_id)


def put_aside(connection: Connection, before: Any, why: str, state: str) -> None:
    """Keeps apart the object of an instance's row whose place another one takes."""
    table = tables.conflict
    names = ("study_id", "sop_instance_uid", "digest", "key", "size", "header", "received_at", "association_id")
    was_apart = (table.c.sop_instance_uid == before.sop_instance_uid) & (table.c.digest == before.digest)
    connection.execute(delete(table).where(was_apart))
    values = {name: before._mapping[name] for name in names}
    connection.execute(insert(table).values(why=why, state=state, **values))


def put_in_place(ledger: Ledger, connection: Connection, before: Any, receipt: Receipt) -> None:
    """Gives an instance's place to another content, under a new row number: it is another input.

    What was queued for the study is decided anew.
    """
    instance, study = tables.instance, tables.study
    more = int(receipt.header.has_pixels) - int(Header.from_json(before.header).has_pixels)
    connection.execute(delete(instance).where(instance.c.id == before.id))
    _add_instance(ledger, connection, receipt, before.study_id)
    connection.execute(update(study).where(study.c.id == before.study_id).values(instances=study.c.instances + more))
    supersede(ledger, connection, before.study_id)


def show_by(connection: Connection, study_id: int, header: Header) -> None:
    """Shows a study, and has it found, by this header."""
    study = tables.study
    values = {"header": header.to_json(), "folded": searched(header), "patient_id": _patient(connection, header)}
    connection.execute(update(study).where(study.c.id == study_id).values(values))
