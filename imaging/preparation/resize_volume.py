"""`resize-volume`: a volume of the wanted sizes, linear, whatever its spacing then is: its outer faces stay."""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from imaging.domain.grid import Grid
from imaging.domain.tables import Table
from imaging.preparation.array import Array, Tensor
from imaging.preparation.step import VOLUME, StepKind

LARGEST: Final = 1024
"""Of a size: what a volume is made of has to fit into memory."""


def _options(table: Table) -> dict[str, Any]:
    shape = table.numbers("shape", 3, 1, whole=True)
    if any(each > LARGEST for each in shape):
        table.fault("shape", [int(each) for each in shape], f"must be at most {LARGEST} each", "shape-range")
        shape = (1, 1, 1)
    return {"shape": tuple(int(each) for each in shape)}


def _run(array: Array, shape: tuple[int, int, int]) -> Array:
    values, old = array.values, array.shape
    for axis, (before, after) in enumerate(zip(old, shape, strict=True), 1):
        if before != after:
            values = _along(values, _weights(before, after), axis)
    if not isinstance(array.grid, Grid):
        return array.having(values)
    shares = np.array(old) / shape
    first, second, third = (float(each) for each in array.grid.spacing_mm * shares)
    origin = array.grid.to_patient(((shares - 1) / 2)[None])[0]  # of the first voxel, whose outer face stays
    grid = replace(array.grid, origin=origin, spacing_mm=(first, second, third), shape=shape)
    return Array(np.ascontiguousarray(values), grid)


def _along(values: Tensor, weights: Tensor, axis: int) -> Tensor:
    """One axis as sums of what it was: `weights` are (after, before)."""
    done: Tensor = np.moveaxis(np.tensordot(weights, values, ([1], [axis])), 0, axis)
    return done


def _weights(before: int, after: int) -> Tensor:
    """Each voxel between the two whose centres lie around its own; beyond the last centres, the last ones."""
    places = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    low = np.minimum(places.astype(np.intp), before - 1)
    high = np.minimum(low + 1, before - 1)
    weights = np.zeros((after, before), np.float32)
    np.add.at(weights, (np.arange(after), low), 1 - (places - low))
    np.add.at(weights, (np.arange(after), high), places - low)
    return weights


STEP = StepKind(VOLUME, _options, _run, is_once=True, sizes=lambda options, before: options["shape"])
