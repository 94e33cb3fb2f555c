"""Shows the whole way: a drawn modality sends studies, the node analyses them, a small PACS gets the reports.

python -m benchmarks.demo                  sends drawn films, head CTs and brain MRs, and leaves the worklist up
python -m benchmarks.demo --data DIR       the same with a folder of real DICOM files
python -m benchmarks.demo --once --json    ends by itself, with one JSON document on stdout

All of it runs on this machine, in a temporary folder that is removed at the end: no server, no docker, no root. The
drawn studies' truth is known; what is found in them says that the pipeline works, and nothing about patients.
"""

import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import percentile, rounded
from benchmarks.node import CannotStart, Node, end_tidily, free_port, served
from benchmarks.pacs import Pacs
from imaging.cli.parsing import Arguments, CommandError, Parser, UsageError, add_json, parsed, refuse, table
from imaging.cli.simulate import KINDS, drawn, encoded
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.findings import TriageClass
from imaging.domain.priority import most_urgent
from imaging.domain.retry import Accepted
from imaging.ledger import stories
from imaging.ledger.store import Ledger
from imaging.models.folders import folder_faults
from imaging.roles.analysis import collect

STUDIES: Final = 9
ANSWER_S: Final = 120.0
"""How long answers are waited for after the last image."""
_LOOK_S: Final = 0.25


@dataclass(frozen=True)
class Planned:
    """A study before it is sent: its Part 10 files, in memory or where they lie."""

    study_uid: str
    modality: str
    truth: str | None
    files: Sequence[bytes | Path]


@dataclass(frozen=True)
class Sent:
    """A study that was sent. `at`: the last C-STORE response. `refused`: what the node did not take, and why."""

    plan: Planned
    at: float
    refused: str | None


