"""The models that are served: what they look for, how well, and which are disabled and why.

imaging models list
imaging models show chest-film
imaging models check        run each golden case: a known input must give the known answer
"""

import json
import os
from typing import Any

from imaging.cli.asking import Asked, Failed, Parser, add_json, add_models, refuse, table
from imaging.domain.card import Card
from imaging.models.catalogue import Catalogue, load_models, shipped_folder
from imaging.models.folders import folder_faults


def options(parser: Parser) -> None:
    parser.add_argument("what", metavar="list|show|check", nargs="?", default="list")
    parser.add_argument("ids", metavar="ID", nargs="*", help="models; default: all")
    add_models(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    catalogue = load_models(asked.models or [shipped_folder()])
    faults = [] if asked.what in ("list", "show", "check") else [f"{asked.what!r}: list, show or check is wanted"]
    faults += [f"--models {each}" for each in folder_faults(asked.models or ())]
    faults += [
        f"{each!r}: no such model; there are {', '.join(card.id for card in catalogue.models)}"
        for each in asked.ids
        if catalogue.model(each) is None
    ]
    refuse(asked, faults)
    chosen = [card for card in catalogue.models if not asked.ids or card.id in asked.ids]
    if asked.what == "check":
        return _check(chosen, asked)
    if asked.json:
        said = {"models": [_said(card) for card in chosen], "disabled": dict(catalogue.disabled)}
        print(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        print(_list(catalogue) if asked.what == "list" else "\n\n".join(_show(card) for card in chosen))
    return 0


def _check(cards: list[Card], asked: Asked) -> int:
    from imaging.inference.golden import check

    results = [check(card, len(os.sched_getaffinity(0))) for card in cards]
    if asked.json:
        print(json.dumps({each.model_id: list(each.faults) for each in results}, indent=2))
    else:
        print("\n".join(f"{each.model_id}: {'; '.join(each.faults) or 'as expected'}" for each in results))
    if not all(each.passed for each in results):
        raise Failed("not every golden case holds")
    return 0


def _said(card: Card) -> dict[str, Any]:
    return {
        "id": card.id,
        "version": card.version,
        "name": card.name,
        "maker": card.maker,
        "licence": card.licence,
        "status": card.status,
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
            {"finding": each.finding, "at_least": each.at_least, "class": str(each.triage)} for each in card.triage
        ],
        "evidence": [dict(each) for each in card.evidence],
        "engine": card.engine.kind,
        "sha256": card.engine.sha256,
        "device_uid": card.device_uid,
    }


def _list(catalogue: Catalogue) -> str:
    rows = [
        [card.id, card.version, card.status, ", ".join(each.code.meaning for each in card.findings)]
        for card in catalogue.models
    ]
    lines = [table([["model", "version", "status", "looks for"], *rows])]
    return "\n".join([*lines, *(f"disabled: {name}: {why}" for name, why in catalogue.disabled.items())])


def _show(card: Card) -> str:
    lines = [f"{card.id} {card.version}: {card.name}", f"  {card.use}", f"  status: {card.status}; {card.licence}"]
    lines += [f"  not for: {each}" for each in card.not_for]
    for each in card.findings:
        lines.append(f"  {each.code.meaning} ({each.code.scheme} {each.code.value}): threshold {each.threshold}")
    for evidence in card.evidence:
        lines.append("  evidence: " + ", ".join(f"{key} {value}" for key, value in evidence.items()))
    return "\n".join(lines)
