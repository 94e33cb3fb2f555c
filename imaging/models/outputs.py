"""Reads `[[finding]]` and `[[triage]]`: what a network's output means, and when a study is urgent by it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from imaging.domain.card import Calibration, FindingSpec, LabelSpec, SegmentSpec, TriageRule
from imaging.domain.codes import Code
from imaging.domain.findings import TriageClass
from imaging.domain.measures import CENTROID, MEASURES
from imaging.domain.tables import Table

AT_LEAST: Final = re.compile(r">=\s*(\d+(?:\.\d+)?)")
UNSUPPORTED: Final = ("boxes", "number")
OF_SEGMENTS: Final = ("mask_at", "min_ml", "measure", "present", "probability")
OF_PROBABILITIES: Final = ("threshold", "calibration")
OF_MASKS: Final = ("activation", "mask_at", "min_ml")


def read_finding(table: Table) -> FindingSpec:
    """One finding, of the kind that its `as` names."""
    kind = table.text("as", "label")
    if kind not in _READ:
        rule = "is not yet supported" if kind in UNSUPPORTED else f"must be {' or '.join(_READ)}"
        table.fault("as", kind, rule, "as-unsupported" if kind in UNSUPPORTED else "as-unknown")
    made = _READ.get(kind, _any)(table)
    table.done()
    return made


def read_bundled(table: Table, channel: Callable[[Table], int]) -> SegmentSpec:
    """A finding of a bundle, whose post-processing says how its mask is made. `channel`: takes it out of the table."""
    table.choice("as", (SegmentSpec.kind,), SegmentSpec.kind)
    for key in (*OF_MASKS, "output"):
        if table.has(key):
            table.fault(key, table.taken(key), "comes from the bundle's post-processing: remove it", "bundle-keys")
    made = _segment(table, channel(table))
    table.done()
    return made


def _common(table: Table, channel: int | None = None) -> dict[str, Any]:
    return {
        "channel": table.integer("channel", None, 0, 10_000) if channel is None else channel,
        "code": _code(table.table("code")),
        "activation": table.choice("activation", ("sigmoid", "softmax", "none"), "sigmoid"),
        "calibration": _calibration(table.table("calibration")) if table.has("calibration") else None,
        "threshold": table.number("threshold", 0.5, 0.0, 1.0),
        "chosen": table.text("chosen", ""),
        "site": _code(table.table("site")) if table.has("site") else None,
        "output": table.text("output", ""),
    }


def _label(table: Table) -> LabelSpec:
    for key in OF_SEGMENTS:
        if table.has(key):
            rule = 'is only for as = "segment": a label is its channel\'s probability'
            table.fault(key, table.untaken(key), rule, "label-keys")
    return _any(table)


def _segment(table: Table, channel: int | None = None) -> SegmentSpec:
    if not table.has("probability"):
        for key in OF_PROBABILITIES:
            if table.has(key):
                rule = 'has no effect without probability = "max-component-mean": add it, or use present'
                table.fault(key, table.untaken(key), rule, "segment-keys")
    made = SegmentSpec(**_common(table, channel), **_of_segment(table))
    if made.mask_at == 0.0:
        table.fault("mask_at", 0.0, "would include every voxel: must be more than 0", "mask-at-range")
    return made


def _of_segment(table: Table) -> dict[str, Any]:
    measure = table.texts("measure", (), (*MEASURES, CENTROID))
    if len(set(measure)) < len(measure):
        table.fault("measure", list(measure), "contains a measurement twice", "measure-repeated")
    return {
        "mask_at": table.number("mask_at", 0.5, 0.0, 1.0),
        "min_ml": table.number("min_ml", 0.0, 0.0, 10_000.0),
        "measure": measure,
        "present": _present(table.table("present")) if table.has("present") else {},
        "probability": table.choice("probability", ("", "max-component-mean"), ""),
    }


def _any(table: Table) -> LabelSpec:
    """As a label, whatever else is given: of a kind that is wrong, its other faults are told as well."""
    made = LabelSpec(**_common(table))
    _of_segment(table)
    return made


_READ: Final[Mapping[str, Callable[[Table], FindingSpec]]] = {LabelSpec.kind: _label, SegmentSpec.kind: _segment}
"""By what a card says under `as`."""


def _code(table: Table) -> Code:
    made = Code(table.text("scheme"), table.text("value"), table.text("meaning"))
    limits: tuple[tuple[str, str, int], ...] = (
        ("scheme", made.scheme, 16), ("value", made.value, 16), ("meaning", made.meaning, 64),
    )  # fmt: skip
    for key, text, maximum in limits:
        if len(text) > maximum:
            table.fault(key, text, f"has more than {maximum} characters (PS3.3 Table 8.8-1)", f"{key}-length")
    table.done()
    return made


def _calibration(table: Table) -> Calibration:
    made = Calibration(
        kind=table.choice("kind", ("platt",)),  # type: ignore[arg-type]  # the closed set
        a=table.number("a", None, -1e3, 1e3),
        b=table.number("b", None, -1e3, 1e3),
        data=table.text("data", ""),
    )
    if made.a == 0.0:
        table.fault("a", 0.0, "would give every study one probability: must not be 0", "a-range")
    table.done()
    return made


def _present(table: Table) -> dict[str, float]:
    minimum = {}
    for key in (each for each in MEASURES if table.has(each)):
        rule = table.text(key)
        match = AT_LEAST.fullmatch(rule)
        if match:
            minimum[key] = float(match[1])
        else:
            table.fault(key, rule, 'must read ">=1.0"', "present-form")
    table.done()
    return minimum


def read_triage(table: Table, findings: Sequence[FindingSpec]) -> TriageRule:
    """A `[[triage]]` table as a rule; its faults are noted."""
    when = table.table("when")
    value = when.text("finding")
    finding = next((each for each in findings if each.code.value == value), None)
    if value and finding is None:
        when.fault("finding", value, "is not the code value of a finding", "triage-finding")
    if not when.has("probability") and not when.has("volume_ml"):
        when.fault("probability", None, 'a rule needs probability = ">=0.8" or volume_ml = ">=5"', "triage-empty")
    probability = _minimum(when, "probability", 'must read ">=0.8", at most 1', maximum=1.0)
    volume_ml = _minimum(when, "volume_ml", 'must read ">=5", a number of millilitres')
    if finding is not None:
        _check_rule(when, finding, probability, volume_ml)
    when.done()
    triage = TriageClass(table.choice("class", tuple(TriageClass)))
    table.done()
    return TriageRule(value, probability, triage, volume_ml)


def _minimum(when: Table, key: str, rule: str, maximum: float = float("inf")) -> float | None:
    """The number of a condition; None where it is not asked."""
    if not when.has(key):
        return None
    text = when.text(key)
    match = AT_LEAST.fullmatch(text)
    if text and (match is None or float(match[1]) > maximum):
        when.fault(key, text, rule, f"triage-{key.partition('_')[0]}")
    return float(match[1]) if match else maximum


def _check_rule(when: Table, finding: FindingSpec, probability: float | None, volume_ml: float | None) -> None:
    """A rule that its finding can never fulfil is no rule."""
    if probability is not None and isinstance(finding, SegmentSpec) and not finding.probability:
        rule = (
            'the finding has no probability: give it probability = "max-component-mean", or use volume_ml = ">=5" here'
        )
        when.fault("probability", f">={probability:g}", rule, "triage-probability-absent")
    if volume_ml is not None and not isinstance(finding, SegmentSpec):
        rule = "a label has no volume: use probability"
        when.fault("volume_ml", f">={volume_ml:g}", rule, "triage-volume-absent")
    elif volume_ml is not None and isinstance(finding, SegmentSpec) and "volume_ml" not in finding.measure:
        rule = 'the finding does not measure it: add "volume_ml" to its measure, so that its reports contain it'
        when.fault("volume_ml", f">={volume_ml:g}", rule, "triage-volume-absent")
