"""How commands are asked: options whose faults are said all at once, each with the form wanted."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from imaging import settings
from imaging.ledger import migrate
from imaging.ledger.store import Ledger, is_begun
from imaging.ledger.unusable import Unusable
from imaging.settings import SettingError, Settings, nearest

Arguments = argparse.Namespace
T = TypeVar("T")


class UsageError(Exception):
    """Asked wrongly: exit status 2."""


class CommandError(Exception):
    """It could not be done: exit status 1."""


class Parser(argparse.ArgumentParser):
    """An argument parser that says every unknown option and every missing value, not the first alone."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.faults: list[str] = []

    def parse(self, arguments: Sequence[str]) -> Arguments:
        """What was asked, with its faults so far: the command adds its own and says them together by `refuse`."""
        found, unknown = self.parse_known_intermixed_args(self._with_values(arguments))
        options = [name for action in self._actions for name in action.option_strings]
        for before, each in pairwise(["", *unknown]):
            if each.startswith("-"):
                self.faults.append(f"{each}: unknown{nearest(each.partition('=')[0], options)}")
            elif not before.startswith("-"):  # else it was meant for that
                self.faults.append(f"{each}: unknown")
        found.faults = self.faults
        return found

    def _with_values(self, arguments: Sequence[str]) -> list[str]:
        """The arguments without options that lack their value; argparse would say the first and end."""
        wanting = {name: action for action in self._actions if action.nargs is None for name in action.option_strings}
        kept = []
        for each, after in pairwise([*arguments, "--"]):
            if each in wanting and after.startswith("--"):
                self.faults.append(f"{each}: expected {wanting[each].metavar} after it")
            else:
                kept.append(each)
        return kept

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with this message and the faults that were collected before."""
        raise UsageError("\n".join([*self.faults, message]))


def refuse(arguments: Arguments, faults: Sequence[str] = ()) -> None:
    """Raises UsageError with all faults of the arguments, where there are any."""
    messages = [*arguments.faults, *faults]
    if messages:
        raise UsageError("\n".join(messages))


def add_home(parser: argparse.ArgumentParser) -> None:
    """`--home` and `--config`, for commands that read the ledger."""
    parser.add_argument(
        "--home", metavar="DIR", help="folder of the ledger and the spool (default ~/.local/share/imaging)"
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="TOML file with settings; keys are the flags of `serve` with _ for -",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_models(parser: argparse.ArgumentParser) -> None:
    """`--models`, `--model-mode` and `--config`, for commands that run models without a ledger: for `settings_of`."""
    notes = settings.table()["models"].metadata
    meaning = f"{notes['meaning']}, repeatable"
    parser.add_argument("--models", metavar=notes["form"], action="append", help=meaning)
    notes = settings.table()["model_mode"].metadata
    parser.add_argument("--model-mode", metavar=notes["form"], action="append", help=f"{notes['meaning']}, repeatable")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="TOML file with settings; keys are the flags of `serve` with _ for -",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Every setting as an option; values are checked together by `settings_of`."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML file with settings; keys are these flags with _ for -"
    )
    for name, each in settings.table().items():
        notes = each.metadata
        default = "" if each.default in ("", (), None) else f" (default {each.default})"
        parser.add_argument(
            settings.flag(name),
            dest=name,
            metavar=notes["form"],
            action="append" if notes["many"] else "store",
            help=(notes["meaning"] + (", repeatable" if notes["many"] else "") + default).replace("%", "%%"),
        )


def settings_of(arguments: Arguments, faults: Sequence[str] = (), *, needs_models: bool = False) -> Settings:
    """The settings that flags, environment and file give together. Raises UsageError with all faults, `faults` too."""
    flags = {name: value for name in settings.table() if (value := getattr(arguments, name, None)) is not None}
    try:
        found = settings.load(flags, arguments.config, needs_models=needs_models)
    except SettingError as error:
        raise UsageError("\n".join([*arguments.faults, *faults, *error.faults])) from None
    refuse(arguments, faults)
    return found


def ledger_of(arguments: Arguments, faults: Sequence[str] = ()) -> Ledger:
    """The ledger of the home that is asked about.

    Raises UsageError with all faults, and CommandError where the home was never served or its ledger cannot be used.
    """
    found = settings_of(arguments, faults)
    if not is_begun(found.home, found.database):
        raise CommandError(f"{found.home} has never been served; start with `imaging serve --home {found.home}`")
    try:
        ledger = Ledger(found.home, found.database)
        migrate.check(ledger)
    except Unusable as error:
        raise CommandError(str(error)) from None
    return ledger


def parsed(faults: list[str], parse: Callable[[str], T], option: str, text: str) -> T | None:
    """A value, or None and one fault more."""
    try:
        return parse(text)
    except ValueError as error:
        faults.append(f"{option} {text!r}: {error}")
        return None


def positive_number(text: str) -> float:
    """A number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError("expected a number of 0 or more, such as 2 or 0.5")
    return value


def moment(text: str) -> datetime:
    """A date and time; local where it names no zone."""
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone()
    except ValueError:
        raise ValueError("is not a date and time such as 2026-11-24T09:30:00+07:00") from None


def period(text: str) -> timedelta:
    """A length of time such as 30d, 12h or 90m."""
    match = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if match is None:
        raise ValueError("is not a period such as 30d, 12h or 90m")
    return timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[match[2]]: int(match[1])})


UNITS: Final = {"[hnsf'U]": "HU", "{pixels}": "pixels", "1": "", "mo": "months", "a": "years"}
"""Where the reader knows a unit by another name than UCUM's."""


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as aligned text; the first is the head."""
    texts = [[str(each) for each in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return "\n".join(
        "  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)).rstrip() for row in texts
    )
