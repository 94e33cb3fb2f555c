"""Which files a process may read (landlock(7)): those named, and none may be written; no TCP, no signals to others."""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of system calls, the same on all architectures."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_WRITE_FILE, _READ_FILE, _READ_FOLDER, _SPEAK_TO_DEVICE = 1 << 1, 1 << 2, 1 << 3, 1 << 15
_RIGHTS_BY_ABI: Final = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Rights on files that each version of the interface added; all that the kernel knows are taken away."""
_TCP: Final = 0b11
"""To bind and to connect, from version 4 on."""
_SCOPED: Final = 0b11
"""Abstract sockets of, and signals to, processes that are not so confined, from version 6 on."""


def version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))


def apply(readable: Iterable[Path], devices: Iterable[Path] = ()) -> int:
    """Lets this thread and those that it starts read these files and folders, and no other, for good.

    `devices`: files that may be written as well, and spoken to.

    Returns the version by which this was done; 0: it could not be. Needs PR_SET_NO_NEW_PRIVS.
    """
    abi = version()
    if not abi:
        return 0
    files = sum(rights for since, rights in _RIGHTS_BY_ABI if abi >= since)
    attributes = struct.pack("=QQQ", files, _TCP if abi >= 4 else 0, _SCOPED if abi >= 6 else 0)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return 0
    try:
        for path in readable:
            _allow(rules, path, 0)
        for path in devices:
            _allow(rules, path, files & (_WRITE_FILE | _SPEAK_TO_DEVICE))
        return abi if _call(_RESTRICT_SELF, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, more: int) -> None:
    """One that is not there, or closed to us, needs no rule."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        rights = _READ_FILE | (_READ_FOLDER if is_folder else 0) | more
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: int | bytes | None) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
