"""How a home is: its ledger, its disk, its locks and its clock looked at together."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Final

from imaging.domain.alarms import Facts, Health, health
from imaging.ledger.health import facts
from imaging.ledger.store import Ledger
from imaging.roles.locks import running_roles
from imaging.spool import disk_space_on

_KEPT_S: Final = 2.0


def facts_of(ledger: Ledger, home: Path, reserve_bytes: int, longest_wait_s: float) -> Facts:
    """What is known of a home now."""
    space = disk_space_on(home, reserve_bytes)
    return facts(ledger, space, running_roles(home), timedelta(seconds=longest_wait_s))


def health_of(ledger: Ledger, home: Path, reserve_bytes: int, longest_wait_s: float) -> Health:
    """The roles and the alarms of a home now."""
    return health(facts_of(ledger, home, reserve_bytes, longest_wait_s))


class Watched:
    """The health of a home, looked at again after two seconds at the earliest: pages ask for it all the time."""

    def __init__(self, ledger: Ledger, home: Path, reserve_bytes: int, longest_wait_s: float) -> None:
        self._of = ledger, home, reserve_bytes, longest_wait_s
        self._lock = threading.Lock()
        self._seen, self._tick = Health(), -_KEPT_S

    def now(self) -> Health:
        """The health, looked up again if the last look is too old."""
        with self._lock:
            tick = self._of[0].clock.tick()
            if tick - self._tick >= _KEPT_S:
                self._seen, self._tick = health_of(*self._of), tick
            return self._seen
