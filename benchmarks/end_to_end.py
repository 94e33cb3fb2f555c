"""Measures a node from outside: seconds from a study's last C-STORE response to its report, and studies a second.

Unique chest films are sent one by one (serial), as fast as they are taken (full), and at a Poisson rate (poisson). The
reports come back to an SCP of our own. In the same run the engine alone is measured on ready tensors; what the node
does at full speed is given as a ratio to that.

python -m benchmarks.end_to_end                                   a node of its own, with the shipped models
python -m benchmarks.model /tmp/models && \\
python -m benchmarks.end_to_end --models /tmp/models              ... with a network of DenseNet-121's size
python -m benchmarks.end_to_end --models /tmp/models --tuned DIR  ... run as `imaging models tune --home DIR` found
python -m benchmarks.end_to_end --modes serial --studies 100
python -m benchmarks.end_to_end --to IMAGING@127.0.0.1:11112 --home DIR --models DIR
                                                                  a node that runs, with --deliver-to to our --listen

latency: from the last C-STORE response to the SR's last byte; percentiles are nearest rank.
stages:  means, from what `imaging status --study UID --json` says; they add up to the mean latency. settle: until the
         study is taken as whole; read to report: the job's own timings (infer is its share of a batch); wait: in
         queues, behind others of a batch, and writing down; deliver: until the SR is here.
limit:   images/s of the engine alone, the best of batch 1, 4, 8 on 1 and 2 threads.
CPU:     of each role, and of this program as modality and PACS, for each study.
A node of its own is started twice: the second start of its home is timed, and the idle node is looked at.

Exit status: 0 each study answered once; 1 lost, duplicates or errors; 2 asked wrongly.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import node, sending, studies
from benchmarks.figures import percentile, rounded
from benchmarks.limit import Limit
from benchmarks.pacs import Pacs
from benchmarks.sending import MODES, Sent, send_all
from imaging.cli.parsing import Arguments, Parser, UsageError, add_json, parsed, positive_number, refuse, table
from imaging.domain.card import Card, Lane
from imaging.domain.peers import Address
from imaging.ledger import stories
from imaging.ledger.store import Ledger
from imaging.models import tuning
from imaging.models.catalogue import load_models
from imaging.models.folders import folder_faults, shipped_folder
from imaging.roles.cores import cores

LINGER_S: Final = 1.0
"""How long late duplicates are waited for."""
_SWITCH_S: Final = 0.0005
"""Until a waiting thread of ours gets its turn; Python's 5 ms would show in the latencies."""


