"""The worker: leases jobs in the worklist's order, analyses, reports.

What a job does to the process (a crash, a hang) is bounded: a watch ends the worker, the lease returns, and a job that
was there at a death runs alone the next time. What it has leased it keeps by its heartbeat, however long it takes.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from imaging.confined.analyser import Prepared, compare
from imaging.domain.artefacts import Artefact
from imaging.domain.card import Card, Lane
from imaging.domain.faults import fingerprint
from imaging.domain.findings import Answer, State
from imaging.domain.modes import Mode
from imaging.domain.orientation import with_trusted_orientation
from imaging.domain.source import Source
from imaging.ledger import jobs, leasing, migrate, wakeups
from imaging.ledger.jobs import MAX_DEATHS, Job, NewObject
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.store import Ledger, is_transient
from imaging.memory import memory_limit, trim_memory
from imaging.results.registry import build
from imaging.results.report import CannotReport, Report
from imaging.roles.analysis import failed, kind_of, not_analysed, source_header
from imaging.roles.child import Lifecycle
from imaging.roles.comparing import Comparing
from imaging.roles.heartbeat import Heartbeat
from imaging.roles.outbox import keep
from imaging.roles.owner import owner, owner_of
from imaging.roles.pipeline import FILMS_READY, VOLUMES_READY, Answered, Pipeline, RunningLane, Task
from imaging.roles.serving import Serving
from imaging.roles.watchdog import Watchdog
from imaging.roles.worker_config import Begun, WorkerConfig
from imaging.spool import FolderSpool, SpoolFull

log = logging.getLogger(__name__)

_PAUSES_S: Final = (0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0)
"""Between tries of writing an answer down: a disk that is full, or a database that is away, may be back soon."""


def run(config: WorkerConfig, begun: Begun, lifecycle: Lifecycle) -> None:
    """Works until it is told to stop."""
    ledger = Ledger(Path(config.home), config.database)
    migrate.check(ledger)
    with memory_limit(config.memory_mb):
        worker = Worker(ledger, config, begun)
        worker.heartbeat.start()
        worker.serving.warm()
        worker.serving.log_confinement()
        lifecycle.on_stop(lambda: ledger.wakeups.notify(wakeups.JOB))
        lifecycle.ready({})
        worker.serving.rehearse()
        worker.rest()
        worker.work(lifecycle.stop)
        worker.close()


class Worker:
    """One worker with its models warm: what is done in the lanes of its pipeline."""

    def __init__(self, ledger: Ledger, config: WorkerConfig, begun: Begun) -> None:
        home = Path(config.home)
        self._ledger, self._spool = ledger, FolderSpool(home / "spool")
        self._installation = ledger.installation()
        name, self._owner = owner_of(home, config.name), owner(home, config.name)
        self._destinations = [(name, frozenset(outcomes)) for name, outcomes in config.destinations]
        self._language, self._threads = config.language, config.threads
        self._untrusted_senders = frozenset(config.ignore_patient_orientation)
        self._watchdog = Watchdog(home / "run", config.name, self._time_out)
        self._error_file = home / "run" / f"{config.name}.error"
        self._confined = begun.confined
        self.serving = Serving(ledger, name, begun, config.site_words, config.language)
        self._confined.call_at_end(self._die)
        self._comparing = Comparing(ledger, self._spool, self._watchdog, self._owner, partial(compare, self._confined))
        self._tasks: dict[int, Task] = {}
        self._held: set[int] = set()
        self.heartbeat = Heartbeat(ledger, name, self._owner, lambda: sorted(self._held), self._watchdog.is_healthy)
        self._stop = threading.Event()

    def work(self, stop: threading.Event) -> None:
        """Analyses until `stop` is set."""
        self._stop = stop
        has_volumes = any(card.lane is Lane.VOLUMES for card in self.serving.served())
        lanes = [RunningLane(Lane.FILMS, self._threads, FILMS_READY, False if has_volumes else None)]
        lanes += [RunningLane(Lane.VOLUMES, 1, VOLUMES_READY, True)] if has_volumes else []
        Pipeline(self, lanes, self._ledger.wakeups).run(stop)
        jobs.release_leases(self._ledger, self._owner)

    # What the pipeline asks for; none of it raises.

    def lease(self, lane: RunningLane) -> list[Job]:
        """As `Work` says; none where the ledger is in trouble."""
        try:
            wanted = LeaseRequest(self.serving.wanted(lane.of), self.serving.batches())
            leased = leasing.lease(self._ledger, self._owner, wanted)
        except Exception as error:
            log.exception("lease_failed error=%s", type(error).__name__)
            return []
        self._held.update(job.id for job in leased)
        return leased

    def fill_in(self, lane: RunningLane) -> bool:
        """Compares one copy that is not yet judged."""
        return self._comparing.one(lane.are_volumes)

    def rest(self) -> None:
        """Gives the system back what a burst took."""
        self._confined.ask("rest")
        trim_memory()

    def max_batch(self, model: str) -> int:
        """As `Work` says; 1 for a model that is not served."""
        analyser = self.serving.analysers.get(model)
        return 1 if analyser is None else analyser.max_batch

    def prepare(self, job: Job, *, is_alone: bool) -> Task:
        """As `Work` says: in the confined process."""
        task = Task(job, self.serving.catalogue.model(job.model), (), is_alone)
        try:
            found = [
                (self._spool.path(key), with_trusted_orientation(header, self._untrusted_senders))
                for key, header in job.instances
            ]
            task = replace(task, sources=tuple(Source(path, header) for path, header in found))
            self._tasks[job.id] = task
            return replace(task, prepared=self._prepared(task))
        except Exception as error:
            log.exception("job_not_prepared job=%d error=%s", job.id, type(error).__name__)
            return replace(task, prepared=failed(fingerprint(error), task.sources))

    def _prepared(self, task: Task) -> Prepared | Answer:
        card, job = task.card, task.job
        if card is None or card.id not in self.serving.analysers:
            return not_analysed("model-disabled", task.sources)
        if job.deaths >= MAX_DEATHS:
            return failed("poison", task.sources)
        with self._watchdog.over([job.id], card.engine.seconds):
            return self.serving.analysers[card.id].prepared(task.sources)

    def run(self, tasks: Sequence[Task]) -> Answered:
        """As `Work` says: in the confined process."""
        ended = [(task, task.prepared) for task in tasks if isinstance(task.prepared, Answer)]
        waiting = [(task, task.prepared) for task in tasks if isinstance(task.prepared, Prepared)]
        if not waiting:
            return ended
        try:
            return ended + self._run(waiting)
        except Exception as error:
            log.exception("engine_failed error=%s", type(error).__name__)
            return ended + [(task, failed(fingerprint(error), task.sources)) for task, _ in waiting]

    def _run(self, waiting: Sequence[tuple[Task, Prepared]]) -> list[tuple[Task, Answer]]:
        first = waiting[0][0]
        assert first.card is not None
        with self._watchdog.over([task.job.id for task, _ in waiting], first.card.engine.seconds * len(waiting)):
            analyser = self.serving.analysers[first.card.id]
            outcomes = analyser.run([prepared for _, prepared in waiting], is_alone=first.is_alone)
        return [(task, outcome) for (task, _), outcome in zip(waiting, outcomes, strict=True)]

    def conclude(self, task: Task, outcome: Answer) -> None:
        """Writes an answer, its report and its deliveries; what cannot be written is given back."""
        job = task.job
        try:
            if not self._is_written(task, outcome):
                self.heartbeat.release(job.id)
        except Exception as error:  # of ours, and it would be so again: the job says so
            log.exception("job_not_concluded job=%d error=%s", job.id, type(error).__name__)
            if not self._is_failed(job, fingerprint(error)):
                self.heartbeat.release(job.id)
        if self.serving.reads_once(task.card):
            for key, _ in job.instances:
                self._spool.drop_from_cache(key)
        self._tasks.pop(job.id, None)
        self._held.discard(job.id)

    def _is_written(self, task: Task, outcome: Answer) -> bool:
        """Writes an answer down; where the ledger is in trouble, tries again for a while. False where it stays so."""
        with self._watchdog.over([task.job.id], float("inf")):
            conclusion = self._concluded(task, outcome)
        return self._tried(partial(self._write, conclusion))

    def _is_failed(self, job: Job, fault: str) -> bool:
        try:
            return self._tried(lambda: jobs.fail(self._ledger, job, fault))
        except Exception as error:
            log.exception("job_not_failed job=%d error=%s", job.id, type(error).__name__)
            return False

    def _tried(self, act: Callable[[], object]) -> bool:
        for pause in (*_PAUSES_S, None):
            try:
                act()
            except Exception as error:
                if not is_transient(error) and not isinstance(error, SpoolFull):
                    raise
                log.error("answer_not_written error=%s", type(error).__name__)
                if pause is None or self._stop.wait(pause):
                    return False
            else:
                return True
        return False

    def _conclude(self, task: Task, outcome: Answer) -> None:
        self._write(self._concluded(task, outcome))

    def _concluded(self, task: Task, outcome: Answer) -> "_Conclusion":
        card = task.card
        job = replace(task.job, version=card.version, mode=card.mode) if card is not None else task.job
        outcome, began = outcome.doubted_for(job.doubtful).in_mode(job.mode), time.perf_counter()
        outcome, artefacts, no_report = self._reported(task, outcome)
        report_ms = (time.perf_counter() - began) * 1000
        outcome = replace(outcome, timings_ms=dict(outcome.timings_ms) | {"report": round(report_ms, 1)})
        return _Conclusion(job, outcome, artefacts, no_report)

    def _write(self, ended: "_Conclusion") -> None:
        job, outcome = ended.job, ended.outcome
        with self._watchdog.over([job.id], float("inf")):
            to = tuple(name for name, wanted in self._destinations if kind_of(outcome) in wanted)
            objects = [NewObject(each, to) for each in keep(self._spool, ended.artefacts)]
            is_ours = jobs.conclude(self._ledger, job, outcome, objects, ended.no_report)
        if is_ours:
            log.info("job_ended job=%d model=%s state=%s reason=%s", job.id, job.model, outcome.state, outcome.why)
        else:
            log.warning("job_dropped job=%d why=its lease had ended", job.id)

    def _reported(self, task: Task, outcome: Answer) -> tuple[Answer, Sequence[Artefact], str]:
        """What the job ends with: its answer, the objects that say it, and why there are none where none can be built.

        Trouble of ours makes a failure of it, which says so in a report of its own.
        """
        if task.card is None:
            return outcome, [], ""
        if task.card.mode is Mode.SHADOW:
            return outcome, [], Mode.SHADOW
        try:
            return outcome, build(self._report(task, task.card, outcome)), ""
        except CannotReport as error:
            log.warning("report_not_built job=%d why=%s", task.job.id, error.why)
            return outcome, [], error.why
        except Exception as error:
            why = fingerprint(error)
            log.exception("report_not_built job=%d error=%s", task.job.id, type(error).__name__)
            if outcome.state is State.FAILED:
                return outcome, [], why
            return self._reported(task, failed(why, task.sources))

    def _report(self, task: Task, card: Card, outcome: Answer) -> Report:
        """What the objects that answer for this job are made from."""
        job = task.job
        # The image says what it shows; whose it is, the study: a patient renamed since is reported by the newest name.
        header = source_header(outcome, [source.header for source in task.sources] or [job.study])
        header = header.speaking_for(job.study.person)
        return Report(
            header=header,
            card=card,
            outcome=outcome,
            result=str(job.result_number),
            at=self._ledger.clock.now().astimezone(),
            predecessor=job.predecessor,
            language=self._language,
            installation=self._installation,
        )

    def _time_out(self, job: int) -> None:
        task = self._tasks[job]
        self._conclude(task, not_analysed("timed-out", task.sources))

    def close(self) -> None:
        """Ends what decodes and runs networks."""
        self._confined.close()
        self.serving.copies.close()

    def _die(self, why: str) -> None:
        """Without what decodes and runs networks there is nothing that a worker could do: both are started anew.

        While models are loaded, the one that ended it is disabled, and the others go on.
        """
        if not self.serving.is_warm:
            return
        self._error_file.write_text(why)
        os._exit(6)


@dataclass(frozen=True)
class _Conclusion:
    """What a job ends with: its answer, the objects that say it, and why there are none where there are not."""

    job: Job
    outcome: Answer
    artefacts: Sequence[Artefact]
    no_report: str
