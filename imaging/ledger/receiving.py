"""What was received, and what one more object means for its study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from imaging import crash
from imaging.domain.header import Header
from imaging.domain.own import may_be_ours
from imaging.domain.priority import REST_BAND, first_due
from imaging.domain.reasons import SUPERSEDED
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, VOLUME_MODALITIES, Patience
from imaging.domain.states import JOB, STUDY, JobEvent, JobState, StudyEvent, StudyState
from imaging.ledger import arrivals, returned, studies, tables, wakeups, whose
from imaging.ledger.arrivals import Source
from imaging.ledger.store import Ledger, is_deadlock

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
_BEARERS: Final = select(tables.instance.c.sop_instance_uid).where(
    tables.instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_SERIES_OF: Final = select(
    tables.series.c.study_id,
    tables.series.c.series_instance_uid,
    tables.series.c.id,
    tables.series.c.last_tick,
    tables.series.c.longest_pause_s,
    tables.series.c.is_split,
).where(
    tables.series.c.study_id.in_(bindparam("studies", expanding=True)),
    tables.series.c.series_instance_uid.in_(bindparam("uids", expanding=True)),
)
_SUPERSEDE: Final = (
    update(tables.job)
    .where(tables.job.c.state == JobState.QUEUED, tables.job.c.study_id == bindparam("study"))
    .values(state=JOB[JobState.QUEUED, JobEvent.SUPERSEDED], reason=SUPERSEDED)
)
_SUPERSEDE_MODEL: Final = _SUPERSEDE.where(tables.job.c.model == bindparam("asked"))
_EXTEND: Final = (
    update(tables.study)
    .where(tables.study.c.id == bindparam("number"), tables.study.c.state == bindparam("from_state"))
    .values(
        instances=tables.study.c.instances + bindparam("more"),
        state=bindparam("to_state"),
        settle_why=bindparam("why"),
        last_image_at=bindparam("came_at"),
        first_tick=bindparam("first"),
        last_tick=bindparam("tick"),
        ended_tick=None,
        settle_tick=bindparam("look"),
        last_association=bindparam("by"),
        cut_tick=bindparam("cut"),
        cut_by=bindparam("who"),
    )
)
_PACE: Final = update(tables.series).where(tables.series.c.id == bindparam("number"))
_TOUCH: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
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


def record(ledger: Ledger, receipts: Sequence[Receipt], patience: Patience) -> list[Recorded | Exception]:
    """Gives each receipt its row, all in one durable transaction; a bad one fails alone.

    Raises where the database itself is in trouble: then none has its row.
    """
    try:
        results = _record_together(ledger, receipts, patience)
    except MemoryError:
        raise
    except OperationalError as error:
        if not is_deadlock(error):
            raise  # a full disk, say: it would be so again
        results = _record_each(ledger, receipts, patience)
    except Exception:  # noqa: BLE001 (one of them: each is told its own)
        results = _record_each(ledger, receipts, patience)
    done = [each for each in results if isinstance(each, Recorded)]
    topics = [wakeups.SETTLE] * any(each.is_over for each in done)
    topics += [wakeups.JOB] * any(each.is_unjudged for each in done)
    ledger.wakeups.notify(wakeups.STUDY, *topics)
    return results


def _record_together(ledger: Ledger, receipts: Sequence[Receipt], patience: Patience) -> list[Recorded | Exception]:
    """What is plain is written together, a statement for a table; the rest one by one. Raises where anything fails."""
    results: list[Recorded | Exception | None] = [None] * len(receipts)
    with ledger.write() as connection:
        plain = _plain(connection, receipts)
        for at, recorded in zip(plain, _record_plain(ledger, connection, plain, patience), strict=True):
            results[at] = recorded
        for at, receipt in enumerate(receipts):
            if results[at] is None:
                results[at] = _record(ledger, connection, receipt, patience)
        crash.point("record-not-committed")
    return [each for each in results if each is not None]


def _record_each(ledger: Ledger, receipts: Sequence[Receipt], patience: Patience) -> list[Recorded | Exception]:
    results: list[Recorded | Exception] = []
    with ledger.write() as connection:
        studies.locked_by_uid(connection, _study_uids(receipts))
        for receipt in receipts:
            try:
                results.append(_record_alone(ledger, connection, receipt, patience))
            except (OperationalError, MemoryError):
                raise  # SQLite rolls back the whole transaction then, not to the savepoint
            except Exception as error:  # noqa: BLE001 (handed to the one who waits for this receipt)
                results.append(error)
        crash.point("record-not-committed")
    return results


def _record_alone(ledger: Ledger, connection: Connection, receipt: Receipt, patience: Patience) -> Recorded:
    try:
        with connection.begin_nested():
            return _record(ledger, connection, receipt, patience)
    except IntegrityError:  # another node began the same study, or wrote down the same patient, just now
        with connection.begin_nested():
            return _record(ledger, connection, receipt, patience)


def _plain(connection: Connection, receipts: Sequence[Receipt]) -> dict[int, tuple[Receipt, Any]]:
    """The receipts, by their place, that are one more image of their study and nothing else, with the study's row.

    Nothing has their UID, nothing of their study is kept apart, and whom they name the study names already. A study
    that begins has no row: None.
    """
    known = studies.locked_by_uid(connection, _study_uids(receipts))
    uids = [each.header.sop_instance_uid for each in receipts]
    taken = set(connection.scalars(_BEARERS, {"uids": uids}))
    begun: dict[str, Header] = {}
    found = {}
    for at, receipt in enumerate(receipts):
        header, study = receipt.header, known.get(receipt.header.study_instance_uid)
        if header.sop_instance_uid in taken or may_be_ours(header):
            continue
        if study is None:
            first = begun.setdefault(header.study_instance_uid, header)
            is_plain = first is header or whose.is_same(first, header)
        else:
            is_plain = study.conflicts == 0 and whose.is_known(study, header)
        if is_plain:
            taken.add(header.sop_instance_uid)
            found[at] = receipt, study
    return found


def _study_uids(receipts: Sequence[Receipt]) -> set[str]:
    return {each.header.study_instance_uid for each in receipts}


def _record_plain(
    ledger: Ledger, connection: Connection, plain: Mapping[int, tuple[Receipt, Any]], patience: Patience
) -> list[Recorded]:
    if not plain:
        return []
    sources = arrivals.sources(connection, {each.association_id for each, _ in plain.values()})
    by_study: dict[str, list[Receipt]] = {}
    known = {}
    for receipt, study in plain.values():
        by_study.setdefault(receipt.header.study_instance_uid, []).append(receipt)
        known[receipt.header.study_instance_uid] = study
    now, extensions = dict[str, Any](), []
    for uid, its in sorted(by_study.items()):  # new ones too in one order: two nodes never wait in a circle
        first = its[0]
        begun = known[uid] or _begin_study(ledger, connection, first.header, sources[first.association_id], patience)
        more = its if known[uid] is not None else its[1:]
        now[uid] = begun
        images = [(each.header, sources[each.association_id]) for each in more if each.header.has_pixels]
        if images:
            extensions.append(_extension(ledger, begun, images, patience))
    _add_instances(ledger, connection, [(each, now[each.header.study_instance_uid]) for each, _ in plain.values()])
    if extensions:
        connection.execute(_EXTEND, extensions)
    results = []
    for receipt, _ in plain.values():
        source, uid = sources[receipt.association_id], receipt.header.study_instance_uid
        if source.is_over:
            _look_now(ledger, connection, uid, source)
        results.append(Recorded(receipt.key, int(now[uid].id), is_over=source.is_over))
    return results


def _record(ledger: Ledger, connection: Connection, receipt: Receipt, patience: Patience) -> Recorded:
    header = receipt.header
    is_ours, of = returned.study_of(connection, header)
    if is_ours:
        return _keep_returned(ledger, connection, receipt, of)
    study = _study(connection, header.study_instance_uid)
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
    its: Any = study or _begin_study(ledger, connection, header, source, patience)
    tells_more = (
        study is not None
        and study.conflicts > 0
        and whose.tells_more(connection, study, header, receipt.association_id)
    )
    _add_instances(ledger, connection, [(receipt, its)])
    if study is not None:
        _extend_study(ledger, connection, study, header, source, patience)
        if tells_more:
            _let_in(ledger, connection, header.study_instance_uid, source, patience)
    if bearers:
        note_shared(ledger, connection, header.sop_instance_uid)
    if source.is_over:
        _look_now(ledger, connection, header.study_instance_uid, source)
    return Recorded(receipt.key, int(its.id), is_over=source.is_over)


def _study(connection: Connection, study_uid: str) -> Any:
    """The study as it is now, locked; None where it has no row."""
    return studies.locked_by_uid(connection, {study_uid}).get(study_uid)


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
    table, number = tables.conflict, int(_study(connection, study_uid).id)
    waiting = select(table).where(table.c.study_id == number, table.c.state == "open", table.c.why == MIXED_PATIENTS)
    apart, before = connection.execute(waiting.order_by(table.c.id)).all(), 0
    while len(apart) != before:
        before = len(apart)
        apart = [each for each in apart if not _is_let_in(ledger, connection, each, study_uid, source, patience)]
    if _study(connection, study_uid).state == StudyState.SETTLED:
        look_again(ledger, connection, number)


def _is_let_in(
    ledger: Ledger, connection: Connection, apart: Any, study_uid: str, source: Source, patience: Patience
) -> bool:
    header, study = Header.from_json(apart.header), _study(connection, study_uid)
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
        _series_of(ledger, connection, _arriving(ledger, [(receipt, study)]))
    connection.execute(_TOUCH, {"number": study.id, **values})


def _look_now(ledger: Ledger, connection: Connection, study_uid: str, source: Source) -> None:
    """Nothing more comes from there: a crash cut it, or it was lost while this object was written down."""
    study, tick = _study(connection, study_uid), ledger.clock.tick()
    if study.state == StudyState.RECEIVING:
        connection.execute(_TOUCH, {"number": study.id, "ended_tick": tick, "settle_tick": tick})
        if source.is_cut:
            arrivals.note_cut(connection, study, source, tick)


@dataclass(frozen=True)
class _Begun:
    """What a study's row says at its beginning of what later images change."""

    id: int
    first_tick: float
    last_association: int | None
    state: str = StudyState.RECEIVING
    settle_why: str = "just begun"
    ended_tick: float | None = None
    cut_tick: float | None = None
    cut_by: Mapping[str, int] = field(default_factory=dict)


