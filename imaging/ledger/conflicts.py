"""What a person decides about objects kept apart, and takes back: never so that a study names two patients."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, select, update

from imaging.domain.header import Header, same_patient
from imaging.domain.states import ApartState, DeliveryState
from imaging.ledger import patients, studies, tables, wakeups
from imaging.ledger.anew import look_again, supersede
from imaging.ledger.quarantine import OTHER_CONTENT, SHARED, count_conflicts
from imaging.ledger.replacement import admit, forget, judge_again, quarantine
from imaging.ledger.store import Ledger
from imaging.ledger.undecided import UNDECIDED

NOT_OPEN: Final = "no open conflict has this number"
NOTHING_TO_USE: Final = (
    "one UID stands for two objects, each in the study that it names, and both are analysed: there is nothing to use; "
    "`drop` removes the notice"
)
TWO_OF_ONE: Final = "two of the chosen objects have the same UID: `drop` one of them first"
BEING_SENT: Final = "a report of the study is being sent; try again in a few minutes"
WAS_SENT: Final = "a report of the study has been sent since; have the right images sent again"
NOT_DECIDED: Final = "no decided conflict has this number"
TAKEN: Final = "another object has taken its place since; decide about that one"
CAME_SINCE: Final = "objects that name this decision's patient have arrived since; the study would name two patients"


def decide(ledger: Ledger, numbers: Sequence[int], use: bool, *, and_alike: bool = False) -> dict[int, str]:
    """A person's word on objects kept apart: `use` puts them in their UIDs' places, else they stay apart for good.

    `and_alike`: it goes for all open ones of the same study and patient. Those of one study are decided together or not
    at all, and used only where all objects of the study then name one patient. The study is looked at again; with `use`
    what was queued for it is decided anew. Returns by number why nothing was done, empty where it was.
    """
    reasons: dict[int, str] = {}
    with ledger.write() as connection:
        _lock(connection, numbers)
        chosen = []
        for number in dict.fromkeys(numbers):
            found = _open(connection, number, and_alike=and_alike)
            reasons[number] = (
                NOT_OPEN if not found else NOTHING_TO_USE if use and found[0].state == ApartState.SHARED else ""
            )
            chosen += found if not reasons[number] else []
        every = sorted({each.id: each for each in chosen}.values(), key=lambda each: (each.study_id, each.id))
        for study_id, group in groupby(every, lambda each: int(each.study_id)):
            why = _decide(ledger, connection, study_id, list(group), use=use)
            reasons |= {each.id: why for each in chosen if each.study_id == study_id and why and each.id in reasons}
    ledger.wakeups.notify(wakeups.SETTLE, wakeups.JOB, wakeups.DELIVERY)
    return reasons


def _open(connection: Connection, number: int, *, and_alike: bool) -> list[Any]:
    """The undecided one of this number, and where asked so those of its study that name the same patient."""
    table = tables.conflict
    undecided = select(table).where(table.c.state.in_(UNDECIDED))
    first = connection.execute(undecided.where(table.c.id == number)).first()
    if first is None or not and_alike or first.state == ApartState.SHARED:
        return [] if first is None else [first]
    of_study = undecided.where(
        table.c.study_id == first.study_id, table.c.state == ApartState.OPEN, table.c.id != number
    )
    header = Header.from_json(first.header)
    alike = [each for each in connection.execute(of_study) if same_patient([header, Header.from_json(each.header)])]
    return [first, *alike]


def _decide(ledger: Ledger, connection: Connection, study_id: int, chosen: Sequence[Any], *, use: bool) -> str:
    if use and (why := _why_not_used(connection, study_id, chosen)):
        return why
    values = {
        "decision": chosen[0].id,
        "decided_at": ledger.clock.now(),
        "state": ApartState.USED if use else ApartState.DROPPED,
    }
    for each in chosen:
        _note(connection, each.id, **values)
    is_open = sum(each.state == ApartState.OPEN for each in chosen)
    if not is_open:
        return ""
    if use:
        before = _headers(connection, study_id)
        for each in chosen:
            _use(ledger, connection, each)
        patients.update_shown(connection, study_id)
        supersede(ledger, connection, study_id)
        if not same_patient([*before, *_headers(connection, study_id)]):
            _withdraw(connection, study_id)
    count_conflicts(connection, study_id, -is_open)
    look_again(ledger, connection, study_id)
    return ""


def _why_not_used(connection: Connection, study_id: int, chosen: Sequence[Any]) -> str:
    """Why these objects cannot be put into their study, for the person who asked; empty where they can."""
    uids = {each.sop_instance_uid for each in chosen}
    if len(uids) < len(chosen):
        return TWO_OF_ONE
    new = [Header.from_json(each.header) for each in chosen]
    kept = [each for each in _headers(connection, study_id) if each.sop_instance_uid not in uids]
    if not same_patient([*kept, *new]):
        others = sum(not same_patient([each, *new]) for each in kept)
        return (
            f"the study would name two patients: {others or len(kept)} of its objects belong to another. If the "
            "whole study was sent again under this patient, use all of it, `use NUMBER --all`, once every image has "
            "arrived; otherwise `drop`, and have the image sent under its own study"
        )
    if not same_patient([*_headers(connection, study_id), *new]) and _is_being_sent(connection, study_id):
        return BEING_SENT
    return ""


def _use(ledger: Ledger, connection: Connection, chosen: Any) -> None:
    """Puts an object that was kept apart in its UID's place. What was there before is kept apart in its turn."""
    instance = tables.instance
    same = (instance.c.study_id == chosen.study_id) & (instance.c.sop_instance_uid == chosen.sop_instance_uid)
    before = connection.execute(select(instance).where(same)).first()
    if before is not None:
        _note(connection, chosen.id, replaced_id=quarantine(connection, before, OTHER_CONTENT, ApartState.DROPPED))
        connection.execute(delete(instance).where(same))
    admit(ledger, connection, chosen)
    judge_again(connection, chosen)


