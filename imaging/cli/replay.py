"""Try again what ended without an answer: dead deliveries, and studies that failed or were not analysed.

To be said once the cause is mended. A study that is analysed again gets its model's next answer, which names the one
before it. What a model answered for the images as they are is not asked again.

  imaging replay                          every dead delivery whose destination is configured
  imaging replay --to PACS                those for one destination
  imaging replay --to NEW --of OLD        what is undelivered for OLD goes to NEW
  imaging replay --now [--to PACS]        what waits to be tried again is tried at once
  imaging replay --study UID|ACCESSION    one study's failed and not analysed work, and today's models that fit it
  imaging replay --failed                 all work that failed
  imaging replay --model ID [--since 7d]  a model that came later, or came back, for the studies since then
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
    parser.add_argument("--to", metavar="NAME", action="append", help="dead deliveries of this destination only")
    parser.add_argument("--of", metavar="NAME", help="with --to: what is undelivered for this other destination")
    parser.add_argument("--now", action="store_true", help="try at once what waits to be tried again")
    parser.add_argument("--study", metavar="UID|ACCESSION", help="one study's failed, not analysed and unasked work")
    parser.add_argument("--failed", action="store_true", help="all work that failed")
    parser.add_argument("--model", metavar="ID", help="studies that this model fits and has not answered")
    parser.add_argument("--since", metavar="TIME", help="with --model: received so long ago at most: 7d, 12h or 90m")
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
        print("; ".join([f"{done.deliveries} deliveries and {done.jobs} jobs are tried again", *done.words]))
    return 0


def _contradictions(asked: Asked) -> list[str]:
    """What was asked for that does not go together."""
    said = {f"--{name}": getattr(asked, name) for name in ("to", "of", "now", "study", "failed", "model", "since")}
    works = [name for name in ("--to", "--study", "--failed", "--model") if said[name]]
    works = works or [name for name in ("--now",) if said[name]]
    faults = [f"{' and '.join(works)}: one of them is wanted"] if len(works) > 1 else []
    if asked.of and len(asked.to or ()) != 1:
        faults.append("--of OLD: one --to NEW is wanted beside it")
    if asked.now and (asked.of or asked.study or asked.failed or asked.model):
        faults.append("--now: it goes with --to alone")
    if asked.since and not asked.model:
        faults.append("--since: --model is wanted beside it")
    return faults


def _replay_study(ledger: Ledger, asked: Asked, done: _Done) -> None:
    found = stories.named(ledger, asked.study)
    if not found:
        raise Wrong(f"no study has the Study Instance UID or accession number {asked.study!r}")
    uids = [each["study_uid"] for each in found]
    done.jobs = jobs.replay(ledger, uids)
    done.studies = replays.mark_studies(ledger, uids)
    if done.studies:
        done.words.append(_announced(asked, done.studies, "the models that fit and were not asked"))


def _replay_model(ledger: Ledger, asked: Asked, since: datetime | None, done: _Done) -> None:
    known = registry.models(ledger)
    if known and asked.model not in known and _is_served(asked):
        raise Wrong(f"no model that is served is called {asked.model}; there are: {', '.join(known)}")
    if why := known.get(asked.model):
        raise Failed(f"{asked.model} is disabled: {why}")
    done.jobs = jobs.replay_disabled(ledger, asked.model, since)
    done.studies = replays.mark_for_model(ledger, asked.model, since)
    done.words.append(_announced(asked, done.studies, f"{asked.model}, where it fits"))


def _announced(asked: Asked, studies: int, of_whom: str) -> str:
    when = "now" if _is_served(asked) else "when the node starts, which does not run"
    return f"{studies} {'study is' if studies == 1 else 'studies are'} looked at for {of_whom}, {when}"


def _is_served(asked: Asked) -> bool:
    return "node" in running_roles(settings_of(asked).home)


def _replay_deliveries(ledger: Ledger, asked: Asked, done: _Done) -> None:
    known = deliveries.peers(ledger)
    if unknown := [each for each in asked.to or () if each not in known]:
        raise Wrong(f"no destination is called {', '.join(unknown)}; there are: {', '.join(known) or 'none'}")
    if asked.of:
        _move(ledger, asked.of, asked.to[0], done)
    elif asked.now:
        done.deliveries = deliveries.send_now(ledger, asked.to or ())
    else:
        done.deliveries = deliveries.replay(ledger, asked.to or ())
    if not asked.to:
        done.words += [
            f"{count} stay for {name}, which no setting names: `imaging replay --to NEW --of {name}` moves them"
            for name, count in deliveries.gone(ledger).items()
        ]


def _move(ledger: Ledger, old: str, new: str, done: _Done) -> None:
    known = {*deliveries.peers(ledger), *deliveries.gone(ledger)}
    if old == new or old not in known:
        there = ", ".join(sorted(known - {new})) or "none"
        raise Wrong(f"--of {old}: the name of another destination, gone or not, is wanted; there are: {there}")
    moved = deliveries.move(ledger, old, new)
    done.deliveries = moved.count
    if moved.dropped:
        verb = "is" if moved.dropped == 1 else "are"
        done.words.append(f"{moved.dropped} of {old} {verb} not sent: {new} has, or will get, the same object")