def _begin_study(ledger: Ledger, connection: Connection, header: Header, source: Source, patience: Patience) -> _Begun:
    now, tick = ledger.clock.now(), ledger.clock.tick()
    row = {
        "study_instance_uid": header.study_instance_uid,
        "site": ledger.site,
        "state": _Begun.state,
        "received_at": now,
        "last_image_at": now,
        "band": REST_BAND,
        "due_at": first_due(now),
        "first_tick": tick,
        "last_tick": tick,
        "settle_tick": _look_at(header, tick, tick, patience),
        "settle_why": _Begun.settle_why,
        "last_association": source.number or None,
        "instances": int(header.has_pixels),
    }
    number = _key(connection.execute(_ADD_STUDY, row | whose.begun(connection, header)))
    return _Begun(number, tick, source.number or None)


def _look_at(header: Header, first_tick: float, tick: float, patience: Patience) -> float:
    """Once it is silent, or at the cap: where images come all the time nothing else would ask whether it is reached."""
    silent = tick + (patience.volume_open_s if header.modality in VOLUME_MODALITIES else patience.film_s)
    return min(silent, first_tick + patience.longest_s)


def add_instance(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int) -> None:
    """Gives an object that was kept apart its row in its study, and its series where that is new."""
    key = study_id, receipt.header.series_instance_uid
    series = _series_of(ledger, connection, {key: _Series(receipt.header.modality)})
    connection.execute(_ADD_INSTANCE, [_instance(ledger, receipt, study_id, series[key])])


