"""Remove old studies that are answered and delivered, and have no open conflict.

The records of long ended associations that brought none of the remaining objects are removed too.

Nothing is deleted while the clock cannot be trusted (`imaging doctor`). The age of studies that were received before
the clock was set counts from the first purge after it was set.

Nothing is deleted automatically; schedule `imaging purge`.

imaging purge --older-than 30d
"""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from imaging.cli.parsing import (
    Arguments,
    CommandError,
    Parser,
    add_home,
    add_json,
    ledger_of,
    parsed,
    period,
    settings_of,
)
from imaging.domain.alarms import alarms_of_clock
from imaging.ledger import retention
from imaging.ledger.health import clock_facts
from imaging.ledger.store import Ledger
from imaging.spool import FolderSpool

_AT_ONCE: Final = 100
"""Studies whose files are deleted together, after their rows."""


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--older-than", metavar="30d", help="age since the last image: days (d), hours (h) or minutes (m)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print how many")
    add_home(parser)
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults: list[str] = []
    age = parsed(faults, period, "--older-than", arguments.older_than or "")
    ledger = ledger_of(arguments, faults)
    assert age is not None
    alarm = next(alarms_of_clock(clock_facts(ledger)), None)
    if alarm is not None:
        raise CommandError(f"nothing is deleted: {alarm.words}; {alarm.mend}")
    if not arguments.dry_run:
        retention.date_anew(ledger)
    spool = FolderSpool(settings_of(arguments).home / "spool")
    before = ledger.clock.now() - age
    studies = retention.removable(ledger, before)
    removed = 0 if arguments.dry_run else _remove(ledger, spool, studies, before)
    data = {"removable": len(studies), "removed": removed}
    print(json.dumps(data) if arguments.json else f"\n{removed} of {len(studies)} removable studies removed")
    return 0


def _remove(ledger: Ledger, spool: FolderSpool, studies: Sequence[int], before: datetime) -> int:
    """Removes rows, then files, also those that an earlier purge left which was ended in between; says how many."""
    removed = 0
    for number, study in enumerate(studies, 1):
        print(f"\r{number} of {len(studies)}", end="", file=sys.stderr)
        removed += retention.remove(ledger, study, before)
        if number % _AT_ONCE == 0:
            retention.sweep(ledger, spool.remove)
    retention.remove_strays(ledger, before)
    retention.sweep(ledger, spool.remove)
    retention.remove_associations(ledger, before)
    retention.remove_patients(ledger)
    return removed
