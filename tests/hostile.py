"""A confined process that is asked for attacks: `python -I hostile.py ROOT CONTROL_FD [without ...]`.

It takes the limits of the real one, then runs what a file or a network might make of it. `without`: which of the limits
the kernel is made to lack: landlock, seccomp, namespace, or all.
"""

import ctypes
import mmap
import os
import platform
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT, CONTROL, WITHOUT = sys.argv[1], int(sys.argv[2]), frozenset(sys.argv[3:])
sys.path.insert(0, ROOT)
from imaging.confined import landlock, limits, process, seccomp  # noqa: E402

sys.path.remove(ROOT)


def _call(x86_64: int, aarch64: int, *arguments: Any) -> None:
    """A system call by its number. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(x86_64 if platform.machine() == "x86_64" else aarch64, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _fork() -> None:
    if not os.fork():
        os._exit(0)
    os.wait()


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as to:
        to.connect(path)


def _read_memory(pid: int) -> None:
    held = ctypes.create_string_buffer(8)
    ours, theirs = (ctypes.c_void_p * 2)(ctypes.addressof(held), 8), (ctypes.c_void_p * 2)(pid, 8)
    _call(310, 270, pid, ours, 1, theirs, 1, 0)


def _in_a_thread(attack: Callable[[], object]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            attack()
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


PARENT = os.getppid()
ATTACKS: Mapping[str, Callable[[str], object]] = {
    "read": lambda path: Path(path).read_bytes(),
    "read in a thread": lambda path: _in_a_thread(Path(path).read_bytes),
    "list": os.listdir,
    "write": lambda path: Path(path).write_text("x"),
    "append": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "make a folder": os.mkdir,
    "remove": os.unlink,
    "rename": lambda path: os.rename(path, f"{path}.moved"),
    "change the mode": lambda path: os.chmod(path, 0o777),
    "truncate": lambda path: os.truncate(path, 0),
    "link": lambda path: os.symlink("/", path),
    "read the parent's environment": lambda _: Path(f"/proc/{PARENT}/environ").read_bytes(),
    "read the parent's memory": lambda _: os.open(f"/proc/{PARENT}/mem", os.O_RDONLY),
    "open a socket": lambda _: socket.socket(socket.AF_INET),
    "open a pair of sockets": lambda _: socket.socketpair(),
    "connect": _connect,
    "send a datagram": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "run a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "become a program": lambda _: os.execv("/bin/true", ["true"]),
    "fork": lambda _: _fork(),
    "signal the parent": lambda _: os.kill(PARENT, 0),
    "signal all": lambda _: os.kill(-1, 0),
    "trace the parent": lambda _: _call(101, 117, 16, PARENT, 0, 0),
    "read the parent's memory by a call": lambda _: _read_memory(PARENT),
    "hold the parent's number": lambda _: os.pidfd_open(PARENT),
    "limit the parent": lambda _: resource.prlimit(PARENT, resource.RLIMIT_CORE),
    "leave into a namespace": lambda _: _call(272, 97, 0x10000000),
    "make an io_uring": lambda _: _call(425, 425, 1, ctypes.create_string_buffer(120)),
    "load BPF": lambda _: _call(321, 280, 0, ctypes.create_string_buffer(120), 120),
    "make a key": lambda _: _call(248, 217, b"user", b"x", b"x", 1, -3),
    "make a file of memory": lambda _: os.memfd_create("x"),
    "open by a structure": lambda path: _call(437, 437, -100, path.encode(), ctypes.create_string_buffer(24), 24),
    "gain privileges": lambda _: os.setuid(0),
}
OTHERS: Mapping[str, Callable[[str], Any]] = {
    "names": lambda _: sorted(os.environ),
    "open files": lambda _: [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)],
    "privileges": lambda _: Path("/proc/self/status").read_text(),
    "memory": lambda size: mmap.mmap(-1, int(size)).close(),
    "hang": lambda _: threading.Event().wait(),
    "hold the interpreter": lambda _: ctypes.pythonapi.sleep(3600),
    "die": lambda _: os.abort(),
    "tell all": lambda size: "x" * int(size),
    "wait": lambda seconds: time.sleep(float(seconds)),
}


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def begin(data: Mapping[str, Any]) -> process.Answerer:
    return answer


def answer(request: Mapping[str, Any], files: Sequence[int]) -> Mapping[str, Any]:
    if request["do"] == "files":
        return {"value": [os.pread(fd, 100, 0).decode() for fd in files]}
    try:
        if request["do"] in OTHERS:
            return {"value": OTHERS[request["do"]](request["of"])}
        ATTACKS[request["do"]](request["of"])
    except (OSError, MemoryError) as error:
        return {"value": type(error).__name__}
    return {"value": "done"}


if "landlock" in WITHOUT or "all" in WITHOUT:
    landlock.version = lambda: 0
if "seccomp" in WITHOUT or "all" in WITHOUT:
    seccomp.MACHINES = {}  # type: ignore[misc]  # a constant; so a machine lacks the filter
if "namespace" in WITHOUT or "all" in WITHOUT:
    limits._leave_network = lambda: False
sys.exit(process.run(CONTROL, begin))
