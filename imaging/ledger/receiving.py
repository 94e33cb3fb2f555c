"""What was received: associations and instances, and what an instance means for its study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import OperationalError

from imaging import crash
from imaging.domain.ends import End
from imaging.domain.header import Header
from imaging.domain.priority import REST_BAND, first_due
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, VOLUME_MODALITIES, Patience
from imaging.domain.states import JOB, STUDY, JobEvent, JobState, StudyEvent, StudyState
from imaging.ledger import arrivals, returned, tables, wakeups, whose
from imaging.ledger.arrivals import Source
from imaging.ledger.store import Ledger

MIXED_PATIENTS: Final = "mixed-patients"
OTHER_CONTENT: Final = "conflict"
SHARED: Final = "shared"
SECOND_COPY: Final = "second copy"
"""Why an object is kept apart: its study has another patient, its UID another content, or one not compared yet; or
why its UID is noted: another study has it too."""

# Built once: with each image it would be half of what a statement costs.
_INSTANCE: Final = select(
    tables.instance.c.id,
    tables.instance.c.digest,
    tables.instance.c.key,
    tables.instance.c.header,
    tables.instance.c.study_id,
    tables.instance.c.association_id,
).where(tables.instance.c.sop_instance_uid == bindparam("uid"))
_STUDY: Final = (
    select(
        tables.study.c.id,
        tables.study.c.state,
        tables.study.c.header,
        tables.study.c.first_tick,
        tables.study.c.ended_tick,
        tables.study.c.settle_why,
        tables.study.c.cut_tick,
        tables.study.c.cut_by,
        tables.study.c.conflicts,
        tables.study.c.persons,
    )
    .where(tables.study.c.study_instance_uid == bindparam("uid"))
    .with_for_update()  # a purge that takes it away, or a person who decides, comes before or after
)
_SERIES: Final = select(
    tables.series.c.id, tables.series.c.last_tick, tables.series.c.longest_pause_s, tables.series.c.is_split
).where(
    tables.series.c.study_id == bindparam("study_id"),
    tables.series.c.series_instance_uid == bindparam("series_instance_uid"),
)
_END: Final = (
    update(tables.association)
    .where(tables.association.c.id.in_(bindparam("numbers", expanding=True)))
    .values(stored=tables.association.c.stored + bindparam("brought"))
)
_SUPERSEDE: Final = (
    update(tables.job)
    .where(tables.job.c.state == JobState.QUEUED, tables.job.c.study_id == bindparam("study"))
    .values(state=JOB[JobState.QUEUED, JobEvent.SUPERSEDED], reason="superseded")
)
_SUPERSEDE_MODEL: Final = _SUPERSEDE.where(tables.job.c.model == bindparam("asked"))
_TOUCH: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
_PACE: Final = update(tables.series).where(tables.series.c.id == bindparam("number"))
_ADD_ASSOCIATION: Final = insert(tables.association)
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

    `study_id` is 0 for a report of ours that belongs to no study there is. `conflict` says why the object is kept
    apart; empty where it is not, or harmlessly so. `is_unjudged`: it is kept apart until a worker has compared it with
    what has its UID. `is_over`: nothing more comes from where it came from, so that its study is looked at at once.
    """

    key: str
    study_id: int
    conflict: str = ""
    is_over: bool = False
    is_unjudged: bool = False


@dataclass(frozen=True)
class AssociationEnd:
    """How an association ended and what it brought. `refusals`: how often each status and reason was answered.

    `how`: in words; `end`: what that means for its studies, None for one that was rejected.
    """

    how: str
    stored: int
    refused: int
    refusals: Mapping[str, int] = field(default_factory=dict)
    end: End | None = End.RELEASED


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
        _end_associations(ledger, connection, [number], AssociationEnd(f"rejected: {why}", 0, 0, end=None))


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
    """Notes the end; studies of which no other open association sends are looked at at once (`arrivals.note_end`)."""
    with ledger.write() as connection:
        _end_associations(ledger, connection, [number], end)
        crash.point("association-end-not-committed")
    crash.point("association-ended")
    ledger.wakeups.notify(wakeups.SETTLE)


def end_lost_associations(ledger: Ledger) -> int:
    """Ends what a dead node left open: its senders were cut off."""
    table, instance = tables.association, tables.instance
    kept = select(func.count()).where(instance.c.association_id == table.c.id).scalar_subquery()
    with ledger.write() as connection:
        lost = list(connection.scalars(select(table.c.id).where(table.c.ended_at.is_(None))))
        if lost:
            _end_associations(ledger, connection, lost, AssociationEnd("cut by a restart", 0, 0, end=End.CUT))
            connection.execute(update(table).where(table.c.id.in_(lost)).values(stored=kept))
    return len(lost)


