"""What an object's arrival, and the end of an association, tell of when its study is whole (`domain.settling`)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, exists, select, union, update

from imaging.domain.ends import HABIT, End, is_cut
from imaging.domain.settling import Pace
from imaging.domain.states import StudyState
from imaging.ledger import tables

NOBODY_KNOWN: Final = ""
"""The sender of what a crash left over: whoever sends of the study takes its place."""

_association, _instance, _study, _series = tables.association, tables.instance, tables.study, tables.series
_SOURCES: Final = (
    select(
        _association.c.id,
        _association.c.calling_ae_title,
        _association.c.address,
        _association.c.ended_at,
        _association.c.ended_as,
    )
    .where(_association.c.id.in_(bindparam("numbers", expanding=True)))
    .order_by(_association.c.id)
    .with_for_update(read=True)
)
_BEFORE: Final = (
    select(_association.c.ended_as)
    .where(
        _association.c.calling_ae_title == bindparam("calling"),
        _association.c.address == bindparam("address"),
        _association.c.id < bindparam("number"),
        _association.c.stored > 0,
        _association.c.ended_at.is_not(None),
    )
    .order_by(_association.c.id.desc())
    .limit(HABIT)
)
_NUMBERS: Final[BindParameter[Any]] = bindparam("numbers", expanding=True)
_THEIRS: Final = union(
    select(_instance.c.study_id).where(_instance.c.association_id.in_(_NUMBERS)),
    select(_study.c.id).where(_study.c.settle_tick >= 0.0, _study.c.last_association.in_(_NUMBERS)),
)
"""The studies of which associations sent, also where they brought again what was there."""
_IS_SENT: Final = exists().where(
    _instance.c.study_id == _study.c.id,
    _instance.c.association_id.in_(select(_association.c.id).where(_association.c.ended_at.is_(None))),
)
"""Whether an open association has sent of a study: of the few that are open each is asked, not all their objects."""
_IS_OPEN: Final = exists().where(_association.c.id == _study.c.last_association, _association.c.ended_at.is_(None))
_END: Final = update(_study).where(
    _study.c.id.in_(_THEIRS), ~_IS_SENT, ~_IS_OPEN, _study.c.state == StudyState.RECEIVING
)
_WERE_SENT: Final = (
    select(_study.c.id, _study.c.cut_by)
    .where(_study.c.id.in_(_THEIRS), _study.c.state == StudyState.RECEIVING)
    .order_by(_study.c.id)
    .with_for_update()
)
_CUT: Final = update(_study).where(_study.c.id == bindparam("study"))
_BEGIN_ANEW: Final = (
    update(_series).where(_series.c.study_id.in_(bindparam("studies", expanding=True))).values(last_tick=None)
)


@dataclass(frozen=True)
class Source:
    """Where an object came from. `sender`: calling AE title at address; `number`: of the association, 0 without one.

    `is_over`: nothing more comes from there, since the association has ended; `is_cut`: its sender was cut off.
    """

    sender: str
    number: int
    is_over: bool
    is_cut: bool


def sources(connection: Connection, associations: Collection[int | None]) -> dict[int | None, Source]:
    """Where the objects of each of these associations came from. None: a crash left them over.

    None of them ends before this transaction does, so that its end finds the studies that begin here.
    """
    numbers = sorted(each for each in associations if each is not None)
    found = {each.id: each for each in connection.execute(_SOURCES, {"numbers": numbers})} if numbers else {}
    return {each: _source(connection, found.get(each)) for each in associations}


def _source(connection: Connection, row: Any | None) -> Source:
    if row is None:
        return Source(NOBODY_KNOWN, 0, is_over=True, is_cut=True)
    is_over = row.ended_at is not None
    return Source(_sender(row), row.id, is_over, is_over and _is_cut(connection, row))


def _sender(row: Any) -> str:
    return f"{row.calling_ae_title.strip().casefold()}@{row.address}"  # as `is_same_title` compares


def _is_cut(connection: Connection, row: Any) -> bool:
    which = {"number": row.id, "calling": row.calling_ae_title, "address": row.address}
    end = End(row.ended_as or End.CUT)
    before = list(connection.scalars(_BEFORE, which)) if end is End.ABORTED else []
    return is_cut(end, [End(each) for each in before if each])


def pace(series: Any | None, ticks: Sequence[float], first_tick: float, ended_tick: float | None) -> dict[str, Any]:
    """The columns of a series, None: a new one, once images of it came (`Pace.after`)."""
    known = Pace() if series is None else Pace(series.last_tick, series.longest_pause_s, series.is_split)
    return vars(known.after(ticks, first_tick, ended_tick))


def coming(study: Any, sources: Sequence[Source], tick: float) -> dict[str, Any]:
    """The columns of a study, besides when it is looked at, once objects of it came: who is awaited no more."""
    awaited = {
        sender: number
        for sender, number in study.cut_by.items()
        if not any(sender in (each.sender, NOBODY_KNOWN) and each.number > number for each in sources)
    }
    values: dict[str, Any] = {"last_tick": tick, "ended_tick": None}
    if sources and sources[-1].number:
        values["last_association"] = sources[-1].number
    if len(awaited) < len(study.cut_by):
        values |= {"cut_by": awaited, "cut_tick": study.cut_tick if awaited else None}
    return values


def note_end(connection: Connection, numbers: Sequence[int], tick: float) -> None:
    """Studies of which no other open association sends are looked at at once; a sender that was cut off is awaited.

    The studies are locked first: of two associations that end together the later sees that the other has ended.
    """
    if not connection.execute(_WERE_SENT, {"numbers": list(numbers)}).all():
        return
    for source in sources(connection, numbers).values():
        if source.is_cut:
            _await(connection, source, tick)
    connection.execute(_END, {"numbers": list(numbers), "ended_tick": tick, "settle_tick": tick})


def _await(connection: Connection, source: Source, tick: float) -> None:
    cut = connection.execute(_WERE_SENT, {"numbers": [source.number]}).all()
    for each in cut:
        note_cut(connection, each, source, tick)


def note_cut(connection: Connection, study: Any, source: Source, tick: float) -> None:
    """A study waits for a sender that was cut off while it sent of it; no pause counts that lasts across the cut."""
    values = {"cut_tick": tick, "cut_by": {**study.cut_by, source.sender: source.number}}
    connection.execute(_CUT, {"study": study.id, **values})
    connection.execute(_BEGIN_ANEW, {"studies": [study.id]})
