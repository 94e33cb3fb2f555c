"""Show and decide objects in conflict: their UID already has other pixels or geometry, or their study another patient.

They are not analysed until a person decides. `use` puts objects in the place of those with the same UID, provided that
all objects of the study then name one patient; `drop` keeps them apart for good. The study is processed again either
way. With --all, one decision applies to all objects in conflict of the study that name the same patient, for a whole
study that was sent again under another Patient ID. `undo` reverts a decision as long as nothing based on it was sent.

While other pixels or geometry are undecided, the first content is analysed, and findings that are not found there are
undetermined; another patient stops the study. A UID that two studies share is listed at both as `shared`: it stops
neither, and `drop` removes the notice.

  imaging conflicts list
  imaging conflicts use 3
  imaging conflicts use 3 --all
  imaging conflicts undo 3
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from imaging.cli.parsing import Arguments, CommandError, Parser, add_home, add_json, ledger_of, table
from imaging.domain.peers import in_words
from imaging.domain.states import ApartState
from imaging.ledger import conflicts, undecided
from imaging.ledger.store import Ledger
from imaging.ledger.undecided import EVERY, UNDECIDED

_DONE = {
    "use": "now used under its UID; the study is processed again",
    "drop": "kept apart for good; the study is processed again",
    "undo": "undecided again, with everything that was decided together with it",
}
_NOTICE_DONE = "the notice is removed; both objects stay in their studies"


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("what", metavar="list|use|drop|undo", nargs="?", default="list")
    parser.add_argument("numbers", metavar="NUMBER", nargs="*", help="numbers shown by `list`")
    parser.add_argument(
        "--all",
        action="store_true",
        help="use, drop: all open conflicts of the study that name the same patient; list: also decided ones",
    )
    add_home(parser)
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults = []
    if arguments.what not in ("list", *_DONE):
        faults.append(f"{arguments.what!r}: expected list, use, drop or undo")
    faults += [
        f"{each!r}: expected a number shown by `imaging conflicts list`"
        for each in arguments.numbers
        if not each.isdecimal()
    ]
    if arguments.what in _DONE and not arguments.numbers:
        faults.append(f"{arguments.what}: expected one or more numbers")
    with closing(ledger_of(arguments, faults)) as ledger:
        return _list(ledger, arguments) if arguments.what == "list" else _act(ledger, arguments)


def _list(ledger: Ledger, arguments: Arguments) -> int:
    listed = undecided.listed(ledger, EVERY if arguments.all else UNDECIDED)
    found = [each | {"received_at": each["received_at"].isoformat()} for each in listed]
    print(json.dumps({"conflicts": found}, indent=2, ensure_ascii=False) if arguments.json else _table(found))
    return 0


def _act(ledger: Ledger, arguments: Arguments) -> int:
    numbers = [int(each) for each in arguments.numbers]
    notices = {each["id"] for each in undecided.listed(ledger) if each["state"] == ApartState.SHARED}
    if arguments.what == "undo":
        reasons = conflicts.undo(ledger, numbers)
    else:
        reasons = conflicts.decide(ledger, numbers, arguments.what == "use", and_alike=arguments.all)
    for each in (number for number, why in reasons.items() if not why):
        print(f"{each}: {_NOTICE_DONE if each in notices else _DONE[arguments.what]}")
    if left := [f"{each}: {why}" for each, why in reasons.items() if why]:
        raise CommandError("\n".join(left))
    return 0


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    head = ["number", "why", "its patient", "the study's patient", "from", "received", "study", "object"]
    rows = [
        [
            each["id"],
            each["why"] if each["state"] in UNDECIDED else f"{each['why']}: {each['state']}",
            _who(each),
            f"{each['study_patient_id']} {each['study_patient_name']}".strip() or "-",
            in_words(each["calling_ae_title"], each["address"]) if each["address"] else "an earlier run",
            each["received_at"],
            each["study_instance_uid"],
            each["sop_instance_uid"],
        ]
        for each in found
    ]
    lines = [table([head, *rows])]
    for each in found:
        if each["differs"]:
            lines += ["", f"{each['id']}: {each['differs']}"]
            lines += [f"  {name}: {_described(each[name])}" for name in ("first", "second") if each[name]]
    return "\n".join(lines)


def _described(entry: Mapping[str, Any]) -> str:
    frames = f"{entry['frames']} x " if entry["frames"] != 1 else ""
    who = in_words(entry["calling_ae_title"], entry["address"]) if entry["address"] else "an earlier run"
    words = (
        f"{entry['modality']} {frames}{entry['rows']} x {entry['columns']}",
        "\\".join(entry["image_type"]),
        entry["view_position"],
        f"{entry['size']} bytes in {entry['transfer_syntax_uid']}",
        f"series {entry['series_instance_uid']}",
        f"from {who}, {entry['received_at']}",
    )
    return ", ".join(each for each in words if each)


def _who(each: Mapping[str, Any]) -> str:
    """Whose the object is; of a UID that studies share, whose the other objects are."""
    others = [f"{other['patient_id']} {other['patient_name']}".strip() or "-" for other in each["shared_with"]]
    return "also of " + ", ".join(others) if others else f"{each['patient_id']} {each['patient_name']}".strip() or "-"
