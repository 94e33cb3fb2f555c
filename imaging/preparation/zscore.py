"""`zscore`: mean 0 and deviation 1 per channel."""

from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.step import BOTH, StepKind


def _options(table: Table) -> dict[str, Any]:
    return {"nonzero": table.flag("nonzero", False)}


def _run(array: Array, nonzero: bool = False) -> Array:
    """With `nonzero` of what is not 0, and the rest stays 0."""
    values, image = array.values, array.image
    done = np.zeros_like(values)
    for target, channel in zip(done, values, strict=True):
        changed = channel != 0 if nonzero else np.ones(channel.shape, np.bool_)
        mask = changed if image is None else changed & image
        if mask.any():
            chosen = channel[mask] if nonzero or image is not None else channel
            mean, deviation = chosen.mean(dtype=np.float64), chosen.std(dtype=np.float64)
            changing = channel[changed] if nonzero else channel
            target[changed] = ((changing - mean) / max(deviation, 1e-6)).reshape(-1)
    return array.having(done)


STEP = StepKind(BOTH, _options, _run, range=lambda values, options: ("", None))
