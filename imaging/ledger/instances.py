"""The rows of objects and of their series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from imaging.domain.header import Header
from imaging.domain.states import StudyState
from imaging.ledger import arrivals, tables
from imaging.ledger.store import Ledger

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
_PACE: Final = update(tables.series).where(tables.series.c.id == bindparam("number"))
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


def add_instance(ledger: Ledger, connection: Connection, receipt: Receipt, study_id: int) -> None:
    """Gives an object that was kept apart its row in its study, and its series where that is new."""
    key = study_id, receipt.header.series_instance_uid
    series = _series_of(ledger, connection, {key: _Series(receipt.header.modality)})
    connection.execute(_ADD_INSTANCE, [_instance(ledger, receipt, study_id, series[key])])


def add_instances(ledger: Ledger, connection: Connection, receipts: Sequence[tuple[Receipt, Any]]) -> None:
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


def note_pace(ledger: Ledger, connection: Connection, receipt: Receipt, study: Any) -> None:
    """An object that is there already comes again: its series is still being sent."""
    _series_of(ledger, connection, _arriving(ledger, [(receipt, study)]))


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
            numbers[key] = row_number(connection.execute(_ADD_SERIES, new | columns))
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


def row_number(done: Any) -> int:
    """The number of the row that was added."""
    return int(done.inserted_primary_key[0])
