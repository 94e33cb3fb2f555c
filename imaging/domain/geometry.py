"""How slices lie in the patient: the laws by which a series is a volume, or the reason why it is none.

The same laws hold the choice of a series, from its headers, and the Volume, which knows each frame. Lengths in mm,
frame LPS (PS3.3 C.7.6.2), angles in degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable, Reason

UNIT_TOLERANCE: Final = 1e-3  # of cosines: unit length, right angles, one orientation
RESIDUAL_PIXELS: Final = 0.5  # of positions about the fitted line
TILT_DEGREES: Final = 0.1  # from which a step that leaves the normal is a tilt
EVEN_MM, EVEN_FRACTION = 0.05, 0.02
MULTIPLE_FRACTION: Final = 0.05  # of a gap that is a whole multiple of the median: slices are missing
ZONE: Final = 3  # as many equal wide gaps in a row are how it was scanned, not a loss
SAME_PLACE_MM: Final = 0.01
NEAR_MM: Final = 5.0  # as near a place counts as seen
SAMPLES: Final = 9  # points along each side of an image by which its place is asked

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: PS3.3 C.7.6.2. mm, LPS; `spacing_mm` is (between rows, between columns).

    `decimals`: how many were written of its position.
    """

    position: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    spacing_mm: tuple[float, float] | None
    shape: tuple[int | None, int | None]
    frame_of_reference_uid: str = ""
    decimals: int = 6


@dataclass(frozen=True)
class Stack:
    """How planes lie in a stack, from the lowest along the normal to the highest.

    `along_mm`: each plane's distance along `normal` from the patient's origin. `step`: the fitted direction from
    plane to plane, scaled so that it goes 1 mm along the normal. `kind`: how the gaps are.
    """

    row: Vector
    column: Vector
    normal: Vector
    step: Vector
    along_mm: Vector
    kind: str  # even, missing, uneven
    missing: int
    tilt_degrees: float

    @property
    def gaps_mm(self) -> Vector:
        """The distances of neighbouring slices along the normal, in mm: (slices - 1,)."""
        return np.diff(self.along_mm)


def plane_of(header: Header) -> Plane:
    """Where an image lies, by its header."""
    return Plane(
        header.image_position,
        header.image_orientation,
        header.pixel_spacing,
        (header.rows, header.columns),
        header.frame_of_reference_uid,
        header.position_decimals,
    )


def fault_of(plane: Plane) -> Reason | None:
    """Why a plane cannot lie in any stack; None where it can."""
    try:
        if plane.position is None or plane.orientation is None:
            return Reason("positions-absent")
        if plane.spacing_mm is None:
            return Reason("pixel-size-absent")
        _size(plane)
        _axes(plane.orientation)
    except NotAnalysable as refused:
        return refused.reason
    return None


def alike(planes: Sequence[Plane]) -> list[list[int]]:
    """Indices of planes that one orientation, size and spacing hold together, each group in its order."""
    facing = _groups([np.concatenate(_axes(plane.orientation)[:2]) for plane in planes])
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, plane in enumerate(planes):
        groups.setdefault((facing[index], *_size(plane)), []).append(index)
    return list(groups.values())


def along(planes: Sequence[Plane]) -> Vector:
    """How far each plane lies along the first one's normal, in mm from the patient's origin."""
    _, _, normal = _axes(planes[0].orientation)
    distances: Vector = np.array([plane.position for plane in planes], np.float64) @ normal
    return distances


def arrange(planes: Sequence[Plane]) -> tuple[list[int], Stack]:
    """Planes of one orientation as a stack: their indices from the lowest to the highest, and how they lie.

    Positions that repeat stay in, side by side: only the pixels can tell whether they are one. Raises NotAnalysable.
    """
    axes = _axes(planes[0].orientation)
    positions = np.array([plane.position for plane in planes], dtype=np.float64)
    distances = positions @ axes[2]
    order = np.lexsort((np.arange(len(planes)), distances))
    positions, distances = positions[order], distances[order]
    first = np.concatenate(([True], np.diff(distances) > SAME_PLACE_MM))  # of those at one place
    spacing = planes[0].spacing_mm
    assert spacing is not None  # fault_of lets none without
    decimals = min(plane.decimals for plane in planes)
    return [int(at) for at in order], _lie(positions[first], distances[first], axes, min(spacing), decimals)


@dataclass(frozen=True)
class Region:
    """The place in the patient that a stack of slices covers. `positions`: (slices, 3), the first voxel of each."""

    laid: Stack
    positions: Vector
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    frame_of_reference_uid: str = ""

    @property
    def near_mm(self) -> float:
        """How near a place must be to count as seen: one slice spacing, at least 5 mm."""
        gaps = self.laid.gaps_mm
        return max(NEAR_MM, float(np.median(gaps)) if len(gaps) else 0.0)

    def covers(self, points: Vector, within_mm: float | None = None) -> NDArray[np.bool_]:
        """Which of the points, (n, 3) in mm, LPS, lie in the stack's field of view, or as near to it as said."""
        near = self.near_mm if within_mm is None else within_mm
        distances = points @ self.laid.normal
        place = self.laid.along_mm
        starts = np.stack([np.interp(distances, place, self.positions[:, axis]) for axis in range(3)], axis=1)
        offset = points - starts
        across, down = offset @ self.laid.row, offset @ self.laid.column
        high_down = (self.shape[0] - 1) * self.spacing_mm[0] + near
        high_across = (self.shape[1] - 1) * self.spacing_mm[1] + near
        seen: NDArray[np.bool_] = (distances >= place[0] - near) & (distances <= place[-1] + near)
        seen &= (across >= -near) & (across <= high_across) & (down >= -near) & (down <= high_down)
        return seen

    def span(self, direction: Vector) -> tuple[float, float, float]:
        """From where to where the middles of its slices lie along a direction, and their gap there, in mm."""
        half_down = (self.shape[0] - 1) / 2 * self.spacing_mm[0] * self.laid.column
        half_across = (self.shape[1] - 1) / 2 * self.spacing_mm[1] * self.laid.row
        middles = (self.positions + half_down + half_across) @ direction
        low, high = float(middles.min()), float(middles.max())
        return low, high, float(np.median(self.laid.gaps_mm)) if len(middles) > 1 else 0.0


