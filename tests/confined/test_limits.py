"""What the process that decodes pixels and runs networks can do, whatever a file makes of it."""

import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from confined_cases import ROOT, attack, hostile

from imaging.confined import landlock, seccomp
from imaging.confined.client import Confined
from imaging.confined.limits import Confinement
from imaging.confined.seccomp import MACHINES, Machine

NOTHING_OF = {
    "read the parent's environment",
    "read the parent's memory",
    "open a socket",
    "open a pair of sockets",
    "send a datagram",
    "run a program",
    "fork",
    "signal the parent",
    "hold the parent's number",
    "limit the parent",
    "make a file of memory",
    "leave into a namespace",
    "trace the parent",
    "become a program",
    "signal all",
    "read the parent's memory by a call",
    "make an io_uring",
    "load BPF",
    "make a key",
    "open by a structure",
}
OF_A_FILE = {"read", "read in a thread", "write", "append", "rename", "change the mode", "truncate", "remove"}
HARMLESS = sorted(NOTHING_OF - {"trace the parent", "become a program", "signal all"})
"""Those that a test may let succeed, in a process of its own."""
MAY_FAIL_ANYWHERE = {
    "load BPF",
    "make an io_uring",
    "open by a structure",
    "leave into a namespace",
    "read the parent's environment",
    "read the parent's memory",
    "read the parent's memory by a call",
}
"""Kernels bar these to programs with threads or without privileges, or their arguments are none."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a ledger, a spool and a wake-up socket, and beside them the copies of weights."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "models").mkdir()
    for name in ("ledger.sqlite", "spool/film.dcm", "imaging.toml", "models/weights"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def fully_confined(home: Path) -> Iterator[Confined]:
    with hostile(home / "models") as process:
        if not process.confinement.is_complete:
            pytest.skip(process.confinement.words)
        yield process


@pytest.fixture
def free(home: Path) -> Iterator[Confined]:
    """One on a kernel without any of it."""
    with hostile(home / "models", ["all"]) as process:
        yield process


def test_what_any_program_may_do_is_refused_to_it(fully_confined: Confined, free: Confined) -> None:
    assert {what: attack(fully_confined, what) for what in NOTHING_OF if attack(fully_confined, what) == "done"} == {}
    refused = {what for what in HARMLESS if attack(free, what) != "done"}
    assert refused <= MAY_FAIL_ANYWHERE  # or this test would show nothing


def test_ledger_spool_settings_and_the_system_can_be_neither_read_nor_changed(
    fully_confined: Confined, free: Confined, home: Path
) -> None:
    for name in ("ledger.sqlite", "spool/film.dcm", "imaging.toml"):
        assert {attack(fully_confined, what, home / name) for what in OF_A_FILE} == {"PermissionError"}
        assert (home / name).read_text() == name
        assert attack(free, "read", home / name) == "done"
    assert attack(fully_confined, "read", "/etc/passwd") == "PermissionError"
    assert attack(free, "read", "/etc/passwd") == "done"
    for folder in (home, home / "spool", "/", "/etc", f"/proc/{os.getpid()}"):
        assert attack(fully_confined, "list", folder) == "PermissionError"
        assert attack(free, "list", folder) == "done"


def test_weights_are_read_and_nothing_is_written_anywhere(fully_confined: Confined, free: Confined, home: Path) -> None:
    weights = home / "models" / "weights"
    assert attack(fully_confined, "read", weights) == attack(fully_confined, "read in a thread", weights) == "done"
    for what in ("write", "append", "rename", "change the mode", "truncate", "remove"):
        assert attack(fully_confined, what, weights) == "PermissionError"
    for what in ("write", "make a folder", "link"):
        assert attack(fully_confined, what, home / "models" / "new") == "PermissionError"
        assert attack(fully_confined, what, "/tmp/imaging-new") == "PermissionError"
    assert attack(free, "make a folder", home / "models" / "new") == "done"


def test_no_socket_of_the_home_is_reached(fully_confined: Confined, free: Confined, home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "wakeup"))
        listening.listen()
        assert attack(fully_confined, "connect", home / "wakeup") == "PermissionError"
        assert attack(free, "connect", home / "wakeup") == "done"


def test_it_has_no_password_of_its_parent_and_no_open_file_but_its_sockets(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_DATABASE", "postgresql://user:password@host/base")
    with (home / "ledger.sqlite").open() as ledger, hostile(home / "models") as process:
        os.set_inheritable(ledger.fileno(), True)
        assert not [name for name in process.ask("names", {"of": ""}) if name.startswith("IMAGING")]
        open_files = {re.sub(r"\d+", "N", each) for each in process.ask("open files", {"of": ""})}
        assert open_files <= {"/dev/null", "socket:[N]", "/proc/N/fd"}


def test_it_has_no_privileges_and_can_gain_none(fully_confined: Confined) -> None:
    data = dict(line.split(":\t", 1) for line in attack(fully_confined, "privileges").splitlines() if ":\t" in line)
    assert (data["NoNewPrivs"], data["Seccomp"]) == ("1", "2")
    assert int(data["CapEff"], 16) & ~(1 << 2) == 0  # root's right to read remains, which Landlock bounds


def test_it_takes_no_more_memory_than_it_may(home: Path) -> None:
    with hostile(home / "models", memory_mb=300) as process:
        assert attack(process, "memory", 10 << 20) is None
        assert attack(process, "memory", 400 << 20) == "OSError"


@pytest.mark.parametrize(
    ("without", "stopped", "possible"),
    [
        (
            "landlock",
            {"write", "append", "remove", "open a socket", "fork", "run a program", "signal the parent"},
            {"read"},
        ),
        ("seccomp", {"read", "write", "append", "remove", "run a program", "read the parent's environment"}, {"fork"}),
    ],
)
def test_each_layer_holds_alone(without: str, stopped: set[str], possible: set[str], home: Path) -> None:
    with hostile(home / "models", [without]) as process:
        confinement = process.confinement
        if not (confinement.landlock or confinement.seccomp):
            pytest.skip("this kernel has neither")
        data = {what: attack(process, what, home / "ledger.sqlite") for what in stopped | possible}
    assert {what for what, came in data.items() if came == "done"} == possible
    assert f"does not provide {'Landlock' if without == 'landlock' else 'seccomp'}:" in confinement.words


def test_a_kernel_without_any_of_it_runs_it_all_the_same_and_that_is_said(free: Confined) -> None:
    assert free.confinement == Confinement(0, seccomp=False, namespace=False)
    assert free.confinement.words == (
        "this kernel does not provide Landlock and seccomp: the process that decodes pixels and runs networks can read "
        "all files of this user, write them, start programs, speak to programs of this machine and to the network"
    )


# The filter ----------------------------------------------------------------------------------------------------

HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"#define __NR_(\w+) (\d+)$"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"#define __NR(?:3264)?_(\w+)\s+(\d+)$"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_numbers_of_calls_are_the_kernels(name: str) -> None:
    header, form = HEADERS[name]
    if not header.exists():
        pytest.skip(f"{header} is not here (linux-libc-dev)")
    known = dict(re.findall(form, header.read_text(), re.MULTILINE))
    ours = {each.split(":")[0]: each.split(":")[1 + MACHINES[name].column] for each in seccomp.REFUSED.split()}
    ours |= {each: str(numbers[MACHINES[name].column]) for each, numbers in seccomp._JUDGED.items()}
    given = {call: number for call, number in ours.items() if number not in ("-", "None")}
    assert {call: number for call, number in given.items() if known.get(call) != number} == {}
    assert not [call for call, number in ours.items() if number in ("-", "None") and call in known]


def verdict(machine: Machine, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel makes of a call: runs the filter as bpf(4) says."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, machine.audit if audit is None else audit, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", seccomp.program(machine, pid=77)))
    at, held = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x20:
            held = struct.unpack_from("=I", data, constant)[0]
        elif code == 0x06:
            return int(constant)
        else:
            holds = {0x15: held == constant, 0x35: held >= constant, 0x45: bool(held & constant)}[code]
            at += if_true if holds else if_false


ALLOWED, NO_SUCH_CALL, KILLED = 0x7FFF0000, 0x50026, 0x80000000
NOT_PERMITTED = 0x50001


@pytest.mark.parametrize(("name", "machine"), MACHINES.items())
def test_calls_are_judged_by_number_and_argument_on_each_machine(name: str, machine: Machine) -> None:
    column = machine.column
    call = {each: number for each, numbers in seccomp._JUDGED.items() if (number := numbers[column]) is not None}
    assert verdict(machine, call["clone"], 0x10000 | 0x100) == ALLOWED
    assert verdict(machine, call["clone"], 17) == NOT_PERMITTED
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC | os.O_RDONLY):
        assert verdict(machine, call["openat"], 0, 0, flags) == NOT_PERMITTED
    assert verdict(machine, call["openat"], 0, 0, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY) == ALLOWED
    for each in ("kill", "tgkill", "rt_tgsigqueueinfo"):
        assert (verdict(machine, call[each], 77), verdict(machine, call[each], 78)) == (ALLOWED, NOT_PERMITTED)
        assert verdict(machine, call[each], 0) == NOT_PERMITTED
    assert [verdict(machine, call["prlimit64"], pid) for pid in (0, 77, 1)] == [ALLOWED, ALLOWED, NOT_PERMITTED]
    assert verdict(machine, call["clone3"]) == verdict(machine, call["openat2"]) == NO_SUCH_CALL
    assert verdict(machine, 463) == verdict(machine, 0x40000029) == NO_SUCH_CALL
    assert verdict(machine, 0, audit=0x40000003) == KILLED  # calls of another architecture
    assert {verdict(machine, number) for number in seccomp.refused(machine)} == {NOT_PERMITTED}
    if name == "x86_64":
        assert verdict(machine, 2, 0, os.O_RDONLY) == ALLOWED
        assert verdict(machine, 2, 0, os.O_WRONLY) == NOT_PERMITTED


OPENS: Final = """
import os, sys
from pathlib import Path
from imaging.confined import landlock, limits, seccomp
limits._prctl(38, 1)
assert landlock.apply([Path(sys.prefix), Path(sys.base_prefix)], [Path("/dev/full")])
assert seccomp.apply(may_write=True)
for path, flags in (("/dev/full", os.O_RDWR), ("/dev/zero", os.O_RDWR), (sys.argv[1], os.O_WRONLY)):
    try:
        os.close(os.open(path, flags))
        print("opened")
    except OSError as error:
        print(error.errno == 13)
"""


def test_a_device_that_is_named_may_be_written_to_and_no_other_file(tmp_path: Path) -> None:
    """As an NVIDIA device may, where networks run on it."""
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    (tmp_path / "ledger").touch()
    command = [sys.executable, "-c", OPENS, str(tmp_path / "ledger")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.stdout.split() == ["opened", "True", "True"]
