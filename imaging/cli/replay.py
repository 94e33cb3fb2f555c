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

from imaging.cli.asking import Asked, Failed, Parser, Wrong, add_home, add_json, checked, ledger_of, period, settings_of
from imaging.ledger import deliveries, jobs, registry, replays, stories
from imaging.ledger.store import Ledger
from imaging.roles.locks import running_roles


def options(parser: Parser) -> None:
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


def run(asked: Asked) -> int:
    faults = _contradictions(asked)
    since = checked(faults, period, "--since", asked.since) if asked.since else None
    ledger = ledger_of(asked, faults)
    done = _Done()
    if asked.study:
        _replay_study(ledger, asked, done)
    elif asked.model:
        _replay_model(ledger, asked, None if since is None else ledger.clock.now() - since, done)
    elif asked.failed:
        done.jobs = jobs.replay(ledger)
    else:
        _replay_deliveries(ledger, asked, done)
    said: dict[str, Any] = {"deliveries": done.deliveries, "jobs": done.jobs, "studies": done.studies}
    if asked.json:
        print(json.dumps(said))
    else:
        print("; ".join([f"{done.deliveries} deliveries and {done.jobs} jobs are retried", *done.words]))
    return 0


def _contradictions(asked: Asked) -> list[str]:
    """What was asked for that does not go together."""
    said = {f"--{name}": getattr(asked, name) for name in ("to", "of", "now", "study", "failed", "model", "since")}
    works = [name for name in ("--to", "--study", "--failed", "--model") if said[name]]
    works = works or [name for name in ("--now",) if said[name]]
    faults = [f"{' and '.join(works)}: expected only one of them"] if len(works) > 1 else []
    if asked.of and len(asked.to or ()) != 1:
        faults.append("--of OLD: expected one --to NEW with it")
    if asked.now and (asked.of or asked.study or asked.failed or asked.model):
        faults.append("--now: can only be combined with --to")
    if asked.since and not asked.model:
        faults.append("--since: expected --model with it")
    return faults


def _replay_study(ledger: Ledger, asked: Asked, done: _Done) -> None:
    found = stories.named(ledger, asked.study)
    if not found:
        raise Wrong(f"no study has the Study Instance UID or accession number {asked.study!r}")
    uids = [each["study_uid"] for each in found]
    done.jobs = jobs.replay(ledger, uids)
    done.studies = replays.mark_studies(ledger, uids)
    if done.studies:
        done.words.append(_announced(asked, done.studies, "the models that fit and have not answered"))


def _replay_model(ledger: Ledger, asked: Asked, since: datetime | None, done: _Done) -> None:
    known = registry.models(ledger)
    if known and asked.model not in known and _is_served(asked):
        raise Wrong(f"no served model is called {asked.model}; available: {', '.join(known)}")
    if why := known.get(asked.model):
        raise Failed(f"{asked.model} is disabled: {why}")
    done.jobs = jobs.replay_disabled(ledger, asked.model, since)
    done.studies = replays.mark_for_model(ledger, asked.model, since)
    done.words.append(_announced(asked, done.studies, f"{asked.model}, where it fits"))


def _announced(asked: Asked, studies: int, of_whom: str) -> str:
    when = "now" if _is_served(asked) else "when the node starts (it is not running)"
    return f"{studies} {'study is' if studies == 1 else 'studies are'} queued for {of_whom}, {when}"


def _is_served(asked: Asked) -> bool:
    return "node" in running_roles(settings_of(asked).home)


def _replay_deliveries(ledger: Ledger, asked: Asked, done: _Done) -> None:
    known = deliveries.peers(ledger)
    if unknown := [each for each in asked.to or () if each not in known]:
        raise Wrong(f"no destination is called {', '.join(unknown)}; available: {', '.join(known) or 'none'}")
    if asked.of:
        _move(ledger, asked.of, asked.to[0], done)
    elif asked.now:
        done.deliveries = deliveries.send_now(ledger, asked.to or ())
    else:
        done.deliveries = deliveries.replay(ledger, asked.to or ())
    if not asked.to:
        done.words += [
            f"{count} remain for {name}, which is not configured: `imaging replay --to NEW --of {name}` moves them"
            for name, count in deliveries.gone(ledger).items()
        ]


def _move(ledger: Ledger, old: str, new: str, done: _Done) -> None:
    known = {*deliveries.peers(ledger), *deliveries.gone(ledger)}
    if old == new or old not in known:
        there = ", ".join(sorted(known - {new})) or "none"
        raise Wrong(f"--of {old}: expected the name of another destination, current or former; available: {there}")
    moved = deliveries.move(ledger, old, new)
    done.deliveries = moved.count
    if moved.dropped:
        verb = "is" if moved.dropped == 1 else "are"
        done.words.append(f"{moved.dropped} of {old} {verb} not sent: {new} has or will get the same object")
