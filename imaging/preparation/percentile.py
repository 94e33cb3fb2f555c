"""`percentile`: clipped at two percentiles and brought to 0..1, per channel."""

from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.step import BOTH, StepKind, span


def _options(table: Table) -> dict[str, Any]:
    return span(table, "lower", "upper", 0.0, 100.0)


def _run(array: Array, lower: float, upper: float) -> Array:
    done = np.empty_like(array.values)
    for target, channel in zip(done, array.values, strict=True):
        low, high = np.percentile(channel if array.image is None else channel[array.image], [lower, upper])
        target[:] = (np.clip(channel, low, high) - low) / max(high - low, 1e-6)
    return array.having(done)


STEP = StepKind(BOTH, _options, _run, range=lambda values, options: ("", None))
