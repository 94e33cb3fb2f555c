"""Real processes for tests: our node as a user starts it, and an Orthanc as the PACS."""

import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from command_result import CommandResult

from imaging.cli import main

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
MAX_S = 60.0


def missing_peer(what: str) -> NoReturn:
    """Skips the test by name, or fails it where everything is required."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(f"{what} is missing, and REQUIRE_PEERS=1 asks for it")
    pytest.skip(f"{what} is missing")


def program(path: str) -> str:
    """A peer's program, by its full path: pynetdicom's scripts hide DCMTK's names."""
    found = shutil.which(path)
    if found is None:
        missing_peer(path)
    return found


def eventually(look: Callable[[], T | None], seconds: float = MAX_S, what: str = "the condition") -> T:
    """What `look` gives once it is true; fails with `what` where it does not become so."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        pause.wait(0.05)


def _ports() -> Iterator[int]:
    """Those below the ones that the kernel gives to connections; two runs of the tests begin at different ones.

    Each of pytest-xdist's processes has a range of its own.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    which = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = 12_000 // processes
    for number in itertools.count(os.getpid() * 37):
        yield 20_000 + which * width + number % width


_PORTS = _ports()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that no connection gets before its program does."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def command_of(pid: int) -> bytes:
    """A process's command line, empty where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Node:
    """`imaging serve` on free ports. `dicom_port`, `url`: where it is, once ready."""

    def __init__(self, home: Path, options: Sequence[str] = (), environment: dict[str, str] | None = None) -> None:
        self.home = home
        command = [sys.executable, "-m", "imaging", "serve", "--home", str(home), *options]
        for option in ("--dicom-port", "--web-port"):
            if option not in options:
                command += [option, "0"]
        home.parent.mkdir(parents=True, exist_ok=True)
        self.log = home.parent / f"{home.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | (environment or {})
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        if self.ready_line.split()[:1] != ["ready"]:  # a role without a port says no more
            self.process.wait()
            raise AssertionError(f"the node did not get ready: {self.log.read_text()[-3000:]}")
        facts = dict(each.split("=", 1) for each in self.ready_line.split()[1:])
        self.dicom_port = int(facts["dicom"].rpartition(":")[2]) if "dicom" in facts else 0
        self.url = facts.get("web", "")

    def status(self, *options: str) -> Any:
        """`imaging status --json` of its home."""
        return imaging_json("status", "--home", str(self.home), "--json", *options)

    def at_rest(self, *, with_deliveries: bool = True) -> Any:
        """Its status once nothing is received or analysed any more, and nothing waits to be sent; None before."""
        value = self.status()
        waiting = value["studies"]["receiving"] + value["jobs"]["queued"] + value["jobs"]["leased"]
        waiting += value["unjudged"]
        if with_deliveries:
            waiting += value["deliveries"]["waiting"] + value["deliveries"]["sending"]
        return None if waiting else value

    def children(self) -> dict[str, int]:
        """Process id by role."""
        found = {}
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            words = command_of(int(pid)).decode().split("\0")
            if "imaging.roles.child" in words:
                found[words[words.index("imaging.roles.child") + 1]] = int(pid)
        return found

    def kill(self) -> None:
        """kill -9 of the supervisor; its children end by themselves."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)


def imaging(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user does."""
    command = [sys.executable, "-m", "imaging", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def command_in_process(*arguments: str) -> CommandResult:
    """Runs a command in this process: in a fraction of the time, where it is not the process that is tested."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return CommandResult(status, out.getvalue(), err.getvalue())


def imaging_json(*arguments: str) -> Any:
    """A command's JSON; fails where it did not end well."""
    done = command_in_process(*arguments)
    assert done.status == 0, done.err
    return done.json


class Orthanc:
    """A PACS on free ports that takes everything."""

    def __init__(self, program: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dicom_port, self.http_port = folder, free_port(), free_port()
        settings = {
            "Name": "PACS",
            "DicomAet": "PACS",
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "UnknownSopClassAccepted": True,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": False,
            "Plugins": [],
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._program = program
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "orthanc.log").open("ab") as log:
            process = subprocess.Popen([self._program, str(self.folder / "orthanc.json")], stdout=log, stderr=log)
        eventually(lambda: self._is_up(), what="Orthanc's start")
        return process

    def _is_up(self) -> bool:
        try:
            return bool(self.get("/system"))
        except OSError:
            return False

    @property
    def address(self) -> str:
        return f"PACS@127.0.0.1:{self.dicom_port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def instances(self, modality: str = "SR") -> list[str]:
        """Orthanc's names of the instances of a modality."""
        return list(self.post("/tools/find", {"Level": "Instance", "Query": {"Modality": modality}}))

    def file(self, instance: str) -> bytes:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http_port}/instances/{instance}/file", timeout=10
        ) as answer:
            data: bytes = answer.read()
        return data

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def start_again(self) -> None:
        self.process = self._start()
