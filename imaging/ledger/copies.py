"""Copies under a UID that their study has already: which is compared next, and what its judgement leaves.

A copy stays `unjudged` until its judgement is committed, all in one transaction; a worker that dies meanwhile leaves it
so, and another compares it. Meanwhile the study is analysed with the content that came first.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, or_, select, update

from imaging import crash
from imaging.domain.header import Header
from imaging.domain.same_image import Judgement, Kind, of_study
from imaging.domain.settling import CONTRADICTED, CORRECTED, JUDGED, READABLE, VOLUME_MODALITIES
from imaging.domain.states import STUDY, ApartState, StudyEvent, StudyState
from imaging.ledger import patients, replacement, studies, tables, wakeups
from imaging.ledger.anew import supersede
from imaging.ledger.instances import Receipt
from imaging.ledger.quarantine import OTHER_CONTENT
from imaging.ledger.store import Ledger

LEASE_S: Final = 120.0
AGAIN_S: Final = 5.0
"""After which a copy is tried again whose file could not be had: its row is there a moment before its name."""

_SIGNALS: Final = {Kind.CORRECTION: CORRECTED, Kind.READABLE: READABLE, Kind.CONFLICT: CONTRADICTED}


@dataclass(frozen=True)
class Pair:
    """A copy to be compared. `first`, `second`: spool key and header of what has the UID, and of the newer object.

    `number` is the copy's row, `holder` the instance's. `deaths`: how often comparing it was begun, and not ended.
    """

    number: int
    study_id: int
    holder: int
    first: tuple[str, Header]
    second: tuple[str, Header]
    deaths: int


def _unjudged() -> Select[Any]:
    """The copies that nobody compares, in the worklist's order, then as they came."""
    conflict, instance, study = tables.conflict, tables.instance, tables.study
    return (
        select(
            conflict.c.id,
            conflict.c.study_id,
            conflict.c.key,
            conflict.c.header,
            conflict.c.attempts,
            instance.c.id.label("holder"),
            instance.c.key.label("first_key"),
            instance.c.header.label("first_header"),
        )
        .join(study, study.c.id == conflict.c.study_id)
        .join(
            instance,
            (instance.c.sop_instance_uid == conflict.c.sop_instance_uid) & (instance.c.study_id == conflict.c.study_id),
        )
        .where(
            conflict.c.state == ApartState.UNJUDGED,
            or_(conflict.c.lease_tick.is_(None), conflict.c.lease_tick < bindparam("tick")),
        )
        .order_by(*tables.in_order(study), conflict.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=conflict)
    )


_MODALITY: Final = func.coalesce(tables.conflict.c.header["modality"].as_string(), "")
_ANY: Final = _unjudged()
_OF_VOLUMES: Final = _ANY.where(_MODALITY.in_(sorted(VOLUME_MODALITIES)))
_OF_FILMS: Final = _ANY.where(_MODALITY.not_in(sorted(VOLUME_MODALITIES)))
_IS_UNJUDGED: Final = select(tables.conflict.c.id).where(tables.conflict.c.state == ApartState.UNJUDGED).limit(1)


def claim(ledger: Ledger, owner: str, are_volumes: bool | None = None) -> Pair | None:
    """The copy to be compared next, of volumes or of films alone or of any; None where there is none."""
    which = _ANY if are_volumes is None else _OF_VOLUMES if are_volumes else _OF_FILMS
    with ledger.read() as connection:  # so that idle workers do not queue up to write
        if connection.scalar(_IS_UNJUDGED) is None:
            return None
    conflict, tick = tables.conflict, ledger.clock.tick()
    with ledger.write() as connection:
        row = connection.execute(which, {"tick": tick}).first()
        if row is None:
            return None
        begun = {"lease": owner, "lease_tick": tick + LEASE_S, "attempts": row.attempts + 1}
        connection.execute(update(conflict).where(conflict.c.id == row.id).values(begun))
    first = row.first_key, Header.from_json(row.first_header)
    return Pair(row.id, row.study_id, row.holder, first, (row.key, Header.from_json(row.header)), row.attempts)


def postpone(ledger: Ledger, pair: Pair) -> None:
    """Has a copy compared a little later."""
    conflict = tables.conflict
    with ledger.write() as connection:
        again = {"lease": "", "lease_tick": ledger.clock.tick() + AGAIN_S}
        connection.execute(update(conflict).where(_is_open_to_judge(pair)).values(again))


