"""Send files or folders to a DICOM node by C-STORE, unchanged. Files that are not DICOM are skipped.

imaging send study/ --to PACS@10.0.0.5:104
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from imaging import settings
from imaging.cli.parsing import Arguments, CommandError, Parser, UsageError, add_json, parsed, refuse
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.encoding.headers import Unreadable
from imaging.encoding.part10 import files_under, split_part_10


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="file or folder")
    parser.add_argument("--to", metavar="AET@HOST:PORT", help="the node to send to")
    parser.add_argument("--ae-title", metavar="AET", default="IMAGING", help="calling AE title (default IMAGING)")
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults = [f"{path}: no such file or folder" for path in arguments.paths if not path.exists()]
    if not arguments.paths:
        faults.append("PATH: name at least one file or folder")
    if not arguments.to:
        faults.append("--to AET@HOST:PORT is required")
    peer = parsed(faults, Address.parse, "--to", arguments.to) if arguments.to else None
    parsed(faults, settings.parser("ae_title"), "--ae-title", arguments.ae_title)
    refuse(arguments, faults)
    assert peer is not None
    files, passed_over = _readable(arguments.paths)
    if not files:
        raise UsageError(f"no readable files: {passed_over} files are not DICOM")
    sender = Sender(peer, arguments.ae_title)
    try:
        refused = _send(sender, files)
    except Unreachable as error:
        raise CommandError(f"{peer}: {error}") from None
    finally:
        sender.close()
    sent = len(files) - len(refused)
    if arguments.json:
        print(json.dumps({"sent": sent, "refused": refused, "passed_over": passed_over}, indent=2))
    else:
        print(f"{sent} sent, {len(refused)} refused, {passed_over} skipped")
    return 1 if refused else 0


def _readable(paths: list[Path]) -> tuple[dict[Path, tuple[str, str]], int]:
    """SOP class and transfer syntax of each DICOM file, and how many are none."""
    files: dict[Path, tuple[str, str]] = {}
    passed_over = 0
    for file in files_under(paths):
        try:
            with file.open("rb") as opened:
                head = split_part_10(opened.read(1 << 16))
                files[file] = head.sop_class_uid, head.transfer_syntax_uid
        except (Unreadable, OSError):
            passed_over += 1
    return files, passed_over


def _send(sender: Sender, files: Mapping[Path, tuple[str, str]]) -> dict[str, str]:
    refused: dict[str, str] = {}
    sender.propose(set(files.values()))
    for number, file in enumerate(files, 1):
        print(f"\r{number} of {len(files)}", end="", file=sys.stderr, flush=True)
        answer = sender.send(file.read_bytes())
        if not isinstance(answer, Accepted):
            refused[str(file)] = answer.why
            print(f"\n{file}: {answer.why}", file=sys.stderr)
    print(file=sys.stderr)
    return refused