def _end_associations(ledger: Ledger, connection: Connection, numbers: Sequence[int], end: AssociationEnd) -> None:
    row = {
        "ended_at": ledger.clock.now(),
        "ended_how": end.how,
        "ended_as": end.end or "",
        "brought": end.stored,
        "refused": end.refused,
        "refusals": dict(end.refusals),
    }
    connection.execute(_END, row | {"numbers": list(numbers)})
    arrivals.note_end(connection, numbers, ledger.clock.tick())


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
    is_ours, of = returned.study_of(connection, header)
    if is_ours:
        return _keep_returned(ledger, connection, receipt, of)
    study = connection.execute(_STUDY, {"uid": header.study_instance_uid}).first()
    bearers = connection.execute(_INSTANCE, {"uid": header.sop_instance_uid}).all()
    known = next((each for each in bearers if study is not None and each.study_id == study.id), None)
    source = arrivals.source(connection, receipt.association_id)
    if known is not None:
        _touch(ledger, connection, study, receipt, source, patience)
        if known.digest == receipt.digest:
            return Recorded(known.key, known.study_id)
    place = None if known is None else int(known.id)
    if study is not None and not whose.admits(connection, study, header, receipt.association_id, place):
        return _keep_apart(ledger, connection, receipt, study.id, MIXED_PATIENTS, "open")
    if known is not None:
        return _keep_second(ledger, connection, receipt, known)
    study_id = _add_study(ledger, connection, header, source, patience) if study is None else int(study.id)
    tells_more = (
        study is not None
        and study.conflicts > 0
        and whose.tells_more(connection, study, header, receipt.association_id)
    )
    series_id = _add_to_series(ledger, connection, header, study_id, study)
    add_instance(ledger, connection, receipt, study_id, series_id)
    if study is not None:
        _extend_study(ledger, connection, study, header, source, patience)
        if tells_more:
            _let_in(ledger, connection, header.study_instance_uid, source, patience)
    if bearers:
        note_shared(ledger, connection, header.sop_instance_uid)
    if source.is_over:
        _look_now(ledger, connection, header.study_instance_uid, source)
    return Recorded(receipt.key, study_id, is_over=source.is_over)


def _keep_second(ledger: Ledger, connection: Connection, receipt: Receipt, known: Any) -> Recorded:
    """Keeps apart an object under a UID of its study: what it is, a worker says once it has compared them."""
    if not receipt.header.has_pixels and not Header.from_json(known.header).has_pixels:
        return _keep_apart(ledger, connection, receipt, known.study_id, "no image", "noted")
    return _keep_apart(ledger, connection, receipt, known.study_id, SECOND_COPY, "unjudged")


def _keep_returned(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int | None) -> Recorded:
    """A report of ours that came back; it may have been coerced, so each of its contents is kept."""
    values = {
        "digest": receipt.digest,
        "key": receipt.apart,
        "size": receipt.size,
        "association_id": receipt.association_id,
    }
    return Recorded(returned.keep(ledger, connection, study_id, values, receipt.header), study_id or 0)


def _let_in(ledger: Ledger, connection: Connection, study_uid: str, source: Source, patience: Patience) -> None:
    """Lets in what was kept apart as another patient's where one more object tells that it is not.

    So that the order in which objects come decides nothing.
    """
    table, which = tables.conflict, {"uid": study_uid}
    number = int(connection.execute(_STUDY, which).one().id)
    waiting = select(table).where(table.c.study_id == number, table.c.state == "open", table.c.why == MIXED_PATIENTS)
    apart, before = connection.execute(waiting.order_by(table.c.id)).all(), 0
    while len(apart) != before:
        before = len(apart)
        apart = [each for each in apart if not _is_let_in(ledger, connection, each, which, source, patience)]
    if connection.execute(_STUDY, which).one().state == StudyState.SETTLED:
        look_again(ledger, connection, number)


