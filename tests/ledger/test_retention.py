"""What may be removed, what of it stays, and what comes again while it is removed."""

import threading
from collections.abc import Callable, Collection
from datetime import datetime

import pytest
from ledger_cases import (
    FAULTY,
    NEGATIVE,
    TurnedClock,
    answered,
    discarded,
    film,
    lease_one,
    queued,
    receive,
    report,
    rows,
)
from peers import eventually
from sqlalchemy import Connection, text, update

from imaging.domain.findings import Answer
from imaging.domain.states import ApartState, JobState
from imaging.ledger import associations, jobs, quarantine, retention, studies, tables
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.instances import Receipt
from imaging.ledger.quarantine import MIXED_PATIENTS
from imaging.ledger.store import Ledger


def wait_for_a_lock(ledger: Ledger) -> None:
    """Until another process waits for a row; SQLite lets nobody else begin, so that there is nothing to see."""

    def look() -> bool:
        with ledger.engine.connect() as connection:  # a new one each time: what it sees stays as it was at first
            return bool(connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))

    if not ledger.is_sqlite:
        eventually(look, what="the wait for the study's row")


def ended(ledger: Ledger, clock: TurnedClock, outcome: Answer = NEGATIVE) -> int:
    """A study that was answered a minute ago; its row number."""
    study_id = queued(ledger)
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, outcome, [report(job, [])])
    clock.advance(60)
    return study_id


def test_only_what_is_answered_and_delivered_may_be_removed(ledger: Ledger, clock: TurnedClock) -> None:
    receive(ledger, film("1.2.1"))
    queued(ledger, "1.2.2")
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    answered(ledger, "1.2.3")
    clock.advance(60)
    before = clock.now()
    assert retention.removable(ledger, before) == [2]
    assert not retention.remove(ledger, 3, before)
    assert retention.remove(ledger, 2, before)
    assert discarded(ledger) == ["key-"]
    assert [each["id"] for each in rows(ledger, tables.study)] == [1, 3]


def test_a_study_to_which_an_image_came_meanwhile_is_not_removed(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = ended(ledger, clock)
    before = clock.now()
    assert retention.removable(ledger, before) == [study_id]
    clock.advance(1)
    receive(ledger, film(number=2))
    assert not retention.remove(ledger, study_id, before)
    assert discarded(ledger) == []


def test_a_removed_studys_files_go_after_its_rows_and_are_known_until_they_are_gone(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    study_id = ended(ledger, clock)
    (result,) = rows(ledger, tables.object_)
    assert retention.result_keys(ledger) == {result["key"]}
    assert retention.remove(ledger, study_id, clock.now())
    assert retention.result_keys(ledger) == set()
    other, left = open_ledger(), dict[str, int]()

    def killed(keys: Collection[str]) -> None:
        raise KeyboardInterrupt(*keys)

    def unlink(keys: Collection[str]) -> None:
        left.update(dict.fromkeys(keys, len(rows(other, tables.study))))

    with pytest.raises(KeyboardInterrupt):
        retention.sweep(ledger, killed)
    assert retention.sweep(ledger, unlink) == 2
    assert left == {"key-": 0, result["key"]: 0}
    assert discarded(other) == []


def test_what_is_received_again_is_not_removed_meanwhile(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = ended(ledger, clock)
    before = clock.now()
    assert retention.removable(ledger, before) == [study_id]
    clock.advance(1)
    receive(ledger, film())
    assert not retention.remove(ledger, study_id, before)


def meanwhile(
    ledger: Ledger, other: Ledger, study_id: int, before: datetime, act: Callable[[Connection], None]
) -> bool:
    """Whether a study is removed that another process is just changing; on PostgreSQL the removal waits for it."""
    removed: list[bool] = []
    removal = threading.Thread(target=lambda: removed.append(retention.remove(ledger, study_id, before)))
    with other.write() as connection:
        act(connection)
        removal.start()
        wait_for_a_lock(ledger)
    removal.join(30)
    return removed[0]


def test_a_study_that_gets_a_conflict_meanwhile_is_not_removed(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    study_id = ended(ledger, clock)

    def act(connection: Connection) -> None:
        mixed = Receipt(film(number=9, patient_id="P2"), "zz", 1000, None, "key-zz", "apart-zz")
        quarantine.keep(ledger, connection, mixed, study_id, MIXED_PATIENTS, ApartState.OPEN)

    assert not meanwhile(ledger, open_ledger(), study_id, clock.now(), act)
    assert len(rows(ledger, tables.conflict)) == 1


def test_a_study_that_is_replayed_meanwhile_is_not_removed(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    study_id = ended(ledger, clock, FAULTY)

    def act(connection: Connection) -> None:
        studies.lock(connection, {study_id})
        connection.execute(update(tables.job).values(state=JobState.QUEUED))

    assert not meanwhile(ledger, open_ledger(), study_id, clock.now(), act)
    assert jobs.replay(ledger) == 0
    assert [each["state"] for each in rows(ledger, tables.job)] == [JobState.QUEUED]


def test_associations_that_brought_nothing_of_what_is_left_are_forgotten_in_time(
    ledger: Ledger, clock: TurnedClock
) -> None:
    numbers = [associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", []) for _ in range(3)]
    receive(ledger, film(), association=numbers[0])
    for number in numbers[:2]:
        associations.end(ledger, number, AssociationEnd("released", 0, 0))
    assert retention.remove_associations(ledger, clock.now()) == 0
    clock.advance(60)
    assert retention.remove_associations(ledger, clock.now()) == 1
    assert [each["id"] for each in rows(ledger, tables.association)] == [numbers[0], numbers[2]]


def test_a_patient_of_whom_no_study_is_left_is_forgotten(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = ended(ledger, clock)
    receive(ledger, film("1.2.4", patient_id="P2"))
    assert retention.remove(ledger, study_id, clock.now())
    assert retention.remove_patients(ledger) == 1
    assert [each["value"] for each in rows(ledger, tables.patient)] == ["P2"]


def test_a_study_that_comes_again_after_it_was_removed_is_answered_under_new_numbers(
    ledger: Ledger, clock: TurnedClock
) -> None:
    numbers = []
    for _ in range(3):
        study_id = queued(ledger)
        job = lease_one(ledger)
        numbers.append(job.result_number)
        jobs.conclude(ledger, job, NEGATIVE, [report(job, [])])
        clock.advance(60)
        assert retention.remove(ledger, study_id, clock.now())
        assert len(discarded(ledger)) == 2
    assert rows(ledger, tables.study) == rows(ledger, tables.object_) == []
    queued(ledger, "1.2.4")  # another study begins at one
    assert (numbers, lease_one(ledger).result_number) == ([1, 2, 3], 1)
