"""`pad-multiple`: padded at the end of each axis to the next multiple, with the least value."""

from dataclasses import replace
from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.step import VOLUME, StepKind


def _options(table: Table) -> dict[str, Any]:
    return {"of": table.integer("of", None, 2, 512)}


def _run(array: Array, of: int) -> Array:
    wide = [(0, 0), *((0, -size % of) for size in array.shape)]
    values = np.pad(array.values, wide, constant_values=float(array.values.min()))
    return replace(array, values=values, grid=array.grid and array.grid.moved((0, 0, 0), values.shape[1:]))


STEP = StepKind(VOLUME, _options, _run)
