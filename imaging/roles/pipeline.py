"""The lanes of a worker: reading and preparing the next, the engine, and writing down answers overlap.

Films that wait run side by side, each on one core, where one on all cores would lose to what receives and sends beside
it. Volumes run one at a time, on all cores: memory is their bound. A lane leases for itself, so that a film never
waits for a volume.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from imaging.confined.analyser import Prepared
from imaging.domain.card import Card, Lane
from imaging.domain.findings import Answer
from imaging.domain.source import Source
from imaging.ledger import wakeups
from imaging.ledger.jobs import Job
from imaging.ledger.wakeups import WakeUps
from imaging.roles.child import LOOK_S

FILMS_READY: Final = 2
VOLUMES_READY: Final = 1
"""How many wait for an engine, prepared."""


@dataclass(frozen=True)
class Task:
    """A leased job with its sources and, once prepared, what the engine takes (or how it ended already).

    `is_alone`: no other was waiting for the engine, as it seemed.
    """

    job: Job
    card: Card | None
    sources: tuple[Source, ...]
    is_alone: bool
    prepared: Prepared | Answer | None = None


Answered = Sequence[tuple[Task, Answer]]


class RunningLane:
    """Jobs of one lane on their way to `engines` threads. `ready`: prepared, those together that run at once.

    `are_volumes`: whose copies are compared when no job waits; None: any.
    """

    def __init__(self, of: Lane, engines: int, depth: int, are_volumes: bool | None) -> None:
        self.of, self.engines, self.are_volumes = of, engines, are_volumes
        self.ready: queue.Queue[Sequence[Task] | None] = queue.Queue(depth)


class Work(Protocol):
    """What is done in the lanes' threads. None of it raises."""

    def lease(self, lane: RunningLane) -> list[Job]:
        """The lane's next jobs, of one model."""

    def max_batch(self, model: str) -> int:
        """How many of a model's jobs had best be run at once."""

    def prepare(self, job: Job, *, is_alone: bool) -> Task:
        """Reads and prepares what the engine takes."""

    def run(self, tasks: Sequence[Task]) -> Answered:
        """The answers of prepared tasks of one model."""

    def conclude(self, task: Task, outcome: Answer) -> None:
        """Writes an answer down."""

    def fill_in(self, lane: RunningLane) -> bool:
        """Something else that is worth doing while no job waits; whether anything was done."""

    def rest(self) -> None:
        """Nothing is to be done any more, for a while."""


class Pipeline:
    """The threads of all lanes."""

    def __init__(self, work: Work, lanes: Sequence[RunningLane], wake: WakeUps) -> None:
        self._work, self._lanes, self._wakeups = work, lanes, wake
        self._answered: queue.Queue[Answered | None] = queue.Queue(FILMS_READY)
        self._turns = Turns()

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, and what is begun is ended."""
        feeders = [threading.Thread(target=self._feed, args=(lane, stop), name=lane.of) for lane in self._lanes]
        engines = [
            threading.Thread(target=self._run_engine, args=(lane,), name=f"{lane.of}-{index}")
            for lane in self._lanes
            for index in range(lane.engines)
        ]
        conclusion = threading.Thread(target=self._conclude_all, name="conclude")
        for stage in (*feeders, *engines, conclusion):
            stage.start()
        for stage in (*feeders, *engines):
            stage.join()
        self._answered.put(None)
        conclusion.join()

    def _feed(self, lane: RunningLane, stop: threading.Event) -> None:
        """Leases and prepares what the lane's engines take, as many together as one takes at once."""
        listener = self._wakeups.listen(f"{wakeups.JOB}.{lane.of}")
        was_busy = False
        while not stop.is_set():
            leased = self._work.lease(lane)
            if leased:
                self._hand_on(lane, leased)
                was_busy = True
            elif self._work.fill_in(lane):
                was_busy = True
            elif not listener.wait(LOOK_S) and was_busy:
                self._work.rest()
                was_busy = False
        for _ in range(lane.engines):
            lane.ready.put(None)
        listener.close()

    def _hand_on(self, lane: RunningLane, leased: Sequence[Job]) -> None:
        max_batch = self._work.max_batch(leased[0].model)
        for first in range(0, len(leased), max_batch):
            part = leased[first : first + max_batch]
            self._turns.begin(len(part), is_exclusive=part[0].deaths > 0)
            lane.ready.put([self._work.prepare(job, is_alone=len(leased) == 1) for job in part])

    def _run_engine(self, lane: RunningLane) -> None:
        while (tasks := lane.ready.get()) is not None:
            self._answered.put(self._work.run(tasks))

    def _conclude_all(self) -> None:
        while (answered := self._answered.get()) is not None:
            for task, outcome in answered:
                self._work.conclude(task, outcome)
                self._turns.end(is_exclusive=task.job.deaths > 0)


class Turns:
    """Jobs run beside each other, but nothing beside an exclusive one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running, self._is_exclusive = 0, False

    def begin(self, jobs: int, *, is_exclusive: bool) -> None:
        """Waits until these may run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_exclusive)
            self._is_exclusive = is_exclusive
            self._changed.wait_for(lambda: not is_exclusive or not self._running)
            self._running += jobs

    def end(self, *, is_exclusive: bool) -> None:
        """One has ended."""
        with self._changed:
            self._running -= 1
            if is_exclusive:
                self._is_exclusive = False
            self._changed.notify_all()
