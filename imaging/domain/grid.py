"""Even, right-angled grids: of voxels in the patient (lengths in mm, frame LPS), and of pixels on a film."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

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


@dataclass(frozen=True)
class FilmGrid:
    """Where the pixels of a prepared film lie on the image as it is stored: in its pixels, (row, column), zero-based,
    pixel centres at whole numbers.

    `origin`: of the first pixel. `axes`: a step along each index axis, a row each; one of its two numbers is 0.
    """

    origin: Vector
    axes: Vector
    shape: tuple[int, int]

    def to_pixels(self, index: NDArray[Any]) -> Vector:
        """Where pixels lie. `index`: (n, 2), may be fractional. Returns (n, 2)."""
        place: Vector = self.origin + np.asarray(index, np.float64) @ self.axes
        return place

    def moved(self, first: Sequence[int], shape: tuple[int, ...]) -> Self:
        """A part of this grid, or one that reaches further: from index `first` on, of that shape."""
        return replace(self, origin=self.to_pixels(np.array([first]))[0], shape=(shape[0], shape[1]))

    def resized(self, shape: tuple[int, int]) -> Self:
        """The same picture in another number of pixels: its outer edges stay where they are."""
        scale = np.array(self.shape) / np.array(shape)
        origin = self.to_pixels((scale - 1)[None] / 2)[0]
        return replace(self, origin=origin, axes=self.axes * scale[:, None], shape=shape)

    def nearest(self, rows: NDArray[Any], columns: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
        """For stored rows and columns, the index on the grid's axis that runs along each, by the nearest; may lie
        beyond the grid. And whether rows run along the grid's second axis.
        """
        is_transposed = bool(self.axes[0, 0] == 0)
        along_rows, along_columns = (1, 0) if is_transposed else (0, 1)
        at_row = (rows - self.origin[0]) / self.axes[along_rows, 0]
        at_column = (columns - self.origin[1]) / self.axes[along_columns, 1]
        row, column = (np.floor(each + 0.5).astype(np.intp) for each in (at_row, at_column))
        return row, column, is_transposed