def points_of(plane: Plane, samples: int = SAMPLES) -> Vector:
    """Points over a plane, `samples` along each side from corner to corner, row by row: (n, 3) in mm, LPS."""
    row, column, _ = _axes(plane.orientation)
    spacing, (rows, columns) = plane.spacing_mm, plane.shape
    assert spacing is not None
    down = np.linspace(0, ((rows or 1) - 1) * spacing[0], samples)
    across = np.linspace(0, ((columns or 1) - 1) * spacing[1], samples)
    grid = down[:, None, None] * column + across[None, :, None] * row
    points: Vector = np.array(plane.position) + grid.reshape(-1, 3)
    return points


def _size(plane: Plane) -> tuple[object, ...]:
    assert plane.spacing_mm is not None
    if not all(np.isfinite(each) and 1e-3 <= each <= 1e3 for each in plane.spacing_mm):
        raise NotAnalysable("pixel-size-absent")
    return (*plane.shape, *(round(each, 4) for each in plane.spacing_mm))


def _groups(vectors: Sequence[Vector]) -> list[int]:
    """Numbers the vectors so that those within the tolerance of a group's first one share its number."""
    seen: list[Vector] = []
    numbers = []
    for vector in vectors:
        match = next((at for at, one in enumerate(seen) if np.abs(one - vector).max() <= UNIT_TOLERANCE), None)
        if match is None:
            match = len(seen)
            seen.append(vector)
        numbers.append(match)
    return numbers


@lru_cache(maxsize=1024)  # the slices of a series say the same
def _axes(orientation: tuple[float, ...] | None) -> tuple[Vector, Vector, Vector]:
    """Unit vectors along a row (to the next column), along a column (to the next row), and their normal."""
    assert orientation is not None
    row, column = np.array(orientation[:3], np.float64), np.array(orientation[3:], np.float64)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.isfinite([*row, *column]).all() or any(abs(length - 1) > UNIT_TOLERANCE for length in lengths):
        raise NotAnalysable("orientation-invalid")
    if abs(row @ column) > UNIT_TOLERANCE:
        raise NotAnalysable("orientation-invalid")
    row = row / lengths[0]
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    return row, np.cross(normal, row), normal


def _lie(
    positions: Vector, along: Vector, axes: tuple[Vector, Vector, Vector], pixel_mm: float, decimals: int
) -> Stack:
    """How distinct positions, in order, lie."""
    row, column, normal = axes
    if not np.isfinite(positions).all() or np.abs(positions).max() > 1e5:
        raise NotAnalysable("positions")
    if len(positions) == 1:
        return Stack(row, column, normal, normal, along, "even", 0, 0.0)
    about = along - along.mean()
    step = (about @ (positions - positions.mean(axis=0))) / (about @ about)
    residual = positions - positions.mean(axis=0) - np.outer(about, step)
    if np.linalg.norm(residual, axis=1).max() > RESIDUAL_PIXELS * pixel_mm:
        raise NotAnalysable("positions")
    tilt = float(np.degrees(np.arccos(min(1.0, 1 / float(np.linalg.norm(step))))))
    if tilt <= TILT_DEGREES:
        step, tilt = normal, 0.0
    kind, missing = gaps_of(np.diff(along), decimals)
    return Stack(row, column, normal, step, along, kind, missing, tilt)


def gaps_of(gaps: Vector, decimals: int = 6) -> tuple[str, int]:
    """`even`, `missing` or `uneven`, and how many slices are missing: at least one where they are.

    Positions are as exact as they are written: each end of a gap may be off by half of its last decimal.
    """
    median = float(np.median(gaps))
    written = 10.0**-decimals
    if (np.abs(gaps - median) <= max(EVEN_MM, EVEN_FRACTION * median, 1.01 * written)).all():
        return "even", 0
    multiples = gaps / median
    whole = np.round(multiples)
    close = np.maximum(MULTIPLE_FRACTION, 1.01 * written / median)
    if (whole < 1).any() or (np.abs(multiples - whole) > close).any() or _has_zone(whole):
        return "uneven", 0
    missing = int((whole - 1).sum())
    return ("missing", missing) if missing else ("uneven", 0)


def _has_zone(multiples: Vector) -> bool:
    """Whether slices lie as far apart as ZONE neighbours do: 1 mm, then 2 mm is not every second one lost."""
    wide = multiples > 1
    runs = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(multiples) != 0, [True]))))
    starts = np.flatnonzero(np.concatenate(([True], np.diff(multiples) != 0)))
    return bool((wide[starts] & (runs >= ZONE)).any())