def undo(ledger: Ledger, numbers: Sequence[int]) -> dict[int, str]:
    """Takes decisions back, each with all that was decided in one with it, as long as nothing was sent of it.

    Returns by number why nothing was done, empty where it was.
    """
    table = tables.conflict
    with ledger.write() as connection:
        _lock(connection, numbers)
        query = select(table.c.id, table.c.decision).where(table.c.id.in_(numbers))
        decisions = {each.id: each.decision for each in connection.execute(query)}
        reasons = {each: _undo(ledger, connection, each) for each in sorted({*decisions.values()} - {None})}
    ledger.wakeups.notify(wakeups.SETTLE, wakeups.JOB)
    return {each: reasons.get(decisions.get(each), NOT_DECIDED) for each in numbers}


def _undo(ledger: Ledger, connection: Connection, decision: int) -> str:
    table = tables.conflict
    decided = connection.execute(select(table).where(table.c.decision == decision).order_by(table.c.id)).all()
    study_id, decided_at = decided[0].study_id, decided[0].decided_at
    quarantined = [each for each in decided if each.why != SHARED]
    if quarantined and (why := _why_not_undone(connection, quarantined)):
        return why
    for each in decided:
        if each.state == ApartState.USED:
            _take_out(ledger, connection, each)
        state = ApartState.OPEN if each in quarantined else ApartState.SHARED
        _note(connection, each.id, state=state, decision=None, decided_at=None)
    if quarantined:
        patients.update_shown(connection, study_id)
        supersede(ledger, connection, study_id)
        if any(each.state == ApartState.USED for each in quarantined):
            _withdraw(connection, study_id, decided_at)
        count_conflicts(connection, study_id, len(quarantined))
        look_again(ledger, connection, study_id)
    return ""


def _why_not_undone(connection: Connection, decided: Sequence[Any]) -> str:
    delivery, study_id = tables.delivery, decided[0].study_id
    sent_since = exists().where(
        delivery.c.study_id == study_id,
        delivery.c.state == DeliveryState.DELIVERED,
        delivery.c.ended_at >= decided[0].decided_at,
    )
    if _is_being_sent(connection, study_id):
        return BEING_SENT
    if connection.scalar(select(sent_since)):
        return WAS_SENT
    used = {each.sop_instance_uid: each for each in decided if each.state == ApartState.USED}
    if not used:
        return ""
    instance = tables.instance
    there = connection.execute(select(instance).where(instance.c.study_id == study_id)).all()
    digests = {each.sop_instance_uid: each.digest for each in there}
    if any(digests.get(uid) != each.digest for uid, each in used.items()):
        return TAKEN
    back = [each.replaced_id for each in used.values() if each.replaced_id is not None]
    restored = connection.scalars(select(tables.conflict.c.header).where(tables.conflict.c.id.in_(back)))
    kept = [each.header for each in there if each.sop_instance_uid not in used]
    after = [Header.from_json(each) for each in (*kept, *restored)]
    return "" if same_patient(after) else CAME_SINCE


def _take_out(ledger: Ledger, connection: Connection, used: Any) -> None:
    """What was put into its UID's place is kept apart again, and what was there before comes back."""
    table, instance = tables.conflict, tables.instance
    its = (instance.c.study_id == used.study_id) & (instance.c.sop_instance_uid == used.sop_instance_uid)
    connection.execute(delete(instance).where(its))
    if used.replaced_id is not None:
        before = connection.execute(select(table).where(table.c.id == used.replaced_id)).one()
        forget(connection, [before.id])
        admit(ledger, connection, before)


def _lock(connection: Connection, numbers: Sequence[int]) -> None:
    """Locks the studies of these objects, before it is read how they stand: another may have decided just now."""
    table = tables.conflict
    studies.lock(connection, set(connection.scalars(select(table.c.study_id).where(table.c.id.in_(numbers)))))


def _note(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(tables.conflict).where(tables.conflict.c.id == number).values(values))


def _headers(connection: Connection, study_id: int) -> list[Header]:
    found = connection.scalars(select(tables.instance.c.header).where(tables.instance.c.study_id == study_id))
    return [Header.from_json(each) for each in found]


def _is_being_sent(connection: Connection, study_id: int) -> bool:
    delivery = tables.delivery
    sending = (delivery.c.study_id == study_id, delivery.c.state == DeliveryState.SENDING)
    return bool(connection.scalar(select(func.count()).select_from(delivery).where(*sending)))


def _withdraw(connection: Connection, study_id: int, since: Any = None) -> None:
    """Lets go of reports that were not sent yet and name whom the study does not name any more, dead letters too."""
    delivery = tables.delivery
    unsent = delivery.c.state.in_((DeliveryState.WAITING, DeliveryState.DEAD))
    which = [delivery.c.study_id == study_id, unsent]
    which += [] if since is None else [delivery.c.created_at >= since]
    connection.execute(delete(delivery).where(*which))
