"""The worker: leases jobs in the worklist's order, analyses, reports.

There are two lanes, so that a film never waits for a volume: each leases for itself, and in each reading and preparing
the next, the engine, and building and writing down the answers overlap. Films that wait run side by side, each on one
core, where one on all cores would lose to what receives and sends beside it. Volumes run one at a time, on all cores:
memory is their bound. What a job does to the process (a crash, a hang) is bounded: a watch ends the worker, the lease
returns, and a job that was there at a death runs alone the next time.
"""

import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from imaging.confined.analyser import ConfinedAnalyser, Prepared, compare
from imaging.confined.client import Confined
from imaging.domain.card import UNPROVEN, Card
from imaging.domain.faults import Told, fingerprint
from imaging.domain.findings import Answer, State
from imaging.domain.source import Source
from imaging.domain.turning import believed
from imaging.domain.uids import report_uid, series_uid
from imaging.ledger import jobs, migrate, views, wakeups
from imaging.ledger.jobs import MOST_DEATHS, Job, NewObject, Wanted
from imaging.ledger.store import Ledger
from imaging.memory import give_back_memory, memory_limit
from imaging.models.catalogue import load_models
from imaging.models.cautions import warnings
from imaging.models.copies import Copies
from imaging.results.expected import SR_CLASS
from imaging.results.report import CannotReport, Language, Report
from imaging.results.sr import write_sr
from imaging.roles.analysis import failed, kind_of, not_analysed, rehearse, rehearse_report, source_header
from imaging.roles.child import LOOK_S, Life
from imaging.roles.comparing import Comparing
from imaging.roles.watch import Watch
from imaging.spool import FolderSpool

log = logging.getLogger(__name__)

_FILMS_READY: Final = 2
_VOLUMES_READY: Final = 1
"""How many wait for an engine, prepared."""
_REHEARSAL_S: Final = 120.0


