"""Show the models: what they look for, their figures, and which are disabled and why.

imaging models list         with each one's mode, how it is run, how fast and whether proven here, and its evidence
imaging models show chest-film
imaging models check        run each golden case: a known input must give the known answer
imaging models add spleen_ct_segmentation --to my-models
    take a model as it was published (a MONAI bundle's folder, an ONNX file, a model's folder) into my-models, with a
    card that says what its files tell; what only a person can tell is listed, and the model is disabled until then
imaging models golden my-model study/ --models my-models
    run a model without a golden case on a study, and write one into the model's folder: the images that the model used,
    without names, numbers and dates, and its answer; the pixels are the study's, and you have to judge whether they may
    be stored there
imaging models tune --home DIR
    measure each model with the engines, precisions, threads and batches that this machine has, and let the workers of
    that home use the fastest whose answers are the card's own: probabilities within 0.01 and no threshold crossed on
    the golden case, masks with a Dice of 0.999 or more
imaging models evaluate chest-film films/ --labels labels.csv --finding 60046008
    run a model on studies, images or pictures whose truth is known, and print how good it is

Exit status 1 if a shown or checked model is disabled, if a golden case fails, is missing or cannot be made, or if a
model cannot be tuned.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from imaging.cli import models_add, models_evaluate, models_tune
from imaging.cli.models_shown import as_list, as_text, document, facts_of
from imaging.cli.parsing import (
    Arguments,
    CommandError,
    Parser,
    UsageError,
    add_json,
    add_models,
    refuse,
    settings_of,
)
from imaging.confined.analyser import ConfinedAnalyser, check
from imaging.confined.client import Confined
from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.findings import Finding
from imaging.models.catalogue import load_models
from imaging.models.cautions import warnings
from imaging.models.reading import read_card
from imaging.roles.cores import cores

WORDS: Final = ("list", "show", "check", "add", "golden", "tune", "evaluate")


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("what", metavar="|".join(WORDS), nargs="?", default="list")
    meaning = (
        "models (default: all); for add: the path of one; for golden: one model, then files or folders of one study; "
        "for evaluate: of many"
    )
    parser.add_argument("ids", metavar="ID", nargs="*", help=meaning)
    models_add.options(parser)
    add_models(parser)
    models_tune.options(parser)
    add_json(parser)
    models_evaluate.options(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    for word, module in (("add", models_add), ("tune", models_tune), ("evaluate", models_evaluate)):
        arguments.faults += module.unused(arguments) if arguments.what != word else []
    if arguments.what == "add":
        return models_add.run(arguments)
    if arguments.what == "golden":
        return _golden(arguments)
    if arguments.what == "evaluate":
        return models_evaluate.run(arguments)
    cards, disabled = _chosen(arguments)
    if arguments.what == "tune":
        return _tune(cards, disabled, arguments)
    if arguments.what == "check":
        return _check(cards, disabled, arguments)
    known = facts_of(settings_of(arguments), cards)
    if arguments.json:
        data = {"models": [document(card, known[card.id]) for card in cards], "disabled": disabled}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    elif arguments.what == "list":
        print(as_list(cards, known, disabled))
        _warn(cards)
    else:
        print("\n\n".join([*(as_text(card, known[card.id]) for card in cards), *_not_served(disabled)]))
    if disabled and arguments.what == "show":
        raise CommandError(f"disabled: {', '.join(disabled)}")
    return 0


def _chosen(arguments: Arguments) -> tuple[list[Card], Mapping[str, str]]:
    """The models that are asked for, and why others of them are disabled."""
    faults = [] if arguments.what in WORDS else [f"{arguments.what!r}: expected {', '.join(WORDS[:-1])} or {WORDS[-1]}"]
    try:
        settings = settings_of(arguments, needs_models=True)
    except UsageError as wrong:
        raise UsageError("\n".join([str(wrong), *faults])) from None
    catalogue = load_models(settings.model_folders, model_mode=settings.model_mode)
    faults += [
        f"{each!r}: no such model; available: {', '.join(card.id for card in catalogue.models)}"
        for each in arguments.ids
        if catalogue.model(each) is None and not catalogue.why_disabled(each)
    ]
    if arguments.what == "tune":
        models_tune.seconds_of(arguments)  # its fault is said with the others
    refuse(arguments, faults)
    if not arguments.ids:
        return list(catalogue.models), catalogue.disabled
    cards = [card for card in catalogue.models if card.id in arguments.ids]
    return cards, {name: why for each in arguments.ids for name, why in catalogue.why_disabled(each).items()}


def _tune(cards: Sequence[Card], disabled: Mapping[str, str], arguments: Arguments) -> int:
    """Tunes those that are served; where one that was named is disabled, says why."""
    for each in _not_served(disabled):
        print(each, file=sys.stderr)
    if not cards or (arguments.ids and disabled):
        raise CommandError(f"disabled: {', '.join(disabled)}" if disabled else "there is no model to tune")
    return models_tune.run(list(cards), arguments)


def _golden(arguments: Arguments) -> int:
    """Makes the golden case of one model out of a study, and checks it."""
    arguments.ids, paths = arguments.ids[:1], [Path(each) for each in arguments.ids[1:]]
    if not paths:
        arguments.faults.append("golden: expected a model and a study: imaging models golden my-model study/")
    arguments.faults += [f"{each}: no such file or folder" for each in paths if not each.exists()]
    cards, disabled = _chosen(arguments)
    if disabled or len(cards) != 1:
        raise CommandError("\n".join(_not_served(disabled)))
    (card,) = cards
    if card.golden is not None or (card.folder / "golden").exists():
        mend = "to make another, remove [golden] from its card.toml, and its files"
        raise CommandError(f"{card.id} already has a golden case in {card.folder}: {mend}")
    print(_written(card, paths, arguments), file=sys.stderr if arguments.json else sys.stdout)
    return _check([read_card(card.folder)], {}, arguments)


def _written(card: Card, paths: Sequence[Path], arguments: Arguments) -> str:
    """Writes the case, and says what was written."""
    from imaging.inference.golden_case import write_case
    from imaging.roles.analysis import collect

    studies = collect(paths).studies
    if len(studies) != 1:
        raise CommandError(f"expected one study, found {len(studies)} in {', '.join(map(str, paths))}")
    (sources,) = studies.values()
    with Confined([card], threads=cores(), memory_mb=settings_of(arguments).memory_of_a_worker_mb) as confined:
        try:
            case = write_case(card, sources, ConfinedAnalyser(confined, card).analyse)
        except PublicError as why:
            raise CommandError(f"{card.id} {why}") from None
    lines = [
        f"{case.expected.parent}: {len(case.images)} of {len(sources)} images: their pixels and geometry, without "
        "names, numbers and dates",
        f"{case.expected}: the answer",
        *(f"  {_finding(each)}" for each in case.answer.findings),
        f"{case.card}: refers to them under [golden]",
        "The pixels are those of the study, including anything burned into them. A synthetic or public image may be",
        "stored here and passed on; for any other image you have to judge that.",
    ]
    if not any(each.present for each in case.answer.findings):
        lines.append("No finding is present in it; a case in which the model finds something is a better check.")
    return "\n".join(lines)


def _finding(finding: Finding) -> str:
    number = "" if finding.probability is None else f" {finding.probability:.3f}"
    return f"{finding.code.meaning}: {finding.verdict}{number}"


def _not_served(disabled: Mapping[str, str]) -> list[str]:
    return [f"{name}: disabled: {why}" for name, why in disabled.items()]


def _warn(cards: Sequence[Card]) -> None:
    """What is odd about served models, and no fault; on stderr, so that a program has the answer alone."""
    for card in cards:
        for each in warnings(card):
            print(f"warning: {card.id}: {each}", file=sys.stderr)


def _check(cards: Sequence[Card], disabled: Mapping[str, str], arguments: Arguments) -> int:
    with Confined(cards, threads=cores(), memory_mb=settings_of(arguments).memory_of_a_worker_mb) as confined:
        results = {card.id: check(confined, card) for card in cards}
    if arguments.json:
        faults = {name: list(each) for name, each in results.items()}
        faults |= {name: ["disabled", *why.splitlines()] for name, why in disabled.items()}
        print(json.dumps(faults, indent=2))
    else:
        lines = [f"{name}: {'; '.join(each) or 'as expected'}" for name, each in results.items()]
        print("\n".join([*lines, *_not_served(disabled)]))
    _warn(cards)
    if disabled or any(results.values()):
        raise CommandError("not every model is enabled with a golden case that passes")
    return 0
