"""An even, right-angled grid of voxels in the patient. Lengths in mm, frame LPS."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """An even, right-angled grid of voxels. `axes`: unit vectors (LPS) of the index axes, a row each.

    `source_axes`: which axis of the source (0 slice, 1 row, 2 column) each index axis runs along, and whether in its
    direction.
    """

    origin: Vector
    axes: Vector
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    source_axes: tuple[tuple[int, bool], ...]

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000

    def to_patient(self, index: NDArray[Any]) -> Vector:
        """Where voxel centres lie. `index`: (n, 3), may be fractional. Returns (n, 3) in mm, LPS."""
        place: Vector = self.origin + (np.asarray(index, np.float64) * self.spacing_mm) @ self.axes
        return place

    def moved(self, first: Sequence[int], shape: tuple[int, ...]) -> "Grid":
        """A part of this grid, or one that reaches further: from index `first` on, of that shape."""
        return replace(self, origin=self.to_patient(np.array([first]))[0], shape=(shape[0], shape[1], shape[2]))
