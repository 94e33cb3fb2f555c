"""`crop-foreground`: the part that holds all values above 0, in any channel; all of it where there are none."""

from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.step import VOLUME, StepKind


def _options(table: Table) -> dict[str, Any]:
    return {}


def _run(array: Array) -> Array:
    places = np.nonzero((array.values > 0).any(axis=0))
    if not places[0].size:
        return array
    return array.part([slice(int(each.min()), int(each.max()) + 1) for each in places])


STEP = StepKind(VOLUME, _options, _run)
