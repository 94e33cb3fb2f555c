"""Starts the roles, restarts and drains them; migrates the ledger before any of them looks at it."""

import contextlib
import fcntl
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import copies, deliveries, jobs, migrate, registry, retention, workers
from imaging.ledger.store import Ledger
from imaging.models.devices import NoDevice, device_of
from imaging.roles.child import CANNOT_RUN
from imaging.roles.cores import cores
from imaging.roles.locks import lock_of, running_roles
from imaging.roles.owner import owner_of, owners_of
from imaging.roles.watchdog import forget, running_jobs
from imaging.settings import ROLES, Settings
from imaging.spool import FolderSpool
from imaging.start import isolated

log = logging.getLogger(__name__)

_ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Of children: threads are our own, and only the first arena of glibc's is ever given back (`trim_memory`)."""

DRAIN_S: Final = 7.0
MAX_FALSE_STARTS: Final = 3
"""Deaths of a role before it is ready after which `serve` gives up, while it has not said `ready` itself."""
READY_S: Final = 1800.0
"""A role that is not ready by then is ended. A worker bounds the start of each model by itself, and in less."""
_MAX_BACK_OFF_S: Final = 5.0
"""A modality waits behind it, and starting costs a second of one core."""


class CannotServe(Exception):
    """The node cannot be started; the text says why and what to do."""


@dataclass
class _Child:
    """A role's process. `index` tells workers apart."""

    role: str
    index: int
    config: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    life: int = -1
    is_ready: bool = False
    deaths_before_ready: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    start_at: float | None = None
    ready_by: float | None = None
    overdue: str = ""

    @property
    def name(self) -> str:
        return f"{self.role}-{self.index}" if self.role == "worker" else self.role


@dataclass(frozen=True)
class _Event:
    """What a child's watcher, or a signal, says: "ready", "ended" or "stop"."""

    kind: str
    child: _Child | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def serve(settings: Settings, out: IO[str]) -> int:
    """Runs the roles until SIGTERM. Prints the one line on `out` when all are ready. Raises CannotServe."""
    os.umask(0o077)  # what is written holds patients' data: nobody else of this machine reads it
    home = settings.home.absolute()
    try:
        if "worker" in chosen_roles(settings):
            device_of(settings.device, 0)
    except NoDevice as error:
        raise CannotServe(f"--device {settings.device}: {error}") from None
    try:
        _make_durably(home)
    except OSError as error:
        raise CannotServe(f"--home {home} cannot be created: {error.strerror}") from None
    with ExitStack() as held:
        for role in chosen_roles(settings):
            _lock(home, role, held)
        ledger = Ledger(home, settings.database)
        migrate.migrate(ledger)
        ledger.begin_boot()
        supervisor = _Supervisor(ledger, settings, home)
        return supervisor.run(out)


def _make_durably(home: Path) -> None:
    """The folder, and the names of it and of those above it that it needed, on disk."""
    new = [folder for folder in (home, *home.parents) if not folder.exists()]
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in new:
        fd = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)


def chosen_roles(settings: Settings) -> tuple[str, ...]:
    """The roles that these settings run here."""
    return ROLES if settings.role == "all" else (settings.role,)


