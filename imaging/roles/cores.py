"""How many cores this process may use: threads beyond them only take turns."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from imaging.roles.control_groups import MOUNTED, folders, of_this_process


def cores() -> int:
    """By affinity, and by the CPU quota of a container or of systemd's `CPUQuota`; at least one."""
    return cores_within(len(os.sched_getaffinity(0)), of_this_process(), MOUNTED)


def cores_within(allowed: int, groups: str, mounted: Path) -> int:
    """`allowed`, or fewer where a control group has a quota: its cores, a part of one counted whole.

    `groups`: a process's /proc/PID/cgroup. `mounted`: where the groups' files are.
    """
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(groups, mounted))]))


def _quotas(groups: str, mounted: Path) -> Iterator[float]:
    """Cores that each group may use; nothing of those without a quota."""
    for version, folder in folders(groups, "cpu", mounted):
        try:
            if version == 1:
                fields = [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
            else:
                fields = (folder / "cpu.max").read_text().split()
            quota, period = (float(each) for each in fields)
        except (OSError, ValueError):  # there is none here: the group is not shown to us, or says "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period