def _is_let_in(
    ledger: Ledger, connection: Connection, apart: Any, which: Mapping[str, str], source: Source, patience: Patience
) -> bool:
    header, study = Header.from_json(apart.header), connection.execute(_STUDY, which).one()
    bearers = connection.execute(_INSTANCE, {"uid": apart.sop_instance_uid})
    if any(each.study_id == study.id for each in bearers):
        return False
    if not whose.admits(connection, study, header, apart.association_id, None):
        return False
    connection.execute(delete(tables.conflict).where(tables.conflict.c.id == apart.id))
    count_conflicts(connection, study.id, -1)
    receipt = Receipt(header, apart.digest, apart.size, apart.association_id, apart.key, apart.key)
    add_instance(ledger, connection, receipt, study.id)
    _extend_study(ledger, connection, study, header, source, patience)
    return True


def note_shared(ledger: Ledger, connection: Connection, sop_instance_uid: str) -> None:
    """Says at each study that this UID stands for an object of another study as well, also where a person knew of two.

    Nothing waits for it: reports name images by study, series and instance.
    """
    table = tables.conflict
    for each in connection.execute(_INSTANCE, {"uid": sop_instance_uid}).all():
        notice = (table.c.study_id == each.study_id) & (table.c.sop_instance_uid == sop_instance_uid)
        again = update(table).where(notice, table.c.why == SHARED)
        if connection.execute(again.values(state=SHARED, decision=None, decided_at=None)).rowcount:
            continue
        row = {
            "study_id": each.study_id,
            "sop_instance_uid": sop_instance_uid,
            "size": 0,
            "header": each.header,
            "association_id": each.association_id,
            "why": SHARED,
            "state": SHARED,
            "received_at": ledger.clock.now(),
        }
        connection.execute(insert(table).values(row))


def _touch(
    ledger: Ledger, connection: Connection, study: Any, receipt: Receipt, source: Source, patience: Patience
) -> None:
    """What comes again: no purge takes it away while it is acknowledged, and a volume's sender still sends."""
    header, tick = receipt.header, ledger.clock.tick()
    values: dict[str, Any] = {"last_image_at": ledger.clock.now()}
    is_received = study.state == StudyState.RECEIVING and study.settle_why not in {*JUDGED, CONFLICT_SETTLED}
    if is_received and header.has_pixels and header.modality in VOLUME_MODALITIES and not source.is_over:
        values |= arrivals.coming(study, [source], tick)
        values["settle_tick"] = _look_at(header, study.first_tick, tick, patience)
        series = connection.execute(_SERIES, _of_series(study.id, header)).first()
        if series is not None:
            columns = arrivals.pace(series, [tick], study.first_tick, study.ended_tick)
            connection.execute(_PACE, {"number": series.id, **columns})
    connection.execute(_TOUCH, {"number": study.id, **values})


def _look_now(ledger: Ledger, connection: Connection, study_uid: str, source: Source) -> None:
    """Nothing more comes from there: a crash cut it, or it was lost while this object was written down."""
    study, tick = connection.execute(_STUDY, {"uid": study_uid}).one(), ledger.clock.tick()
    if study.state == StudyState.RECEIVING:
        connection.execute(_TOUCH, {"number": study.id, "ended_tick": tick, "settle_tick": tick})
        if source.is_cut:
            arrivals.note_cut(connection, study, source, tick)


def _add_study(ledger: Ledger, connection: Connection, header: Header, source: Source, patience: Patience) -> int:
    now, tick = ledger.clock.now(), ledger.clock.tick()
    row = {
        "study_instance_uid": header.study_instance_uid,
        "state": StudyState.RECEIVING,
        "received_at": now,
        "last_image_at": now,
        "band": REST_BAND,
        "due_at": first_due(now),
        "first_tick": tick,
        "last_tick": tick,
        "settle_tick": _look_at(header, tick, tick, patience),
        "settle_why": "just begun",
        "last_association": source.number or None,
        "instances": int(header.has_pixels),
    }
    return _key(connection.execute(_ADD_STUDY, row | whose.begun(connection, header)))


def _look_at(header: Header, first_tick: float, tick: float, patience: Patience) -> float:
    """Once it is silent, or at the cap: where images come all the time nothing else would ask whether it is reached."""
    silent = tick + (patience.volume_open_s if header.modality in VOLUME_MODALITIES else patience.film_s)
    return min(silent, first_tick + patience.longest_s)


def _of_series(study_id: int, header: Header) -> dict[str, Any]:
    return {"study_id": study_id, "series_instance_uid": header.series_instance_uid}


