"""Who sent to us and from where, which presentation contexts were accepted and refused, and how it ended.

For the service engineer whose modality "cannot send": what it proposed stands here, and what we answered.
"""

import json
from typing import Any

from imaging.cli.asking import Asked, Parser, add_home, add_json, ledger_of, table
from imaging.ledger import views


def options(parser: Parser) -> None:
    add_home(parser)
    add_json(parser)
    parser.add_argument("--last", metavar="N", default="20", help="how many, the newest first (default 20)")


def run(asked: Asked) -> int:
    is_number = asked.last.isdecimal() and int(asked.last)
    faults = [] if is_number else [f"--last {asked.last!r}: a number from 1 is wanted"]
    found = views.associations(ledger_of(asked, faults), int(asked.last))
    if asked.json:
        print(json.dumps({"associations": found}, indent=2))
    else:
        print(_text(found))
    return 0


def _text(found: list[dict[str, Any]]) -> str:
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
        details += [f"{each['id']}: answered {count} x {reason}" for reason, count in each["refusals"].items()]
    return "\n".join([table([head, *rows]), *details])
