"""What was received: associations and instances, and what an instance means for its study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import OperationalError

from imaging import crash
from imaging.domain.header import Header
from imaging.domain.own import may_be_ours
from imaging.domain.priority import REST_BAND, first_due
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, VOLUME_MODALITIES, Patience
from imaging.domain.states import JOB, STUDY, JobEvent, JobState, StudyEvent, StudyState
from imaging.ledger import returned, tables, wakeups, whose
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
        tables.study.c.settle_why,
        tables.study.c.conflicts,
        tables.study.c.persons,
    )
    .where(tables.study.c.study_instance_uid == bindparam("uid"))
    .with_for_update()  # a purge that takes it away, or a person who decides, comes before or after
)
_STUDIES: Final = (
    select(
        tables.study.c.study_instance_uid,
        tables.study.c.id,
        tables.study.c.state,
        tables.study.c.header,
        tables.study.c.first_tick,
        tables.study.c.settle_why,
        tables.study.c.conflicts,
        tables.study.c.persons,
    )
    .where(tables.study.c.study_instance_uid.in_(bindparam("uids", expanding=True)))
    .order_by(tables.study.c.id)  # so that two nodes never wait for each other
    .with_for_update()
)
_BEARERS: Final = select(tables.instance.c.sop_instance_uid).where(
    tables.instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_SERIES_OF: Final = select(tables.series.c.study_id, tables.series.c.series_instance_uid, tables.series.c.id).where(
    tables.series.c.study_id.in_(bindparam("studies", expanding=True)),
    tables.series.c.series_instance_uid.in_(bindparam("uids", expanding=True)),
)
_ENDED_OF: Final = select(tables.association.c.id).where(
    tables.association.c.id.in_(bindparam("numbers", expanding=True)), tables.association.c.ended_at.is_not(None)
)
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
_EXTEND: Final = (
    update(tables.study)
    .where(tables.study.c.id == bindparam("number"))
    .values(
        instances=tables.study.c.instances + bindparam("more"),
        state=bindparam("to_state"),
        settle_why=bindparam("why"),
        last_image_at=bindparam("came_at"),
        first_tick=bindparam("first"),
        last_tick=bindparam("tick"),
        ended_tick=None,
        settle_tick=bindparam("look"),
    )
)
_LOOK_NOW: Final = (
    update(tables.study)
    .where(tables.study.c.id == bindparam("number"), tables.study.c.state == StudyState.RECEIVING)
    .values(ended_tick=bindparam("tick"), settle_tick=bindparam("tick"))
)
_TOLD: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
_TOUCH: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
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
    try:
        results = _record_together(ledger, receipts, patience)
    except (OperationalError, MemoryError):
        raise  # a full disk, say: it would be so again
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
        for receipt in receipts:
            try:
                with connection.begin_nested():
                    results.append(_record(ledger, connection, receipt, patience))
            except (OperationalError, MemoryError):
                raise  # SQLite rolls back the whole transaction then, not to the savepoint
            except Exception as error:  # noqa: BLE001 (handed to the one who waits for this receipt)
                results.append(error)
        crash.point("record-not-committed")
    return results


def _plain(connection: Connection, receipts: Sequence[Receipt]) -> dict[int, tuple[Receipt, Any]]:
    """The receipts, by their place, that are one more image of their study and nothing else, with the study's row.

    Nothing has their UID, nothing of their study is kept apart, and whom they name the study names already. A study
    that begins has no row: None.
    """
    studies = {each.study_instance_uid: each for each in connection.execute(_STUDIES, {"uids": _study_uids(receipts)})}
    uids = [each.header.sop_instance_uid for each in receipts]
    taken = set(connection.scalars(_BEARERS, {"uids": uids}))
    begun: dict[str, Header] = {}
    found = {}
    for at, receipt in enumerate(receipts):
        header, study = receipt.header, studies.get(receipt.header.study_instance_uid)
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


def _study_uids(receipts: Sequence[Receipt]) -> list[str]:
    return sorted({each.header.study_instance_uid for each in receipts})


def _record_plain(
    ledger: Ledger, connection: Connection, plain: Mapping[int, tuple[Receipt, Any]], patience: Patience
) -> list[Recorded]:
    if not plain:
        return []
    by_study: dict[str, list[Receipt]] = {}
    studies = {}
    for receipt, study in plain.values():
        by_study.setdefault(receipt.header.study_instance_uid, []).append(receipt)
        studies[receipt.header.study_instance_uid] = study
    numbers, extensions = {}, []
    for uid, its in by_study.items():
        study = studies[uid] or _begin_study(ledger, connection, its[0].header, patience)
        numbers[uid] = int(study.id)
        more = its if studies[uid] is not None else its[1:]
        images = [each.header for each in more if each.header.has_pixels]
        if images:
            extensions.append(_extension(ledger, study, images, patience))
    _add_instances(ledger, connection, [(each, numbers[each.header.study_instance_uid]) for each, _ in plain.values()])
    if extensions:
        connection.execute(_EXTEND, extensions)
    ended = _ended(connection, {each.association_id for each, _ in plain.values()})
    over = {numbers[each.header.study_instance_uid] for each, _ in plain.values() if each.association_id in ended}
    if over:
        connection.execute(_LOOK_NOW, [{"number": each, "tick": ledger.clock.tick()} for each in sorted(over)])
    return [
        Recorded(each.key, numbers[each.header.study_instance_uid], is_over=each.association_id in ended)
        for each, _ in plain.values()
    ]


def _ended(connection: Connection, numbers: set[int | None]) -> set[int | None]:
    """Those of these associations that bring nothing more: None is one that a crash cut."""
    open_ones = [each for each in numbers if each is not None]
    found: set[int | None] = set(connection.scalars(_ENDED_OF, {"numbers": open_ones})) if open_ones else set()
    return found | {None}


def _record(ledger: Ledger, connection: Connection, receipt: Receipt, patience: Patience) -> Recorded:
    header = receipt.header
    is_ours, of = returned.study_of(connection, header)
    if is_ours:
        return _keep_returned(ledger, connection, receipt, of)
    study = connection.execute(_STUDY, {"uid": header.study_instance_uid}).first()
    bearers = connection.execute(_INSTANCE, {"uid": header.sop_instance_uid}).all()
    known = next((each for each in bearers if study is not None and each.study_id == study.id), None)
    if known is not None:
        _touch(ledger, connection, known.study_id)
        if known.digest == receipt.digest:
            return Recorded(known.key, known.study_id)
    place = None if known is None else int(known.id)
    if study is not None and not whose.admits(connection, study, header, receipt.association_id, place):
        return _keep_apart(ledger, connection, receipt, study.id, MIXED_PATIENTS, "open")
    if known is not None:
        return _keep_second(ledger, connection, receipt, known)
    study_id = _begin_study(ledger, connection, header, patience).id if study is None else int(study.id)
    tells_more = (
        study is not None
        and study.conflicts > 0
        and whose.tells_more(connection, study, header, receipt.association_id)
    )
    add_instance(ledger, connection, receipt, study_id)
    if study is not None:
        _extend_study(ledger, connection, study, header, patience)
        if tells_more:
            _let_in(ledger, connection, header.study_instance_uid, patience)
    if bearers:
        note_shared(ledger, connection, header.sop_instance_uid)
    is_over = _is_over(connection, receipt.association_id)
    if is_over:
        _look_now(ledger, connection, study_id)
    return Recorded(receipt.key, study_id, is_over=is_over)


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


def _let_in(ledger: Ledger, connection: Connection, study_uid: str, patience: Patience) -> None:
    """Lets in what was kept apart as another patient's where one more object tells that it is not.

    So that the order in which objects come decides nothing.
    """
    table, which = tables.conflict, {"uid": study_uid}
    number = int(connection.execute(_STUDY, which).one().id)
    waiting = select(table).where(table.c.study_id == number, table.c.state == "open", table.c.why == MIXED_PATIENTS)
    apart, before = connection.execute(waiting.order_by(table.c.id)).all(), 0
    while len(apart) != before:
        before = len(apart)
        apart = [each for each in apart if not _is_let_in(ledger, connection, each, which, patience)]
    if connection.execute(_STUDY, which).one().state == StudyState.SETTLED:
        look_again(ledger, connection, number)


def _is_let_in(
    ledger: Ledger, connection: Connection, apart: Any, which: Mapping[str, str], patience: Patience
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
    _extend_study(ledger, connection, study, header, patience)
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


def _touch(ledger: Ledger, connection: Connection, study_id: int) -> None:
    """So that no purge takes away what is just being acknowledged again."""
    connection.execute(_TOUCH, {"number": study_id, "last_image_at": ledger.clock.now()})


def _is_over(connection: Connection, association_id: int | None) -> bool:
    """Whether nothing more comes from there: a crash cut it, or it was lost while this object was written down."""
    return association_id in _ended(connection, {association_id})


def _look_now(ledger: Ledger, connection: Connection, study_id: int) -> None:
    connection.execute(_LOOK_NOW, {"number": study_id, "tick": ledger.clock.tick()})


@dataclass(frozen=True)
class _Begun:
    """What a study's row says at its beginning of what later images change."""

    id: int
    first_tick: float
    state: str = StudyState.RECEIVING
    settle_why: str = "just begun"


