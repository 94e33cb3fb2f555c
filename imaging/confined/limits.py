"""Takes away from this process what decoding pixels and running networks does not need, before either is begun.

Three layers, each of which stands alone where the kernel lacks another: Landlock (which files may be read), a filter of
system calls, and a network namespace without any network.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from imaging.confined import landlock, seccomp

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NEW_NETWORK, _NEW_IPC, _NEW_USER = 0x40000000, 0x08000000, 0x10000000
_CAPABILITIES_VERSION: Final = 0x20080522
_MAY_READ: Final = 1 << 2
"""CAP_DAC_READ_SEARCH: root's, by which it reads a model that is another user's. Landlock bounds it."""


@dataclass(frozen=True)
class Confinement:
    """What holds a process. `landlock`: the version of the kernel's interface, 0 for none."""

    landlock: int
    seccomp: bool
    namespace: bool

    @property
    def is_complete(self) -> bool:
        """Whether it can neither read what it need not, nor write, nor speak to anybody but its parent."""
        return self.landlock > 0 and self.seccomp

    @property
    def words(self) -> str:
        """For a log and an operator, in English."""
        held = [f"Landlock {self.landlock}"] * (self.landlock > 0)
        held += ["seccomp"] * self.seccomp + ["a network namespace"] * self.namespace
        by = f" ({', '.join(held)})" if held else ""
        if self.is_complete:
            return f"pixels are decoded and networks run without network, files or other processes{by}"
        lacks = " and ".join(["Landlock"] * (not self.landlock) + ["seccomp"] * (not self.seccomp))
        can = ", ".join(self._can())
        return f"this kernel does not provide {lacks}: the process that decodes pixels and runs networks can {can}{by}"

    def _can(self) -> Iterator[str]:
        if not self.landlock:
            yield "read all files of this user"
        if not self.landlock and not self.seccomp:
            yield from ("write them", "start programs")
        if not self.seccomp:
            yield "speak to programs of this machine" + ("" if self.namespace else " and to the network")

    def to_json(self) -> dict[str, Any]:
        """As the worker reads it from the process's first message."""
        return asdict(self)


def confine(parent: int, readable: Sequence[Path], memory_mb: float | None, cuda: int | None = None) -> Confinement:
    """Confines this process, which has one thread yet, for good. `parent`: the process that it ends with.

    `memory_mb`: beyond it an allocation fails, and the study that asked ends as `memory`. `cuda`: the number of the
    device that it may open for reading and writing, which needs Landlock: without, no file may be opened so.
    """
    _end_with(parent)
    _bound_resources(memory_mb)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    has_namespace = _leave_network()
    _drop_capabilities()
    devices = list(_of_cuda(cuda)) if cuda is not None else []
    abi = landlock.apply([*readable, *_needed_by_libraries(), *(_READ_BY_CUDA if devices else ())], devices)
    return Confinement(abi, seccomp.apply(may_write=bool(devices and abi)), has_namespace)


def _end_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that
        os._exit(3)


def _bound_resources(memory_mb: float | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    maximum = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))  # a study's images come as open files, all at once
    if memory_mb is not None:
        bytes_ = int(memory_mb) << 20
        maximum = resource.getrlimit(resource.RLIMIT_AS)[1]
        bytes_ = bytes_ if maximum == resource.RLIM_INFINITY else min(bytes_, maximum)
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


def _leave_network() -> bool:
    """Into namespaces of its own, without any network; whether that is allowed. Who is not root needs one of users."""
    return any(_libc().unshare(_NEW_NETWORK | _NEW_IPC | user) == 0 for user in (0, _NEW_USER))


def _drop_capabilities() -> None:
    """Root's powers, and whatever a new namespace gave, but for reading."""
    header, held = struct.pack("=Ii", _CAPABILITIES_VERSION, 0), ctypes.create_string_buffer(24)
    if _libc().capget(header, held) != 0:
        return
    permitted = struct.unpack("=6I", held.raw)[1]
    kept = permitted & _MAY_READ
    _libc().capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


def _needed_by_libraries() -> Iterator[Path]:
    """Python's and libraries' files, and what the kernel says of this process and the processors."""
    yield Path(__file__).resolve().parents[1]
    yield from (Path(each) for each in sys.path if each)
    yield from map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))
    yield from map(Path, (f"/proc/{os.getpid()}", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"))
    yield from map(Path, ("/sys/devices/system/cpu", "/sys/devices/system/node", "/dev/null", "/dev/urandom"))


def _of_cuda(number: int) -> Iterator[Path]:
    """The files of a device, and those by which its driver is spoken to."""
    names = (f"nvidia{number}", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
    yield from (Path("/dev") / name for name in names)


_READ_BY_CUDA: Final = tuple(map(Path, ("/proc/driver/nvidia", "/sys/bus/pci", "/sys/module/nvidia", "/usr/local")))


def _prctl(option: int, value: int) -> None:
    _libc().prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
