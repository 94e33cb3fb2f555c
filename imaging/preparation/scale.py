"""`scale`: value x factor + offset."""

from typing import Any

from imaging.domain.tables import Table
from imaging.preparation.array import Array, scaled
from imaging.preparation.ranges import MIN_SHARE, Range
from imaging.preparation.step import BOTH, Options, StepKind


def _options(table: Table) -> dict[str, Any]:
    factor = table.number("factor", 1.0, -1e6, 1e6)
    if factor == 0.0:
        table.fault("factor", factor, "would make all values the same: must not be 0", "factor-range")
    return {"factor": factor, "offset": table.number("offset", 0.0, -1e6, 1e6)}


def _run(array: Array, factor: float, offset: float) -> Array:
    return array.having(scaled(array.values, factor, offset))


def _range(values: Range, options: Options) -> tuple[str, Range]:
    factor, offset = float(options["factor"]), float(options["offset"])
    low, high = sorted((factor * values.low + offset, factor * values.high + offset))
    why = "uses less than a twentieth of 0..1" if high - low < MIN_SHARE else ""
    return why, Range(low, high, "scaled values")


STEP = StepKind(BOTH, _options, _run, range=_range)
