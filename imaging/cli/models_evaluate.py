"""`imaging models evaluate`: a model on studies whose truth is known."""

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from imaging.cli.evaluation_text import text_of
from imaging.cli.parsing import Arguments, CommandError, Parser, UsageError, refuse, settings_of
from imaging.confined.client import Confined
from imaging.domain.card import Card, FindingSpec
from imaging.domain.evaluation.about import GROUPINGS
from imaging.domain.evaluation.as_json import as_json
from imaging.domain.evaluation.figures import Case, Evaluation, Wanted, evaluated
from imaging.domain.evaluation.labels import Table, read_table
from imaging.domain.findings import GOLDEN_CASE_FAILED, NO_GOLDEN_CASE
from imaging.domain.patient import placeholder_words
from imaging.domain.pictures import Window
from imaging.models.catalogue import load_models
from imaging.roles.cores import cores
from imaging.roles.evaluating import Evaluating
from imaging.roles.labelled import Exam, Joined, joined
from imaging.settings import Settings
from imaging.web.evaluation_page import page

FIRST = 20
"""Of many lines of one kind that are said, so many are; then their number."""


@dataclass(frozen=True)
class Asked:
    """What was asked, with its faults said."""

    card: Card
    spec: FindingSpec
    table: Table
    window: Window | None
    wanted: Wanted
    settings: Settings


@dataclass(frozen=True)
class Found:
    """What was found, on what. `unproven`: why the model has not shown that it gives a known answer here."""

    asked: Asked
    joined: Joined
    evaluation: Evaluation
    forced: dict[str, int]
    unproven: str

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        card, spec = self.asked.card, self.asked.spec
        return {
            "model": card.id,
            "version": card.version,
            "digest": card.digest,
            "mode": str(card.mode),
            "finding": spec.code.value,
            "meaning": spec.code.meaning,
            "threshold": spec.threshold,
            **as_json(self.evaluation),
            "ungated": self.forced,
            "labels_without_image": len(self.joined.without_image),
            "images_without_label": self.joined.without_label,
            "unproven": self.unproven or None,
        }


ONLY: Final = ("labels", "finding", "window", "ungated", "by", "sensitivity", "studies-per-day", "prevalence", "out")
"""Its own arguments."""


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument_group("evaluate").add_argument
    add("--labels", metavar="FILE", type=Path, help="table (CSV): path,label or study_uid,label; label: 0 or 1")
    add("--finding", metavar="CODE", help="whose labels they are; required where the model has several findings")
    add(
        "--window",
        metavar=("LOW", "HIGH"),
        nargs=2,
        help="values that black and white stand for, of PNG and JPEG pictures (default: the range of their bits)",
    )
    add("--ungated", action="store_true", help="also run on what the card's gates refuse")
    add("--by", metavar="NAME,...", help=f"also print figures of groups: {', '.join(GROUPINGS)}")
    add("--sensitivity", metavar="S", help="sensitivity to suggest a threshold for (default 0.9)")
    add("--studies-per-day", metavar="N", help="studies that the model gets a day (default 100)")
    add("--prevalence", metavar="P", help="share of them that have the finding (default: as in the table)")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for scores.csv and evaluation.html, readable only by you (default: write none)",
    )


def unused(arguments: Arguments) -> list[str]:
    """Faults of arguments that are given to what is not for them."""
    given = {name: getattr(arguments, name.replace("-", "_")) for name in ONLY}
    return [f"--{name}: is only for evaluate" for name, value in given.items() if value not in (None, False)]


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    paths = [Path(each) for each in arguments.ids[1:]]
    asked = _asked(arguments, paths)
    if arguments.out is not None:
        _make(arguments.out)
    found, cases = _found(asked, arguments, paths)
    if arguments.out is not None:
        _write(found, cases, arguments.out)
    print(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if arguments.json else text_of(found.to_json()))
    failures = sum(found.evaluation.failed.values())
    if failures:
        raise CommandError(f"{asked.card.id} failed on {failures} of {len(cases)}")
    return 0


# What is asked -------------------------------------------------------------------------------------------------