def _begin_study(ledger: Ledger, connection: Connection, header: Header, patience: Patience) -> _Begun:
    now, tick = ledger.clock.now(), ledger.clock.tick()
    row = {
        "study_instance_uid": header.study_instance_uid,
        "state": _Begun.state,
        "received_at": now,
        "last_image_at": now,
        "band": REST_BAND,
        "due_at": first_due(now),
        "first_tick": tick,
        "last_tick": tick,
        "settle_tick": _look_at(header, tick, tick, patience),
        "settle_why": _Begun.settle_why,
        "instances": int(header.has_pixels),
    }
    return _Begun(_key(connection.execute(_ADD_STUDY, row | whose.begun(connection, header))), tick)


def _look_at(header: Header, first_tick: float, tick: float, patience: Patience) -> float:
    """Once it is silent, or at the cap: where images come all the time nothing else would ask whether it is reached."""
    silent = tick + (patience.volume_open_s if header.modality in VOLUME_MODALITIES else patience.film_s)
    return min(silent, first_tick + patience.longest_s)


def add_instance(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int) -> None:
    """Gives an object its row in its study, and its series where that is new."""
    _add_instances(ledger, connection, [(receipt, study_id)])


def _add_instances(ledger: Ledger, connection: Connection, receipts: Sequence[tuple[Receipt, int]]) -> None:
    """Gives objects their rows in the studies beside them, and their series where they are new."""
    series, now = _series_of(connection, receipts), ledger.clock.now()
    rows = [
        {
            "study_id": study_id,
            "series_id": series[study_id, receipt.header.series_instance_uid],
            "association_id": receipt.association_id,
            "sop_instance_uid": receipt.header.sop_instance_uid,
            "digest": receipt.digest,
            "key": receipt.key,
            "size": receipt.size,
            "header": receipt.header.to_json(),
            "received_at": now,
        }
        for receipt, study_id in receipts
    ]
    connection.execute(_ADD_INSTANCE, rows)


