"""How slices lie in the patient: the laws by which a series is a volume, or the reason why it is none.

The same laws hold the choice of a series, from its headers, and the Volume, which knows each frame. Lengths in mm,
frame LPS (PS3.3 C.7.6.2), angles in degrees.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Input
from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable

UNIT_TOLERANCE: Final = 1e-3  # of cosines: unit length, right angles, one orientation
RESIDUAL_PIXELS: Final = 0.5  # of positions about the fitted line
TILT_DEGREES: Final = 0.1  # from which a step that leaves the normal is a tilt
EVEN_MM, EVEN_SHARE = 0.05, 0.02
MULTIPLE_SHARE: Final = 0.05  # of a gap that is a whole multiple of the median: slices are missing
ZONE: Final = 3  # as many equal wide gaps in a row are how it was scanned, not a loss
SAME_PLACE_MM: Final = 0.01

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: PS3.3 C.7.6.2. mm, LPS; `spacing_mm` is (between rows, between columns)."""

    position: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    spacing_mm: tuple[float, float] | None
    shape: tuple[int | None, int | None]
    frame_of_reference_uid: str = ""


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
        return np.diff(self.along_mm)


def plane_of(header: Header) -> Plane:
    return Plane(
        header.image_position,
        header.image_orientation,
        header.pixel_spacing,
        (header.rows, header.columns),
        header.frame_of_reference_uid,
    )


def stack(
    planes: Sequence[Plane], card_input: Input, splits: Sequence[tuple[object, ...]] | None = None
) -> tuple[list[int], Stack]:
    """The planes that make the volume, as indices in order, and how they lie.

    `splits`: per plane, what tells repeated positions apart (acquisition, echo), the first first. Positions that
    repeat nevertheless stay in, side by side: only the pixels can tell. Raises NotAnalysable.
    """
    indices = _largest_part(planes)
    if splits:
        indices = _told_apart(indices, planes, splits)
    frames = {planes[index].frame_of_reference_uid for index in indices} - {""}
    if len(frames) > 1:
        raise NotAnalysable("frame-of-reference-differs")
    row, column, normal = _axes(planes[indices[0]].orientation)
    positions = np.array([planes[index].position for index in indices], dtype=np.float64)
    along = positions @ normal
    order = np.lexsort((np.array(indices), along))
    indices, positions, along = [indices[at] for at in order], positions[order], along[order]
    first = np.concatenate(([True], np.diff(along) > SAME_PLACE_MM))  # of those at one place
    spacing = planes[indices[0]].spacing_mm
    assert spacing is not None  # _largest_part leaves none without
    laid = _lie(positions[first], along[first], (row, column, normal), min(spacing))
    _hold_gates(card_input, laid)
    return indices, laid


def _largest_part(planes: Sequence[Plane]) -> list[int]:
    """Indices of the planes of the commonest orientation, size and spacing: more than half of all, or none."""
    if any(plane.position is None or plane.orientation is None for plane in planes):
        raise NotAnalysable("positions-absent")
    if any(plane.spacing_mm is None for plane in planes):
        raise NotAnalysable("pixel-size-absent")
    facing = _groups([np.concatenate(_axes(plane.orientation)[:2]) for plane in planes])
    largest, count = Counter(facing).most_common(1)[0]
    if 2 * count <= len(planes):
        raise NotAnalysable("orientation-mixed")
    indices = [index for index, group in enumerate(facing) if group == largest]
    sizes = Counter(_size(planes[index]) for index in indices)
    size, count = sizes.most_common(1)[0]
    if 2 * count <= len(indices):
        raise NotAnalysable("frames-irregular")
    return [index for index in indices if _size(planes[index]) == size]


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


def _told_apart(indices: list[int], planes: Sequence[Plane], splits: Sequence[tuple[object, ...]]) -> list[int]:
    """One of the sub-stacks where positions repeat and a split tells them apart: the largest, then the first."""
    if not _repeats(indices, planes):
        return indices
    for depth in range(len(splits[indices[0]])):
        parts: dict[object, list[int]] = {}
        for index in indices:
            parts.setdefault(splits[index][depth], []).append(index)
        if len(parts) > 1 and not any(_repeats(part, planes) for part in parts.values()):
            return min(parts.items(), key=lambda part: (-len(part[1]), _natural(part[0])))[1]
    return indices


def _natural(split: object) -> tuple[bool, float, str]:
    """Orders numbers, also those in text, by their size and before other text."""
    try:
        return False, float(str(split)), ""
    except ValueError:
        return True, 0.0, str(split)


def _repeats(indices: Sequence[int], planes: Sequence[Plane]) -> bool:
    places = np.array([planes[index].position for index in indices], dtype=np.float64)
    _, _, normal = _axes(planes[indices[0]].orientation)
    return bool((np.diff(np.sort(places @ normal)) <= SAME_PLACE_MM).any())


def _lie(positions: Vector, along: Vector, axes: tuple[Vector, Vector, Vector], pixel_mm: float) -> Stack:
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
    kind, missing = _gaps(np.diff(along))
    return Stack(row, column, normal, step, along, kind, missing, tilt)


def _gaps(gaps: Vector) -> tuple[str, int]:
    """`even`, `missing` or `uneven`, and how many slices are missing."""
    median = float(np.median(gaps))
    if (np.abs(gaps - median) <= max(EVEN_MM, EVEN_SHARE * median)).all():
        return "even", 0
    multiples = gaps / median
    whole = np.round(multiples)
    if (whole < 1).any() or (np.abs(multiples - whole) > MULTIPLE_SHARE).any() or _has_zone(whole):
        return "uneven", 0
    return "missing", int((whole - 1).sum())


def _has_zone(multiples: Vector) -> bool:
    """Whether slices lie as far apart as ZONE neighbours do: 1 mm, then 2 mm is not every second one lost."""
    wide = multiples > 1
    runs = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(multiples) != 0, [True]))))
    starts = np.flatnonzero(np.concatenate(([True], np.diff(multiples) != 0)))
    return bool((wide[starts] & (runs >= ZONE)).any())


def _hold_gates(card_input: Input, laid: Stack) -> None:
    """The card's conditions on count, extent and gaps. Raises NotAnalysable."""
    count, gaps = len(laid.along_mm), laid.gaps_mm
    least, most = card_input.slices or (2, 100_000)
    if count < max(least, 2):
        raise NotAnalysable("too-few-slices", str(count))
    if count > most:
        raise NotAnalysable("too-many-slices", str(count))
    extent = float(laid.along_mm[-1] - laid.along_mm[0] + np.median(gaps))
    if card_input.extent_mm and not card_input.extent_mm[0] <= extent <= card_input.extent_mm[1]:
        raise NotAnalysable("extent", f"{extent:.0f} mm")
    if laid.kind == "missing" and card_input.missing == "refuse":
        raise NotAnalysable("slices-missing", str(laid.missing))
    widest = float(gaps.max())
    if card_input.max_gap_mm is None:
        if laid.kind == "uneven":
            raise NotAnalysable("gap", f"{widest:.1f} mm")
    elif widest > card_input.max_gap_mm + EVEN_MM:
        raise NotAnalysable("gap", f"{widest:.1f} mm")
