"""Reads `[[finding]]` and `[[triage]]`: what a network's output means, and when a study is urgent by it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from imaging.domain.card import BoxesSpec, FindingSpec, LabelSpec, NumberSpec, SegmentSpec, TriageRule
from imaging.domain.findings import TriageClass
from imaging.domain.measures import CENTROID, MEASURES
from imaging.domain.tables import Table
from imaging.models.detections import read_bounds, read_boxes, read_number
from imaging.models.finding_keys import AT_LEAST, read_common

OF_SEGMENTS: Final = ("mask_at", "min_ml", "measure", "present", "probability")
OF_PROBABILITIES: Final = ("threshold", "calibration")
OF_MASKS: Final = ("activation", "mask_at", "min_ml")


def read_finding(table: Table) -> FindingSpec:
    """One finding, of the kind that its `as` names."""
    kind = table.text("as", "label")
    if kind not in _READ:
        table.fault("as", kind, f"must be one of {', '.join(_READ)}", "as-unknown")
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
    made = SegmentSpec(**read_common(table, channel), **_of_segment(table))
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
    made = LabelSpec(**read_common(table))
    _of_segment(table)
    return made


_READ: Final[Mapping[str, Callable[[Table], FindingSpec]]] = {
    LabelSpec.kind: _label,
    SegmentSpec.kind: _segment,
    BoxesSpec.kind: read_boxes,
    NumberSpec.kind: read_number,
}
"""By what a card says under `as`."""


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
    conditions = ("probability", "volume_ml", "value")
    if not any(when.has(each) for each in conditions):
        rule = 'a rule needs probability = ">=0.8", volume_ml = ">=5" or, of a number, value = ">=150"'
        when.fault("probability", None, rule, "triage-empty")
    probability = _minimum(when, "probability", 'must read ">=0.8", at most 1', maximum=1.0)
    volume_ml = _minimum(when, "volume_ml", 'must read ">=5", a number of millilitres')
    bounds = read_bounds(when, "value") if when.has("value") else (None, None)
    if finding is not None:
        _check_rule(when, finding, probability, volume_ml)
        _check_value(when, finding, bounds)
    when.done()
    triage = TriageClass(table.choice("class", tuple(TriageClass)))
    table.done()
    return TriageRule(value, probability, triage, volume_ml, *bounds)


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
    if probability is not None and isinstance(finding, NumberSpec):
        rule = 'a number has no probability: use value = ">=150" here'
        when.fault("probability", f">={probability:g}", rule, "triage-probability-absent")
    if volume_ml is not None and not isinstance(finding, SegmentSpec):
        rule = f"a {finding.kind} has no volume: use {'value' if isinstance(finding, NumberSpec) else 'probability'}"
        when.fault("volume_ml", f">={volume_ml:g}", rule, "triage-volume-absent")
    elif volume_ml is not None and isinstance(finding, SegmentSpec) and "volume_ml" not in finding.measure:
        rule = 'the finding does not measure it: add "volume_ml" to its measure, so that its reports contain it'
        when.fault("volume_ml", f">={volume_ml:g}", rule, "triage-volume-absent")


def _check_value(when: Table, finding: FindingSpec, bounds: tuple[float | None, float | None]) -> None:
    """A rule asks a number alone for its value, and one that may be present."""
    if bounds != (None, None) and not isinstance(finding, NumberSpec):
        when.fault("value", when.untaken("value"), 'is of as = "number": use probability', "triage-value-absent")
    if isinstance(finding, NumberSpec) and finding.is_measured_only:
        rule = "the finding is only measured, and never present: give it present = {value = ...}"
        when.fault("finding", finding.code.value, rule, "triage-measured-only")