def _add_to_series(ledger: Ledger, connection: Connection, header: Header, study_id: int, study: Any | None) -> int:
    """The series of one more object, of a study that was there (as it was before) or not: its row number."""
    which, tick = _of_series(study_id, header), ledger.clock.tick()
    known = connection.execute(_SERIES, which).first()
    since: tuple[float, float | None] = tick, None
    if study is not None and study.state == StudyState.RECEIVING:
        since = study.first_tick, study.ended_tick
    columns = arrivals.pace(known, [tick], *since) if header.has_pixels else {}
    if known is None:
        return _key(connection.execute(_ADD_SERIES, which | columns | {"modality": header.modality}))
    if columns:
        connection.execute(_PACE, {"number": known.id, **columns})
    return int(known.id)


def add_instance(
    ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int, series_id: int | None = None
) -> None:
    """Gives an object its row in its study, and its series where that is new."""
    header = receipt.header
    if series_id is None:
        which = _of_series(study_id, header)
        series_id = connection.scalar(_SERIES, which)
        if series_id is None:
            series_id = _key(connection.execute(_ADD_SERIES, which | {"modality": header.modality}))
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


def _extend_study(
    ledger: Ledger, connection: Connection, known: Any, header: Header, source: Source, patience: Patience
) -> None:
    """One more instance of a study; it opens a settled study again only where it may be some model's input."""
    study, tick = tables.study, ledger.clock.tick()
    values: dict[str, Any] = {"instances": study.c.instances + int(header.has_pixels)}
    values |= whose.joined(connection, known, header)
    if not header.has_pixels:
        connection.execute(update(study).where(study.c.id == known.id).values(values))
        return
    first_tick = known.first_tick
    if known.state == StudyState.SETTLED:
        first_tick = tick
        values |= {"state": STUDY[StudyState.SETTLED, StudyEvent.LATE_INSTANCE], "settle_why": "late images"}
    if known.settle_why in JUDGED:  # it waited for that alone, and now for more images
        values["settle_why"] = "late images"
    values |= arrivals.coming(known, [source], tick)
    values |= {
        "last_image_at": ledger.clock.now(),
        "first_tick": first_tick,
        "settle_tick": _look_at(header, first_tick, tick, patience),
    }
    connection.execute(update(study).where(study.c.id == known.id).values(values))


def _keep_apart(
    ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int, why: str, state: str
) -> Recorded:
    """Notes an object that must not take its UID's place, or not yet."""
    table, study = tables.conflict, tables.study
    which = (table.c.study_id == study_id, table.c.sop_instance_uid == receipt.header.sop_instance_uid)
    known = connection.scalar(select(table.c.key).where(*which, table.c.digest == receipt.digest))
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
            count_conflicts(connection, study_id, 1)
        if why == MIXED_PATIENTS:
            connection.execute(update(study).where(study.c.id == study_id).values(reason=MIXED_PATIENTS))
    conflict = why if state == "open" else ""
    return Recorded(known or receipt.apart, study_id, conflict, is_unjudged=state == "unjudged")


def is_stopped(study_id: Any) -> Any:
    """Whether a study has an object of another patient, on which nobody has decided, in SQL."""
    table = tables.conflict
    return exists().where(table.c.study_id == study_id, table.c.state == "open", table.c.why == MIXED_PATIENTS)


def count_conflicts(connection: Connection, study_id: int, more: int) -> None:
    """So many more of a study's objects, or fewer, wait for a person."""
    study = tables.study
    connection.execute(update(study).where(study.c.id == study_id).values(conflicts=study.c.conflicts + more))


def look_again(ledger: Ledger, connection: Connection, study_id: int) -> None:
    """Has a study settled anew, at once, after its objects were exchanged or decided about."""
    study, tick = tables.study, ledger.clock.tick()
    values = {
        "state": STUDY[StudyState.SETTLED, StudyEvent.CONFLICT_SETTLED],  # as from receiving
        "first_tick": tick,
        "last_tick": tick,
        "ended_tick": tick,
        "settle_tick": tick,
        "revised_tick": None,
        "settle_why": CONFLICT_SETTLED,
    }
    connection.execute(update(study).where(study.c.id == study_id).values(values))


def _key(done: Any) -> int:
    return int(done.inserted_primary_key[0])


def supersede(ledger: Ledger, connection: Connection, study_id: int, model: str | None = None) -> None:
    """Ends queued jobs, of one model or of all, whose input is not the study's any more."""
    which = {"study": study_id, "ended_at": ledger.clock.now()}
    if model is None:
        connection.execute(_SUPERSEDE, which)
    else:
        connection.execute(_SUPERSEDE_MODEL, which | {"asked": model})
