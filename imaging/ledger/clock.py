"""Time: wall time for people and objects; ticks, which never step, for leases, quiet times and retries."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Where the ledger takes its time from."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""

    def tick(self) -> float:
        """Seconds since this boot, time asleep included."""

    def boot(self) -> str:
        """The boot that ticks are counted from; a new one ends all leases."""


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def tick(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
