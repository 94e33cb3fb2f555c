"""Show who sent and from where, which presentation contexts were accepted and refused, and how each association ended.

For the service engineer whose modality "cannot send": it lists what the modality proposed and what we answered,
including rejected callers and requests that cannot be parsed. Associations for C-ECHO alone are only counted.
"""

import json
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final

from imaging.cli.parsing import Arguments, Parser, add_home, add_json, ledger_of, table
from imaging.domain.echoes import Echoes, grouped, is_echo
from imaging.domain.peers import in_words
from imaging.ledger import associations
from imaging.ledger.refusals import UNREAD
from imaging.ledger.store import Ledger

_LOOKED_AT: Final = 20_000
"""Associations, in the search of those that are no echoes."""
_AT_ONCE: Final = 500


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add_home(parser)
    add_json(parser)
    parser.add_argument("--last", metavar="N", default="20", help="how many to show, newest first (default 20)")
    parser.add_argument("--all", action="store_true", help="also list each C-ECHO association")


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    is_number = arguments.last.isdecimal() and int(arguments.last)
    faults = [] if is_number else [f"--last {arguments.last!r}: expected a number of 1 or more"]
    with closing(ledger_of(arguments, faults)) as ledger:
        last = int(arguments.last)
        found, echoes = (associations.listed(ledger, last), []) if arguments.all else _without_echoes(ledger, last)
    if arguments.json:
        print(json.dumps({"associations": found, "echoes": [asdict(each) for each in echoes]}, indent=2))
    else:
        print(_text(found, echoes))
    return 0


def _without_echoes(ledger: Ledger, last: int) -> tuple[list[dict[str, Any]], list[Echoes]]:
    """The last that are no echoes, and the echoes that came meanwhile."""
    kept: list[dict[str, Any]] = []
    echoes: list[dict[str, Any]] = []
    before = None
    while len(kept) < last and len(kept) + len(echoes) < _LOOKED_AT:
        page = associations.listed(ledger, _AT_ONCE, before)
        for each in page:
            if len(kept) < last:
                (echoes if is_echo(each) else kept).append(each)
        if len(page) < _AT_ONCE:
            break
        before = page[-1]["id"]
    return kept, grouped(echoes)


def _text(found: list[dict[str, Any]], echoes: list[Echoes]) -> str:
    head = ["number", "began", "calling", "called", "address", "stored", "refused", "ended"]
    rows = [
        [
            each["id"],
            each["started_at"],
            each["calling_ae_title"],
            each["called_ae_title"],
            each["address"],
            each["stored"],
            each["refused"],
            each["ended_how"] or "open",
        ]
        for each in found
    ]
    details = []
    for each in found:
        details += [
            f"{each['id']}: context refused: {context['abstract_syntax']}: {context['why']}"
            for context in each["contexts"]
            if context["result"] == "refused"
        ]
        details += [_refusal(each["id"], reason, count) for reason, count in each["refusals"].items()]
    details += [_echoes(each) for each in echoes]
    return "\n".join([table([head, *rows]), *details])


def _refusal(number: int, reason: str, count: int) -> str:
    return f"{number}: {count} {reason} unread" if reason == UNREAD else f"{number}: answered {count} x {reason}"


def _echoes(each: Echoes) -> str:
    who = in_words(each.calling_ae_title, each.address)
    return f"C-ECHO from {who}: {each.count}, the last one {each.last_at}; --all lists them"
