"""Where the limits of a container, or of a systemd unit, stand: control groups of version 2 or 1 (cgroups(7))."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOUNTED: Final = Path("/sys/fs/cgroup")


def of_this_process() -> str:
    """Its /proc/PID/cgroup; empty where there is none."""
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def folders(groups: str, controller: str, mounted: Path) -> Iterator[tuple[int, Path]]:
    """The folders of the groups that bound what a controller, such as "cpu", gives, each with its version.

    `groups`: a process's /proc/PID/cgroup. A group lies in others, whose limits count as well.
    """
    for line in groups.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = mounted / controller if controllers else mounted
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top) and ".." not in folder.parts:
                yield 1 if controllers else 2, folder
