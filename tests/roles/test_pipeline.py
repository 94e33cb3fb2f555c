"""The lanes: what runs beside what, and that every job which was leased is concluded."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_cases import NEGATIVE, film
from peers import eventually

from imaging.confined.analyser import Prepared
from imaging.domain.card import Lane
from imaging.domain.findings import Answer
from imaging.ledger import wakeups
from imaging.ledger.jobs import Job
from imaging.ledger.wakeups import SocketWakeUps
from imaging.roles.pipeline import Pipeline, RunningLane, Task, Turns

PREPARED = Prepared(1, ())


def a_job(number: int, deaths: int = 0) -> Job:
    return Job(number, number, "model", "1", 1, deaths, "w:1", datetime(2026, 1, 1, tzinfo=UTC), film(), (), None)


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    threads: list[threading.Thread] = []

    def start(act: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(target=act, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield start
    for each in threads:
        each.join(10)
        assert not each.is_alive()


def test_an_exclusive_job_waits_until_those_that_run_have_ended_and_others_wait_for_it(
    in_thread: Callable[[Callable[[], None]], threading.Thread],
) -> None:
    turns, order = Turns(), list[str]()
    turns.begin(2, is_exclusive=False)

    def alone() -> None:
        turns.begin(1, is_exclusive=True)
        order.append("alone")

    def after() -> None:
        turns.begin(1, is_exclusive=False)
        order.append("after")

    first = in_thread(alone)
    eventually(lambda: turns._is_exclusive, what="the exclusive job's wait")
    second = in_thread(after)
    turns.end(is_exclusive=False)
    assert order == []
    turns.end(is_exclusive=False)
    first.join(10)
    assert (order, second.is_alive()) == (["alone"], True)
    turns.end(is_exclusive=True)
    second.join(10)
    assert order == ["alone", "after"]


class RecordingWork:
    """Work that tells what it was asked for. `gate`: what engines wait for."""

    def __init__(self, batches: Sequence[Sequence[Job]], max_batch: int = 2) -> None:
        self.batches, self._max_batch = list(batches), max_batch
        self.gate, self.lock = threading.Event(), threading.Lock()
        self.gate.set()
        self.ran: list[list[int]] = []
        self.alone: dict[int, bool] = {}
        self.concluded: list[int] = []
        self.rested = threading.Event()
        self.at_once = self.max_at_once = self.others_beside_exclusive = 0

    def lease(self, lane: RunningLane) -> list[Job]:
        with self.lock:
            return list(self.batches.pop(0)) if self.batches else []

    def max_batch(self, model: str) -> int:
        return self._max_batch

    def prepare(self, job: Job, *, is_alone: bool) -> Task:
        with self.lock:
            self.at_once += 1
            self.others_beside_exclusive += job.deaths > 0 and self.at_once > 1
        self.alone[job.id] = is_alone
        return Task(job, None, (), is_alone, PREPARED)

    def run(self, tasks: Sequence[Task]) -> list[tuple[Task, Answer]]:
        self.gate.wait(10)
        with self.lock:
            self.ran.append([task.job.id for task in tasks])
        return [(task, NEGATIVE) for task in tasks]

    def conclude(self, task: Task, outcome: Answer) -> None:
        with self.lock:
            self.at_once -= 1
            self.concluded.append(task.job.id)

    def fill_in(self, lane: RunningLane) -> bool:
        return False

    def rest(self) -> None:
        self.rested.set()


@pytest.fixture
def work(tmp_path: Path) -> Callable[[RecordingWork, int], None]:
    """Has a bench's jobs worked through by one lane with that many engines."""
    (tmp_path / "run").mkdir()

    def go(bench: RecordingWork, engines: int) -> None:
        stop, wake = threading.Event(), SocketWakeUps(tmp_path / "run")
        wanted = sum(len(each) for each in bench.batches)
        lane = RunningLane(Lane.FILMS, engines, 2, None)
        pipeline = Pipeline(bench, [lane], wake)
        thread = threading.Thread(target=pipeline.run, args=(stop,))
        thread.start()
        eventually(lambda: len(bench.concluded) >= wanted, what="every answer")
        stop.set()
        wake.notify(wakeups.JOB)
        thread.join(30)
        assert not thread.is_alive()

    return go


def test_every_job_that_was_leased_is_concluded_once_and_as_many_run_together_as_one_takes(
    work: Callable[[RecordingWork, int], None],
) -> None:
    bench = RecordingWork([[a_job(1)], [a_job(number) for number in range(2, 7)]])
    work(bench, 2)
    assert sorted(bench.concluded) == [1, 2, 3, 4, 5, 6]
    assert sorted(len(each) for each in bench.ran) == [1, 1, 2, 2]
    assert [number for number, is_alone in bench.alone.items() if is_alone] == [1]


def test_nothing_runs_beside_a_job_that_was_there_when_a_worker_died(
    work: Callable[[RecordingWork, int], None],
) -> None:
    bench = RecordingWork(
        [[a_job(1), a_job(2)], [a_job(3, deaths=1)], [a_job(4)], [a_job(5, deaths=2)], [a_job(6), a_job(7)]]
    )
    work(bench, 3)
    assert sorted(bench.concluded) == [1, 2, 3, 4, 5, 6, 7]
    assert bench.others_beside_exclusive == 0
