"""What steps change: an image's values, and where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imaging.domain.grid import FilmGrid, Grid

Tensor = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Array:
    """`values`: (channels, rows, columns) of a film; of a volume (channels, slice, row, column) or, after `orient`, in
    the order of its letters: RAS is (channels, R, A, S), the index growing toward right, anterior, superior.

    `grid`: where its voxels or pixels lie. `image`: which of a film's pixels count in statistics; None: all.
    """

    values: Tensor
    grid: Grid | FilmGrid | None = None
    image: Mask | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        return self.values.shape[1:]

    def having(self, values: Tensor) -> "Array":
        """Other values at the same places."""
        return replace(self, values=values)

    def part(self, where: Sequence[slice]) -> "Array":
        """A part of it, by slices of its axes."""
        values = self.values[(slice(None), *where)]
        grid = self.grid and self.grid.moved([each.start for each in where], values.shape[1:])
        return Array(values, grid, None if self.image is None else self.image[tuple(where)])


def middle(sizes: Sequence[int], wanted: Sequence[int]) -> tuple[slice, ...]:
    """The middle part, of at most the sizes wanted."""
    first = [max(0, (size - minimum) // 2) for size, minimum in zip(sizes, wanted, strict=True)]
    return tuple(slice(start, start + minimum) for start, minimum in zip(first, wanted, strict=True))


def scaled(values: Tensor, factor: float, offset: float) -> Tensor:
    """factor * values + offset."""
    done: Tensor = np.multiply(values, np.float32(factor))
    done += np.float32(offset)
    return done
