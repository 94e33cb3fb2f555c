"""Check this node and suggest fixes: permissions, disk, clock, ports, the page, alarms, models' golden cases, peers by
C-ECHO and whether they accept reports.

Exit status 1 if anything is wrong. Nothing is changed.
"""

import ctypes
import json
import os
import pwd
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging.cli.parsing import Arguments, Parser, add_json, add_settings, settings_of, table
from imaging.confined.analyser import check
from imaging.confined.client import Confined
from imaging.confined.limits import Confinement
from imaging.dicom_node.sending import NoAssociation, NoConnection, NoResponse, Sender, Unreachable
from imaging.domain.alarms import CLOCK_KINDS, Alarm, Facts, Kind, alarms_of_clock, alarms_of_disk_space, health
from imaging.domain.card import UNPROVEN, Card
from imaging.domain.clock_anchor import ClockFacts
from imaging.domain.faults import PublicError
from imaging.domain.ports import advice
from imaging.ledger import migrate
from imaging.ledger.clock import BUILT
from imaging.ledger.store import Ledger, is_begun
from imaging.ledger.unusable import Unusable
from imaging.models.catalogue import load_models
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR
from imaging.roles.health import facts_of
from imaging.roles.locks import running_roles
from imaging.settings import Destination, Settings
from imaging.spool import disk_space_on


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` says what to do where it is not well, or what would be better."""

    what: str
    is_well: bool
    said: str
    mend: str = ""


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add_settings(parser)
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    found = []
    for each in examine(settings_of(arguments, needs_models=True)):
        print(f"{'ok  ' if each.is_well else 'BAD '}{each.what}", file=sys.stderr)
        found.append(each)
    if arguments.json:
        print(json.dumps({"findings": [asdict(each) for each in found]}, indent=2))
    else:
        rows = [["", "what", "found", "what to do"]]
        rows += [["ok" if each.is_well else "BAD", each.what, each.said, each.mend] for each in found]
        print(table(rows))
    return 0 if all(each.is_well for each in found) else 1


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at one thing after the other."""
    home = _home(settings)
    yield home
    yield from _disk(settings)
    facts = None
    if home.is_well:
        yield _ledger(settings)
        facts = _facts(settings)
    yield _clock(facts)
    running = running_roles(settings.home)
    yield _port("DICOM", settings.dicom_host, settings.dicom_port, "--dicom-port", "node" in running)
    yield _port("web", settings.web_host, settings.web_port, "--web-port", "web" in running)
    if "web" in running and settings.web_port:
        yield _page(settings)
    if facts is not None:
        yield from _alarms(facts)
    yield from _peers(settings)
    yield from _models(settings)


def _folder(settings: Settings) -> Path:
    """The home, or of those above it the first that is there and can be looked at."""
    return next(each for each in (settings.home, *settings.home.absolute().parents) if os.access(each, os.F_OK))


def _home(settings: Settings) -> Finding:
    """Whether it may be written, which is no matter of room. Root's files in it are met often."""
    folder = _folder(settings)
    inside = [settings.home / name for name in ("ledger.sqlite", "ledger.lock", "run", "spool")]
    for each in (folder, *(path for path in inside if os.access(path, os.F_OK))):
        wanted = os.W_OK | (os.X_OK if each.is_dir() else 0)
        if not os.access(each, wanted, effective_ids=True):
            return _forbidden(each)
    return Finding("home", True, f"{folder} is writable")


def _forbidden(path: Path) -> Finding:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        mend = "remount it read-write; under systemd, make it StateDirectory or add it to ReadWritePaths"
        return Finding("home", False, f"{path} is on a file system that is mounted read-only", mend)
    status, us = path.stat(), _name(os.geteuid())
    owner = _name(status.st_uid)
    mode = f"{status.st_mode & 0o7777:04o}"
    text = f"no permission: {path} belongs to {owner} (mode {mode}), and the user {us} cannot write it"
    return Finding("home", False, text, f"run this as {owner}, or `chown -R {us} {path}`")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _disk(settings: Settings) -> Iterator[Finding]:
    space = disk_space_on(_folder(settings), int(settings.disk_reserve_mb * (1 << 20)))
    alarms = {each.kind: each for each in alarms_of_disk_space(space)}
    yield _of_alarm("disk", space.of_bytes, alarms.get(Kind.DISK))
    if space.of_inodes:
        yield _of_alarm("disk inodes", space.of_inodes, alarms.get(Kind.INODES))


def _of_alarm(what: str, text: str, alarm: Alarm | None) -> Finding:
    return Finding(what, alarm is None, text, alarm.mend if alarm else "")


def _ledger(settings: Settings) -> Finding:
    if not is_begun(settings.home, settings.database):
        return Finding("ledger", True, "none yet; `imaging serve` creates it")
    try:
        with TemporaryDirectory() as elsewhere:  # a ledger makes its home, which need not be there yet
            found = migrate.version(Ledger(Path(elsewhere) if settings.database else settings.home, settings.database))
    except Unusable as error:
        return Finding("ledger", False, str(error), "correct --database, or start the database server")
    is_well = found == migrate.HEAD
    return Finding(
        "ledger", is_well, f"schema {found}", "" if is_well else "stop `imaging serve`, then run `imaging migrate`"
    )


def _facts(settings: Settings) -> Facts | None:
    """What the ledger knows; None where there is none, or none of this version."""
    if not is_begun(settings.home, settings.database) or not settings.home.exists():
        return None
    try:
        ledger = Ledger(settings.home, settings.database)
        migrate.check(ledger)
    except Unusable:
        return None
    reserve_bytes = int(settings.disk_reserve_mb * (1 << 20))
    return facts_of(ledger, settings.home, reserve_bytes, settings.longest_wait_s)


_OF_ITS_OWN: Final = {Kind.NEVER_SERVED, Kind.NOT_SERVED, Kind.DISK, Kind.INODES, *CLOCK_KINDS}
"""Alarms that have a finding of their own here; and one may ask before anything is served."""


def _alarms(facts: Facts) -> Iterator[Finding]:
    """The alarms of `imaging status`."""
    for each in health(facts).alarms:
        if each.kind not in _OF_ITS_OWN:
            yield Finding(f"{each.kind} {each.name}".rstrip(), False, each.words, each.mend)


def _clock(facts: Facts | None) -> Finding:
    now = datetime.now(UTC)
    alarm = next(alarms_of_clock(facts.clock if facts else ClockFacts(now, now, None, BUILT)), None)
    text = f"{now.astimezone().isoformat(timespec='seconds')}, zone {time.tzname[0]}"
    is_kept = _is_kept()
    if is_kept is not None:
        text += ", synchronised" if is_kept else ", not synchronised"
    mend = [] if alarm is None else [f"{alarm.words}: {alarm.mend}"]
    if is_kept is False:  # no fault by itself: it may be right all the same
        mend += ["start chrony or systemd-timesyncd to keep it right"]
    return Finding("clock", alarm is None, text, "; ".join(mend))


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
        return Finding(f"{what} port", True, "any free port")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if is_running and _answers(host, port):
            return Finding(f"{what} port {port}", True, "in use, while this home is being served")
        mend = advice(port, error, flag)
        return Finding(f"{what} port {port}", False, f"cannot listen: {error.strerror}", mend)
    return Finding(f"{what} port {port}", True, "free")


def _page(settings: Settings) -> Finding:
    """Whether the page answers who asks; what it says of alarms is told by them."""
    what, connection = "page", HTTPConnection(settings.web_host, settings.web_port, timeout=_PAGE_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        text = f"does not answer within {_PAGE_S} s ({type(error).__name__})"
        return Finding(what, False, text, "see the log of the role web; if it ends, it is restarted")
    finally:
        connection.close()
    is_well = status in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
    mend = "" if is_well else "check that it is this home's; another program may use the port"
    return Finding(what, is_well, "answers" if is_well else f"answers with status {status}", mend)


_PAGE_S: Final = 5


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


_REPORTS: Final = ((SR_CLASS, "Comprehensive 3D SR"), (COMPREHENSIVE_SR, "Comprehensive SR"))


def _peers(settings: Settings) -> Iterator[Finding]:
    for address, names in settings.shared_addresses:
        text = f"{', '.join(names)} have one address, {address}: common results are sent there {len(names)} times"
        yield Finding(
            "peers", True, text, "configure it once; `imaging replay --to NEW --of OLD` moves waiting deliveries"
        )
    for each in settings.destinations:
        sender = Sender(each.address, settings.ae_title, each.times)
        try:
            sender.echo()
            taken = next((name for uid, name in _REPORTS if sender.takes(uid, str(ExplicitVRLittleEndian))), "")
        except Unreachable as error:
            yield Finding(f"peer {each.name}", False, str(error), _mend(error, each, settings.ae_title))
        else:
            mend = "" if taken else f"configure it to accept Comprehensive 3D SR from our AE title {settings.ae_title}"
            yield Finding(f"peer {each.name}", bool(taken), f"answers C-ECHO, accepts {taken or 'no report'}", mend)
        finally:
            sender.close()


def _mend(error: Unreachable, to: Destination, ae_title: str) -> str:
    """What to do, by how far it came: to no connection, no association or no response."""
    if isinstance(error, NoConnection):
        return f"check that it is running, that {to.address} is right, and that no firewall is in between"
    if isinstance(error, NoAssociation):
        return (
            "something accepts the connection: check that it is DICOM and works. If it looks up our host name first, "
            f"fix its DNS, or raise --deliver-times {to.name}=accept:{to.times.accept:g}"
        )
    if isinstance(error, NoResponse):
        return (
            "it accepts the association and then does not answer: check its load and its log; "
            f"the time for a response is --deliver-times {to.name}=response:{to.times.response:g}"
        )
    return f"check that {to.address} is right and that it knows our AE title {ae_title}"


def _models(settings: Settings) -> Iterator[Finding]:
    catalogue = load_models(settings.model_folders, model_mode=settings.model_mode)
    for name, why in catalogue.disabled.items():
        yield Finding(f"model {name}", False, why, "correct its card.toml; until then it is not served")
    with Confined(catalogue.models, threads=1, memory_mb=settings.memory_of_a_worker_mb) as confined:
        try:
            yield _confinement(confined.confinement)
        except PublicError as error:
            yield Finding("confinement", False, str(error), "the message states what is missing")
            return
        yield from (_model(card, confined, settings) for card in catalogue.models)


def _confinement(found: Confinement) -> Finding:
    """No fault of the node's own: it runs the same without."""
    mend = "" if found.is_complete else "use a kernel of 5.13 or newer with Landlock (lsm=landlock,...) and seccomp"
    return Finding("confinement", True, found.words, mend)


def _model(card: Card, confined: Confined, settings: Settings) -> Finding:
    if card.engine.memory_mb > settings.memory_of_a_worker_mb:
        text = f"a job may need {card.engine.memory_mb} MB, a worker may use {settings.memory_of_a_worker_mb:g}"
        return Finding(f"model {card.id}", False, text, "raise --worker-memory-mb, if the machine has enough memory")
    faults = check(confined, card)
    is_well = not faults or faults == (UNPROVEN,)
    mend = "" if is_well else "weights, engine or processor differ from those with which it was made: do not serve it"
    return Finding(f"model {card.id}", is_well, "; ".join(faults) or "golden case passes", mend)
