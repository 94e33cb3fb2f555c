"""A series as one array with its place in the patient: the Volume (docs/models.md, "laws").

Lengths in mm, frame LPS, float64. Index order is (slice, row, column), zero-based, voxel centres; slices run along
the normal (row x column), from low to high. The laws of geometry themselves stand in `imaging.domain.geometry`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.findings import ImageRef
from imaging.domain.geometry import Region, Stack
from imaging.domain.grid import Grid
from imaging.domain.reasons import NotAnalysable
from imaging.preparation.array import Array
from imaging.preparation.orient import COLUMN_FIRST

Values = NDArray[Any]
Tensor = NDArray[np.float32]
Vector = NDArray[np.float64]

MAX_BYTES: Final = 2 << 30
"""Of a volume as floats; more is refused as `memory`."""
CT_AIR: Final = -1024.0
TOWARD: Final = {
    "R": (-1.0, 0.0, 0.0), "L": (1.0, 0.0, 0.0), "A": (0.0, -1.0, 0.0), "P": (0.0, 1.0, 0.0), "S": (0.0, 0.0, 1.0),
    "I": (0.0, 0.0, -1.0),
}  # fmt: skip
"""In LPS, where an index axis of that letter grows: right, left, anterior, posterior, superior, inferior."""


@dataclass(frozen=True)
class Volume:
    """`values`: (slices, rows, columns) in the modality's units: int16 where these are whole, else float32.

    `positions`: (slices, 3), the first voxel of each slice. `images`: the instance that each slice came from.
    `frames`: which frame of it, counted from 1; empty: each is an instance's only one. `padding`: how many voxels were
    padding. `dropped`: slices that were there twice.
    """

    values: Values
    laid: Stack
    positions: Vector
    spacing_mm: tuple[float, float]
    images: tuple[ImageRef, ...]
    modality: str
    padding: int = 0
    dropped: int = 0
    frame_of_reference_uid: str = ""
    frames: tuple[int, ...] = ()

    @property
    def region(self) -> Region:
        """The place in the patient that it covers."""
        shape = (self.values.shape[1], self.values.shape[2])
        return Region(self.laid, self.positions, self.spacing_mm, shape, self.frame_of_reference_uid)

    @property
    def outside(self) -> float:
        """What lies beyond the volume."""
        return CT_AIR if self.modality == "CT" else 0.0

    @property
    def axes(self) -> Vector:
        """Unit vectors (LPS) along slices, rows (down a column) and columns (along a row), a row each."""
        return np.stack([self.laid.normal, self.laid.column, self.laid.row])

    def to_patient(self, index: NDArray[Any]) -> Vector:
        """Where voxel centres lie in the patient, by each slice's own position. PS3.3 C.7.6.2.1.1.

        `index`: (n, 3) as (slice, row, column); slices may be fractional. Returns (n, 3) in mm, LPS.
        """
        index = np.asarray(index, np.float64)
        slices = np.arange(len(self.positions))
        start = np.stack([np.interp(index[:, 0], slices, self.positions[:, axis]) for axis in range(3)], axis=1)
        down, along = self.spacing_mm[0] * self.laid.column, self.spacing_mm[1] * self.laid.row
        place: Vector = start + index[:, 1:2] * down + index[:, 2:3] * along
        return place

    def nearest(self, places: Vector) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The voxels (slice, row, column) nearest to places, both (n, 3), places in mm, LPS; and which places lie in
        the volume: those of the others mean nothing."""
        distances = places @ self.laid.normal
        between = (self.laid.along_mm[:-1] + self.laid.along_mm[1:]) / 2
        at = np.searchsorted(between, distances)
        offset = places - self.positions[at]
        down = np.round(offset @ self.laid.column / self.spacing_mm[0]).astype(np.intp)
        across = np.round(offset @ self.laid.row / self.spacing_mm[1]).astype(np.intp)
        _, rows, columns = self.values.shape
        inside = np.abs(distances - self.laid.along_mm[at]) <= float(self.laid.gaps_mm.max()) / 2 + 1e-6
        inside &= (down >= 0) & (down < rows) & (across >= 0) & (across < columns)
        return np.stack([at, down, across], axis=1), inside

    def sampled(self, places: Vector) -> Tensor:
        """The volume at any places, (n, 3) in mm, LPS: linear, NaN where it does not reach."""
        distances = places @ self.laid.normal
        heights, last = self.laid.along_mm, len(self.values) - 1
        below = np.clip(np.searchsorted(heights, distances, side="right") - 1, 0, max(last - 1, 0))
        above = np.minimum(below + 1, last)
        fraction = (distances - heights[below]) / np.maximum(heights[above] - heights[below], 1e-9)
        inside = (fraction >= -0.5) & (fraction <= 1.5)
        fraction = np.clip(fraction, 0.0, 1.0)
        start = self.positions[below] + fraction[:, None] * (self.positions[above] - self.positions[below])
        down = (places - start) @ self.laid.column / self.spacing_mm[0]
        across = (places - start) @ self.laid.row / self.spacing_mm[1]
        _, rows, columns = self.values.shape
        inside &= (down > -0.5) & (down < rows - 0.5) & (across > -0.5) & (across < columns - 0.5)
        done = np.full(len(places), np.nan, np.float32)
        at = np.flatnonzero(inside)
        lower, upper = (self._in_plane(index[at], down[at], across[at]) for index in (below, above))
        done[at] = lower + fraction[at] * (upper - lower)
        return done

    def _in_plane(self, plane: NDArray[np.intp], down: Vector, across: Vector) -> Vector:
        """Values at fractional rows and columns of slices, linear."""
        _, rows, columns = self.values.shape
        row = np.clip(np.floor(down).astype(np.intp), 0, max(rows - 2, 0))
        column = np.clip(np.floor(across).astype(np.intp), 0, max(columns - 2, 0))
        y, x = np.clip(down - row, 0.0, 1.0), np.clip(across - column, 0.0, 1.0)
        next_row, next_column = np.minimum(row + 1, rows - 1), np.minimum(column + 1, columns - 1)
        top = (1 - x) * self.values[plane, row, column] + x * self.values[plane, row, next_column]
        bottom = (1 - x) * self.values[plane, next_row, column] + x * self.values[plane, next_row, next_column]
        mixed: Vector = (1 - y) * top + y * bottom
        return mixed

    def array(
        self,
        toward: str = "",
        spacing_mm: tuple[float, ...] | None = None,
        is_nearest: bool = False,
        is_border_repeated: bool = False,
        beside: Sequence["Volume"] = (),
    ) -> Array:
        """The volume on a grid of its own axes, (1, *grid.shape).

        `is_border_repeated`: the grid is MONAI's: where its last voxels lie beyond the volume they have its border's
        values, and not those of `outside`; with others beside it, nothing is repeated.
        `beside`: other stacks of the same acquisition. They lie around this one in it, since half a head ends for a
        network in a wall of air; what it finds there is theirs.
        """
        grid = self.grid(toward=toward, spacing_mm=spacing_mm, beside=beside, is_half_even=is_border_repeated)
        repeated = is_border_repeated and not beside
        values = self.resample(grid, is_nearest=is_nearest, is_border_repeated=repeated)
        if beside:
            self._fill_around(values, grid, beside)
        return Array(values[None], grid)

    def _fill_around(self, values: Tensor, grid: Grid, beside: Sequence["Volume"]) -> None:
        """Where the volume does not reach: what those beside it hold there, plane by plane of the grid."""
        for at, plane in enumerate(values):
            index = np.indices(plane.shape).reshape(2, -1).T
            places = grid.to_patient(np.column_stack([np.full(len(index), at), index]))
            open_ = ~self.region.covers(places, 0.0)
            flat = plane.reshape(-1)
            for other in beside:
                wanted = np.flatnonzero(open_)
                seen = other.sampled(places[wanted])
                known = ~np.isnan(seen)
                flat[wanted[known]] = seen[known]
                open_[wanted[known]] = False

    def grid(
        self,
        *,
        toward: str = "",
        spacing_mm: tuple[float, ...] | None = None,
        beside: Sequence["Volume"] = (),
        is_half_even: bool = False,
    ) -> Grid:
        """The right-angled grid that covers the volume, and those `beside` it, along its own axes.

        `toward`: its index axes are turned the nearest way to these directions: "RAS" is (right, anterior, superior);
        or they are as stored, the column first (`COLUMN_FIRST`).

        The centre of the first voxel stays where it is, and an axis of `extent` mm gets round(extent / spacing) + 1
        voxels; with `is_half_even` round(extent / spacing + 1), as MONAI counts: of a half one more or less.
        `spacing_mm` is in index order; None keeps the volume's own (the least gap, where gaps differ).
        """
        axes = self.axes
        low, high = self._extent()
        for other in beside:
            corners = other.corners() @ axes.T
            low, high = np.minimum(low, corners.min(axis=0)), np.maximum(high, corners.max(axis=0))
        gap = float(np.median(self.laid.gaps_mm) if self.laid.kind == "even" else self.laid.gaps_mm.min())
        own = (gap, *self.spacing_mm)
        order = _order(axes, toward)
        spacing = [float(each) for each in spacing_mm] if spacing_mm else [float(own[axis]) for axis, _ in order]
        shape = [
            _count(float(high[axis] - low[axis]) / each, is_half_even)
            for (axis, _), each in zip(order, spacing, strict=True)
        ]
        if 4 * float(np.prod([float(n) for n in shape])) > MAX_BYTES:
            raise NotAnalysable("memory")
        origin = sum((low[axis] if is_along else high[axis]) * axes[axis] for axis, is_along in order)
        turned = np.stack([axes[axis] if is_along else -axes[axis] for axis, is_along in order])
        return Grid(
            np.asarray(origin),
            turned,
            (spacing[0], spacing[1], spacing[2]),
            (shape[0], shape[1], shape[2]),
            order,
        )

    def _starts(self) -> Vector:
        """Where each slice begins, along the volume's axes: (slices, 3). Not tilted: all begin at the same place."""
        starts: Vector = self.positions @ self.axes.T
        if self.laid.tilt_degrees:
            return starts
        along, *across = starts.T
        settled: Vector = np.stack([along, *(np.full_like(each, np.median(each)) for each in across)], axis=1)
        return settled

    def _extent(self) -> tuple[Vector, Vector]:
        """The lowest and the highest voxel centre along the volume's axes."""
        starts = self._starts()
        _, rows, columns = self.values.shape
        far = starts + np.array([0.0, (rows - 1) * self.spacing_mm[0], (columns - 1) * self.spacing_mm[1]])
        return starts.min(axis=0), far.max(axis=0)

    def corners(self) -> Vector:
        """Where the eight corner voxels lie: (8, 3) in mm, LPS."""
        ends = [range(0, size, max(size - 1, 1)) for size in self.values.shape]
        return self.to_patient(np.array([(z, y, x) for z in ends[0] for y in ends[1] for x in ends[2]], np.float64))

    def _laid_over(self, grid: Grid) -> tuple[Vector, Vector, list[int]]:
        """Where a grid of the volume's axes lies along each of them: its first voxel, its step in mm (less than 0
        where it runs the other way), and which of its own axes that is."""
        first, steps, grid_axes = np.empty(3), np.empty(3), [0, 0, 0]
        for grid_axis, (axis, is_along) in enumerate(grid.source_axes):
            first[axis] = grid.origin @ self.axes[axis]
            steps[axis] = grid.spacing_mm[grid_axis] if is_along else -grid.spacing_mm[grid_axis]
            grid_axes[axis] = grid_axis
        return first, steps, grid_axes

    def resample(self, grid: Grid, *, is_nearest: bool = False, is_border_repeated: bool = False) -> Tensor:
        """The volume on a grid of its own axes: linear, at the slices' true positions, tilt undone.

        Separable, one output plane at a time, so that uneven gaps cost nothing and no second volume is made. Beyond
        half a voxel outside, the value is `outside`, or the border's.
        """
        between = partial(_between, is_nearest=is_nearest, is_border_repeated=is_border_repeated)
        starts = self._starts()
        first, steps, grid_axes = self._laid_over(grid)
        lines = [
            start + step * np.arange(grid.shape[axis], dtype=np.float64)
            for start, step, axis in zip(first, steps, grid_axes, strict=True)
        ]
        across = between(starts[:, 0], lines[0])
        done = np.full([len(line) for line in lines], self.outside, np.float32)
        for at in np.flatnonzero(across.inside):
            below, above, fraction = int(across.below[at]), int(across.above[at]), np.float32(across.fraction[at])
            plane = self.values[below].astype(np.float32)
            start = starts[below]
            if fraction:
                plane += fraction * (self.values[above] - plane)
                start = start + float(fraction) * (starts[above] - start)
            self._fill(done[at], plane, start, lines, between)
        return np.ascontiguousarray(done.transpose([axis for axis, _ in grid.source_axes]))

    def _fill(
        self,
        target: Tensor,
        plane: Tensor,
        start: Vector,
        lines: list[Vector],
        between: Callable[[Vector, Vector], "_Between"],
    ) -> None:
        """One plane at the lines' places: rows first, then columns."""
        rows, columns = plane.shape
        down = between(start[1] + self.spacing_mm[0] * np.arange(rows), lines[1])
        along = between(start[2] + self.spacing_mm[1] * np.arange(columns), lines[2])
        if down.is_all and along.is_all:
            target[:] = plane
            return
        thin = plane[down.below]
        thin += down.fraction[:, None].astype(np.float32) * (plane[down.above] - thin)
        fine = np.take(thin, along.below, axis=1)
        fine += along.fraction.astype(np.float32) * (np.take(thin, along.above, axis=1) - fine)
        inside = np.ix_(down.inside, along.inside)
        target[inside] = fine[inside]

    def parts_of(self, parts: Values, first: Sequence[int], grid: Grid) -> tuple[Values, tuple[int, int, int]] | None:
        """Numbered parts on a box of a grid of the volume's axes, `first` its first voxel, back on the volume's own
        voxels, by the nearest: on the box of these that holds them, and its first voxel. None: they reach none.
        """
        places, grid_axes = self._on(grid)
        turned = parts.transpose(grid_axes)
        index = [
            np.floor(each + 0.5).astype(np.intp) - first[axis] for each, axis in zip(places, grid_axes, strict=True)
        ]
        inside = [(each >= 0) & (each < size) for each, size in zip(index, turned.shape, strict=True)]
        slices = np.flatnonzero(inside[0])
        box = [held(inside[0][:, 0]), *(held(each[slices].any(axis=0)) for each in inside[1:])]
        if not all(each.stop for each in box):
            return None
        done = np.zeros([each.stop - each.start for each in box], parts.dtype)
        for at in slices:
            down, across = (held(each[at, own]) for each, own in zip(inside[1:], box[1:], strict=True))
            plane = turned[index[0][at, 0]][index[1][at, box[1]][down]]
            done[at - box[0].start, down, across] = plane[:, index[2][at, box[2]][across]]
        return done, (box[0].start, box[1].start, box[2].start)

    def _on(self, grid: Grid) -> tuple[list[Vector], list[int]]:
        """Where the volume's own voxels lie on a grid of its axes, in the grid's voxels: along slices (slices, 1), rows
        (slices, rows) and columns (slices, columns); and which axis of the grid each of these runs along.
        """
        first, steps, grid_axes = self._laid_over(grid)
        own = self._starts()
        _, rows, columns = self.values.shape
        lines = (
            own[:, :1],
            own[:, 1:2] + self.spacing_mm[0] * np.arange(rows),
            own[:, 2:3] + self.spacing_mm[1] * np.arange(columns),
        )
        return [(line - start) / step for line, start, step in zip(lines, first, steps, strict=True)], grid_axes

    def planes_of(self, values: Tensor, first: Sequence[int], grid: Grid) -> Iterator["Plane"]:
        """Values on a box of a grid of the volume's axes, (channels, *box), `first` its first voxel, at the volume's
        own voxels, linear: slice by slice, those that lie less than a voxel of the grid from the box. Beyond its last
        voxels these repeat.
        """
        places, grid_axes = self._on(grid)
        turned = values.transpose([0, *(1 + axis for axis in grid_axes)])
        places = [each - first[axis] for each, axis in zip(places, grid_axes, strict=True)]
        inside = [(each > -1) & (each < size) for each, size in zip(places, turned.shape[1:], strict=True)]
        for at in np.flatnonzero(inside[0][:, 0]):
            down, across = (held(each[at]) for each in inside[1:])
            plane = _along(turned, places[0][at], axis=1)[:, 0]
            plane = _along(plane, places[1][at, down], axis=1)
            yield Plane(int(at), down, across, _along(plane, places[2][at, across], axis=2))

    def rectangles(self, low: Vector, high: Vector, grid: Grid) -> tuple[NDArray[np.intp], Vector]:
        """A box on a grid of the volume's axes, from `low` to `high` in the grid's voxels, as its slices show it.

        Returns the slices that it lies in, as far as each reaches half-way to its neighbours, and on each of them the
        box as (left, top, right, bottom), in columns and rows, not cut to the image: a tilt shifts it.
        """
        first, steps, grid_axes = self._laid_over(grid)
        ends = first + steps * np.stack([low[grid_axes], high[grid_axes]])  # mm along the volume's axes
        least, most = ends.min(axis=0), ends.max(axis=0)
        starts, gaps = self._starts(), self.laid.gaps_mm
        halves = gaps / 2 if len(gaps) else np.array([0.5])
        before, after = np.concatenate([halves[:1], halves]), np.concatenate([halves, halves[-1:]])
        if not len(gaps):
            before = after = halves
        reach = 1e-6 * float(halves.max())  # what arithmetic leaves of a border that two slices share
        along = starts[:, 0]
        at = np.flatnonzero((along + after > least[0] + reach) & (along - before < most[0] - reach))
        spans = np.stack([least, most], axis=1)
        rows, columns = ((spans[axis] - starts[at, axis, None]) / self.spacing_mm[axis - 1] for axis in (1, 2))
        return at, np.stack([columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]], axis=1)

    @property
    def voxel_ml(self) -> Vector:
        """The volume of a voxel of each slice: it reaches half-way to its neighbours. A tilt does not change it."""
        gaps = self.laid.gaps_mm
        thick = np.concatenate(([gaps[0]], (gaps[:-1] + gaps[1:]) / 2, [gaps[-1]]))
        volume: Vector = thick * (self.spacing_mm[0] * self.spacing_mm[1] / 1000)
        return volume