def _lock(home: Path, role: str, held: ExitStack) -> None:
    file = held.enter_context(lock_of(home, role).open("a+"))
    if not _taken(file):
        file.seek(0)
        raise CannotServe(
            f"{home} is already being served: process {file.read().strip() or 'unknown'} runs the role {role}. "
            "Stop it first, or choose another --home"
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _taken(file: IO[str]) -> bool:
    """Takes the lock; a `status` that looks at it just now is waited for."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


class _Supervisor:
    def __init__(self, ledger: Ledger, settings: Settings, home: Path) -> None:
        self._ledger, self._home = ledger, home
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()  # the one that a signal may put into
        self._children = [
            _Child(role, index, child_config(role, index, settings, home))
            for role in chosen_roles(settings)
            for index in range(settings.workers if role == "worker" else 1)
        ]
        self._destinations = [each.name for each in settings.destinations]
        for _, names in settings.shared_addresses:
            log.warning(
                "destinations_share_an_address names=%s why=results for all of them are sent there once per name",
                ",".join(names),
            )
        self._announced = False

    def run(self, out: IO[str]) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._events.put(_Event("stop")))
        self._return_claims(have_died=True)
        self._forget_others()
        self._expect_workers()
        self._note(self._sweep)
        for child in self._children:
            self._start(child)
        try:
            while True:
                event = self._next_event()
                if event is None:
                    self._end_overdue()
                    self._start_due()
                elif event.kind == "stop":
                    return 0
                elif event.child is not None and event.kind == "ready":
                    self._on_ready(event.child, event.facts, out)
                elif event.child is not None:
                    self._on_ended(event.child)
        finally:
            self._drain()

    def _return_claims(self, *, have_died: bool) -> None:
        """What earlier processes of our roles held here: the home's locks say that none of them lives.

        `have_died`: with their supervisor; what was under way then counts against the jobs, as if it had seen that.
        """
        roles = {child.role for child in self._children}
        if "deliver" in roles:
            deliveries.release_leases(self._ledger, self._held_by("deliver"))
            deliveries.give_up(self._ledger, self._destinations)
        if "worker" in roles:
            names, run, held = self._workers(), self._home / "run", self._held_by("worker")
            was_there = set[int]().union(*(running_jobs(run, name) for name in names)) if have_died else set[int]()
            jobs.release_leases(self._ledger, held, running_jobs=was_there)
            for name in names:
                forget(run, name)
            copies.release_leases(self._ledger, held)

    def _sweep(self, ledger: Ledger) -> None:
        """Removes files that a crash left without a row: what was purged, and results where nobody writes any."""
        spool = FolderSpool(self._home / "spool")
        if purged := retention.sweep(ledger, spool.remove):
            log.info("purged_files_removed count=%d", purged)
        others = running_roles(self._home) - {child.role for child in self._children}
        if not others & {"worker", "deliver"}:
            removed = spool.sweep(retention.result_keys(ledger))
            if removed:
                log.info("results_without_a_row_removed count=%d", removed)

    def _held_by(self, role: str) -> str:
        """What the owners of a role's leases here begin with; in a SQLite ledger all are of this home.

        There the host's name does not count: a container may have another one at each start.
        """
        return "" if self._ledger.is_sqlite else owners_of(self._home, role)

    def _workers(self) -> list[str]:
        return [child.name for child in self._children if child.role == "worker"]

    def _expect_workers(self) -> None:
        """Nobody answers for a model that one of our workers may serve."""
        if names := self._workers():
            workers.expect(self._ledger, [owner_of(self._home, name) for name in names])

    def _forget_others(self) -> None:
        """What earlier settings had of our roles: a worker too many, a destination that is named no more."""
        names = [child.name for child in self._children]
        roles = {child.role for child in self._children}
        registry.keep_roles(self._ledger, roles, names)
        if "deliver" in roles:
            deliveries.keep_peers(self._ledger, self._destinations)

    def _next_event(self) -> _Event | None:
        times = [at for child in self._children for at in (child.start_at, child.ready_by)]
        due = [at for at in times if at is not None]
        try:
            return self._events.get(timeout=max(0.0, min(due) - time.monotonic()) if due else None)
        except queue.Empty:
            return None

    def _end_overdue(self) -> None:
        for child in self._children:
            if child.process is not None and child.ready_by is not None and child.ready_by <= time.monotonic():
                child.ready_by = None
                child.overdue = f"it was not ready within {READY_S:g} s"
                child.process.kill()

    def _start_due(self) -> None:
        for child in self._children:
            if child.start_at is not None and child.start_at <= time.monotonic():
                child.start_at = None
                self._start(child)

    def _start(self, child: _Child) -> None:
        """Starts a role; where the machine has no process or file left for it, tries again in a while."""
        try:
            with ExitStack() as opened:
                self._start_process(child, opened)
        except (OSError, RuntimeError) as error:
            child.process = None
            child.deaths_before_ready += 1
            message = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            self._start_again(child, f"it cannot be started: {message}")

    def _start_process(self, child: _Child, opened: ExitStack) -> None:
        """Raises OSError or RuntimeError; the pipes in `opened` close then, by which the child ends, if it is there."""
        ready_read, ready_write = _pipe(opened)
        life_read, life_write = _pipe(opened)
        command = isolated("imaging.roles.child", child.role, str(ready_write), str(life_read))
        child.is_ready = False
        child.process = subprocess.Popen(
            command,
            pass_fds=(ready_write, life_read),
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            start_new_session=True,
            env=os.environ | _ENVIRONMENT,
        )
        assert child.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), child.process.stdin as stdin:
            stdin.write(json.dumps(child.config).encode())
        threading.Thread(target=self._watch, args=(child, ready_read, child.process), daemon=True).start()
        opened.pop_all()
        os.close(ready_write)
        os.close(life_read)
        child.life, child.overdue, child.ready_by = life_write, "", time.monotonic() + READY_S

    def _watch(self, child: _Child, ready_fd: int, process: subprocess.Popen[bytes]) -> None:
        with os.fdopen(ready_fd, "rb") as pipe:
            line = pipe.readline()
        if line:
            self._events.put(_Event("ready", child, json.loads(line)))
        process.wait()
        self._events.put(_Event("ended", child))

    def _on_ready(self, child: _Child, facts: Mapping[str, Any], out: IO[str]) -> None:
        child.is_ready, child.deaths_before_ready, child.ready_by = True, 0, None
        child.facts = dict(facts)
        if "port" in facts:
            child.config["port"] = facts["port"]  # a restarted one keeps the port that it was given
        self._note(partial(registry.note_role, name=child.name, state="up"))
        if not self._announced and all(each.is_ready for each in self._children):
            self._announced = True
            message = {key: value for each in self._children for key, value in each.facts.items() if key != "port"}
            print("ready", *(f"{key}={value}" for key, value in message.items()), file=out, flush=True)

    def _on_ended(self, child: _Child) -> None:
        assert child.process is not None
        code = child.process.returncode
        os.close(child.life)
        error = _last_error(self._home, child.name) or child.overdue or f"ended with status {code}"
        log.error("role_ended name=%s status=%d error=%r", child.name, code, error)
        child.deaths_before_ready += not child.is_ready
        if not self._announced and code == CANNOT_RUN:
            raise CannotServe(error)
        if child.role == "worker":
            was_there = running_jobs(self._home / "run", child.name)
            held = owner_of(self._home, child.name)
            self._note(partial(jobs.release_leases, owner=held, running_jobs=was_there))
            forget(self._home / "run", child.name)
            self._note(partial(copies.release_leases, owner=held))
        if child.role == "deliver":
            self._note(partial(deliveries.release_leases, owner=owner_of(self._home, child.name)))
        child.process = None
        self._start_again(child, error)

    def _start_again(self, child: _Child, error: str) -> None:
        """Has a role that ended, or could not be started, started in a while. Raises CannotServe."""
        if not self._announced and child.deaths_before_ready >= MAX_FALSE_STARTS:
            raise CannotServe(f"the role {child.name} does not start: {error}")
        wait = min(_MAX_BACK_OFF_S, 0.0 if child.is_ready else 2.0 ** (child.deaths_before_ready - 2))
        state = "crashing" if child.deaths_before_ready > 1 else "down"
        self._note(partial(registry.note_role, name=child.name, state=state, error=error))
        child.ready_by, child.start_at = None, time.monotonic() + wait

    def _drain(self) -> None:
        """Asks all to finish what is begun; who has not in time is killed."""
        alive = [child for child in self._children if child.process is not None]
        for child in alive:
            assert child.process is not None
            child.process.terminate()
        until = time.monotonic() + DRAIN_S
        for child in alive:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("role_killed name=%s why=it did not drain within %d s", child.name, DRAIN_S)
                child.process.kill()
                child.process.wait()
        self._note(lambda _: self._return_claims(have_died=False))
        for child in self._children:
            self._note(partial(registry.note_role, name=child.name, state="stopped"))

    def _note(self, note: Callable[[Ledger], object]) -> None:
        """Writes down what became of a child. A full disk must not end the supervisor; leases end of themselves."""
        try:
            note(self._ledger)
        except Exception as error:
            log.exception("ledger_not_told error=%s", type(error).__name__)


def _pipe(opened: ExitStack) -> tuple[int, int]:
    """Both ends of a pipe, which `opened` closes. Raises OSError."""
    ends = os.pipe()
    for each in ends:
        opened.callback(os.close, each)
    return ends


def _last_error(home: Path, name: str) -> str:
    """What a child wrote down before it ended; without patients' data by its own rule."""
    file = home / "run" / f"{name}.error"
    try:
        text = file.read_text().strip()
        file.unlink()
    except OSError:
        return ""
    return text


def child_config(role: str, index: int, settings: Settings, home: Path) -> dict[str, Any]:
    """What a child is told of the settings: no more than its role needs."""
    common = {"name": role, "home": str(home), "database": settings.database}
    models = [str(each) for each in settings.model_folders]
    if role == "node":
        return common | {
            "host": settings.dicom_host,
            "port": settings.dicom_port,
            "accept": [[each.ae_title, each.address] for each in settings.accept],
            "connections_per_address": settings.connections_per_address,
            "models": models,
            "site_words": settings.site_words,
            "model_mode": settings.model_mode,
            "ignore_patient_orientation": list(settings.ignore_patient_orientation),
            "timeouts": asdict(completeness_timeouts(settings)),
            "disk_reserve_bytes": int(settings.disk_reserve_mb * (1 << 20)),
            "largest_object_bytes": int(settings.max_object_mb * (1 << 20)),
            "placeholders": list(settings.patient_placeholders),
            "site": settings.site,
        }
    if role == "worker":
        return common | {
            "name": f"worker-{index}",
            "models": models,
            "site_words": settings.site_words,
            "model_mode": settings.model_mode,
            "destinations": [[each.name, sorted(each.outcomes)] for each in settings.destinations],
            "memory_mb": settings.memory_of_a_worker_mb,
            "threads": max(1, cores() // settings.workers),
            "device": device_of(settings.device, index),
            "language": settings.language,
            "ignore_patient_orientation": list(settings.ignore_patient_orientation),
        }
    if role == "deliver":
        return common | {
            "ae_title": settings.ae_title,
            "destinations": [[each.name, str(each.address), str(each.times)] for each in settings.destinations],
        }
    return common | {
        "host": settings.web_host,
        "port": settings.web_port,
        "viewer_url": settings.viewer_url,
        "language": settings.language,
        "disk_reserve_bytes": int(settings.disk_reserve_mb * (1 << 20)),
        "longest_wait_s": settings.longest_wait_s,
        "hosts": list(settings.web_hosts),
    }


def completeness_timeouts(settings: Settings) -> CompletenessTimeouts:
    """How long a study is waited for."""
    return CompletenessTimeouts(
        film_s=settings.film_quiet_s,
        volume_s=settings.volume_quiet_s,
        volume_with_gap_s=settings.volume_gap_s,
        volume_open_s=settings.volume_open_s,
        longest_s=settings.longest_wait_s,
        between_revisions_s=settings.revision_interval_s,
        volume_cut_s=settings.volume_cut_s,
    )