def release_leases(ledger: Ledger, owner: str) -> None:
    """Has what a worker that ended was comparing compared by another; that it was begun still counts.

    `owner`: what the names of those who held it begin with.
    """
    conflict = tables.conflict
    with ledger.write() as connection:
        held = (conflict.c.state == ApartState.UNJUDGED) & conflict.c.lease.startswith(owner, autoescape=True)
        connection.execute(update(conflict).where(held).values(lease="", lease_tick=None))


def _is_open_to_judge(pair: Pair) -> Any:
    return (tables.conflict.c.id == pair.number) & (tables.conflict.c.state == ApartState.UNJUDGED)


def conclude(ledger: Ledger, pair: Pair, judged: Judgement) -> bool:
    """Writes down what a copy is, with all that follows from it. False where the UID has another content meanwhile.

    A correction takes its UID's place: its study is shown by the newer facts, and analysed anew. A conflict is open
    from now on, and the study is analysed anew as well, since what was not found is not certain any more.
    """
    conflict, instance, study = tables.conflict, tables.instance, tables.study
    with ledger.write() as connection:
        studies.lock(connection, [pair.study_id])
        chosen = connection.execute(select(conflict).where(_is_open_to_judge(pair)).with_for_update()).first()
        holder = connection.execute(select(instance).where(instance.c.id == pair.holder)).first()
        if chosen is None:
            return False
        if holder is None:  # to be compared with what is there now
            connection.execute(update(conflict).where(_is_open_to_judge(pair)).values(lease_tick=None, attempts=0))
            return False
        judgement_values = {"judgement": judged.words, "judged_at": ledger.clock.now(), "lease_tick": None}
        judgement_values |= {"state": _STATES[judged.kind], "why": _REASONS[judged.kind]}
        connection.execute(update(conflict).where(conflict.c.id == pair.number).values(judgement_values))
        its = update(study).where(study.c.id == pair.study_id)
        if judged.kind is Kind.CONFLICT:
            connection.execute(its.values(conflicts=study.c.conflicts + 1))
        elif judged.kind is not Kind.SAME:
            _take(ledger, connection, chosen, holder, judged)
            connection.execute(its.values(corrections=study.c.corrections + 1))
        _look_again(ledger, connection, pair.study_id, _SIGNALS.get(judged.kind, ""))
        crash.point("judgement-not-committed")
    crash.point("judged")
    ledger.wakeups.notify(wakeups.SETTLE, wakeups.STUDY)
    return True


_STATES: Final = {
    Kind.SAME: ApartState.NOTED,
    Kind.CORRECTION: ApartState.USED,
    Kind.READABLE: ApartState.USED,
    Kind.CONFLICT: ApartState.OPEN,
}
_REASONS: Final = {
    Kind.SAME: "same image",
    Kind.CORRECTION: "correction",
    Kind.READABLE: "readable copy",
    Kind.CONFLICT: OTHER_CONTENT,
}


def _take(ledger: Ledger, connection: Connection, chosen: Any, holder: Any, judged: Judgement) -> None:
    """Puts the newer facts in their UID's place, and with them the newer file or the one that was there."""
    first, header = Header.from_json(holder.header), judged.header
    place = chosen if judged.takes_pixels else holder
    if judged.takes_pixels:
        replacement.quarantine(connection, holder, "replaced", ApartState.NOTED)
    receipt = Receipt(header, place.digest, place.size, place.association_id, place.key, place.key)
    replacement.replace_content(ledger, connection, holder, receipt)
    supersede(ledger, connection, holder.study_id)  # what is queued is decided anew
    shown = connection.execute(select(tables.study.c.header).where(tables.study.c.id == chosen.study_id)).scalar_one()
    patients.show_corrected(connection, chosen.study_id, of_study(Header.from_json(shown), first, header))


def _look_again(ledger: Ledger, connection: Connection, study_id: int, signal: str) -> None:
    """Has the study looked at: anew where something changed, else as soon as nothing of it is to be compared."""
    study, tick = tables.study, ledger.clock.tick()
    row = connection.execute(select(study).where(study.c.id == study_id)).one()
    is_settled = row.state == StudyState.SETTLED
    if not signal and is_settled:
        return
    values: dict[str, Any] = {"settle_tick": tick} if is_settled or row.settle_why in JUDGED else {}
    if signal:
        values |= {"state": STUDY[StudyState(row.state), StudyEvent.COPY_JUDGED], "last_tick": tick}
        if is_settled:
            values |= {"first_tick": tick, "ended_tick": tick, "settle_why": signal}
        if signal == READABLE:  # there was no answer to speak of
            values |= {"revised_tick": None, "settle_tick": tick}
            if row.settle_why in JUDGED:
                values["settle_why"] = READABLE
    if values:
        connection.execute(update(study).where(study.c.id == study_id, study.c.state == row.state).values(values))
