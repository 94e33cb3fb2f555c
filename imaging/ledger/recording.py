"""Gives objects that were received their rows, and decides what one more means for its study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.exc import IntegrityError, OperationalError

from imaging import crash
from imaging.domain.header import Header
from imaging.domain.own_results import is_result_class
from imaging.domain.settling import CompletenessTimeouts
from imaging.domain.states import ApartState, StudyState
from imaging.ledger import anew, arrivals, growth, patients, quarantine, returned_reports, studies, tables, wakeups
from imaging.ledger.arrivals import Source
from imaging.ledger.instances import Receipt, add_instance, add_instances
from imaging.ledger.quarantine import MIXED_PATIENTS, SECOND_COPY
from imaging.ledger.store import Ledger, is_deadlock

_TAKEN: Final = select(tables.instance.c.sop_instance_uid).where(
    tables.instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)


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


def record(ledger: Ledger, receipts: Sequence[Receipt], timeouts: CompletenessTimeouts) -> list[Recorded | Exception]:
    """Gives each receipt its row, all in one durable transaction; a bad one fails alone.

    Raises where the database itself is in trouble: then none has its row.
    """
    try:
        results = _record_together(ledger, receipts, timeouts)
    except MemoryError:
        raise
    except OperationalError as error:
        if not is_deadlock(error):
            raise  # a full disk, say: it would be so again
        results = _record_each(ledger, receipts, timeouts)
    except Exception:  # noqa: BLE001 (one of them: each is told its own)
        results = _record_each(ledger, receipts, timeouts)
    done = [each for each in results if isinstance(each, Recorded)]
    topics = [wakeups.SETTLE] * any(each.is_over for each in done)
    topics += [wakeups.JOB] * any(each.is_unjudged for each in done)
    ledger.wakeups.notify(wakeups.STUDY, *topics)
    return results


def _record_together(
    ledger: Ledger, receipts: Sequence[Receipt], timeouts: CompletenessTimeouts
) -> list[Recorded | Exception]:
    """What is plain is written together, a statement for a table; the rest one by one. Raises where anything fails."""
    results: list[Recorded | Exception | None] = [None] * len(receipts)
    with ledger.write() as connection:
        sources = _sources(connection, receipts)
        plain = _plain(connection, receipts)
        for at, recorded in zip(plain, _record_plain(ledger, connection, plain, sources, timeouts), strict=True):
            results[at] = recorded
        for at, receipt in enumerate(receipts):
            if results[at] is None:
                results[at] = _record(ledger, connection, receipt, sources[receipt.association_id], timeouts)
        crash.point("record-not-committed")
    return [each for each in results if each is not None]


def _record_each(
    ledger: Ledger, receipts: Sequence[Receipt], timeouts: CompletenessTimeouts
) -> list[Recorded | Exception]:
    results: list[Recorded | Exception] = []
    with ledger.write() as connection:
        sources = _sources(connection, receipts)
        studies.locked_by_uid(connection, _study_uids(receipts))
        for receipt in receipts:
            try:
                source = sources[receipt.association_id]
                results.append(_record_alone(ledger, connection, receipt, source, timeouts))
            except (OperationalError, MemoryError):
                raise  # SQLite rolls back the whole transaction then, not to the savepoint
            except Exception as error:  # noqa: BLE001 (handed to the one who waits for this receipt)
                results.append(error)
        crash.point("record-not-committed")
    return results


def _sources(connection: Connection, receipts: Sequence[Receipt]) -> Mapping[int | None, Source]:
    """Where the objects came from, before their studies are locked: in the order in which an end locks both."""
    return arrivals.sources(connection, {each.association_id for each in receipts})


def _record_alone(
    ledger: Ledger, connection: Connection, receipt: Receipt, source: Source, timeouts: CompletenessTimeouts
) -> Recorded:
    try:
        with connection.begin_nested():
            return _record(ledger, connection, receipt, source, timeouts)
    except IntegrityError:  # another node began the same study, or wrote down the same patient, just now
        with connection.begin_nested():
            return _record(ledger, connection, receipt, source, timeouts)


def _plain(connection: Connection, receipts: Sequence[Receipt]) -> dict[int, tuple[Receipt, Any]]:
    """The receipts, by their place, that are one more image of their study and nothing else, with the study's row.

    Nothing has their UID, nothing of their study is kept apart, and whom they name the study names already. A study
    that begins has no row: None.
    """
    known = studies.locked_by_uid(connection, _study_uids(receipts))
    uids = [each.header.sop_instance_uid for each in receipts]
    taken = set(connection.scalars(_TAKEN, {"uids": uids}))
    begun: dict[str, Header] = {}
    found = {}
    for at, receipt in enumerate(receipts):
        header, study = receipt.header, known.get(receipt.header.study_instance_uid)
        if header.sop_instance_uid in taken or is_result_class(header):
            continue
        if study is None:
            first = begun.setdefault(header.study_instance_uid, header)
            is_plain = first is header or patients.is_same(first, header)
        else:
            is_plain = study.conflicts == 0 and patients.is_known(study, header)
        if is_plain:
            taken.add(header.sop_instance_uid)
            found[at] = receipt, study
    return found


def _study_uids(receipts: Sequence[Receipt]) -> set[str]:
    return {each.header.study_instance_uid for each in receipts}


def _record_plain(
    ledger: Ledger,
    connection: Connection,
    plain: Mapping[int, tuple[Receipt, Any]],
    sources: Mapping[int | None, Source],
    timeouts: CompletenessTimeouts,
) -> list[Recorded]:
    if not plain:
        return []
    by_study: dict[str, list[Receipt]] = {}
    known = {}
    for receipt, study in plain.values():
        by_study.setdefault(receipt.header.study_instance_uid, []).append(receipt)
        known[receipt.header.study_instance_uid] = study
    now, extensions = dict[str, Any](), []
    for uid, its in sorted(by_study.items()):  # new ones too in one order: two nodes never wait in a circle
        first = its[0]
        begun = known[uid] or growth.begin(ledger, connection, first.header, sources[first.association_id], timeouts)
        more = its if known[uid] is not None else its[1:]
        now[uid] = begun
        images = [(each.header, sources[each.association_id]) for each in more if each.header.has_pixels]
        if images:
            extensions.append(growth.extension(ledger, begun, images, timeouts))
    add_instances(ledger, connection, [(each, now[each.header.study_instance_uid]) for each, _ in plain.values()])
    growth.write(connection, extensions)
    results = []
    for receipt, _ in plain.values():
        source, uid = sources[receipt.association_id], receipt.header.study_instance_uid
        if source.is_over:
            growth.look_now(ledger, connection, uid, source)
        results.append(Recorded(receipt.key, int(now[uid].id), is_over=source.is_over))
    return results


def _record(
    ledger: Ledger, connection: Connection, receipt: Receipt, source: Source, timeouts: CompletenessTimeouts
) -> Recorded:
    header = receipt.header
    is_ours, of = returned_reports.study_of(connection, header)
    if is_ours:
        return _keep_returned(ledger, connection, receipt, of)
    study = studies.of_uid(connection, header.study_instance_uid)
    bearers = quarantine.bearers(connection, header.sop_instance_uid)
    known = next((each for each in bearers if study is not None and each.study_id == study.id), None)
    if known is not None:
        growth.touch(ledger, connection, study, receipt, source, timeouts)
        if known.digest == receipt.digest:
            return Recorded(known.key, known.study_id)
    place = None if known is None else int(known.id)
    if study is not None and not patients.admits(connection, study, header, receipt.association_id, place):
        key = quarantine.keep(ledger, connection, receipt, study.id, MIXED_PATIENTS, ApartState.OPEN)
        return Recorded(key, study.id, MIXED_PATIENTS)
    if known is not None:
        return _keep_second(ledger, connection, receipt, known)
    its: Any = study or growth.begin(ledger, connection, header, source, timeouts)
    tells_more = (
        study is not None
        and study.conflicts > 0
        and patients.adds_identity(connection, study, header, receipt.association_id)
    )
    add_instances(ledger, connection, [(receipt, its)])
    if study is not None:
        growth.extend(ledger, connection, study, header, source, timeouts)
        if tells_more:
            _let_in(ledger, connection, header.study_instance_uid, source, timeouts)
    if bearers:
        quarantine.note_shared(ledger, connection, header.sop_instance_uid)
    if source.is_over:
        growth.look_now(ledger, connection, header.study_instance_uid, source)
    return Recorded(receipt.key, int(its.id), is_over=source.is_over)


def _keep_second(ledger: Ledger, connection: Connection, receipt: Receipt, known: Any) -> Recorded:
    """Keeps apart an object under a UID of its study: what it is, a worker says once it has compared them."""
    if not receipt.header.has_pixels and not Header.from_json(known.header).has_pixels:
        return Recorded(
            quarantine.keep(ledger, connection, receipt, known.study_id, "no image", ApartState.NOTED), known.study_id
        )
    key = quarantine.keep(ledger, connection, receipt, known.study_id, SECOND_COPY, ApartState.UNJUDGED)
    return Recorded(key, known.study_id, is_unjudged=True)


def _keep_returned(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int | None) -> Recorded:
    """A report of ours that came back; it may have been coerced, so each of its contents is kept."""
    values = {
        "digest": receipt.digest,
        "key": receipt.apart,
        "size": receipt.size,
        "association_id": receipt.association_id,
    }
    return Recorded(returned_reports.keep(ledger, connection, study_id, values, receipt.header), study_id or 0)


def _let_in(
    ledger: Ledger, connection: Connection, study_uid: str, source: Source, timeouts: CompletenessTimeouts
) -> None:
    """Lets in what was kept apart as another patient's where one more object tells that it is not.

    So that the order in which objects come decides nothing.
    """
    table, study = tables.conflict, studies.of_uid(connection, study_uid)
    assert study is not None
    waiting = select(table).where(
        table.c.study_id == study.id, table.c.state == ApartState.OPEN, table.c.why == MIXED_PATIENTS
    )
    left, before = list(connection.execute(waiting.order_by(table.c.id))), 0
    while len(left) != before:
        before = len(left)
        left = [each for each in left if not _is_let_in(ledger, connection, each, study_uid, source, timeouts)]
    now = studies.of_uid(connection, study_uid)
    if now is not None and now.state == StudyState.SETTLED:
        anew.look_again(ledger, connection, now.id)


def _is_let_in(
    ledger: Ledger, connection: Connection, waiting: Any, study_uid: str, source: Source, timeouts: CompletenessTimeouts
) -> bool:
    header, study = Header.from_json(waiting.header), studies.of_uid(connection, study_uid)
    if study is None or any(
        each.study_id == study.id for each in quarantine.bearers(connection, waiting.sop_instance_uid)
    ):
        return False
    if not patients.admits(connection, study, header, waiting.association_id, None):
        return False
    connection.execute(delete(tables.conflict).where(tables.conflict.c.id == waiting.id))
    quarantine.count_conflicts(connection, study.id, -1)
    receipt = Receipt(header, waiting.digest, waiting.size, waiting.association_id, waiting.key, waiting.key)
    add_instance(ledger, connection, receipt, study.id)
    growth.extend(ledger, connection, study, header, source, timeouts)
    return True