def _add_instances(ledger: Ledger, connection: Connection, receipts: Sequence[tuple[Receipt, Any]]) -> None:
    """Gives objects that come now their rows, in the studies beside them as they were before, and in their series."""
    series = _series_of(ledger, connection, _arriving(ledger, receipts))
    rows = [
        _instance(ledger, receipt, study.id, series[study.id, receipt.header.series_instance_uid])
        for receipt, study in receipts
    ]
    connection.execute(_ADD_INSTANCE, rows)


def _instance(ledger: Ledger, receipt: Receipt, study_id: int, series_id: int) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "series_id": series_id,
        "association_id": receipt.association_id,
        "sop_instance_uid": receipt.header.sop_instance_uid,
        "digest": receipt.digest,
        "key": receipt.key,
        "size": receipt.size,
        "header": receipt.header.to_json(),
        "received_at": ledger.clock.now(),
    }


@dataclass(frozen=True)
class _Series:
    """A series that objects belong to. `since`: of `Pace.after`, where images of it come just now; else None."""

    modality: str
    since: tuple[float, float | None] | None = None


def _arriving(ledger: Ledger, receipts: Sequence[tuple[Receipt, Any]]) -> dict[tuple[int, str], _Series]:
    """The series of objects that come now, by study and UID."""
    found: dict[tuple[int, str], _Series] = {}
    for receipt, study in receipts:
        header, key = receipt.header, (int(study.id), receipt.header.series_instance_uid)
        if key not in found or (header.has_pixels and found[key].since is None):
            found[key] = _Series(header.modality, _since(ledger, study) if header.has_pixels else None)
    return found


