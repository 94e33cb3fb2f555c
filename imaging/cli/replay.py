"""Retry work that ended without an answer: dead letters, and studies that failed or were not analysed.

Run it after the cause is fixed. A study that is analysed again gets the model's next answer, which names the
previous one. If a model has already answered for the current images, it is not asked again.

  imaging replay                          every dead letter whose destination is configured
  imaging replay --to PACS                those for one destination
  imaging replay --to NEW --of OLD        send undelivered objects of OLD to NEW
  imaging replay --now [--to PACS]        retry waiting deliveries at once
  imaging replay --study UID|ACCESSION    one study's failed and not analysed work, and current models that fit it
  imaging replay --failed                 all failed work
  imaging replay --model ID [--since 7d]  run a model that was added, or is back, on earlier studies
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imaging.cli.parsing import (
    Arguments,
    CommandError,
    Parser,
    UsageError,
    add_home,
    add_json,
    ledger_of,
    parsed,
    period,
    settings_of,
)
from imaging.ledger import deliveries, jobs, registry, replays, stories
from imaging.ledger.store import Ledger
from imaging.roles.locks import running_roles


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--to", metavar="NAME", action="append", help="only dead letters of this destination")
    parser.add_argument("--of", metavar="NAME", help="with --to: undelivered objects of this other destination")
    parser.add_argument("--now", action="store_true", help="retry waiting deliveries at once")
    parser.add_argument(
        "--study",
        metavar="UID|ACCESSION",
        help="failed and not analysed work of one study, and models that it was not sent to",
    )
    parser.add_argument("--failed", action="store_true", help="all failed work")
    parser.add_argument("--model", metavar="ID", help="studies that this model fits and has not answered")
    parser.add_argument(
        "--since", metavar="TIME", help="with --model: only studies received within this period: 7d, 12h or 90m"
    )
    add_home(parser)
    add_json(parser)


@dataclass
class _Done:
    """What a replay led to: how many `deliveries` and `jobs`, and how many `studies` the node is to look at."""

    deliveries: int = 0
    jobs: int = 0
    studies: int = 0
    words: list[str] = field(default_factory=list)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults = _contradictions(arguments)
    since = parsed(faults, period, "--since", arguments.since) if arguments.since else None
    ledger = ledger_of(arguments, faults)
    done = _Done()
    if arguments.study:
        _replay_study(ledger, arguments, done)
    elif arguments.model:
        _replay_model(ledger, arguments, None if since is None else ledger.clock.now() - since, done)
    elif arguments.failed:
        done.jobs = jobs.replay(ledger)
    else:
        _replay_deliveries(ledger, arguments, done)
    data: dict[str, Any] = {"deliveries": done.deliveries, "jobs": done.jobs, "studies": done.studies}
    if arguments.json:
        print(json.dumps(data))
    else:
        print("; ".join([f"{done.deliveries} deliveries and {done.jobs} jobs are retried", *done.words]))
    return 0


def _contradictions(arguments: Arguments) -> list[str]:
    """What was asked for that does not go together."""
    given = {f"--{name}": getattr(arguments, name) for name in ("to", "of", "now", "study", "failed", "model", "since")}
    works = [name for name in ("--to", "--study", "--failed", "--model") if given[name]]
    works = works or [name for name in ("--now",) if given[name]]
    faults = [f"{' and '.join(works)}: expected only one of them"] if len(works) > 1 else []
    if arguments.of and len(arguments.to or ()) != 1:
        faults.append("--of OLD: expected one --to NEW with it")
    if arguments.now and (arguments.of or arguments.study or arguments.failed or arguments.model):
        faults.append("--now: can only be combined with --to")
    if arguments.since and not arguments.model:
        faults.append("--since: expected --model with it")
    return faults


def _replay_study(ledger: Ledger, arguments: Arguments, done: _Done) -> None:
    found = stories.named(ledger, arguments.study)
    if not found:
        raise UsageError(f"no study has the Study Instance UID or accession number {arguments.study!r}")
    uids = [each["study_uid"] for each in found]
    done.jobs = jobs.replay(ledger, uids)
    done.studies = replays.mark_studies(ledger, uids)
    if done.studies:
        done.words.append(_announced(arguments, done.studies, "the models that fit and have not answered"))


def _replay_model(ledger: Ledger, arguments: Arguments, since: datetime | None, done: _Done) -> None:
    known = registry.models(ledger)
    if known and arguments.model not in known and _is_served(arguments):
        raise UsageError(f"no served model is called {arguments.model}; available: {', '.join(known)}")
    if why := known.get(arguments.model):
        raise CommandError(f"{arguments.model} is disabled: {why}")
    done.jobs = jobs.replay_disabled(ledger, arguments.model, since)
    done.studies = replays.mark_for_model(ledger, arguments.model, since)
    done.words.append(_announced(arguments, done.studies, f"{arguments.model}, where it fits"))


def _announced(arguments: Arguments, studies: int, of_whom: str) -> str:
    when = "now" if _is_served(arguments) else "when the node starts (it is not running)"
    return f"{studies} {'study is' if studies == 1 else 'studies are'} queued for {of_whom}, {when}"


def _is_served(arguments: Arguments) -> bool:
    return "node" in running_roles(settings_of(arguments).home)


def _replay_deliveries(ledger: Ledger, arguments: Arguments, done: _Done) -> None:
    known = deliveries.peers(ledger)
    if unknown := [each for each in arguments.to or () if each not in known]:
        raise UsageError(f"no destination is called {', '.join(unknown)}; available: {', '.join(known) or 'none'}")
    if arguments.of:
        _move(ledger, arguments.of, arguments.to[0], done)
    elif arguments.now:
        done.deliveries = deliveries.send_now(ledger, arguments.to or ())
    else:
        done.deliveries = deliveries.replay(ledger, arguments.to or ())
    if not arguments.to:
        done.words += [
            f"{count} remain for {name}, which is not configured: `imaging replay --to NEW --of {name}` moves them"
            for name, count in deliveries.gone(ledger).items()
        ]


def _move(ledger: Ledger, old: str, new: str, done: _Done) -> None:
    known = {*deliveries.peers(ledger), *deliveries.gone(ledger)}
    if old == new or old not in known:
        there = ", ".join(sorted(known - {new})) or "none"
        raise UsageError(f"--of {old}: expected the name of another destination, current or former; available: {there}")
    moved = deliveries.move(ledger, old, new)
    done.deliveries = moved.count
    if moved.dropped:
        verb = "is" if moved.dropped == 1 else "are"
        done.words.append(f"{moved.dropped} of {old} {verb} not sent: {new} has or will get the same object")