def main() -> int:
    parser = Parser("python -m benchmarks.demo", __doc__)
    parser.add_argument("--once", action="store_true", help="end when all answers are there; default: at Ctrl-C")
    add_json(parser)
    parser.add_argument(
        "--data", metavar="DIR", type=Path, help="a folder of DICOM files to send in place of drawn ones"
    )
    parser.add_argument("--studies", metavar="N", default=str(STUDIES), help=f"how many are drawn (default {STUDIES})")
    parser.add_argument("--models", metavar="DIR", type=Path, help="models to serve instead of the shipped ones")
    end_tidily()
    try:
        return run(parser.parse(sys.argv[1:]))
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    except (CommandError, CannotStart) as failed:
        print(f"demo: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


def run(arguments: Arguments) -> int:
    """The whole demonstration; returns the exit status."""
    plans = _plans(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imaging-demo-")))
        pacs = Pacs()
        stack.callback(pacs.close)
        say("starting the node: DICOM, worker, delivery, worklist")
        options = ["--deliver-to", f"PACS={pacs.address}"]
        options += ["--dicom-port", str(free_port(11112)), "--web-port", str(free_port(8080))]
        # Films raise no flag as shipped (docs/worklist.md): here they do, to show what one is.
        options += ["--models", str(arguments.models)] if arguments.models else ["--model-mode", "chest-film=live"]
        node = stack.enter_context(served(folder / "home", options))
        say(f"it listens at {node.address}; the PACS is {pacs.address}, the worklist {node.url}")
        ledger = Ledger(folder / "home")
        stack.callback(ledger.close)
        sent = [_send(plan, node) for plan in plans]
        stories = _wait(sent, pacs, ledger)
        data = document(sent, stories, pacs, node.url)
        print(json.dumps(data, indent=2, ensure_ascii=False) if arguments.json else as_table(data), flush=True)
        if not arguments.once:
            _stay(node.url)
    return 1 if data["lost"] or data["duplicates"] else 0


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def _stay(url: str) -> None:
    say(f"The worklist is at {url} until Ctrl-C.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("")


# What is sent


def _plans(arguments: Arguments) -> Iterable[Planned]:
    """Raises UsageError with all faults."""
    faults: list[str] = []
    studies = parsed(faults, _count, "--studies", arguments.studies)
    if arguments.data is not None and not arguments.data.is_dir():
        faults.append(f"--data {arguments.data}: no such folder")
    faults += [f"--models {each}" for each in folder_faults([arguments.models] if arguments.models else [])]
    refuse(arguments, faults)
    assert studies is not None
    if arguments.data is None:
        return _drawn(studies)
    found = collect([arguments.data])
    if not found.studies:
        raise UsageError(f"--data {arguments.data}: none of its {found.passed_over} files is DICOM")
    return [
        Planned(uid, sources[0].header.modality, None, [each.path for each in sources])
        for uid, sources in found.studies.items()
    ]


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ValueError("expected a number of 1 or more")
    return int(text)


def _drawn(studies: int) -> Iterator[Planned]:
    """Drawn one by one while they are sent: a modality takes its time too."""
    for each in drawn(studies, KINDS, 1, secrets.token_hex(8)):
        yield Planned(each.study_instance_uid, each.modality, each.truth, list(encoded(each)))


def _send(plan: Planned, node: Node) -> Sent:
    """Sends a study over an association of its own, as modalities do."""
    truth = f", truth {plan.truth}" if plan.truth else ""
    say(f"sending {plan.modality}, {len(plan.files)} image{'s' * (len(plan.files) > 1)}{truth}")
    sender = Sender(node.address, "MODALITY")
    refused, at = None, time.time()
    try:
        for each in plan.files:
            answer = sender.send(each.read_bytes() if isinstance(each, Path) else each)
            at = time.time()
            if not isinstance(answer, Accepted):
                refused = answer.why
        sender.close()
    except Unreachable as error:
        raise CommandError(f"{node.address}: {error}") from None
    return Sent(plan, at, refused)


# What came back


def _wait(sent: Sequence[Sent], pacs: Pacs, ledger: Ledger) -> dict[str, Any]:
    """Each study's story once its answers are there, or as far as it came within `ANSWER_S` seconds."""
    until, data = time.monotonic() + ANSWER_S, dict.fromkeys((each.plan.study_uid for each in sent), _NO_STORY)
    while time.monotonic() < until:
        for uid, story in data.items():
            if not _is_answered(story):
                data[uid] = next(iter(stories.named(ledger, uid)), _NO_STORY)
        left = [uid for uid, story in data.items() if not (_is_answered(story) and _is_noted(story, uid, pacs))]
        if not left:
            break
        pacs.wait(lambda: False, _LOOK_S)
    return data


_NO_STORY: Final[dict[str, Any]] = {"state": "unknown", "results": [], "deliveries": [], "reason": None}
"""Of a study of which the node took nothing."""


def _is_answered(story: dict[str, Any]) -> bool:
    """Whether nothing more is to come."""
    return (
        story["state"] == "settled"
        and all(each["ended_at"] for each in story["results"])
        and all(each["state"] in ("delivered", "dead") for each in story["deliveries"])
    )


def _is_noted(story: dict[str, Any], uid: str, pacs: Pacs) -> bool:
    """Whether the PACS has noted what the node says is delivered: it answers first."""
    return uid in pacs.reports or all(each["state"] != "delivered" for each in story["deliveries"])


def document(sent: Sequence[Sent], stories: dict[str, Any], pacs: Pacs, url: str) -> dict[str, Any]:
    """What `--json` prints. A study is lost that has no report and no reason why there is none."""
    studies = [_study_document(each, stories[each.plan.study_uid], pacs) for each in sent]
    seconds = [each["seconds"] for each in studies if each["seconds"] is not None]
    return {
        "studies": studies,
        "latency_s": {"p50": percentile(seconds, 0.5), "p95": percentile(seconds, 0.95)},
        "lost": sum(each["seconds"] is None and each["reason"] is None for each in studies),
        "duplicates": pacs.duplicates,
        "url": url,
    }


def _study_document(sent: Sent, story: dict[str, Any], pacs: Pacs) -> dict[str, Any]:
    arrived = [each.at for each in pacs.reports.get(sent.plan.study_uid, [])]
    results = story["results"]
    flag = most_urgent(*(TriageClass(each["flag"]) if each["flag"] else None for each in results))
    reasons = [sent.refused, story["reason"], *(each["reason"] for each in results)]
    return {
        "study_uid": sent.plan.study_uid,
        "modality": sent.plan.modality,
        "truth": sent.plan.truth,
        "flag": str(flag) if flag else None,
        "findings": [_finding(finding) for each in results for finding in each["findings"]],
        "reason": next((each for each in reasons if each), None),
        "seconds": rounded(max(arrived) - sent.at) if arrived else None,
    }


def _finding(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in ("code", "scheme", "meaning", "present", "probability")}


def as_table(data: dict[str, Any]) -> str:
    """The same for a reader."""
    rows: list[Sequence[Any]] = [("study", "modality", "truth", "finding", "probability", "flag", "seconds")]
    for each in data["studies"]:
        seconds = "no report" if each["seconds"] is None else f"{each['seconds']:.2f}"
        head = f"...{each['study_uid'][-12:]}", each["modality"], each["truth"] or "-"
        lines = _lines(each)
        rows.append((*head, *lines[0], each["flag"] or "-", seconds))
        rows += [("", "", "", *line, "", "") for line in lines[1:]]
    p50, p95 = data["latency_s"]["p50"], data["latency_s"]["p95"]
    latency = f"from the last image to the report in the PACS: p50 {p50:.2f} s, p95 {p95:.2f} s; " if p50 else ""
    return f"\n{table(rows)}\n\n{latency}{data['lost']} lost, {data['duplicates']} duplicates\nworklist: {data['url']}"


def _lines(study: dict[str, Any]) -> list[tuple[str, str]]:
    """Finding and probability, a line for each that is present; else what was most probable, or why nothing is said."""
    if not study["findings"]:
        return [(f"not analysed: {study['reason'] or 'no answer'}", "-")]
    present = [each for each in study["findings"] if each["present"]]
    likely = max(study["findings"], key=lambda each: each["probability"] or 0.0)
    named = [(each["meaning"], each) for each in present] or [(f"none ({likely['meaning']})", likely)]
    return [(name, "-" if each["probability"] is None else f"{each['probability']:.2f}") for name, each in named]


if __name__ == "__main__":
    sys.exit(main())
