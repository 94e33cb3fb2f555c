"""Reads `card.toml`, whole or not at all.

A card with faults gives one `CardError` that lists all of them, each as `path: key = value: rule (rule-name)`.
Unknown keys are faults: a key with a typing error must not silently leave a gate open.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from imaging.domain.card import Card, Golden, covering
from imaging.domain.modes import Mode
from imaging.domain.tables import CardError, Faults, Table
from imaging.models import bundle_card, onnx_card
from imaging.models.files import inside
from imaging.models.inputs import uid_of
from imaging.models.network import network_faults
from imaging.models.outputs import read_triage
from imaging.models.parts import Parts
from imaging.models.rules import Fault, contradictions
from imaging.models.to_fill_in import FILL_IN, TO_FILL_IN, open_keys, request

KINDS: Final[Mapping[str, Callable[[Table, Table, Path], Parts]]] = {
    "onnx": onnx_card.read,
    "openvino": onnx_card.read,
    "bundle": bundle_card.read,
}
"""By the kind of an `[engine]`: what reads it, and what it decides of the card's other tables."""
ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def read_card(folder: Path) -> Card:
    """The card in `folder`, its weights' digest checked. Raises CardError."""
    path = folder / "card.toml"
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError([f"{path}: {error} (not-readable)"]) from error
    faults = Faults(path)
    for key, beside in open_keys(content):
        faults.leave_open(key, FILL_IN, request(key, beside), TO_FILL_IN)
    card = _card(Table(content, "", faults), folder, raw)
    if faults.lines:
        raise CardError(faults.lines, card.id if ID.fullmatch(card.id) else "")
    return card


def _card(top: Table, folder: Path, raw: bytes) -> Card:
    top.integer("card", None, 1, 1)
    parts = _parts(top, folder)
    if not parts.findings:
        top.fault("finding", None, "a card needs a [[finding]]", "finding-absent")
    card = Card(
        **_named(top, parts.facts),
        inputs=parts.inputs,
        prepare=parts.prepare,
        engine=parts.engine,
        findings=parts.findings,
        triage=tuple(read_triage(each, parts.findings) for each in top.tables("triage")),
        evidence=tuple(each.anything() for each in top.tables("evidence")),
        golden=_golden(top.table("golden"), folder) if top.has("golden") else None,
        folder=folder,
        digest=covering(raw, parts.engine.beside),
    )
    top.done()
    if not top.has_open:
        _note(top, contradictions(card))
    if parts.network is not None and top.is_faultless:
        _note(top, network_faults(card, parts.network))
    return card


def _parts(top: Table, folder: Path) -> Parts:
    """What the kind of engine has read; one that nobody knows is a fault, and the card is read as the first of them."""
    engine = top.table("engine")
    known = KINDS.get(str(engine.untaken("kind")))
    if known is None:
        engine.choice("kind", KINDS)
        known = next(iter(KINDS.values()))
    return known(top, engine, folder)


def _named(top: Table, facts: Mapping[str, str]) -> dict[str, Any]:
    """What a card says of the model as a whole."""
    return {
        "id": top.text("id", matching=ID),
        "version": top.text("version", facts.get("version")),
        "name": top.text("name", facts.get("name")),
        "maker": top.text("maker", facts.get("maker")),
        "licence": top.text("licence"),
        "device_uid": _device_uid(top),
        "status": top.choice("status", ("demonstration", "research", "validated-here")),
        "mode": Mode(top.choice("mode", tuple(Mode), Mode.LIVE)),
        "use": top.text("use", facts.get("use")),
        "not_for": top.texts("not_for", ()),
    }


def _device_uid(top: Table) -> str:
    uid = top.text("device_uid")
    if uid and not uid_of(uid).is_valid:
        top.fault("device_uid", uid, "must be a UID of at most 64 characters (PS3.5 9)", "device-uid-form")
    return uid


def _note(top: Table, faults: Iterable[Fault]) -> None:
    for key, value, rule, name in faults:
        top.fault(key, value, rule, name)


def _golden(table: Table, folder: Path) -> Golden:
    made = Golden(table.text("input"), table.text("output"), table.number("tolerance", 1e-3, 0.0, 1.0))
    for key, name in (("input", made.input), ("output", made.output)):
        inside(table, key, folder, name)
    table.done()
    return made
