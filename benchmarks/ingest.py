"""Measures how many instances a second are kept durably, beside DCMTK's storescp and Orthanc where they are installed.

CT images of 512x512 under fresh UIDs are sent over 1, 4 and 16 associations at a time. The receivers take turns within
each round, so that a noisy neighbour disturbs all alike; figures are medians of the rounds.

Then DCMTK's storescu sends the same over one association, as it is installed, that is with Nagle's algorithm, as most
modalities send, and once more without it (TCP_NODELAY=1).

python -m benchmarks.ingest                       our node, storescp and Orthanc
python -m benchmarks.ingest --only imaging --rounds 5
python -m benchmarks.ingest --associations 1,16 --dir /data

imaging   the role `node` alone: its bytes, their name and a row are on disk before the C-STORE response
orthanc   as Debian ships it: the file is on disk, the row may not be
storescp  DCMTK's, one process an association: nothing is forced to disk

Exit status: 0 measured; 1 a receiver refused or broke off; 2 asked wrongly.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import node, studies
from benchmarks.studies import Copy, Template
from benchmarks.wire import IMPLICIT_LITTLE, VERIFICATION, Association, WireError
from imaging.cli.parsing import Arguments, Parser, UsageError, add_json, parsed, refuse, table
from imaging.domain.peers import Address
from imaging.encoding.part10 import Announced, StoreRequest, part_10_head
from imaging.roles.cores import cores

STORESCU: Final = "/usr/bin/storescu"
SENDERS: Final = {"with Nagle": "0", "without": "1"}
"""How storescu sends, and what TCP_NODELAY it is started with."""
PROGRAMS: Final = {"orthanc": "/usr/sbin/Orthanc", "storescp": "/usr/bin/storescp"}
"""By full path: pynetdicom's scripts hide DCMTK's names in an activated environment."""
DURABLE: Final = {"imaging": "file and row", "orthanc": "file", "storescp": "no"}
REFERENCE: Final = "orthanc"
SLICES: Final = 8
START_S: Final = 30.0


@dataclass(frozen=True)
class Receiver:
    """A running SCP. `pid`: of the process that its others descend from."""

    name: str
    address: Address
    pid: int


@dataclass(frozen=True)
class Measured:
    """One receiver at one number of associations, once."""

    instances_per_s: float
    cpu_ms: float  # of the receiver's processes, per instance


def main() -> int:
    parser = Parser("python -m benchmarks.ingest", __doc__)
    parser.add_argument("--only", metavar="NAME,...", default=",".join(DURABLE), help=f"default {','.join(DURABLE)}")
    parser.add_argument("--associations", metavar="K,...", default="1,4,16", help="at a time (default 1,4,16)")
    parser.add_argument("--instances", metavar="N", default="96", help="sent at least, each time (default 96)")
    parser.add_argument("--rounds", metavar="N", default="3", help="default 3")
    parser.add_argument(
        "--dir", metavar="DIR", type=Path, help="where the receivers write (default: the system's /tmp)"
    )
    add_json(parser)
    node.end_tidily()
    try:
        plan = _plan(parser.parse(sys.argv[1:]))
        results = run(plan)
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    except (node.CannotStart, WireError, OSError) as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(results, indent=2) if plan.json else as_text(results))
    return 0


def _plan(arguments: Arguments) -> Arguments:
    """What was asked, as values. Raises UsageError with all faults."""
    faults: list[str] = []
    arguments.only = parsed(faults, _names, "--only", arguments.only)
    arguments.associations = parsed(faults, _counts, "--associations", arguments.associations)
    for option in ("instances", "rounds"):
        counts = parsed(faults, _counts, f"--{option}", getattr(arguments, option))
        setattr(arguments, option, counts[0] if counts else None)
    if arguments.dir is not None and not arguments.dir.is_dir():
        faults.append(f"--dir {arguments.dir}: no such folder")
    refuse(arguments, faults)
    return arguments


def _names(text: str) -> list[str]:
    if unknown := set(text.split(",")) - set(DURABLE):
        raise ValueError(f"{', '.join(sorted(unknown))}: there are {', '.join(DURABLE)}")
    return text.split(",")


def _counts(text: str) -> list[int]:
    found = text.split(",")
    if not all(each.isdigit() and int(each) for each in found):
        raise ValueError("numbers from 1 are wanted")
    return [int(each) for each in found]


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


# Receivers


@contextmanager
def imaging(folder: Path) -> Iterator[Receiver]:
    """Our node, receiving only."""
    with node.served(folder / "home", ["--role", "node", "--dicom-port", "0"]) as running:
        yield Receiver("imaging", running.address, running.pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Receiver]:
    """Orthanc with its own defaults, but for where it listens and that it takes from everybody."""
    port = _any_port()
    settings = {"StorageDirectory": str(folder), "IndexDirectory": str(folder), "RemoteAccessAllowed": False}
    settings |= {"DicomPort": port, "HttpPort": _any_port(), "DicomAlwaysAllowStore": True, "DicomAet": "PEER"}
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _started("orthanc", [PROGRAMS["orthanc"], str(folder / "orthanc.json")], port) as receiver:
        yield receiver


@contextmanager
def storescp(folder: Path) -> Iterator[Receiver]:
    """DCMTK's storescp, which forks a process for each association."""
    port = _any_port()
    with _started("storescp", [PROGRAMS["storescp"], "--fork", "-od", str(folder), str(port)], port) as receiver:
        yield receiver


