"""A worker keeps its leases as long as it lives; whose lease ran out is judged by who was awake himself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_cases import NEGATIVE, POSITIVE, TurnedClock, job_states, lease, lease_one, queued, report, rows
from sqlalchemy import event

from imaging.ledger import jobs, migrate, tables, workers
from imaging.ledger.store import Ledger
from imaging.ledger.workers import BEAT_S, LEASE_S
from imaging.roles.heartbeat import Heartbeat


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def open_ledger(tmp_path: Path, clock: TurnedClock) -> Iterator[Callable[[], Ledger]]:
    opened: list[Ledger] = []

    def start() -> Ledger:
        opened.append(Ledger(tmp_path, clock=clock))
        return opened[-1]

    migrate.migrate(start())
    yield start
    for each in opened:
        each.close()


def heart(ledger: Ledger, number: int, *held: int) -> Heartbeat:
    """The heartbeat of a worker that holds these jobs, which the test beats."""
    return Heartbeat(ledger, f"worker-{number}", f"worker-{number}:1", lambda: held, lambda: True)


def test_a_job_that_waits_long_for_one_that_runs_alone_keeps_its_lease(
    open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    ledger, other = open_ledger(), open_ledger()
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    holding, looking = heart(ledger, 0, job.id), heart(other, 1)
    for _ in range(40):
        clock.advance(BEAT_S)
        assert holding.beat()
        assert looking.beat()
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    assert [each["attempts"] for each in rows(ledger, tables.job)] == [0]


def test_what_a_worker_answers_that_stood_still_past_its_lease_is_dropped_and_nothing_is_reported_twice(
    open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    paused, other = open_ledger(), open_ledger()
    queued(paused)
    job = lease_one(paused, "worker-0:1")
    before, living = heart(paused, 0, job.id), heart(other, 1, 99)
    clock.advance(LEASE_S + 1)
    assert living.beat()
    clock.advance(BEAT_S)
    assert living.beat()
    again = lease_one(other, "worker-1:1")
    assert (again.id, again.deaths) == (job.id, 1)
    assert before.beat()  # it goes on, and takes back nothing
    assert not jobs.conclude(paused, job, POSITIVE, [report(job)])
    assert (job_states(other), rows(other, tables.object_)) == (["leased"], [])
    assert jobs.conclude(other, again, NEGATIVE, [report(again)])
    assert not jobs.conclude(paused, job, POSITIVE, [report(job)])
    assert len(rows(other, tables.object_)) == 1


def test_after_a_time_in_which_all_stood_still_every_worker_keeps_what_it_holds(
    open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    """A machine that slept, a disk that was full, a database that was away: nobody died."""
    one, other = open_ledger(), open_ledger()
    queued(one)
    job = lease_one(one, "worker-0:1")
    first, second = heart(one, 0, job.id), heart(other, 1)
    assert second.beat()
    clock.advance(10 * LEASE_S)
    assert second.beat()  # it is the first to wake, and sees a lease that ran out
    clock.advance(BEAT_S / 2)
    assert first.beat()
    clock.advance(BEAT_S / 2)
    assert second.beat()
    assert lease(other, "worker-1:1") == []
    assert jobs.conclude(one, job, POSITIVE, [])
    assert [each["attempts"] for each in rows(one, tables.job)] == [0]


def test_a_worker_that_cannot_write_itself_judges_nobody(open_ledger: Callable[[], Ledger], clock: TurnedClock) -> None:
    one, other = open_ledger(), open_ledger()
    queued(one)
    lease_one(one, "worker-0:1")
    clock.advance(LEASE_S + 1)
    looking = heart(other, 1, 99)

    def full(_: object) -> None:
        raise OSError("no space left on device")

    event.listen(other.engine, "commit", full)
    assert not looking.beat()
    assert not looking.beat()
    event.remove(other.engine, "commit", full)
    assert looking.beat()
    assert job_states(one) == ["leased"]
    assert looking.beat()
    assert job_states(one) == ["queued"]


def test_a_worker_whose_watch_does_not_look_any_more_renews_nothing(
    open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    ledger, other = open_ledger(), open_ledger()
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    hung = Heartbeat(ledger, "worker-0", "worker-0:1", lambda: [job.id], lambda: False)
    living = heart(other, 1)
    for _ in range(6):
        clock.advance(BEAT_S)
        hung.beat()
        living.beat()
    assert job_states(ledger) == ["queued"]


def test_a_job_that_was_let_go_is_returned_as_soon_as_the_ledger_can_be_written(
    open_ledger: Callable[[], Ledger],
) -> None:
    ledger, other = open_ledger(), open_ledger()
    queued(other)
    job = lease_one(other, "worker-0:1")
    its, trouble = heart(ledger, 0), [True]

    def full(_: object) -> None:
        if trouble:
            raise OSError("no space left on device")

    event.listen(ledger.engine, "commit", full)
    its.release(job.id)
    assert not its.beat()
    assert job_states(other) == ["leased"]
    trouble.clear()
    assert its.beat()
    assert [(each["state"], each["attempts"]) for each in rows(other, tables.job)] == [("queued", 0)]


def test_an_idle_worker_says_now_and_then_that_it_lives(open_ledger: Callable[[], Ledger], clock: TurnedClock) -> None:
    ledger = open_ledger()
    workers.serve(ledger, "worker-0", ["chest-film"])
    its, values = heart(ledger, 0), set()
    for _ in range(40):
        clock.advance(BEAT_S)
        its.beat()
        values.add(rows(ledger, tables.worker)[0]["beat_tick"])
        assert workers.served(ledger) == frozenset({"chest-film"})
    assert len(values) == 10
