"""The models that are served: what they look for, how well, and which are disabled and why.

imaging models list
imaging models show chest-film
imaging models check        run each golden case: a known input must give the known answer

Exit status 1 where what is shown or checked is disabled, or where a golden case fails or is not there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from imaging.cli.asking import Asked, Failed, Parser, Wrong, add_json, add_models, refuse, settings_of, table
from imaging.domain.card import UNPROVEN, Card
from imaging.models.catalogue import load_models
from imaging.roles.cores import cores


def options(parser: Parser) -> None:
    parser.add_argument("what", metavar="list|show|check", nargs="?", default="list")
    parser.add_argument("ids", metavar="ID", nargs="*", help="models; default: all")
    add_models(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    cards, disabled = _chosen(asked)
    if asked.what == "check":
        return _check(cards, disabled, asked)
    if asked.json:
        said = {"models": [_said(card) for card in cards], "disabled": disabled}
        print(json.dumps(said, indent=2, ensure_ascii=False))
    elif asked.what == "list":
        print(_list(cards, disabled))
    else:
        print("\n\n".join([*(_show(card) for card in cards), *_not_served(disabled)]))
    if disabled and asked.what == "show":
        raise Failed(f"disabled: {', '.join(disabled)}")
    return 0


def _chosen(asked: Asked) -> tuple[list[Card], Mapping[str, str]]:
    """The models that are asked for, and why others of them are disabled."""
    faults = [] if asked.what in ("list", "show", "check") else [f"{asked.what!r}: list, show or check is wanted"]
    try:
        settings = settings_of(asked, needs_models=True)
    except Wrong as wrong:
        raise Wrong("\n".join([str(wrong), *faults])) from None
    catalogue = load_models(settings.model_folders)
    faults += [
        f"{each!r}: no such model; there are {', '.join(card.id for card in catalogue.models)}"
        for each in asked.ids
        if catalogue.model(each) is None and not catalogue.why_disabled(each)
    ]
    refuse(asked, faults)
    if not asked.ids:
        return list(catalogue.models), catalogue.disabled
    cards = [card for card in catalogue.models if card.id in asked.ids]
    return cards, {name: why for each in asked.ids for name, why in catalogue.why_disabled(each).items()}


def _not_served(disabled: Mapping[str, str]) -> list[str]:
    return [f"{name}: disabled: {why}" for name, why in disabled.items()]


def _check(cards: Sequence[Card], disabled: Mapping[str, str], asked: Asked) -> int:
    from imaging.inference.golden import check

    results = [check(card, cores()) for card in cards]
    if asked.json:
        faults = {each.model_id: list(each.faults) for each in results}
        faults |= {name: ["disabled", *why.splitlines()] for name, why in disabled.items()}
        print(json.dumps(faults, indent=2))
    else:
        lines = [f"{each.model_id}: {'; '.join(each.faults) or 'as expected'}" for each in results]
        print("\n".join([*lines, *_not_served(disabled)]))
    if disabled or not all(each.passed for each in results):
        raise Failed("not every model is enabled, with a golden case that came out as expected")
    return 0


def _said(card: Card) -> dict[str, Any]:
    return {
        "id": card.id,
        "version": card.version,
        "name": card.name,
        "maker": card.maker,
        "licence": card.licence,
        "status": card.status,
        "golden_case": _proof(card),
        "use": card.use,
        "not_for": list(card.not_for),
        "modality": sorted({each for one in card.inputs for each in one.modality}),
        "findings": [
            {
                "code": each.code.value,
                "scheme": each.code.scheme,
                "meaning": each.code.meaning,
                "threshold": each.threshold,
                "chosen": each.chosen,
            }
            for each in card.findings
        ],
        "triage": [
            {
                "finding": each.finding,
                "at_least": each.at_least,
                "volume_ml": each.volume_ml,
                "class": str(each.triage),
            }
            for each in card.triage
        ],
        "evidence": [dict(each) for each in card.evidence],
        "engine": card.engine.kind,
        "sha256": card.engine.sha256,
        "digest": card.digest,
        "weights": {each.name: each.sha256 for each in card.engine.files},
        "device_uid": card.device_uid,
    }


def _list(cards: Sequence[Card], disabled: Mapping[str, str]) -> str:
    rows = [
        [card.id, card.version, card.status, _proof(card), ", ".join(each.code.meaning for each in card.findings)]
        for card in cards
    ]
    lines = [table([["model", "version", "status", "golden case", "looks for"], *rows])]
    return "\n".join([*lines, *(f"disabled: {name}: {why}" for name, why in disabled.items())])


def _proof(card: Card) -> str:
    return "given" if card.golden else "unproven"


def _show(card: Card) -> str:
    lines = [f"{card.id} {card.version}: {card.name}", f"  {card.use}", f"  status: {card.status}; {card.licence}"]
    lines += [f"  not for: {each}" for each in card.not_for]
    lines += [f"  {UNPROVEN}"] if card.golden is None else []
    lines.append(f"  digest: {card.digest}")
    lines += [f"  weights: {each.name}: {each.sha256}" for each in card.engine.files]
    for each in card.findings:
        lines.append(f"  {each.code.meaning} ({each.code.scheme} {each.code.value}): threshold {each.threshold}")
    for evidence in card.evidence:
        lines.append("  evidence: " + ", ".join(f"{key} {value}" for key, value in evidence.items()))
    return "\n".join(lines)
