"""Time: the home's, for people and objects; ticks, which never step, for leases, quiet times and retries."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from imaging.domain.steady import Anchor, steady


def _built() -> datetime:
    """When this version was put here: no clock that is right lies before it."""
    return datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)


BUILT: Final = _built()


class Clock(Protocol):
    """Where the ledger takes its time from."""

    def now(self) -> datetime:
        """The time of the home, aware, UTC: it does not jump while it is served."""

    def wall(self) -> datetime:
        """What the wall clock says, aware, UTC."""

    def tick(self) -> float:
        """Seconds since this boot, time asleep included."""

    def boot(self) -> str:
        """The boot that ticks are counted from; a new one ends all leases."""


class SystemClock:
    """This machine's clocks. `anchor`: where the time of the home is counted from, as the ledger says."""

    def __init__(self, anchor: Callable[[], Anchor | None] = lambda: None) -> None:
        self._read, self._read_tick = anchor, -_AGAIN_S
        self._anchor: Anchor | None = None
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def now(self) -> datetime:
        return steady(self._anchored(), self.wall(), self.tick(), self._boot, BUILT)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def tick(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        return self._boot

    def _anchored(self) -> Anchor | None:
        """A role that is started anew sets it anew for all, so it is looked at again and again."""
        tick = self.tick()
        if tick - self._read_tick >= _AGAIN_S:
            self._read_tick = tick
            self._anchor = self._read() or self._anchor
        return self._anchor


_AGAIN_S: Final = 5.0
