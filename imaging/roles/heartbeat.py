"""The heartbeat of a worker: it renews the leases as long as the process lives and its watch is content.

It also takes away the leases of workers that fell silent. One that has run out is looked at twice, a beat apart, and
in between this worker has written its own beat down: after a time in which nobody could write, or in which the machine
slept, every living worker has renewed its leases before anybody judges.
"""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Final

from imaging.ledger import workers
from imaging.ledger.store import Ledger
from imaging.ledger.workers import BEAT_S, GONE_S, Silent

log = logging.getLogger(__name__)

_IDLE_S: Final = GONE_S / 5
"""How often a worker without leases says that it lives."""
_AGAIN_S: Final = 1.0
"""How soon a beat that failed is tried again: leases run out meanwhile, and answers wait."""


class Heartbeat:
    """Beats in a thread of its own. `held`: the jobs that the worker holds; `is_healthy`: what the watchdog says."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        owner: str,
        held: Callable[[], Collection[int]],
        is_healthy: Callable[[], bool],
    ) -> None:
        self._ledger, self._name, self._owner = ledger, name, owner
        self._held, self._is_healthy = held, is_healthy
        self._unwritten: set[int] = set()
        self._silent: Silent = frozenset()
        self._next_tick, self._has_failed = 0.0, False
        self._lock, self._wake = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Begins to renew leases, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def release(self, job_id: int) -> None:
        """Has a job returned, whose answer cannot be written down, as soon as the ledger can be written again."""
        with self._lock:
            self._unwritten.add(job_id)
        self._wake.set()

    def _run(self) -> None:
        while True:
            wait = BEAT_S if self.beat() else _AGAIN_S
            self._wake.wait(wait)
            self._wake.clear()

    def beat(self) -> bool:
        """One beat. False where something could not be written, and is to be tried again soon."""
        if not self._is_healthy():
            return True
        try:
            self._release()
            self._renew()
            self._look_for_silent()
        except Exception as error:
            if not self._has_failed:  # once for each time of trouble
                log.exception("heartbeat_failed error=%s", type(error).__name__)
            self._silent, self._has_failed = frozenset(), True
            return False
        self._has_failed = False
        return True

    def _release(self) -> None:
        with self._lock:
            numbers = sorted(self._unwritten)
        if numbers:
            workers.release_jobs(self._ledger, self._owner, numbers)
            with self._lock:
                self._unwritten.difference_update(numbers)

    def _renew(self) -> None:
        tick, held = self._ledger.clock.tick(), self._held()
        if held or tick >= self._next_tick:
            workers.beat(self._ledger, self._name, self._owner, held)
            self._next_tick = tick + _IDLE_S

    def _look_for_silent(self) -> None:
        ran_out = workers.silent(self._ledger)
        if ran_out & self._silent and workers.return_silent(self._ledger, ran_out & self._silent):
            log.warning("leases_returned why=their worker is silent")
        if ran_out:
            workers.beat(self._ledger, self._name, self._owner, self._held())
        self._silent = ran_out
