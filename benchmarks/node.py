"""The node under test: `imaging serve` as a user starts it, and what it takes of the machine."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from imaging.domain.peers import Address

READY_S: Final = 90.0
STOP_S: Final = 15.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def end_tidily() -> None:
    """Makes SIGTERM and a closed terminal end us as Ctrl-C does: with everything that we started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))


class CannotStart(Exception):
    """The node did not get ready; the text ends with what it logged."""


class Node:
    """A running node. Made by `served`."""

    def __init__(self, process: subprocess.Popen[str], facts: dict[str, str]) -> None:
        self._process = process
        _, _, port = facts["dicom"].rpartition(":")
        self.address = Address("IMAGING", "127.0.0.1", int(port))
        self.url = facts.get("web", "")

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._process.pid


@contextmanager
def served(home: Path, options: Sequence[str] = ()) -> Iterator[Node]:
    """Serves `home` while the block runs; its log lies beside the home. Raises CannotStart.

    The node is in a session of its own, so that Ctrl-C reaches us alone and it is ended here, once.
    """
    log = home.parent / f"{home.name}.log"
    command = [sys.executable, "-m", "imaging", "serve", "--home", str(home), *options]
    with log.open("ab") as lines:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=lines, text=True, start_new_session=True)
    try:
        yield Node(process, _ready(process, log))
    finally:
        _end(process)


def _ready(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    assert process.stdout is not None
    lines, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if lines else ""
    if not line.startswith("ready "):
        raise CannotStart(f"the node did not get ready within {READY_S:g} s; it said:\n{log.read_text()[-2000:]}")
    return dict(each.split("=", 1) for each in line.split()[1:])


def _end(process: subprocess.Popen[str]) -> None:
    """By SIGTERM; by force where that does not end it, or where waiting is interrupted. Its roles end with it."""
    try:
        process.terminate()
        process.wait(STOP_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port(wanted: int) -> int:
    """`wanted` where it is free on loopback, else 0: any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return found


def memory_mib(pid: int) -> float:
    """PSS of the process and all below it: what is shared is counted once."""
    total = 0
    for each in family(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cpu_s(pid: int) -> float:
    """CPU seconds so far of the process and all below it, with those that ended and were waited for."""
    return sum(_cpu_s(each) for each in family(pid))


def cpu_s_of_roles(pid: int) -> dict[str, float]:
    """CPU seconds so far of the supervisor `pid`, its roles, and what decodes and runs networks (`confined`)."""
    spent: dict[str, float] = {}
    for each in family(pid):
        words = Path(f"/proc/{each}/cmdline").read_bytes().decode().split("\0")
        role = "supervisor"
        if "imaging.roles.child" in words:
            role = words[words.index("imaging.roles.child") + 1]
        elif "imaging.confined.process" in words:
            role = "confined"
        spent[role] = spent.get(role, 0.0) + _cpu_s(each)
    return spent


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_S  # utime, stime, cutime, cstime
