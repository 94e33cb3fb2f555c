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

from imaging.cli.asking import Asked, Failed, Parser, add_home, add_json, ledger_of, table
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
    parser.add_argument("what", metavar="list|use|drop|undo", nargs="?", default="list")
    parser.add_argument("numbers", metavar="NUMBER", nargs="*", help="numbers shown by `list`")
    parser.add_argument(
        "--all",
        action="store_true",
        help="use, drop: all open conflicts of the study that name the same patient; list: also decided ones",
    )
    add_home(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    faults = []
    if asked.what not in ("list", *_DONE):
        faults.append(f"{asked.what!r}: expected list, use, drop or undo")
    faults += [
        f"{each!r}: expected a number shown by `imaging conflicts list`"
        for each in asked.numbers
        if not each.isdecimal()
    ]
    if asked.what in _DONE and not asked.numbers:
        faults.append(f"{asked.what}: expected one or more numbers")
    with closing(ledger_of(asked, faults)) as ledger:
        return _list(ledger, asked) if asked.what == "list" else _act(ledger, asked)


def _list(ledger: Ledger, asked: Asked) -> int:
    listed = undecided.listed(ledger, EVERY if asked.all else UNDECIDED)
    found = [each | {"received_at": each["received_at"].isoformat()} for each in listed]
    print(json.dumps({"conflicts": found}, indent=2, ensure_ascii=False) if asked.json else _table(found))
    return 0


def _act(ledger: Ledger, asked: Asked) -> int:
    numbers = [int(each) for each in asked.numbers]
    notices = {each["id"] for each in undecided.listed(ledger) if each["state"] == ApartState.SHARED}
    if asked.what == "undo":
        whys = conflicts.undo(ledger, numbers)
    else:
        whys = conflicts.decide(ledger, numbers, asked.what == "use", and_alike=asked.all)
    for each in (number for number, why in whys.items() if not why):
        print(f"{each}: {_NOTICE_DONE if each in notices else _DONE[asked.what]}")
    if left := [f"{each}: {why}" for each, why in whys.items() if why]:
        raise Failed("\n".join(left))
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


def _described(told: Mapping[str, Any]) -> str:
    frames = f"{told['frames']} x " if told["frames"] != 1 else ""
    who = in_words(told["calling_ae_title"], told["address"]) if told["address"] else "an earlier run"
    words = (
        f"{told['modality']} {frames}{told['rows']} x {told['columns']}",
        "\\".join(told["image_type"]),
        told["view_position"],
        f"{told['size']} bytes in {told['transfer_syntax_uid']}",
        f"series {told['series_instance_uid']}",
        f"from {who}, {told['received_at']}",
    )
    return ", ".join(each for each in words if each)


def _who(each: Mapping[str, Any]) -> str:
    """Whose the object is; of a UID that studies share, whose the other objects are."""
    others = [f"{other['patient_id']} {other['patient_name']}".strip() or "-" for other in each["shared_with"]]
    return "also of " + ", ".join(others) if others else f"{each['patient_id']} {each['patient_name']}".strip() or "-"