def _series_of(
    ledger: Ledger, connection: Connection, wanted: Mapping[tuple[int, str], _Series]
) -> dict[tuple[int, str], int]:
    """The row numbers of these series, by study and UID; a new one is added, and the pace of each noted."""
    which = {"studies": sorted({study for study, _ in wanted}), "uids": sorted({uid for _, uid in wanted})}
    known = {(each.study_id, each.series_instance_uid): each for each in connection.execute(_SERIES_OF, which)}
    numbers, paces, tick = dict[tuple[int, str], int](), [], ledger.clock.tick()
    for key, series in wanted.items():
        row = known.get(key)
        columns = {} if series.since is None else arrivals.pace(row, [tick], *series.since)
        if row is None:
            new = {"study_id": key[0], "series_instance_uid": key[1], "modality": series.modality}
            numbers[key] = _key(connection.execute(_ADD_SERIES, new | columns))
        else:
            numbers[key] = int(row.id)
            paces += [{"number": row.id, **columns}] if columns else []
    if paces:
        connection.execute(_PACE, paces)
    return numbers


def _since(ledger: Ledger, study: Any) -> tuple[float, float | None]:
    """First tick of a study and the end of what sent of it, as more images of it come now."""
    is_received = study.state == StudyState.RECEIVING
    return (study.first_tick, study.ended_tick) if is_received else (ledger.clock.tick(), None)


def _extend_study(
    ledger: Ledger, connection: Connection, known: Any, header: Header, source: Source, patience: Patience
) -> None:
    """One more instance of a study; it opens a settled study again only where it may be some model's input."""
    if told := whose.joined(connection, known, header):
        connection.execute(_TOUCH, told | {"number": known.id})
    if header.has_pixels:
        connection.execute(_EXTEND, _extension(ledger, known, [(header, source)], patience))


def _extension(
    ledger: Ledger, known: Any, images: Sequence[tuple[Header, Source]], patience: Patience
) -> dict[str, Any]:
    """What changes in a study's row by more images."""
    tick = ledger.clock.tick()
    state, first_tick, why = known.state, known.first_tick, known.settle_why
    if state == StudyState.SETTLED:
        state, first_tick, why = STUDY[StudyState.SETTLED, StudyEvent.LATE_INSTANCE], tick, "late images"
    if why in JUDGED:  # it waited for that alone, and now for more images
        why = "late images"
    coming = arrivals.coming(known, [source for _, source in images], tick)
    return {
        "number": known.id,
        "from_state": known.state,
        "more": len(images),
        "to_state": state,
        "why": why,
        "came_at": ledger.clock.now(),
        "first": first_tick,
        "tick": tick,
        "look": _look_at(images[-1][0], first_tick, tick, patience),
        "by": coming.get("last_association", known.last_association),
        "cut": coming.get("cut_tick", known.cut_tick),
        "who": dict(coming.get("cut_by", known.cut_by)),
    }


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