def _series_of(connection: Connection, receipts: Sequence[tuple[Receipt, int]]) -> dict[tuple[int, str], int]:
    """The rows of these objects' series, by study and UID; a new one is added."""
    modalities = {(study, each.header.series_instance_uid): each.header.modality for each, study in receipts}
    which = {"studies": sorted({study for study, _ in modalities}), "uids": sorted({uid for _, uid in modalities})}
    found = {(each.study_id, each.series_instance_uid): int(each.id) for each in connection.execute(_SERIES_OF, which)}
    for (study_id, uid), modality in modalities.items():
        if (study_id, uid) not in found:
            row = {"study_id": study_id, "series_instance_uid": uid, "modality": modality}
            found[study_id, uid] = _key(connection.execute(_ADD_SERIES, row))
    return found


def _extend_study(ledger: Ledger, connection: Connection, known: Any, header: Header, patience: Patience) -> None:
    """One more instance of a study; it opens a settled study again only where it may be some model's input."""
    if told := whose.joined(connection, known, header):
        connection.execute(_TOLD, told | {"number": known.id})
    if header.has_pixels:
        connection.execute(_EXTEND, _extension(ledger, known, [header], patience))


def _extension(ledger: Ledger, known: Any, images: Sequence[Header], patience: Patience) -> dict[str, Any]:
    """What changes in a study's row by more images."""
    tick = ledger.clock.tick()
    state, first_tick, why = known.state, known.first_tick, known.settle_why
    if state == StudyState.SETTLED:
        state, first_tick, why = STUDY[StudyState.SETTLED, StudyEvent.LATE_INSTANCE], tick, "late images"
    if why in JUDGED:  # it waited for that alone, and now for more images
        why = "late images"
    return {
        "number": known.id,
        "more": len(images),
        "to_state": state,
        "why": why,
        "came_at": ledger.clock.now(),
        "first": first_tick,
        "tick": tick,
        "look": _look_at(images[-1], first_tick, tick, patience),
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
