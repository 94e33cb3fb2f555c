"""`pad-centre`: padded at both ends of each axis to at least these sizes, with the least value."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imaging.domain.tables import Table
from imaging.preparation import crop_centre
from imaging.preparation.array import Array
from imaging.preparation.step import BOTH, Options, Sizes, StepKind


def _options(table: Table) -> dict[str, Any]:
    return crop_centre.shape_of(table)


def _run(array: Array, shape: Sequence[int]) -> Array:
    short = [max(0, wanted - size) for size, wanted in zip(array.shape, shape, strict=True)]
    if not any(short):
        return array
    wide = [(each // 2, each - each // 2) for each in short]
    values = np.pad(array.values, [(0, 0), *wide], constant_values=float(array.values.min()))
    grid = array.grid and array.grid.moved([-before for before, _ in wide], values.shape[1:])
    is_film = len(wide) == 2
    image = np.pad(np.ones(array.shape, np.bool_) if array.image is None else array.image, wide) if is_film else None
    return replace(array, values=values, grid=grid, image=image)


def _sizes(options: Options, before: Sizes | None) -> Sizes | None:
    """An image of which nothing is known may be larger."""
    return None if before is None else tuple(map(max, before, options["shape"]))


STEP = StepKind(BOTH, _options, _run, faults=crop_centre.shape_faults, sizes=_sizes)
