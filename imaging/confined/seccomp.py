"""A filter of system calls (seccomp(2)): no new sockets, programs, processes or files, nothing of the machine's.

Calls are refused with an error, so that a library that tries one goes on without. Calls that the table does not know,
since a later kernel brings them, are answered as by a kernel without them.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

REFUSED: Final = """
socket:41:198  socketpair:53:199  connect:42:203  bind:49:200  listen:50:201  accept:43:202  accept4:288:242
mq_open:240:180  mq_unlink:241:181  shmget:29:194  shmat:30:196  shmctl:31:195  msgget:68:186  msgsnd:69:189
msgrcv:70:188  msgctl:71:187  semget:64:190  semop:65:193  semtimedop:220:192  semctl:66:191

creat:85:-  mkdir:83:-  mkdirat:258:34  rmdir:84:-  unlink:87:-  unlinkat:263:35  rename:82:-  renameat:264:38
renameat2:316:276  link:86:-  linkat:265:37  symlink:88:-  symlinkat:266:36  mknod:133:-  mknodat:259:33
chmod:90:-  fchmod:91:52  fchmodat:268:53  chown:92:-  fchown:93:55  lchown:94:-  fchownat:260:54  utime:132:-
utimes:235:-  futimesat:261:-  utimensat:280:88  truncate:76:45  ftruncate:77:46  fallocate:285:47
setxattr:188:5  lsetxattr:189:6  fsetxattr:190:7  removexattr:197:14  lremovexattr:198:15  fremovexattr:199:16
open_by_handle_at:304:265  name_to_handle_at:303:264  memfd_create:319:279  memfd_secret:447:447
quotactl:179:60  quotactl_fd:443:443  inotify_init:253:-  inotify_init1:294:26  fanotify_init:300:262

execve:59:221  execveat:322:281  fork:57:-  vfork:58:-  ptrace:101:117  process_vm_readv:310:270
process_vm_writev:311:271  kcmp:312:272  tkill:200:130  rt_sigqueueinfo:129:138  pidfd_open:434:434
pidfd_getfd:438:438  pidfd_send_signal:424:424  process_madvise:440:440  process_mrelease:448:448
migrate_pages:256:238  move_pages:279:239  sched_setaffinity:203:122  sched_setscheduler:144:119
sched_setparam:142:118  sched_setattr:314:274  setpriority:141:140  ioprio_set:251:30

mount:165:40  umount2:166:39  pivot_root:155:41  chroot:161:51  unshare:272:97  setns:308:268
mount_setattr:442:442  move_mount:429:429  open_tree:428:428  fsopen:430:430  fsconfig:431:431  fsmount:432:432
fspick:433:433  keyctl:250:219  add_key:248:217  request_key:249:218  bpf:321:280  perf_event_open:298:241
userfaultfd:323:282  init_module:175:105  finit_module:313:273  delete_module:176:106  kexec_load:246:104
kexec_file_load:320:294  reboot:169:142  swapon:167:224  swapoff:168:225  acct:163:89  settimeofday:164:170
clock_settime:227:112  adjtimex:159:171  clock_adjtime:305:266  sethostname:170:161  setdomainname:171:162
iopl:172:-  ioperm:173:-  modify_ldt:154:-  syslog:103:116  vhangup:153:58
io_uring_setup:425:425  io_uring_enter:426:426  io_uring_register:427:427
"""
"""Refused whatever is asked of them: name, number on x86-64, number on AArch64. In groups: ways to speak to others;
files' names, sizes and owners; other programs and processes; the machine.
"""
LAST_KNOWN: Final = 451
"""From 424 on numbers are the same on all architectures."""

_JUDGED: Final = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_tgsigqueueinfo": (297, 240),
    "prlimit64": (302, 261),
}
"""Refused by their arguments, or as if there were none."""

_CLONE_THREAD: Final = 0x10000
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_X32: Final = 0x40000000
"""From here on x86-64 has a second table, by which filters are passed where it is forgotten."""


@dataclass(frozen=True)
class Machine:
    """An architecture: its place in the table, and its number in `struct seccomp_data`."""

    column: int
    audit: int


MACHINES: Final = {"x86_64": Machine(0, 0xC000003E), "aarch64": Machine(1, 0xC00000B7)}


def refused(machine: Machine) -> list[int]:
    """The numbers of the calls that are always refused."""
    numbers = (each.split(":")[1 + machine.column] for each in REFUSED.split())
    return sorted(int(each) for each in numbers if each != "-")


# The program (bpf(4)): each instruction is a code, how far to jump if true and if false, and a constant ------------

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data`; an argument is 8 bytes, of which the lower half comes first on both machines."""

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NOT_PERMITTED: Final = 0x00050000 | errno.EPERM
_NO_SUCH_CALL: Final = 0x00050000 | errno.ENOSYS

Instruction = tuple[int, int, int, int]


def program(machine: Machine, pid: int, *, may_write: bool = False) -> bytes:
    """The filter for a process of this number, as the kernel takes it. `may_write`: whether files may be opened for
    writing, where something else says which.
    """
    return b"".join(struct.pack("=HBBI", *each) for each in _instructions(machine, pid, may_write))


def _instructions(machine: Machine, pid: int, may_write: bool) -> Iterator[Instruction]:
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _NO_SUCH_CALL
    yield _AT_LEAST, 0, 1, LAST_KNOWN + 1
    yield _RETURN, 0, 0, _NO_SUCH_CALL
    for number in refused(machine):
        yield from _if_call(number, [(_RETURN, 0, 0, _NOT_PERMITTED)])
    for name, numbers in _JUDGED.items():
        if may_write and name in ("open", "openat"):
            continue
        if (judged := numbers[machine.column]) is not None:
            yield from _if_call(judged, _judgement(name, pid))
    yield _RETURN, 0, 0, _ALLOW


def _if_call(number: int, then: list[Instruction]) -> list[Instruction]:
    return [(_EQUAL, 0, len(then), number), *then]


def _judgement(name: str, pid: int) -> list[Instruction]:
    """What a call is answered, by an argument. Structures behind pointers cannot be looked into: glibc asks the older
    calls where it hears that there are no such."""
    if name in ("clone3", "openat2"):
        return [(_RETURN, 0, 0, _NO_SUCH_CALL)]
    allowed, not_permitted = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOT_PERMITTED)
    if name == "clone":
        return [_argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), allowed, not_permitted]
    if name in ("open", "openat"):
        return [_argument(name == "openat", plus=1), (_ANY_BIT, 0, 1, _WRITING), not_permitted, allowed]
    itself = [(_EQUAL, 0, 1, 0), allowed] if name == "prlimit64" else []
    return [_argument(0), *itself, (_EQUAL, 0, 1, pid), allowed, not_permitted]


def _argument(at: int, plus: int = 0) -> Instruction:
    return _LOAD, 0, 0, _FIRST_ARGUMENT + 8 * (at + plus)


# Applying it ---------------------------------------------------------------------------------------------------


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2


def apply(*, may_write: bool = False) -> bool:
    """Filters this thread and those that it starts, for good; whether it could be done. Needs PR_SET_NO_NEW_PRIVS."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    code = program(machine, os.getpid(), may_write=may_write)
    filter_program = _Program(len(code) // 8, code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(filter_program)) == 0)