def _asked(arguments: Arguments, paths: Sequence[Path]) -> Asked:
    """Raises UsageError with all faults, CommandError where the model is disabled."""
    faults = [f"{path}: no such file or folder" for path in paths if not path.exists()]
    if not paths:
        faults.append("evaluate: expected a model and studies: imaging models evaluate my-model studies/ --labels FILE")
    table = _table(arguments.labels, faults)
    window = _window(arguments.window, faults)
    wanted = Wanted(
        sensitivity=_share("--sensitivity", arguments.sensitivity or "0.9", faults),
        studies_per_day=_count(arguments.studies_per_day or "100", faults),
        prevalence=None if arguments.prevalence is None else _share("--prevalence", arguments.prevalence, faults),
        by=_groupings(arguments.by, faults),
    )
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        faults.append(f"--out {arguments.out}: is not a folder")
    card, settings = _card(arguments, faults)
    return Asked(card, _spec(card, arguments, faults), table, window, wanted, settings)


def _card(arguments: Arguments, faults: list[str]) -> tuple[Card, Settings]:
    try:
        settings = settings_of(arguments, needs_models=True)
    except UsageError as wrong:
        raise UsageError("\n".join([str(wrong), *faults])) from None
    catalogue = load_models(settings.model_folders, settings.site_words, settings.model_mode)
    name = arguments.ids[0] if arguments.ids else ""
    card = catalogue.model(name)
    if card is None:
        if disabled := catalogue.why_disabled(name):
            refuse(arguments, faults)
            raise CommandError("\n".join(f"{each}: disabled: {why}" for each, why in disabled.items()))
        available = ", ".join(each.id for each in catalogue.models)
        refuse(arguments, [*faults, f"{name!r}: no such model; available: {available}"] if name else faults)
        raise UsageError("expected a model")
    return card, settings


def _spec(card: Card, arguments: Arguments, faults: list[str]) -> FindingSpec:
    """The finding that is asked for; refuses all faults so far with its own."""
    there_are = ", ".join(f"{each.code.value} ({each.code.meaning})" for each in card.findings)
    specs = [each for each in card.findings if arguments.finding in (None, each.code.value)]
    if not specs:
        faults.append(f"--finding {arguments.finding}: {card.id} has no such finding; there are: {there_are}")
    elif len(specs) > 1:
        faults.append(f"--finding: {card.id} has several findings, and labels are of one; there are: {there_are}")
    refuse(arguments, faults)
    return specs[0]