RECEIVERS: Final[Mapping[str, Callable[[Path], Any]]] = {"imaging": imaging, "orthanc": orthanc, "storescp": storescp}


@contextmanager
def _started(name: str, command: Sequence[str], port: int) -> Iterator[Receiver]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"TCP_NODELAY": "1"},  # DCMTK disables Nagle's algorithm only where it is told to
    )
    try:
        receiver = Receiver(name, Address("PEER", "127.0.0.1", port), process.pid)
        _await_echo(receiver, process)
        yield receiver
    finally:
        process.terminate()
        process.wait()


def _await_echo(receiver: Receiver, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            with Association(receiver.address, [(VERIFICATION, IMPLICIT_LITTLE)], timeout_s=5) as association:
                association.echo()
            return
        except (WireError, OSError) as error:
            if process.poll() is not None or time.monotonic() > until:
                raise WireError(f"{receiver.name} did not start: {error}") from None
            time.sleep(0.05)


def _any_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


# Measuring


def run(plan: Arguments) -> dict[str, Any]:
    """Starts the receivers, measures in turn, stops them."""
    missing = [name for name in plan.only if name in PROGRAMS and not shutil.which(PROGRAMS[name])]
    template = studies.head(SLICES, 512)
    found: dict[tuple[str, int], list[Measured]] = {}
    by_storescu: dict[tuple[str, str], list[float]] = {}
    senders = list(SENDERS) if shutil.which(STORESCU) else []
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imaging-ingest-", dir=plan.dir)))
        receivers = []
        for name in plan.only:
            if name not in missing:
                (base / name).mkdir()
                receivers.append(stack.enter_context(RECEIVERS[name](base / name)))
        for each in receivers:
            _send_all(each, template, 1, SLICES)  # the first association is slower everywhere
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            for associations in plan.associations:
                for each in receivers if number % 2 == 0 else reversed(receivers):
                    measured = _send_all(each, template, associations, plan.instances)
                    found.setdefault((each.name, associations), []).append(measured)
            for sender in senders:
                for each in receivers:
                    rate = _storescu(each, template, plan.instances, base, sender)
                    by_storescu.setdefault((each.name, sender), []).append(rate)
    return {
        "cores": cores(),
        "missing": missing,
        "receivers": {
            each.name: {str(count): _summed_up(found[each.name, count]) for count in plan.associations}
            for each in receivers
        },
        "storescu": {
            each.name: {sender: round(statistics.median(by_storescu[each.name, sender]), 1) for sender in senders}
            for each in receivers
        },
    }


def _storescu(receiver: Receiver, template: Template, instances: int, base: Path, sender: str) -> float:
    """Images a second of DCMTK's storescu over one association, its own start included. Raises WireError."""
    with tempfile.TemporaryDirectory(dir=base) as folder:
        files: list[Path] = []
        for _ in range(-(-instances // SLICES)):
            for request in template.copy().requests:
                files.append(Path(folder, f"{len(files)}.dcm"))
                files[-1].write_bytes(part_10_head(_announced(request)) + bytes(request.data))
        os.sync()
        host, port = receiver.address.host, str(receiver.address.port)
        command = [STORESCU, "-aec", receiver.address.ae_title, host, port, *map(str, files)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, env=os.environ | {"TCP_NODELAY": SENDERS[sender]})
        seconds = time.perf_counter() - began
    if done.returncode:
        raise WireError(f"storescu ended with {done.returncode} at {receiver.name}")
    return len(files) / seconds


def _announced(request: StoreRequest) -> Announced:
    return Announced(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid)


def _summed_up(measured: Sequence[Measured]) -> dict[str, float]:
    return {
        "instances_per_s": round(statistics.median(each.instances_per_s for each in measured), 1),
        "cpu_ms": round(statistics.median(each.cpu_ms for each in measured), 2),
    }


def _send_all(receiver: Receiver, template: Template, associations: int, instances: int) -> Measured:
    """Sends at least `instances`, the same number over each association. Raises WireError."""
    each_sends = -(-instances // (associations * SLICES))
    work = [[template.copy() for _ in range(each_sends)] for _ in range(associations)]
    os.sync()  # what others left to be written is not this one's work
    errors: list[str] = []
    threads = [threading.Thread(target=_send, args=(receiver, template, copies, errors)) for copies in work]
    cpu, began = node.cpu_s(receiver.pid), time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    seconds, sent = time.perf_counter() - began, associations * each_sends * SLICES
    if errors:
        raise WireError(f"{receiver.name}, {associations} associations: {errors[0]}")
    return Measured(sent / seconds, 1000 * (node.cpu_s(receiver.pid) - cpu) / sent)


def _send(receiver: Receiver, template: Template, copies: Sequence[Copy], errors: list[str]) -> None:
    try:
        with Association(receiver.address, template.contexts) as association:
            for copy in copies:
                for request in copy.requests:
                    if status := association.store(request):
                        errors.append(f"C-STORE status 0x{status:04X}")
    except (WireError, OSError) as error:
        errors.append(str(error))


# Telling


def as_text(results: dict[str, Any]) -> str:
    """The figures for a reader; a ratio is to Orthanc in the same column."""
    receivers = results["receivers"]
    counts = list(next(iter(receivers.values()), {}))
    head = ["receiver", "durable"]
    for count in counts:
        head += [f"{count} assoc.: instances/s", "ratio", "CPU ms"]
    head += [f"storescu {sender}" for sender in next(iter(results["storescu"].values()), {})]
    rows: list[Sequence[Any]] = [head]
    for name, row in receivers.items():
        cells: list[Any] = [name, DURABLE[name]]
        for count in counts:
            cells += [row[count]["instances_per_s"], _ratio(receivers, name, count), row[count]["cpu_ms"]]
        cells += results["storescu"][name].values()
        rows.append(cells)
    lines = [f"512x512 CT images, {results['cores']} cores; ratios are to {REFERENCE}", table(rows)]
    return "\n".join([*lines, *(f"left out: {PROGRAMS[each]} is missing" for each in results["missing"])])


def _ratio(receivers: Mapping[str, Any], name: str, count: str) -> str:
    reference = receivers.get(REFERENCE)
    if reference is None:
        return "-"
    return f"{receivers[name][count]['instances_per_s'] / reference[count]['instances_per_s']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
