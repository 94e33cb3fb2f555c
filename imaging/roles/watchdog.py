"""Bounds what a job may do to its worker: a native call cannot be interrupted, so that the process is ended."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HANG_S: Final = 20
"""Seconds after which a worker whose interpreter does not run any more is ended by the kernel."""
_LOOK_S: Final = 0.5
_ASLEEP_S: Final = 5.0
"""After which a watch that did not look may not be relied on."""


class Watchdog:
    """Ends the process when jobs take longer than they may; what was leased returns.

    Which jobs are under way stands in a file that outlives the process: those were there when it died, others waited.
    `time_out` is called for a job that was alone with the process; one that was not runs alone the next time.
    """

    def __init__(self, folder: Path, name: str, time_out: Callable[[int], None]) -> None:
        self._error_file, self._time_out = folder / f"{name}.error", time_out
        self._file = os.open(folder / f"{name}.working", os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._running: dict[int, tuple[float, Sequence[int]]] = {}
        self._count, self._looked = 0, time.monotonic()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    @contextmanager
    def over(self, jobs: Sequence[int], seconds: float) -> Iterator[None]:
        """Watches over the part of these jobs' work that is done inside."""
        with self._lock:
            self._count += 1
            number = self._count
            self._running[number] = time.monotonic() + seconds, jobs
            self._write()
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]
                self._write()

    def is_healthy(self) -> bool:
        """Whether it watches, and nothing takes longer than it may."""
        now = time.monotonic()
        with self._lock:
            is_late = any(until < now for until, _ in self._running.values())
        return not is_late and now - self._looked < _ASLEEP_S

    def _write(self) -> None:
        line = " ".join(str(job) for _, jobs in self._running.values() for job in jobs).encode()
        with contextlib.suppress(OSError):  # a full disk: should the worker die now, its jobs' death is not counted
            os.pwrite(self._file, line, 0)
            os.ftruncate(self._file, len(line))

    def _look(self) -> None:
        while True:
            signal.setitimer(signal.ITIMER_REAL, _HANG_S)  # SIGALRM's default ends a process that cannot run this
            time.sleep(_LOOK_S)
            self._looked = now = time.monotonic()
            with self._lock:
                is_late = any(until < now for until, _ in self._running.values())
                running_jobs = {job for _, jobs in self._running.values() for job in jobs}
            if is_late:
                self._end(running_jobs)

    def _end(self, running_jobs: set[int]) -> None:
        try:
            if len(running_jobs) == 1:
                self._time_out(running_jobs.pop())
        finally:
            self._error_file.write_text("a job took longer than its card allows")
            os._exit(5)


def running_jobs(folder: Path, name: str) -> set[int]:
    """The jobs that were under way when the worker of this name died."""
    try:
        return {int(each) for each in (folder / f"{name}.working").read_text().split()}
    except (OSError, ValueError):  # there is none, or the machine went down while it was written
        return set()


def forget(folder: Path, name: str) -> None:
    """Takes away what says which jobs were under way, once it is counted: a death counts once."""
    with contextlib.suppress(OSError):
        (folder / f"{name}.working").unlink()