@dataclass(frozen=True)
class _Task:
    """A leased job with its sources and, once prepared, what the engine takes (or how it ended already).

    `is_alone`: no other was waiting for the engine, as it seemed.
    """

    job: Job
    card: Card | None
    sources: tuple[Source, ...]
    is_alone: bool
    prepared: Prepared | Answer | None = None


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is told. `destinations`: each name with the outcomes that it takes."""

    name: str
    home: str
    database: str
    models: Sequence[str]
    destinations: Sequence[tuple[str, Sequence[str]]]
    memory_mb: float
    threads: int
    language: Language
    site_words: Sequence[str] = ()
    ignore_patient_orientation: Sequence[str] = ()


def run(config: Mapping[str, Any], life: Life) -> None:
    """Works until it is told to stop."""
    told = WorkerConfig(**config)
    ledger = Ledger(Path(told.home), told.database)
    migrate.check(ledger)
    with memory_limit(told.memory_mb):
        worker = Worker(ledger, told)
        worker.warm()
        worker.say_how_confined()
        life.on_stop(lambda: ledger.wakeups.notify(wakeups.JOB))
        life.ready({})
        worker.rehearse()
        worker.rest()
        worker.work(life.stop)
        worker.close()


class Worker:
    """One worker with its models warm."""

    def __init__(self, ledger: Ledger, told: WorkerConfig) -> None:
        self._ledger, self._spool = ledger, FolderSpool(Path(told.home) / "spool")
        self._catalogue = load_models([Path(each) for each in told.models], told.site_words)
        self._owner = f"{told.name}:{os.getpid()}:{secrets.token_hex(4)}"
        self._destinations = [(name, frozenset(outcomes)) for name, outcomes in told.destinations]
        self._language, self._threads = told.language, told.threads
        self._copies = Copies(Path(told.home) / "models")
        self._confined = Confined(
            self._catalogue.models,
            threads=told.threads,
            memory_mb=told.memory_mb,
            kept=Path(told.home) / "models",
            on_end=self._die,
        )
        self._is_warm, self._site_words = False, told.site_words
        self._analysers: dict[str, ConfinedAnalyser] = {}
        self._disbelieved = frozenset(told.ignore_patient_orientation)
        self._watch = Watch(Path(told.home) / "run", told.name, self._time_out)
        self._comparing = Comparing(ledger, self._spool, self._watch, partial(compare, self._confined))
        self._error_file = Path(told.home) / "run" / f"{told.name}.error"
        self._tasks: dict[int, _Task] = {}
        self._turns = _Turns()

    def warm(self) -> None:
        """Copies and loads all weights; a model whose golden case does not hold here is disabled, visibly."""
        every, disabled = self._catalogue.models, self._catalogue.disabled
        views.keep_models(self._ledger, [*(card.id for card in every), *disabled])
        for name, why in disabled.items():
            views.note_model(self._ledger, name, "", "", why, is_served=False)
        self._copies.begin(every)
        for card in every:
            for each in warnings(card):
                log.warning("model_doubtful model=%s why=%s", card.id, each)
            why, proof = self._why_not(card)
            self._confined.restart_if_ended()
            if why:
                log.error("model_disabled model=%s why=%s", card.id, why)
            views.note_model(
                self._ledger,
                card.id,
                card.version,
                proof,
                why or (UNPROVEN if card.golden is None else ""),
                is_served=not why,
                is_synthetic=card.is_synthetic,
            )
        self._is_warm = True
        for card in self._served():
            if not card.is_volume:
                self._rehearse(rehearse_report, card)

    def _served(self) -> list[Card]:
        return [card for card in self._catalogue.models if card.id in self._analysers]

    def _why_not(self, card: Card) -> tuple[str, str]:
        """Why a model cannot be served, empty where it can, and its analyser is warm; and what proves it."""
        proof = ""
        try:
            analyser = ConfinedAnalyser(self._confined, self._copies.kept(card), self._site_words)
            proof = analyser.proof()
            analyser.warm()
        except Exception as error:  # noqa: BLE001 (one model: the others are served)
            why = str(error) if isinstance(error, Told) else f"its engine cannot be loaded: {fingerprint(error)}"
            return why, proof
        if card.golden is not None and not views.has_passed(self._ledger, card.id, proof):
            faults = analyser.golden_faults()
            if faults:
                analyser.close()
                return "; ".join(faults), proof
        self._analysers[card.id] = analyser
        return "", proof

    def rehearse(self) -> None:
        """Takes each golden case through analysis and report once, so that the first study waits for neither."""
        for card in self._served():
            if card.golden is not None:
                self._rehearse(rehearse, card)

    def _rehearse(self, play: Callable[[Card, ConfinedAnalyser, Language], None], card: Card) -> None:
        try:
            with self._watch.over([], _REHEARSAL_S):
                play(card, self._analysers[card.id], self._language)
        except Exception as error:
            log.exception("rehearsal_failed model=%s error=%s", card.id, type(error).__name__)

    def work(self, stop: threading.Event) -> None:
        seconds = {card.id: card.engine.seconds for card in self._catalogue.models}
        batches = {card.id: card.engine.batch for card in self._catalogue.models if not card.is_volume}
        volumes = frozenset(card.id for card in self._catalogue.models if card.is_volume)
        of_films = False if volumes else None
        lanes = [_Lane("films", Wanted(volumes, True, seconds, batches), self._threads, _FILMS_READY, of_films)]
        if volumes:
            lanes.append(_Lane("volumes", Wanted(volumes, False, seconds), 1, _VOLUMES_READY, True))
        answered: queue.Queue[Sequence[tuple[_Task, Answer]] | None] = queue.Queue(_FILMS_READY)
        feeders = [threading.Thread(target=self._feed, args=(lane, stop), name=lane.name) for lane in lanes]
        engines = [
            threading.Thread(target=self._run_engine, args=(lane, answered), name=f"{lane.name}-{index}")
            for lane in lanes
            for index in range(lane.engines)
        ]
        conclusion = threading.Thread(target=self._conclude_all, args=(answered,), name="conclude")
        for stage in (*feeders, *engines, conclusion):
            stage.start()
        for stage in (*feeders, *engines):
            stage.join()
        answered.put(None)
        conclusion.join()
        jobs.give_back(self._ledger, self._owner)

    def _feed(self, lane: "_Lane", stop: threading.Event) -> None:
        """Leases and prepares what the lane's engines take, as many together as one takes at once.

        Where no job of the lane waits, the next copy of its kind is compared.
        """
        listener = self._ledger.wakeups.listen(f"{wakeups.JOB}.{lane.name}")
        was_busy = False
        while not stop.is_set():
            leased = self._lease(lane)
            if not leased:
                if self._comparing.one(lane.are_volumes):
                    was_busy = True
                    continue
                if not listener.wait(LOOK_S) and was_busy:
                    self.rest()
                    was_busy = False
                continue
            was_busy = True
            analyser = self._analysers.get(leased[0].model)
            together = analyser.together if analyser is not None else 1
            for first in range(0, len(leased), together):
                part = leased[first : first + together]
                self._turns.begin(len(part), is_exclusive=part[0].deaths > 0)
                lane.ready.put([self._prepare(job, is_alone=len(leased) == 1) for job in part])
        for _ in range(lane.engines):
            lane.ready.put(None)

    def _lease(self, lane: "_Lane") -> list[Job]:
        try:
            return jobs.lease(self._ledger, self._owner, lane.wanted)
        except Exception as error:
            log.exception("lease_failed error=%s", type(error).__name__)
            return []

    def _prepare(self, job: Job, *, is_alone: bool) -> _Task:
        card = self._catalogue.model(job.model)
        sources = tuple(Source(self._spool.path(key), believed(each, self._disbelieved)) for key, each in job.instances)
        task = _Task(job, card, sources, is_alone)
        self._tasks[job.id] = task
        if card is None or card.id not in self._analysers:
            return replace(task, prepared=not_analysed("model-disabled", sources))
        if job.deaths >= MOST_DEATHS:
            return replace(task, prepared=failed("poison", sources))
        with self._watch.over([job.id], card.engine.seconds):
            return replace(task, prepared=self._analysers[card.id].prepared(sources))

    def _run_engine(self, lane: "_Lane", answered: "queue.Queue[Sequence[tuple[_Task, Answer]] | None]") -> None:
        while (tasks := lane.ready.get()) is not None:
            answered.put(self._run(tasks))

    def _run(self, tasks: Sequence[_Task]) -> list[tuple[_Task, Answer]]:
        ended = [(task, task.prepared) for task in tasks if isinstance(task.prepared, Answer)]
        waiting = [(task, task.prepared) for task in tasks if isinstance(task.prepared, Prepared)]
        if not waiting:
            return ended
        card = waiting[0][0].card
        assert card is not None
        with self._watch.over([task.job.id for task, _ in waiting], card.engine.seconds * len(waiting)):
            is_alone = waiting[0][0].is_alone
            outcomes = self._analysers[card.id].run([prepared for _, prepared in waiting], is_alone=is_alone)
        return ended + [(task, outcome) for (task, _), outcome in zip(waiting, outcomes, strict=True)]

    def _conclude_all(self, answered: "queue.Queue[Sequence[tuple[_Task, Answer]] | None]") -> None:
        while (ended := answered.get()) is not None:
            for task, outcome in ended:
                try:
                    with self._watch.over([task.job.id], float("inf")):
                        self._conclude(task, outcome)
                except Exception as error:
                    log.exception("job_not_concluded job=%d error=%s", task.job.id, type(error).__name__)
                if self._reads_once(task.card):
                    for key, _ in task.job.instances:
                        self._spool.let_go(key)
                del self._tasks[task.job.id]
                self._turns.end(is_exclusive=task.job.deaths > 0)

    def _reads_once(self, card: Card | None) -> bool:
        """Whether no other model reads what this one has read. New pages for each film cost 5 ms of its CPU."""
        return card is not None and sum(each.is_volume == card.is_volume for each in self._served()) == 1

    def _conclude(self, task: _Task, outcome: Answer) -> None:
        job = replace(task.job, version=task.card.version) if task.card is not None else task.job
        outcome, began = outcome.doubted_for(job.doubtful), time.perf_counter()
        outcome, objects, no_report = self._reported(task, outcome)
        report_ms = (time.perf_counter() - began) * 1000
        outcome = replace(outcome, timings_ms=dict(outcome.timings_ms) | {"report": round(report_ms, 1)})
        if jobs.conclude(self._ledger, job, outcome, objects, no_report):
            log.info("job_ended job=%d model=%s state=%s reason=%s", job.id, job.model, outcome.state, outcome.why)
        else:
            log.warning("job_dropped job=%d why=its lease had ended", job.id)

    def _reported(self, task: _Task, outcome: Answer) -> tuple[Answer, list[NewObject], str]:
        """What the job ends with: its answer, the objects that say it, and why there are none where none can be built.

        Trouble of ours makes a failure of it, which says so in a report of its own.
        """
        if task.card is None:
            return outcome, [], ""
        try:
            return outcome, self._objects(task, task.card, outcome), ""
        except CannotReport as error:
            log.warning("report_not_built job=%d why=%s", task.job.id, error.why)
            return outcome, [], error.why
        except Exception as error:
            why = fingerprint(error)
            log.exception("report_not_built job=%d error=%s", task.job.id, type(error).__name__)
            if outcome.state is State.FAILED:
                return outcome, [], why
            return self._reported(task, failed(why, task.sources))

    def _objects(self, task: _Task, card: Card, outcome: Answer) -> list[NewObject]:
        """The SR that answers for this job. Raises CannotReport where none may be built of its study."""
        job = task.job
        # The image says what it shows; whose it is, the study: a patient renamed since is reported by the newest name.
        header = source_header(outcome, [source.header for source in task.sources] or [job.study])
        header = header.speaking_for(job.study.person)
        report = Report(
            header=header,
            card=card,
            outcome=outcome,
            result=str(job.result_number),
            at=self._ledger.clock.now().astimezone(),
            predecessor=job.predecessor,
            language=self._language,
        )
        data = write_sr(report)
        study = header.study_instance_uid
        return [
            NewObject(
                "sr",
                SR_CLASS,
                report_uid(study, card.id, report.result),
                series_uid(study, card.id, card.version, SR_CLASS),
                data,
                tuple(name for name, wanted in self._destinations if kind_of(outcome) in wanted),
            )
        ]

    def _time_out(self, job: int) -> None:
        task = self._tasks[job]
        self._conclude(task, not_analysed("timed-out", task.sources))

    def say_how_confined(self) -> None:
        """Into the log, where it may do more than it need."""
        confinement = self._confined.confinement
        log.log(logging.INFO if confinement.is_whole else logging.WARNING, "confined how=%r", confinement.words)

    def rest(self) -> None:
        """Gives the system back what a burst took."""
        self._confined.ask("rest")
        give_back_memory()

    def close(self) -> None:
        """Ends what decodes and runs networks."""
        self._confined.close()
        self._copies.close()

    def _die(self, why: str) -> None:
        """Without what decodes and runs networks there is nothing that a worker could do: both are started anew.

        While models are loaded, the one that ended it is disabled, and the others go on.
        """
        if not self._is_warm:
            return
        self._error_file.write_text(why)
        os._exit(6)


class _Lane:
    """Jobs of one kind on their way to `engines` threads. `ready`: prepared, those together that run at once.

    `are_volumes`: whose copies are compared when no job waits; None: any.
    """

    def __init__(self, name: str, wanted: Wanted, engines: int, depth: int, are_volumes: bool | None) -> None:
        self.name, self.wanted, self.engines, self.are_volumes = name, wanted, engines, are_volumes
        self.ready: queue.Queue[Sequence[_Task] | None] = queue.Queue(depth)


class _Turns:
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
