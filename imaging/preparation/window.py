"""`window`: clipped at two values and brought to 0..1."""

from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array, scaled
from imaging.preparation.ranges import FINEST, MIN_SHARE, Range
from imaging.preparation.step import BOTH, Options, StepKind, span


def _options(table: Table) -> dict[str, Any]:
    return span(table, "low", "high")


def _run(array: Array, low: float, high: float) -> Array:
    return array.having(scaled(np.clip(array.values, low, high), 1 / (high - low), -low / (high - low)))


def _range(values: Range, options: Options) -> tuple[str, Range]:
    low, high = float(options["low"]), float(options["high"])
    shared, after = min(high, values.high) - max(low, values.low), Range(0.0, 1.0, "what the window gives")
    if shared <= MIN_SHARE * (high - low):
        return "leaves only one grey level" if shared <= 0 else "uses less than a twentieth of 0..1", after
    return "leaves only black and white" if high - low < FINEST * values.width else "", after


STEP = StepKind(BOTH, _options, _run, range=_range)
