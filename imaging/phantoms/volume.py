"""A drawn volume, and the brushes that draw it: a grid, smooth noise, blur.

Arrays are [slice, row, column]; index grows toward superior, posterior, left, so each
axis grows as its coordinate does in the patient's frame (LPS, PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Phantom:
    """A drawn volume and what was drawn into it.

    `values`: [slice, row, column]; HU for CT, arbitrary units for MR. `spacing_mm`: (slice,
    row, column). `mask`: the drawn lesion on the same grid, all False without one; it fills
    `volume_ml`. `kind` names the lesion ("subdural", "tumour", ...) or is "normal".
    """

    values: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    mask: Bools
    volume_ml: float
    kind: str


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxel centres in scanner millimetres, with the isocentre amid the volume."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def extent_mm(self) -> tuple[float, ...]:
        """Size from edge to edge, (slice, row, column)."""
        return tuple(n * step for n, step in zip(self.shape, self.spacing_mm, strict=True))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def axis(self, number: int) -> Floats:
        """Coordinates in mm along axis 0 (slice), 1 (row) or 2 (column)."""
        count, step = self.shape[number], self.spacing_mm[number]
        return ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)


def smooth_noise(rng: np.random.Generator, grid: Grid, cell_mm: float) -> Floats:
    """Noise of unit deviation whose details are about `cell_mm` wide, on the whole grid."""
    knots = [max(4, round(extent / cell_mm) + 1) for extent in grid.extent_mm]
    noise = rng.standard_normal(knots, dtype=np.float32)
    for axis, (count, coarse) in enumerate(zip(grid.shape, knots, strict=True)):
        noise = np.moveaxis(_carried(np.moveaxis(noise, axis, 2), _spline(count, coarse)), 2, axis)
    noise = np.ascontiguousarray(noise)
    return noise / np.float32(max(float(noise[:, ::3, ::3].std()), 1e-6))


def _carried(knots: Floats, weights: Floats) -> Floats:
    """The last axis carried from knots to places.

    In strips too small for BLAS to use threads, which beside busy neighbours wait for each other
    (100 times slower, measured).
    """
    lines = knots.reshape(-1, knots.shape[2])
    places = np.empty((len(lines), len(weights)), np.float32)
    strip = max(1, 200_000 // weights.size)
    for start in range(0, len(lines), strip):
        np.matmul(lines[start : start + strip], weights.T, out=places[start : start + strip])
    return places.reshape(*knots.shape[:2], len(weights))


def _spline(count: int, coarse: int) -> Floats:
    """Cubic B-spline weights that carry `coarse` knots to `count` places, rows summing to 1."""
    away = np.abs(np.linspace(0, coarse - 1, count)[:, None] - np.arange(coarse)[None, :])
    near = 2 / 3 - away**2 + away**3 / 2
    weights = np.where(away < 1, near, np.where(away < 2, (2 - away) ** 3 / 6, 0))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def blur(values: Floats, axes: Sequence[int], side: float = 0.25) -> Floats:
    """`values` after a three-tap filter (side, 1 - 2 side, side) along each of `axes`."""
    for axis in axes:
        lines = np.moveaxis(values, axis, 0)
        soft = lines * np.float32(1 - 2 * side)
        soft[1:] += np.float32(side) * lines[:-1]
        soft[:-1] += np.float32(side) * lines[1:]
        soft[0] += np.float32(side) * lines[0]
        soft[-1] += np.float32(side) * lines[-1]
        values = np.moveaxis(soft, 0, axis)
    return np.ascontiguousarray(values)


def fullest(score: Floats, allowed: Bools, voxels: int) -> Bools:
    """The `voxels` allowed voxels of highest score (fewer where fewer are allowed)."""
    places = np.flatnonzero(allowed)
    count = min(len(places), voxels)
    chosen = np.zeros(allowed.size, np.bool_)
    if count:
        ranks = -score.reshape(-1)[places]
        chosen[places[np.argpartition(ranks, count - 1)[:count]]] = True
    return chosen.reshape(allowed.shape)
