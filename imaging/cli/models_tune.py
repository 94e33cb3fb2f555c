"""`imaging models tune`: in which way each model is run best on this machine."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from imaging.cli.parsing import Arguments, CommandError, Parser, parsed, positive_number, settings_of, table
from imaging.domain.card import Card
from imaging.domain.tuning import Measured, Tuning
from imaging.models import tuning
from imaging.models.candidates import missing
from imaging.roles.cores import cores
from imaging.roles.tuning import CannotTune, tune

SECONDS: Final = 120.0


def options(parser: Parser) -> None:
    """Adds the arguments of `tune` to those of `imaging models`."""
    parser.add_argument(
        "--home",
        metavar="DIR",
        help="the home that keeps what tune measured, and is served by it; list and show say what it knows",
    )
    parser.add_argument("--seconds", metavar="S", help=f"tune: for all models together (default {SECONDS:g})")


def unused(arguments: Arguments) -> list[str]:
    """Faults of arguments that are given to what is not for them."""
    return [] if arguments.seconds is None else ["--seconds: is only for tune"]


def seconds_of(arguments: Arguments) -> float:
    """`--seconds`, whose fault is noted."""
    if arguments.seconds is None:
        return SECONDS
    found = parsed(arguments.faults, positive_number, "--seconds", arguments.seconds)
    if found == 0:
        arguments.faults.append("--seconds 0: expected a number above 0")
    return found or SECONDS


def run(cards: list[Card], arguments: Arguments) -> int:
    """Measures the models one after another, and keeps what was found in the home. Returns the exit status."""
    seconds = seconds_of(arguments)
    settings = settings_of(arguments)
    threads = max(1, cores() // settings.workers)
    tuned: dict[str, Tuning] = {}
    failed: dict[str, str] = {}
    _make_home(settings.home)
    for card in cards:
        try:
            tuned[card.id] = tune(
                card,
                threads=threads,
                memory_mb=settings.memory_of_a_worker_mb,
                seconds=seconds / len(cards),
                at=datetime.now(UTC),
                say=_say,
            )
        except CannotTune as why:
            failed[card.id] = str(why)
            continue
        tuning.write(settings.home, card, tuned[card.id])
    _print(cards, tuned, failed, settings.home, arguments)
    if failed:
        raise CommandError("\n".join(failed.values()))
    return 0


def _make_home(home: Path) -> None:
    """A home that cannot keep anything is said before minutes are spent on it. Raises OSError."""
    if home.exists() and not home.is_dir():
        raise CommandError(f"{home} is not a folder")
    tuning.make_folder(home)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(
    cards: list[Card], tuned: dict[str, Tuning], failed: dict[str, str], home: Path, arguments: Arguments
) -> None:
    hints = list(dict.fromkeys(each for card in cards for each in missing(card)))
    if arguments.json:
        models = {name: each.to_json() for name, each in tuned.items()}
        print(json.dumps({"home": str(home), "models": models, "failed": failed, "missing": hints}, indent=2))
        return
    parts = [_table(each) for each in tuned.values()]
    kept = f"kept in {home / tuning.FOLDER}: a worker of this home uses it from its next start on"
    print("\n\n".join([*parts, "\n".join([*([kept] if tuned else []), *hints])]))


def _table(found: Tuning) -> str:
    head = ["", "engine", "precision", "threads", "batch", "items/s", "gain", "alone ms", "MB", "parity"]
    rows: list[list[Any]] = [head, *(_row(found, each) for each in found.rows)]
    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    return (
        f"{found.model} {found.version} on {found.made_with['processor']}, {threads}\n{table(rows)}\n{_choice(found)}"
    )


def _row(found: Tuning, row: Measured) -> list[Any]:
    setup = row.setup
    mark = "*" if setup == found.chosen else ""
    figures = (row.per_s, row.gain, row.alone_ms, row.memory_mb)
    texts = [
        "-" if value is None else f"{value:.{digits}f}" for value, digits in zip(figures, (1, 2, 1, 0), strict=True)
    ]
    return [mark, setup.engine, setup.kind_of_numbers, setup.threads, setup.batch, *texts, _verdict(row)]


def _verdict(row: Measured) -> str:
    if row.why:
        return row.why
    if row.parity is None:
        return "the card's own"
    return f"{'holds' if row.parity.holds else 'FAILED'}: {row.parity}"


def _choice(found: Tuning) -> str:
    chosen = found.choice
    if found.chosen == found.own.setup:
        return f"chosen: {found.chosen}, as its card says"
    return f"chosen: {found.chosen}: {chosen.gain:.2f} times the card's own; {chosen.parity}"