def held(inside: NDArray[np.bool_]) -> slice:
    """From the first to the last that is true; nothing, from 0 to 0, where none is."""
    at = np.flatnonzero(inside)
    return slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)


@dataclass(frozen=True)
class Plane:
    """Some of the voxels of a slice: which one, its rows and columns, and (channels, rows, columns) there."""

    number: int
    rows: slice
    columns: slice
    values: Tensor


def _along(values: Tensor, places: Vector, axis: int) -> Tensor:
    """Values at fractional places along an axis, linear; beyond the ends, the ends' own."""
    last = values.shape[axis] - 1
    below = np.clip(np.floor(places).astype(np.intp), 0, max(last - 1, 0))
    fraction = np.clip(places - below, 0.0, float(last > 0)).astype(np.float32)
    fraction = fraction.reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    low = np.take(values, below, axis)
    done: Tensor = low + fraction * (np.take(values, np.minimum(below + 1, last), axis) - low)
    return done


@dataclass(frozen=True)
class _Between:
    """Where targets lie between sources: value = source[below] + share * (source[above] - source[below])."""

    below: NDArray[np.intp]
    above: NDArray[np.intp]
    fraction: Vector
    inside: NDArray[np.bool_]

    @property
    def is_all(self) -> bool:
        """Whether the targets are the sources."""
        at = np.arange(len(self.below))
        return bool(self.inside.all() and not self.fraction.any() and np.array_equal(self.below, at))


