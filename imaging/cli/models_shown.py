"""`imaging models list` and `show`: what a card says, and what this home knows of its model."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from imaging.cli.parsing import table
from imaging.domain.card import UNPROVEN, Card, FindingSpec, NumberSpec, SegmentSpec
from imaging.domain.sufficient_evidence import is_synthetic, shortfalls
from imaging.domain.tuning import Measured, Setup
from imaging.ledger import migrate, registry, speeds
from imaging.ledger.registry import Word
from imaging.ledger.speeds import Speed
from imaging.ledger.store import Ledger, is_begun
from imaging.ledger.unusable import Unusable
from imaging.models import tuning
from imaging.models.cautions import warnings
from imaging.models.devices import CPU, NoDevice, device_of
from imaging.settings import Settings


@dataclass(frozen=True)
class Facts:
    """What a home knows of a model. `setup`: how it is run there, as `is_tuned` or as its card says; its threads may be
    0: as many as there are.

    `tuned`: what `imaging models tune` measured of that; `past`: what past answers took; None where unknown. `proven`:
    whether it has given the known answer there.
    """

    setup: Setup
    device: str
    is_tuned: bool
    tuned: Measured | None
    past: Speed | None
    proven: str

    @property
    def speed(self) -> str:
        """As a table has it."""
        if self.tuned is not None and self.tuned.per_s is not None:
            alone = f", {self.tuned.alone_ms:.0f} ms alone" if self.tuned.alone_ms is not None else ""
            return f"{self.tuned.per_s:.3g}/s{alone}"
        if self.past is not None:
            return f"{self.past.infer_ms:.0f} ms, median of {self.past.answers}"
        return "not measured"

    def to_json(self) -> dict[str, Any]:
        """The keys that `--json` has beside those of the card."""
        tuned = self.tuned
        return {
            "runs_as": asdict(self.setup)
            | {"threads": self.setup.threads or None, "device": self.device, "tuned": self.is_tuned},
            "speed": {
                "per_s": tuned.per_s if tuned else None,
                "alone_ms": tuned.alone_ms if tuned else None,
                "infer_ms": self.past.infer_ms if self.past else None,
                "answers": self.past.answers if self.past else 0,
            },
            "proven": self.proven,
        }


def facts_of(settings: Settings, cards: Sequence[Card]) -> dict[str, Facts]:
    """What the home knows of each model, by id; one that was never served, or whose ledger cannot be read, little."""
    words, past = _of_ledger(settings.home, settings.database, cards)
    device = _device(settings.device)
    return {card.id: _facts(settings.home, device, card, words.get(card.id), past.get(card.id)) for card in cards}


def _device(asked: str) -> str:
    try:
        return device_of(asked, 0)
    except NoDevice:
        return f"{asked} (missing)"


def _of_ledger(home: Path, database: str, cards: Sequence[Card]) -> tuple[dict[str, Word], dict[str, Speed | None]]:
    if not is_begun(home, database):
        return {}, {}
    try:
        with closing(Ledger(home, database)) as ledger:
            migrate.check(ledger)
            return registry.words(ledger), {card.id: speeds.measured(ledger, card.id, card.version) for card in cards}
    except Unusable as why:
        print(f"{home}: {why}", file=sys.stderr)
        return {}, {}


def _facts(home: Path, device: str, card: Card, word: Word | None, past: Speed | None) -> Facts:
    found, engine = tuning.read(home, card) if device == CPU else None, card.engine
    batch = engine.window.batch if engine.window is not None else engine.batch
    own = Setup(engine.kind, engine.precision, engine.threads or 0, batch)
    setup = found.chosen if found is not None else own
    return Facts(
        setup, device, found is not None, found.choice if found is not None else None, past, _proven(card, word)
    )


def _proven(card: Card, word: Word | None) -> str:
    """What a worker of the home found with these very weights and this card."""
    if card.golden is None:
        return "no golden case"
    if word is None or word.version != card.version:
        return "not tried here"
    if not word.is_served:
        return f"disabled here: {word.why.splitlines()[0] if word.why else 'see status'}"
    passed = word.fingerprint.startswith(f"{card.engine.digest[:16]} {card.digest[:16]} ")
    return "here" if passed else "not tried here"


def document(card: Card, facts: Facts) -> dict[str, Any]:
    """A model as `--json` prints it."""
    return {
        "id": card.id,
        "version": card.version,
        "name": card.name,
        "maker": card.maker,
        "licence": card.licence,
        "status": card.status,
        "mode": str(card.mode),
        "golden_case": _golden(card),
        "warnings": list(warnings(card)),
        "use": card.use,
        "not_for": list(card.not_for),
        "modality": sorted({each for one in card.inputs for each in one.modality}),
        "findings": [
            {
                "code": each.code.value,
                "scheme": each.code.scheme,
                "meaning": each.code.meaning,
                "kind": each.kind,
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
                "value_least": each.value_least,
                "value_most": each.value_most,
                "class": str(each.triage),
                "raises_nothing": list(shortfalls(card, each.finding)),
            }
            for each in card.triage
        ],
        "evidence": [dict(each) for each in card.evidence],
        "engine": card.engine.kind,
        "sha256": card.engine.sha256,
        "digest": card.digest,
        "weights": {each.name: each.sha256 for each in card.engine.files},
        "device_uid": card.device_uid,
        **facts.to_json(),
    }


HEAD: Final = (
    "model",
    "version",
    "mode",
    "status",
    "engine",
    "device",
    "speed here",
    "proven",
    "evidence",
    "looks for",
)


def as_list(cards: Sequence[Card], facts: Mapping[str, Facts], disabled: Mapping[str, str]) -> str:
    """A row for each model, and a line for each that is disabled."""
    rows = [_row(card, facts[card.id]) for card in cards]
    return "\n".join([table([HEAD, *rows]), *(f"disabled: {name}: {why}" for name, why in disabled.items())])


def _row(card: Card, facts: Facts) -> list[str]:
    proven = facts.proven if card.golden is not None else _golden(card)
    return [
        card.id,
        card.version,
        str(card.mode),
        card.status,
        f"{facts.setup.engine} {facts.setup.precision}{' (tuned)' if facts.is_tuned else ''}",
        facts.device,
        facts.speed,
        proven.partition(":")[0],
        "; ".join(_measured(each) for each in card.evidence) or "none",
        ", ".join(each.code.meaning for each in card.findings),
    ]


def _measured(evidence: Mapping[str, Any]) -> str:
    """An evidence in a few words; its keys are free."""
    auc, bounds = evidence.get("auc"), evidence.get("ci95")
    if not isinstance(auc, int | float):
        return "no AUC"
    is_interval = isinstance(bounds, list) and all(isinstance(each, int | float) for each in bounds)
    interval = f" [{', '.join(f'{each:.2f}' for each in bounds)}]" if is_interval and bounds else ""
    return f"AUC {auc:.2f}{interval}{' synthetic' if is_synthetic(evidence) else ''}"


def _golden(card: Card) -> str:
    return "given" if card.golden else "unproven"


def as_text(card: Card, facts: Facts) -> str:
    """A model with all that its card says, and what is known of it here."""
    lines = [f"{card.id} {card.version}: {card.name}", f"  {card.use}", f"  status: {card.status}; {card.licence}"]
    lines += [f"  mode: {card.mode}"]
    lines += [f"  not for: {each}" for each in card.not_for]
    lines += [f"  {UNPROVEN}"] if card.golden is None else [f"  proven: {facts.proven}"]
    lines += [f"  warning: {each}" for each in warnings(card)]
    lines.append(f"  engine: {_setup(facts)} on {facts.device}{', as tuned here' if facts.is_tuned else ''}")
    lines.append(f"  speed here: {facts.speed}")
    lines.append(f"  digest: {card.digest}")
    lines += [f"  weights: {each.name}: {each.sha256}" for each in card.engine.files]
    for each in card.findings:
        lines.append(f"  {each.code.meaning} ({each.code.scheme} {each.code.value}): {_called(each)}")
    for rule in card.triage:
        why = shortfalls(card, rule.finding)
        lines.append(f"  rule: {rule.text}{'; raises nothing: ' + '; '.join(why) if why else ''}")
    for evidence in card.evidence:
        lines.append("  evidence: " + ", ".join(f"{key} {value}" for key, value in evidence.items()))
    return "\n".join(lines)


def _called(finding: FindingSpec) -> str:
    """What makes a finding present."""
    if isinstance(finding, NumberSpec):
        return f"a number in {finding.unit}"
    if not isinstance(finding, SegmentSpec):
        return f"threshold {finding.threshold}"
    least = [f"{name} >= {value:g}" for name, value in finding.present.items()]
    least += [f"probability >= {finding.threshold}"] if finding.probability else []
    return f"a mask, present from {' and '.join(least)}" if least else "a mask, present from its first voxel"


def _setup(facts: Facts) -> str:
    return str(facts.setup) if facts.is_tuned else f"{facts.setup.engine} {facts.setup.precision}"
