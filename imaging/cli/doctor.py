"""What is wrong with this node and what to do about it: ports, disk, clock, models' golden cases,
peers by C-ECHO and whether they take reports.

Exit status 1 where anything is wrong. Nothing is changed.
"""

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging.cli.asking import Asked, Parser, add_json, add_settings, settings_of, table
from imaging.dicom_node.sending import NoAssociation, NoConnection, NoResponse, Sender, Unreachable
from imaging.domain.card import UNPROVEN
from imaging.inference.golden import check
from imaging.ledger import migrate
from imaging.ledger.store import Ledger, Unusable, is_begun
from imaging.models.catalogue import load_models, shipped_folder
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR
from imaging.settings import Destination, Settings
from imaging.spool import Room
from imaging.supervise import running_roles


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` says what to do where it is not well, or what would be better."""

    what: str
    is_well: bool
    said: str
    mend: str = ""


def options(parser: Parser) -> None:
    add_settings(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    found = []
    for each in examine(settings_of(asked, needs_models=True)):
        print(f"{'ok  ' if each.is_well else 'BAD '}{each.what}", file=sys.stderr)
        found.append(each)
    if asked.json:
        print(json.dumps({"findings": [asdict(each) for each in found]}, indent=2))
    else:
        rows = [["", "what", "found", "what to do"]]
        rows += [["ok" if each.is_well else "BAD", each.what, each.said, each.mend] for each in found]
        print(table(rows))
    return 0 if all(each.is_well for each in found) else 1


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at one thing after the other."""
    yield _disk(settings)
    yield _ledger(settings)
    yield _clock()
    running = running_roles(settings.home)
    yield _port("DICOM", settings.dicom_host, settings.dicom_port, "--dicom-port", "node" in running)
    yield _port("web", settings.web_host, settings.web_port, "--web-port", "web" in running)
    yield from _peers(settings)
    yield from _models(settings)


def _disk(settings: Settings) -> Finding:
    folder = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    room = Room.on(folder, int(settings.disk_reserve_mb * (1 << 20)))
    is_well = room.free > room.reserve and os.access(folder, os.W_OK)
    mend = f"make room on the disk of {folder}, or `imaging purge --older-than 30d`; below the reserve nothing is taken"
    return Finding("disk", is_well, str(room), "" if is_well else mend)


def _ledger(settings: Settings) -> Finding:
    if not is_begun(settings.home, settings.database):
        return Finding("ledger", True, "none yet; `imaging serve` makes it")
    try:
        with TemporaryDirectory() as elsewhere:  # a ledger makes its home, which need not be there yet
            found = migrate.version(Ledger(Path(elsewhere) if settings.database else settings.home, settings.database))
    except Unusable as error:
        return Finding("ledger", False, str(error), "mend --database, or start the database's server")
    is_well = found == migrate.HEAD
    return Finding(
        "ledger", is_well, f"schema {found}", "" if is_well else "`imaging migrate`, while nothing serves it"
    )


def _clock() -> Finding:
    now = datetime.now(UTC)
    newest = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    is_well, is_kept = now >= newest, _is_kept()
    said = f"{now.isoformat(timespec='seconds')}, zone {time.tzname[0]}"
    if is_kept is not None:
        said += ", synchronised" if is_kept else ", not synchronised"
    mend = "" if is_well else "set the clock: dates in results would be wrong"
    if is_kept is False:  # no fault by itself: it may be right all the same
        mend = "; ".join([each for each in (mend, "start chrony or systemd-timesyncd, so that it stays right") if each])
    return Finding("clock", is_well, said, mend)


def _is_kept() -> bool | None:
    """Whether something keeps the clock right, by the kernel's word (adjtimex(2)); None where it gives none."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512
"""At least a struct timex, whose modes are all 0: nothing is set."""


def _port(what: str, host: str, port: int, flag: str, is_running: bool) -> Finding:
    """`is_running`: whether the home's own role for it runs, which then has the port."""
    if port == 0:
        return Finding(f"{what} port", True, "any free one")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if is_running and _answers(host, port):
            return Finding(f"{what} port {port}", True, "taken, while this home is being served")
        mend = f"end what has it, or choose another by {flag}"
        return Finding(f"{what} port {port}", False, f"cannot be had: {error.strerror}", mend)
    return Finding(f"{what} port {port}", True, "free")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


_REPORTS: Final = ((SR_CLASS, "Comprehensive 3D SR"), (COMPREHENSIVE_SR, "Comprehensive SR"))


def _peers(settings: Settings) -> Iterator[Finding]:
    for address, names in settings.shared_addresses:
        said = f"{', '.join(names)} are one address, {address}: what each of them takes goes there {len(names)} times"
        yield Finding("peers", True, said, "name it once; `imaging replay --to NEW --of OLD` moves what waits")
    for each in settings.destinations:
        sender = Sender(each.address, settings.ae_title, each.times)
        try:
            sender.echo()
            taken = next((name for uid, name in _REPORTS if sender.takes(uid, str(ExplicitVRLittleEndian))), "")
        except Unreachable as error:
            yield Finding(f"peer {each.name}", False, str(error), _mend(error, each, settings.ae_title))
        else:
            mend = "" if taken else f"let it accept Comprehensive 3D SR from our AE title {settings.ae_title}"
            yield Finding(f"peer {each.name}", bool(taken), f"answers C-ECHO, takes {taken or 'no report'}", mend)
        finally:
            sender.close()


def _mend(error: Unreachable, to: Destination, ae_title: str) -> str:
    """What to do, by how far it came: to no connection, no association or no response."""
    if isinstance(error, NoConnection):
        return f"is it on, is {to.address} right, and does no firewall lie between?"
    if isinstance(error, NoAssociation):
        return (
            "something takes the connection: is it DICOM, and well? Where it looks up our name first, mend its DNS, "
            f"or raise --deliver-times {to.name}=accept:{to.times.accept:g}"
        )
    if isinstance(error, NoResponse):
        return (
            "it takes the association and then does not answer: look at its load and its log; "
            f"an object may take it --deliver-times {to.name}=response:{to.times.response:g}"
        )
    return f"is {to.address} right, and does it know our AE title {ae_title}?"


def _models(settings: Settings) -> Iterator[Finding]:
    catalogue = load_models(list(settings.models) or [shipped_folder()])
    for name, why in catalogue.disabled.items():
        yield Finding(f"model {name}", False, why, "mend its card.toml; until then it is not served")
    for card in catalogue.models:
        faults = check(card).faults
        is_well = not faults or faults == (UNPROVEN,)
        if card.engine.memory_mb > settings.worker_memory_mb:
            said = f"a job may need {card.engine.memory_mb} MB, a worker may take {settings.worker_memory_mb:g}"
            yield Finding(f"model {card.id}", False, said, "raise --worker-memory-mb, if the machine has it")
            continue
        mend = "" if is_well else "weights, engine or processor differ from where it was made: do not serve it"
        yield Finding(f"model {card.id}", is_well, "; ".join(faults) or "golden case as expected", mend)
