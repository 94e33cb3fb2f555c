"""How much memory this machine gives, and how much of it one worker takes where no setting says so."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from imaging.roles.control_groups import MOUNTED, folders, of_this_process

MAX_MB: Final = 6000.0
"""What a worker needs at most: the largest volumes that models take fit in."""
MIN_MB: Final = 200.0
"""Below that a worker's libraries do not load."""
_FRACTION: Final = 0.75
"""Of the machine's memory that is the workers'; the rest is for the other processes and the system."""


def of_a_worker(workers: int) -> float:
    """Megabytes that each of so many workers may take."""
    return fraction_of(memory_mb(), workers)


def fraction_of(machine_mb: float, workers: int) -> float:
    """Megabytes of a machine's memory that each of so many workers may take."""
    return max(MIN_MB, min(MAX_MB, _FRACTION * machine_mb // workers))


def memory_mb() -> float:
    """Megabytes that the machine has, or fewer where a container or systemd's `MemoryMax` bounds them."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return memory_within(pages, of_this_process(), MOUNTED) / (1 << 20)


def memory_within(installed: int, groups: str, mounted: Path) -> int:
    """Bytes: `installed`, or fewer where a control group has a limit."""
    return min([installed, *_limits(groups, mounted)])


def _limits(groups: str, mounted: Path) -> Iterator[int]:
    for version, folder in folders(groups, "memory", mounted):
        try:
            limit = int((folder / ("memory.limit_in_bytes" if version == 1 else "memory.max")).read_text())
        except (OSError, ValueError):  # there is none here: the group is not shown to us, or says "max"
            continue
        if limit > 0:
            yield limit
