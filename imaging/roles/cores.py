"""How many cores this process may use: threads beyond them only take turns."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


def cores() -> int:
    """By affinity, and by the CPU quota of a container or of systemd's `CPUQuota`; at least one."""
    try:
        groups = Path("/proc/self/cgroup").read_text()
    except OSError:
        groups = ""
    return cores_within(len(os.sched_getaffinity(0)), groups, CGROUPS)


def cores_within(allowed: int, groups: str, mounted: Path) -> int:
    """`allowed`, or fewer where a control group has a quota: its cores, a part of one counted whole.

    `groups`: a process's /proc/PID/cgroup. `mounted`: where the groups' files are, of version 2 or 1 (cgroups(7)).
    """
    quotas = [quota for line in groups.splitlines() for quota in _quotas(line, mounted)]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _quotas(line: str, mounted: Path) -> Iterator[float]:
    """Cores that a group, and each that it lies in, may use; nothing of those without a quota."""
    _, controllers, path = [*line.split(":", 2), "", ""][:3]
    if controllers and "cpu" not in controllers.split(","):
        return
    top = mounted / "cpu" if controllers else mounted
    group = top / path.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(top) or ".." in folder.parts:
            continue
        try:
            if controllers:
                said = [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
            else:
                said = (folder / "cpu.max").read_text().split()
            quota, period = (float(each) for each in said)
        except (OSError, ValueError):  # there is none here: the group is not shown to us, or says "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period
