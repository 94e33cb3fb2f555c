"""Objects kept apart: their UID came before with other pixels or geometry, or their study has another patient.

They are never analysed until a person has looked. `use` puts the object in its UID's place, `drop` leaves it apart
for good; the study is looked at again either way. While other pixels or geometry are undecided, the first content is
analysed, and what is not found there is undetermined; another patient stops the study.

  imaging conflicts list
  imaging conflicts use 3
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from imaging.cli.asking import Asked, Failed, Parser, add_home, add_json, ledger_of, table
from imaging.ledger import receiving


def options(parser: Parser) -> None:
    parser.add_argument("what", metavar="list|use|drop", nargs="?", default="list")
    parser.add_argument("numbers", metavar="NUMBER", nargs="*", help="numbers that `list` shows")
    add_home(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    faults = []
    if asked.what not in ("list", "use", "drop"):
        faults.append(f"{asked.what!r}: list, use or drop is wanted")
    faults += [
        f"{each!r}: a number that `imaging conflicts list` shows is wanted"
        for each in asked.numbers
        if not each.isdecimal()
    ]
    if asked.what in ("use", "drop") and not asked.numbers:
        faults.append(f"{asked.what}: say which, by number")
    ledger = ledger_of(asked, faults)
    if asked.what == "list":
        found = [each | {"received_at": each["received_at"].isoformat()} for each in receiving.conflicts(ledger)]
        said = json.dumps({"conflicts": found}, indent=2, ensure_ascii=False) if asked.json else _table(found)
        print(said)
        return 0
    whys = {each: receiving.settle_conflict(ledger, int(each), asked.what == "use") for each in asked.numbers}
    if left := [f"{each}: {why}" for each, why in whys.items() if why]:
        raise Failed("\n".join(left))
    done = "in its UID's place" if asked.what == "use" else "left apart for good"
    print("\n".join(f"{each}: {done}; the study is looked at again" for each in asked.numbers))
    return 0


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    head = ["number", "why", "its patient", "the study's patient", "from", "received", "study", "object"]
    rows = [
        [
            each["id"],
            each["why"],
            f"{each['patient_id']} {each['patient_name']}".strip() or "-",
            f"{each['study_patient_id']} {each['study_patient_name']}".strip() or "-",
            f"{each['calling_ae_title']} at {each['address']}" if each["calling_ae_title"] else "an earlier run",
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
    sender = (
        f"from {told['calling_ae_title']} at {told['address']}" if told["calling_ae_title"] else "from an earlier run"
    )
    words = (
        f"{told['modality']} {frames}{told['rows']} x {told['columns']}",
        "\\".join(told["image_type"]),
        told["view_position"],
        f"{told['size']} bytes in {told['transfer_syntax_uid']}",
        f"series {told['series_instance_uid']}",
        f"{sender}, {told['received_at']}",
    )
    return ", ".join(each for each in words if each)