def _between(sources: Vector, targets: Vector, is_nearest: bool, is_border_repeated: bool) -> _Between:
    """`sources` rise. Half a gap beyond either end is still inside, with the end's value, as in SimpleITK, or all of it
    is.
    """
    last = len(sources) - 1
    if is_border_repeated:
        targets = np.clip(targets, sources[0], sources[-1])
    if last == 0:
        zero = np.zeros(len(targets), np.intp)
        return _Between(zero, zero, np.zeros(len(targets)), np.ones(len(targets), np.bool_))
    below = np.clip(np.searchsorted(sources, targets, side="right") - 1, 0, last - 1)
    fraction = (targets - sources[below]) / (sources[below + 1] - sources[below])
    inside = (fraction > -0.5 - 1e-6) & (fraction < 1.5 - 1e-6)
    fraction = np.clip(fraction, 0.0, 1.0)
    near = np.round(fraction, 6)  # positions are written with a few decimals: 0.9999999 is a voxel's own place
    fraction = np.where((near == 0) | (near == 1), near, fraction)
    if is_nearest:
        fraction = np.floor(fraction + 0.5)
    whole = fraction == 1.0
    below = np.where(whole, below + 1, below)
    return _Between(below, np.minimum(below + 1, last), np.where(whole, 0.0, fraction), inside)


def _count(steps: float, is_half_even: bool) -> int:
    """How many voxels reach over so many steps, both ends counted."""
    return round(steps + 1) if is_half_even else round(steps) + 1


def _order(axes: Vector, toward: str) -> tuple[tuple[int, bool], ...]:
    """Which of a volume's axes comes first, second and third, and whether in its direction."""
    if toward == COLUMN_FIRST:
        return (2, True), (1, True), (0, True)
    return _turned(axes, toward) if toward else ((0, True), (1, True), (2, True))


def _turned(axes: Vector, toward: str) -> tuple[tuple[int, bool], ...]:
    """Which of these axes comes first, second and third, and whether in its direction: the nearest to `toward`."""
    alike = np.array([TOWARD[letter] for letter in toward]) @ axes.T
    best = max(permutations(range(3)), key=lambda order: round(sum(abs(alike[at, o]) for at, o in enumerate(order)), 9))
    return tuple((axis, bool(alike[at, axis] > 0)) for at, axis in enumerate(best))