def main() -> int:
    parser = Parser("python -m benchmarks.end_to_end", __doc__)
    options(parser)
    node.end_tidily()
    try:
        plan = _plan(parser.parse(sys.argv[1:]))
        results = run(plan)
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    except (node.CannotStart, OSError) as error:
        print(f"end_to_end: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(results, indent=2) if plan.json else as_text(results))
    return 1 if any(each["lost"] or each["duplicates"] or each["errors"] for each in results["modes"].values()) else 0


def options(parser: Parser) -> None:
    parser.add_argument("--to", metavar="AET@HOST:PORT", help="a node that runs (default: one is started)")
    parser.add_argument(
        "--listen", metavar="PORT", default="", help="where the reports come back (default 11113 with --to)"
    )
    parser.add_argument("--home", metavar="DIR", type=Path, help="home of the node of --to, for the stages")
    parser.add_argument("--models", metavar="DIR", type=Path, help="models that are served (default: the shipped ones)")
    parser.add_argument("--tuned", metavar="DIR", type=Path, help="a home in which the models were tuned")
    parser.add_argument("--studies", metavar="N", default="40", help="studies in each mode (default 40)")
    parser.add_argument("--modes", metavar="MODE,...", default=",".join(MODES), help=f"default {','.join(MODES)}")
    parser.add_argument("--rate", metavar="R", default="3", help="studies per second in mode poisson (default 3)")
    parser.add_argument("--associations", metavar="K", default="2", help="at a time, except serial (default 2)")
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", default="2000x1700", help="of a film (default 2000x1700)")
    parser.add_argument(
        "--idle", metavar="S", default="20", help="seconds of looking at the idle node (default 20; 0: not)"
    )
    parser.add_argument(
        "--limit-rounds", metavar="N", default="3", help="of the engine alone, around modes (default 3)"
    )
    parser.add_argument("--limit-s", metavar="S", default="0.5", help="seconds of a setting in a round (default 0.5)")
    parser.add_argument("--patience", metavar="S", default="60", help="seconds to wait for answers (default 60)")
    add_json(parser)


def _plan(arguments: Arguments) -> Arguments:
    """What was asked, as values. Raises UsageError with all faults."""
    faults: list[str] = []
    for option, parse in (
        ("studies", _count),
        ("associations", _count),
        ("rate", _above_zero),
        ("idle", positive_number),
        ("limit_rounds", int),
        ("limit_s", positive_number),
        ("patience", positive_number),
        ("modes", _modes),
        ("size", _size),
    ):
        setattr(arguments, option, parsed(faults, parse, "--" + option.replace("_", "-"), getattr(arguments, option)))
    arguments.listen = parsed(faults, int, "--listen", arguments.listen or ("11113" if arguments.to else "0"))
    arguments.to = parsed(faults, Address.parse, "--to", arguments.to) if arguments.to else None
    faults += [f"--models {each}" for each in folder_faults([arguments.models] if arguments.models else [])]
    if arguments.home is not None and not arguments.home.is_dir():
        faults.append(f"--home {arguments.home}: no such folder")
    if arguments.home is not None and arguments.to is None:
        faults.append("--home names the home of a node of --to; a node of its own has a temporary one")
    if arguments.tuned is not None and not (arguments.tuned / tuning.FOLDER).is_dir():
        faults.append(f"--tuned {arguments.tuned}: nothing was tuned there (imaging models tune --home DIR)")
    if arguments.tuned is not None and arguments.to is not None:
        faults.append("--tuned is of a node of its own; one that runs has its own home")
    refuse(arguments, faults)
    return arguments


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ValueError("expected a number of 1 or more")
    return int(text)


def _above_zero(text: str) -> float:
    if not positive_number(text):
        raise ValueError("expected a number above 0")
    return positive_number(text)


def _modes(text: str) -> list[str]:
    modes = text.split(",")
    if unknown := [each for each in modes if each not in MODES]:
        raise ValueError(f"{', '.join(unknown)}: available: {', '.join(MODES)}")
    return modes


def _size(text: str) -> tuple[int, int]:
    rows, cross, columns = text.partition("x")
    if not (cross and rows.isdigit() and columns.isdigit() and min(int(rows), int(columns)) >= 64):
        raise ValueError("is not of the form ROWSxCOLUMNS with 64 or more each")
    return int(rows), int(columns)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


# The run


def run(plan: Arguments) -> dict[str, Any]:
    """All that is measured."""
    sys.setswitchinterval(_SWITCH_S)
    template = studies.film(*plan.size)
    limit = Limit(_film_card(plan.models)) if plan.limit_rounds else None
    results: dict[str, Any] = {"cores": cores(), "film": list(plan.size), "node": {}, "modes": {}}
    with ExitStack() as stack:
        pacs = Pacs(plan.listen)
        stack.callback(pacs.close)
        running = None
        to, home = plan.to, plan.home
        if to is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imaging-bench-"))) / "home"
            running, results["node"] = _start(stack, home, pacs, plan)
            to = running.address
        ledger = Ledger(home) if home else None
        for mode in plan.modes:
            _rounds(limit, plan)
            say(f"{mode}: {plan.studies} studies")
            before = _cpu_s(running)
            results["modes"][mode] = _measure(mode, plan, template, to, pacs, ledger)
            spent = {role: after - before[role] for role, after in _cpu_s(running).items()}
            results["modes"][mode]["cpu_ms"] = {
                role: round(1000 * each / plan.studies, 1) for role, each in spent.items()
            }
        _rounds(limit, plan)
        if running is not None:
            results["node"]["memory_after_mib"] = round(node.memory_mib(running.pid))
        if ledger is not None:
            ledger.close()
    if limit is not None:
        results["limit"] = limit.best()
        for each in results["modes"].values():
            each["ratio_to_limit"] = round(each["studies_per_s"] / results["limit"]["images_per_s"], 3)
    return results


def _film_card(models: Path | None) -> Card:
    """The film model whose engine is the limit. Raises UsageError where there is none."""
    folder = models or shipped_folder()
    catalogue = load_models([folder])
    found = [each for each in catalogue.models if each.lane is Lane.FILMS]
    if not found:
        raise UsageError("\n".join([f"there is no film model in {folder}", *catalogue.disabled.values()]))
    return found[0]


def _rounds(limit: Limit | None, plan: Arguments) -> None:
    if limit is not None:
        for _ in range(plan.limit_rounds):
            limit.round(plan.limit_s)


def _start(stack: ExitStack, home: Path, pacs: Pacs, plan: Arguments) -> tuple[node.Node, dict[str, Any]]:
    """The node, in its second start, and what was seen of it while it was idle."""
    options = ["--deliver-to", f"PACS={pacs.address}", "--dicom-port", "0", "--web-port", "0"]
    options += ["--models", str(plan.models)] if plan.models else []
    if plan.tuned is not None:
        shutil.copytree(plan.tuned / tuning.FOLDER, home / tuning.FOLDER)
    say("starting the node for the first time")
    began = time.monotonic()
    with node.served(home, options):
        first = time.monotonic() - began
    began = time.monotonic()
    running = stack.enter_context(node.served(home, options))
    results: dict[str, Any] = {"first_start_s": rounded(first), "second_start_s": rounded(time.monotonic() - began)}
    if plan.idle:
        say(f"looking at the idle node for {plan.idle:g} s")
        time.sleep(1)  # what is begun by starting is over
        cpu = node.cpu_s(running.pid)
        time.sleep(plan.idle)
        results["idle_cpu_percent"] = round(100 * (node.cpu_s(running.pid) - cpu) / plan.idle, 2)
    return running, results | {"memory_mib": round(node.memory_mib(running.pid))}


def _cpu_s(running: node.Node | None) -> dict[str, float]:
    """CPU seconds so far of the node's roles, where it is our own, and of us as sender and PACS."""
    return {**(node.cpu_s_of_roles(running.pid) if running else {}), "bench": time.process_time()}


def _measure(
    mode: str, plan: Arguments, template: studies.Template, to: Address, pacs: Pacs, ledger: Ledger | None
) -> dict[str, Any]:
    twice = pacs.duplicates

    def await_answer(uid: str) -> bool:
        return pacs.wait(lambda: uid in pacs.reports, plan.patience)

    sent = send_all(mode, template, plan.studies, to, plan.associations, plan.rate, await_answer)
    taken = [each for each in sent if not each.error]
    pacs.wait(lambda: all(each.study_instance_uid in pacs.reports for each in taken), plan.patience)
    time.sleep(LINGER_S)
    answered = [
        (each, pacs.reports[each.study_instance_uid][0].at) for each in taken if each.study_instance_uid in pacs.reports
    ]
    span = max((at for _, at in answered), default=0.0) - min(each.began for each in sent)
    seconds = [at - each.acknowledged for each, at in answered]
    return {
        "studies": len(sent),
        "latency_s": {f"p{fraction}": rounded(percentile(seconds, fraction / 100)) for fraction in (50, 95, 99)},
        "mean_s": rounded(statistics.fmean(seconds)) if seconds else None,
        "stages_ms": _stages(answered, ledger) if ledger else {},
        "acknowledge_ms": rounded(statistics.median(1000 * (each.acknowledged - each.began) for each in sent), 1),
        "studies_per_s": round(len(answered) / span, 2) if answered else 0.0,
        "lost": len(taken) - len(answered),
        "duplicates": pacs.duplicates - twice,
        "errors": dict(Counter(each.error for each in sent if each.error)),
        "sent_late_s": rounded(max(each.late_s for each in sent)) if mode == sending.POISSON else None,
    }


def _stages(answered: Sequence[tuple[Sent, float]], ledger: Ledger) -> dict[str, float]:
    """Mean milliseconds of each stage, in order."""
    total: Counter[str] = Counter()
    for sent, arrived in answered:
        (story,) = stories.named(ledger, sent.study_instance_uid)
        total.update(stages_of(story, sent.acknowledged, arrived))
    return {stage: round(spent / len(answered), 1) for stage, spent in total.items()}


def stages_of(story: dict[str, Any], acknowledged: float, arrived: float) -> dict[str, float]:
    """Milliseconds of each stage of one study's first answer."""
    result = story["results"][0]
    settled, ended = _moment(story["revisions"][0]["settled_at"]), _moment(result["ended_at"])
    timings = {stage: float(spent) for stage, spent in result["timings_ms"].items()}
    return {
        "settle": 1000 * (settled - acknowledged),
        "wait": 1000 * (ended - settled) - sum(timings.values()),
        **timings,
        "deliver": 1000 * (arrived - ended),
    }


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# Telling


def as_text(results: dict[str, Any]) -> str:
    """The figures for a reader."""
    parts = [_modes_table(results), _stages_table(results), _cpu_table(results)]
    if "limit" in results:
        best = results["limit"]
        parts.append(
            f"limit: {best['images_per_s']} images/s by the engine alone, "
            f"batch {best['batch']}, threads {best['threads']}"
        )
    if results["node"]:
        parts.append(_node_text(results["node"]))
    return "\n\n".join(each for each in parts if each)


def _modes_table(results: dict[str, Any]) -> str:
    head = ["mode", "studies", "p50 s", "p95 s", "p99 s", "studies/s", "of limit", "lost", "duplicates", "errors"]
    rows: list[Sequence[Any]] = [head]
    for mode, each in results["modes"].items():
        ratio = each.get("ratio_to_limit", "-")
        speed = *each["latency_s"].values(), each["studies_per_s"], ratio
        rows.append([mode, each["studies"], *speed, each["lost"], each["duplicates"], sum(each["errors"].values())])
    errors = [
        f"{mode}: {count} x {text}" for mode, each in results["modes"].items() for text, count in each["errors"].items()
    ]
    return "\n".join(
        [f"films of {results['film'][0]}x{results['film'][1]}, {results['cores']} cores", table(rows), *errors]
    )


def _stages_table(results: dict[str, Any]) -> str:
    modes = {mode: each for mode, each in results["modes"].items() if each["stages_ms"]}
    names = dict.fromkeys(stage for each in modes.values() for stage in each["stages_ms"])
    rows: list[Sequence[Any]] = [["mean ms of a stage", *modes]]
    for name in names:
        rows.append([name, *(_fraction(each["stages_ms"].get(name, 0.0), each) for each in modes.values())])
    rows.append(["sum", *(f"{sum(each['stages_ms'].values()):.0f}" for each in modes.values())])
    return table(rows) if modes else ""


def _cpu_table(results: dict[str, Any]) -> str:
    modes = results["modes"]
    roles = dict.fromkeys(role for each in modes.values() for role in each["cpu_ms"])
    rows: list[Sequence[Any]] = [["CPU ms a study", *modes]]
    rows += [[role, *(each["cpu_ms"].get(role, "-") for each in modes.values())] for role in roles]
    return table(rows)


def _fraction(spent: float, mode: dict[str, Any]) -> str:
    return f"{spent:.1f} ({100 * spent / sum(mode['stages_ms'].values()):.0f} %)"


def _node_text(seen: dict[str, Any]) -> str:
    idle = f", idle {seen['idle_cpu_percent']} % of a core" if "idle_cpu_percent" in seen else ""
    return (
        f"node: first start {seen['first_start_s']} s, second start {seen['second_start_s']} s; "
        f"memory {seen['memory_mib']} MiB idle{idle}, {seen['memory_after_mib']} MiB after the work"
    )


if __name__ == "__main__":
    sys.exit(main())
