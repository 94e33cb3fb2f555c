"""How a study's row begins, and what changes in it with each object that comes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, update

from imaging.domain.header import Header
from imaging.domain.priority import REST_BAND, first_due
from imaging.domain.settling import CONFLICT_SETTLED, JUDGED, VOLUME_MODALITIES, CompletenessTimeouts
from imaging.domain.states import STUDY, StudyEvent, StudyState
from imaging.ledger import arrivals, patients, studies, tables
from imaging.ledger.arrivals import Source
from imaging.ledger.instances import Receipt, note_pace, row_number
from imaging.ledger.store import Ledger

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
_TOUCH: Final = update(tables.study).where(tables.study.c.id == bindparam("number"))
_ADD_STUDY: Final = insert(tables.study)


@dataclass(frozen=True)
class Begun:
    """What a study's row says at its beginning of what later images change."""

    id: int
    first_tick: float
    last_association: int | None
    state: str = StudyState.RECEIVING
    settle_why: str = "just begun"
    ended_tick: float | None = None
    cut_tick: float | None = None
    cut_by: Mapping[str, int] = field(default_factory=dict)


def begin(
    ledger: Ledger, connection: Connection, header: Header, source: Source, timeouts: CompletenessTimeouts
) -> Begun:
    """Gives a study its row, with its first object."""
    now, tick = ledger.clock.now(), ledger.clock.tick()
    row = {
        "study_instance_uid": header.study_instance_uid,
        "site": ledger.site,
        "state": Begun.state,
        "received_at": now,
        "last_image_at": now,
        "band": REST_BAND,
        "due_at": first_due(now),
        "first_tick": tick,
        "last_tick": tick,
        "settle_tick": _look_at(header, tick, tick, timeouts),
        "settle_why": Begun.settle_why,
        "last_association": source.number or None,
        "instances": int(header.has_pixels),
    }
    number = row_number(connection.execute(_ADD_STUDY, row | patients.first_values(connection, header)))
    return Begun(number, tick, source.number or None)


def _look_at(header: Header, first_tick: float, tick: float, timeouts: CompletenessTimeouts) -> float:
    """Once it is silent, or at the cap: where images come all the time nothing else would ask whether it is reached."""
    silent = tick + (timeouts.volume_open_s if header.modality in VOLUME_MODALITIES else timeouts.film_s)
    return min(silent, first_tick + timeouts.longest_s)


def extend(
    ledger: Ledger, connection: Connection, known: Any, header: Header, source: Source, timeouts: CompletenessTimeouts
) -> None:
    """One more instance of a study; it opens a settled study again only where it may be some model's input."""
    if data := patients.joined_values(connection, known, header):
        connection.execute(_TOUCH, data | {"number": known.id})
    if header.has_pixels:
        write(connection, [extension(ledger, known, [(header, source)], timeouts)])


def extension(
    ledger: Ledger, known: Any, images: Sequence[tuple[Header, Source]], timeouts: CompletenessTimeouts
) -> dict[str, Any]:
    """What changes in a study's row by more images, for `write`."""
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
        "look": _look_at(images[-1][0], first_tick, tick, timeouts),
        "by": coming.get("last_association", known.last_association),
        "cut": coming.get("cut_tick", known.cut_tick),
        "who": dict(coming.get("cut_by", known.cut_by)),
    }


def write(connection: Connection, extensions: Sequence[Mapping[str, Any]]) -> None:
    """Writes down what changes in the rows of studies, each once."""
    if extensions:
        connection.execute(_EXTEND, list(extensions))


def touch(
    ledger: Ledger, connection: Connection, study: Any, receipt: Receipt, source: Source, timeouts: CompletenessTimeouts
) -> None:
    """What comes again: no purge takes it away while it is acknowledged, and a volume's sender still sends."""
    header, tick = receipt.header, ledger.clock.tick()
    values: dict[str, Any] = {"last_image_at": ledger.clock.now()}
    is_received = study.state == StudyState.RECEIVING and study.settle_why not in {*JUDGED, CONFLICT_SETTLED}
    if is_received and header.has_pixels and header.modality in VOLUME_MODALITIES and not source.is_over:
        values |= arrivals.coming(study, [source], tick)
        values["settle_tick"] = _look_at(header, study.first_tick, tick, timeouts)
        note_pace(ledger, connection, receipt, study)
    connection.execute(_TOUCH, {"number": study.id, **values})


def look_now(ledger: Ledger, connection: Connection, study_uid: str, source: Source) -> None:
    """Nothing more comes from there: a crash cut it, or it was lost while this object was written down."""
    study, tick = studies.of_uid(connection, study_uid), ledger.clock.tick()
    if study is not None and study.state == StudyState.RECEIVING:
        connection.execute(_TOUCH, {"number": study.id, "ended_tick": tick, "settle_tick": tick})
        if source.is_cut:
            arrivals.note_cut(connection, study, source, tick)