def _table(file: Path | None, faults: list[str]) -> Table:
    table = Table("path", (), ())
    if file is None:
        faults.append("--labels: expected a table: path,label or study_uid,label")
        return table
    try:
        table = read_table(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        faults.append(f"--labels {file}: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"--labels {file}: is not UTF-8 text: byte {error.start}")
    faults += _first([f"--labels {file}: {each}" for each in table.faults])
    return table


def _first(lines: Sequence[str]) -> list[str]:
    """The first of many, and how many more there are."""
    more = len(lines) - FIRST
    return [*lines[:FIRST], f"... and {more} more"] if more > 0 else list(lines)


def _window(texts: Sequence[str] | None, faults: list[str]) -> Window | None:
    if texts is None:
        return None
    try:
        low, high = (float(each) for each in texts)
    except ValueError:
        low = high = 0.0
    if not -1e9 < low < high < 1e9:
        faults.append(f"--window {' '.join(texts)}: expected two numbers, the lower first, such as 0 4095")
        return None
    return low, high


def _share(option: str, text: str, faults: list[str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        faults.append(f"{option} {text!r}: expected a share above 0, at most 1, such as 0.9")
    return value


def _count(text: str, faults: list[str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        faults.append(f"--studies-per-day {text!r}: expected a number above 0, such as 250")
    return value


def _groupings(text: str | None, faults: list[str]) -> tuple[str, ...]:
    names = [each.strip() for each in (text or "").split(",") if each.strip()]
    faults += [f"--by {each!r}: expected {', '.join(GROUPINGS)}" for each in names if each not in GROUPINGS]
    return tuple(dict.fromkeys(names))


# What is found -------------------------------------------------------------------------------------------------


def _found(asked: Asked, arguments: Arguments, paths: Sequence[Path]) -> tuple[Found, list[Case]]:
    settings = asked.settings
    print("reading headers", end="", file=sys.stderr)
    words = placeholder_words(settings.patient_placeholders)
    at = arguments.labels.absolute().parent
    parts = joined(paths, asked.table, at, asked.card, words, scanners="scanner" in asked.wanted.by)
    print(f"\rstudy 0 of {len(parts.exams)}", end="", file=sys.stderr, flush=True)
    _check(parts, arguments, asked.card)
    with Confined([asked.card], threads=cores(), memory_mb=settings.memory_of_a_worker_mb) as confined:
        evaluating = Evaluating(
            confined,
            asked.card,
            asked.spec,
            threads=cores(),
            window=asked.window,
            is_ungated=arguments.ungated,
            senders=settings.ignore_patient_orientation,
            site_words=settings.site_words,
        )
        cases = evaluating.cases(parts.exams, lambda done: _tell(done, parts.exams))
        unproven = GOLDEN_CASE_FAILED if asked.card.golden and evaluating.unproven() else ""
    print(file=sys.stderr)
    wanted = asked.wanted if evaluating.are_probabilities else replace(asked.wanted, are_probabilities=False)
    unproven = unproven or ("" if asked.card.golden else NO_GOLDEN_CASE)
    return Found(asked, parts, evaluated(cases, wanted), dict(evaluating.forced), unproven), cases


def _tell(done: int, exams: Sequence[Exam]) -> None:
    print(f"\rstudy {done} of {len(exams)}", end="", file=sys.stderr, flush=True)


def _check(parts: Joined, arguments: Arguments, card: Card) -> None:
    """Says on stderr what of table and files does not fit. Raises UsageError where nothing can be evaluated."""
    labels = f"--labels {arguments.labels}"
    missing = [f"{labels}: line {each.line}: {each.key}: no such file or folder" for each in parts.missing]
    unread = [f"{file}: {why}" for file, why in parts.collected.unreadable.items()]
    missing_lines = {each.line for each in parts.missing}
    others = [each for each in parts.without_image if each.line not in missing_lines]
    counted = []
    if others:
        first = f"{others[0].key} in line {others[0].line}"
        counted.append(f"labels of which no image was found under the paths: {len(others)}, the first: {first}")
    if any(each.is_picture for each in parts.exams) and any(each.is_series for each in card.inputs):
        counted.append(f"{card.id} takes volumes, and a picture has no geometry: pictures are refused")
    if parts.is_one_patient:
        counted.append("all of them name one patient: each is taken for a patient's of its own")
    if parts.without_label:
        counted.append(f"images without a label: {parts.without_label}")
    faults = _first([f"{labels}: {each}" for each in parts.faults])
    if faults or not parts.exams:
        none = [] if parts.exams or faults else ["no image with a label under the paths"]
        print(file=sys.stderr)
        raise UsageError("\n".join([*faults, *_first(missing), *_first(unread), *counted, *none]))
    if said := [*_first(missing), *_first(unread), *counted]:
        print("", *said, sep="\n", file=sys.stderr)


# What is written -----------------------------------------------------------------------------------------------


def _make(folder: Path) -> None:
    """Before anything is run: who waited for hours must not hear then that there is no place for the result."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"--out {folder}: cannot be written to")


def _write(found: Found, cases: Sequence[Case], folder: Path) -> None:
    try:
        _private(folder / "scores.csv", _scores(found, cases))
        _private(folder / "evaluation.html", page(found.to_json(), found.evaluation, cases))
    except OSError as error:
        raise CommandError(f"--out {folder}: {error.strerror}") from None


def _private(file: Path, text: str) -> None:
    """A file that is its owner's alone from the first byte on, also where one of that name was open to others."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(text, encoding="utf-8")


def _scores(found: Found, cases: Sequence[Case]) -> str:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow([found.asked.table.key, "label", "score", "present", "reason"])
    for each in cases:
        score, present = ("", "") if each.score is None else (f"{each.score:.6g}", int(each.present))
        rows.writerow([each.name, int(each.truth), score, present, each.reason])
    return stream.getvalue()
