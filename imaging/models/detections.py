"""Reads findings of `as = "boxes"` and `as = "number"`: how rows become places, and a channel a measurement."""

import re
from typing import Any, Final

from imaging.domain.boxes import FORMATS
from imaging.domain.card import BoxesSpec, NumberSpec
from imaging.domain.tables import Table
from imaging.models.finding_keys import AT_LEAST, read_subject, refuse_keys

OF_LABELS: Final = ("activation", "threshold", "calibration", "mask_at", "min_ml", "probability")
UNIT: Final = re.compile(r"[!-~]{1,16}")
"""UCUM codes are of printable ASCII without blanks; longer ones fit no Code Value."""
MOST: Final = 1e9
_NUMBER: Final = r"(-?\d+(?:\.\d+)?)"
_BOUNDS: Final = re.compile(rf"(?:>=\s*{_NUMBER})?\s*(?:<=\s*{_NUMBER})?")


def read_boxes(table: Table) -> BoxesSpec:
    """A finding of a detector."""
    rule = 'is not of as = "boxes": scores are read by decode.score, and compared with present.score'
    refuse_keys(table, (*OF_LABELS, "measure"), rule, "boxes-keys")
    subject = read_subject(table, table.integer("channel", 0, 0, 10_000))
    outputs = table.table("outputs")
    named: dict[str, Any] = {
        "output": outputs.text("boxes"),
        "scores": outputs.text("scores"),
        "labels": outputs.text("labels", ""),
    }
    names = [each for each in named.values() if each]
    if len(set(names)) < len(names):
        table.fault("outputs", names, "must be outputs of their own", "outputs-repeated")
    outputs.done()
    return BoxesSpec(**subject, **named, **_decode(table.table("decode")), threshold=_least_score(table))


def _decode(table: Table) -> dict[str, Any]:
    form = table.choice("format", FORMATS)
    axes = table.text("axes")
    letters = "xyz"[: FORMATS[form].axes]
    if axes and sorted(axes) != sorted(letters):
        rule = f'must name each of {", ".join(letters)} once, in the order in which "{form}" has them'
        table.fault("axes", axes, rule, "axes-form")
        axes = letters
    made = {
        "format": form,
        "axes": axes or letters,
        "activation": table.choice("score", ("sigmoid", "softmax", "none")),
        "zero": table.choice("zero", ("centre", "edge"), "centre"),
        "score_min": table.number("score_min", None, 0.0, 1.0),
        "nms": table.number("nms", None, 0.0, 1.0),
        "top": table.integer("top", None, 1, 1000),
    }
    table.done()
    return made


def _least_score(table: Table) -> float:
    present = table.table("present")
    text = present.text("score")
    match = AT_LEAST.fullmatch(text)
    score = float(match[1]) if match else 0.5
    if text and (match is None or not 0 < score <= 1):
        present.fault("score", text, 'must read ">=0.5", more than 0 and at most 1', "present-form")
    present.done()
    return score


def read_number(table: Table) -> NumberSpec:
    """A finding that is a measurement."""
    rule = 'is not of as = "number", whose value is a measurement: use range, factor and offset, and present.value'
    refuse_keys(table, (*OF_LABELS, "measure"), rule, "number-keys")
    low, high = _range(table)
    at_least, at_most = _bounds(table) if table.has("present") else (None, None)
    made = NumberSpec(
        **read_subject(table),
        output=table.text("output", ""),
        unit=_unit(table),
        range=(low, high),
        factor=table.number("factor", 1.0, -MOST, MOST),
        offset=table.number("offset", 0.0, -MOST, MOST),
        decimals=table.integer("decimals", 2, 0, 6),
        at_least=at_least,
        at_most=at_most,
    )
    if made.factor == 0.0:
        table.fault("factor", 0.0, "would give every study one value: must not be 0", "factor-range")
    if (made.at_least is not None and made.at_least > high) or (made.at_most is not None and made.at_most < low):
        table.fault("present", None, f"no value of range {low:g}..{high:g} reaches it", "present-range")
    return made


def _range(table: Table) -> tuple[float, float]:
    values = table.taken("range")
    are_two = isinstance(values, list) and len(values) == 2
    if are_two and all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        low, high = float(values[0]), float(values[1])
        if -MOST <= low < high <= MOST:
            return low, high
    table.fault("range", values, "must be the least and the greatest value that can be, such as [0, 100]", "range-form")
    return -MOST, MOST


def _unit(table: Table) -> str:
    unit = table.text("unit")
    if unit and (not UNIT.fullmatch(unit) or unit.count("{") != unit.count("}")):
        table.fault("unit", unit, 'must be a UCUM code of at most 16 characters, such as "mo", "%" or "1"', "unit-form")
    return unit


def _bounds(table: Table) -> tuple[float | None, float | None]:
    inner = table.table("present")
    bounds = read_bounds(inner, "value")
    inner.done()
    return bounds


def read_bounds(table: Table, key: str) -> tuple[float | None, float | None]:
    """The ends of a range as ">=1.5", "<=40" or ">=1 <=2"; None where there is none."""
    text = table.text(key)
    match = _BOUNDS.fullmatch(text)
    low, high = (None if each is None else float(each) for each in match.groups()) if match else (None, None)
    is_empty = low is not None and high is not None and low > high
    if text and ((low is None and high is None) or is_empty):
        table.fault(key, text, 'must read ">=150", "<=40" or ">=10 <=20"', f"{key}-form")
    return low, high
