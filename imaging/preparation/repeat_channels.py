"""`repeat-channels`: the one channel of an image several times."""

from typing import Any, Final

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.step import BOTH, StepKind

MAX_CHANNELS: Final = 16
"""That an input may have: each is a whole image more."""


def _options(table: Table) -> dict[str, Any]:
    return {"count": table.integer("count", 3, 2, MAX_CHANNELS)}


def _run(array: Array, count: int) -> Array:
    return array.having(np.repeat(array.values, count, axis=0))


STEP = StepKind(BOTH, _options, _run, is_once=True, channels=lambda options: int(options["count"]))
