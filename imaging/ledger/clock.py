"""Time: the home's, for people and objects; ticks, which never step, for leases, quiet times and retries."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.exc import DBAPIError

from imaging.domain.clock_anchor import Anchor, steady


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
        """Seconds, time asleep included, that all who share the ledger count alike."""

    def boot(self) -> str:
        """What ticks are counted from; where that is another than before, all leases have ended."""


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """This machine's clocks: ticks are CLOCK_BOOTTIME. `anchor`: where the time of the home is counted from."""

    def __init__(self, anchor: Callable[[], Anchor | None] = lambda: None) -> None:
        self._read, self._read_tick = anchor, -_AGAIN_S
        self._anchor: Anchor | None = None
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def now(self) -> datetime:
        """The time of day, UTC, by the ledger's anchor and the time since: steps of the wall clock do not change it."""
        return steady(self._anchored(), self.wall(), self.tick(), self.boot(), BUILT)

    def wall(self) -> datetime:
        """What the machine's own clock shows, UTC."""
        return datetime.now(UTC)

    def tick(self) -> float:
        """Seconds since the machine's boot, suspended time included."""
        return _boottime()

    def boot(self) -> str:
        """The identifier of this boot."""
        return self._boot

    def _anchored(self) -> Anchor | None:
        """A role that is started anew sets it anew for all, so it is looked at again and again."""
        tick = self.tick()
        if tick - self._read_tick >= _AGAIN_S:
            self._read_tick = tick
            self._anchor = self._read() or self._anchor
        return self._anchor


class ServerClock(SystemClock):
    """Ticks are the seconds of a database server's clock, which several hosts share: no host's boot ends them.

    `seconds` asks the server; it is asked every 5 s, and where it does not answer, this machine's ticks go on from what
    it last said. `elapsed`: those ticks.
    """

    def __init__(
        self,
        anchor: Callable[[], Anchor | None],
        seconds: Callable[[], float],
        elapsed: Callable[[], float] = _boottime,
    ) -> None:
        super().__init__(anchor)
        self._seconds, self._elapsed = seconds, elapsed
        self._queried_at, self._ahead = -math.inf, math.inf

    def tick(self) -> float:
        """Seconds by the server's clock, asked now and then and counted on in between."""
        now = self._elapsed()
        if now - self._queried_at >= _AGAIN_S:
            self._queried_at = now
            self._ask()
        return self._elapsed() + self._ahead

    def boot(self) -> str:
        """One name: a server's ticks outlive its hosts' boots."""
        return "the server's"

    def _ask(self) -> None:
        """Learns by how much the server is ahead; what taking the answer here may explain changes nothing."""
        before = self._elapsed()
        try:
            server_seconds = self._seconds()
        except DBAPIError:
            if math.isinf(self._ahead):
                raise
            return
        after = self._elapsed()
        ahead = server_seconds - (before + after) / 2
        if abs(ahead - self._ahead) > after - before:
            self._ahead = ahead


_AGAIN_S: Final = 5.0
