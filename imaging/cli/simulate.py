"""Make synthetic studies with known truth (chest films, CR and DX; head CTs; brain MRs), in a folder or for a node.

imaging simulate --studies 6 --output drawn/
imaging simulate --studies 100 --to IMAGING@127.0.0.1:11112 --rate 2
"""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path

from imaging.cli.parsing import Arguments, CommandError, Parser, add_json, parsed, positive_number, refuse
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.phantoms.study import PhantomStudy, brain_study, film_study, head_study

KINDS = ("film", "head", "brain")
FILM_TRUTHS = ("normal", "effusion", "cardiomegaly")


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--studies", metavar="N", default="6", help="how many (default 6)")
    parser.add_argument("--kind", metavar="KIND", action="append", help="film, head or brain, repeatable (default all)")
    parser.add_argument("--seed", metavar="N", default="1", help="seed of the first study (default 1)")
    parser.add_argument("--output", metavar="DIR", type=Path, help="folder to write to, with a sub-folder per study")
    parser.add_argument("--to", metavar="AET@HOST:PORT", help="node to send to")
    parser.add_argument(
        "--rate", metavar="R", default="0", help="studies per second (default: as fast as they are accepted)"
    )
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults: list[str] = []
    for option, value in (("--studies", arguments.studies), ("--seed", arguments.seed)):
        if not value.isdecimal() or not int(value):
            faults.append(f"{option} {value!r}: expected a number of 1 or more")
    faults += [f"--kind {each!r}: expected film, head or brain" for each in arguments.kind or () if each not in KINDS]
    rate = parsed(faults, positive_number, "--rate", arguments.rate)
    if (arguments.output is None) == (arguments.to is None):
        faults.append("expected either --output DIR or --to AET@HOST:PORT")
    peer = parsed(faults, Address.parse, "--to", arguments.to) if arguments.to else None
    refuse(arguments, faults)
    drawn_studies = []
    sender = Sender(peer, "SIMULATE") if peer else None
    began = time.monotonic()
    for number, study in enumerate(drawn(int(arguments.studies), arguments.kind or KINDS, int(arguments.seed)), 1):
        print(f"\rstudy {number} of {arguments.studies}: {study.modality} {study.truth}   ", end="", file=sys.stderr)
        if rate:
            time.sleep(max(0.0, began + (number - 1) / rate - time.monotonic()))
        _hand_over(study, sender, arguments.output)
        drawn_studies.append({"study_uid": study.study_instance_uid, "modality": study.modality, "truth": study.truth})
    print(file=sys.stderr)
    if arguments.json:
        print(json.dumps({"studies": drawn_studies}, indent=2))
    else:
        print("\n".join(f"{each['study_uid']} {each['modality']} {each['truth']}" for each in drawn_studies))
    return 0


def drawn(studies: int, kinds: tuple[str, ...] | list[str], seed: int, run_id: str = "") -> Iterator[PhantomStudy]:
    """Studies of these kinds in turn, half of them with a lesion. `run_id` makes their UIDs unique to a run."""
    run_id, now = run_id or secrets.token_hex(8), datetime.now().astimezone()
    for number in range(studies):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        if kind == "film":
            truth = FILM_TRUTHS[(turn + 1) % len(FILM_TRUTHS)]
            yield film_study(seed + number, frozenset({truth} - {"normal"}), now, run_id)
        elif kind == "head":
            yield head_study(seed + number, turn % 2 == 0, now, run_id)
        else:
            yield brain_study(seed + number, turn % 2 == 0, now, run_id)


def encoded(study: PhantomStudy) -> Iterator[bytes]:
    """Each instance as a Part 10 file."""
    for dataset in study.instances:
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        yield buffer.getvalue()


def _hand_over(study: PhantomStudy, sender: Sender | None, output: Path | None) -> None:
    if output is not None:
        folder = output / f"{study.modality.lower()}-{study.truth}-{study.study_instance_uid[-8:]}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(encoded(study), 1):
            (folder / f"{number:03}.dcm").write_bytes(data)
    if sender is not None:
        try:
            for data in encoded(study):
                answer = sender.send(data)
                if not isinstance(answer, Accepted):
                    raise CommandError(f"the node refused an object: {answer.why}")
        except Unreachable as error:
            raise CommandError(str(error)) from None
        finally:
            sender.close()
