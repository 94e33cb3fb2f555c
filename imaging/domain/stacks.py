"""Which slices of a study make one stack, which stacks one acquisition, and what lies where another was analysed.

A series may be several stacks (a tilted skull base and the rest), and several series one head. Stacks that lie one
above another are joined; what lies at the same place again is another acquisition, or only another reconstruction
of the same. Nothing here opens a file. docs/models.md, "Stacks and acquisitions".
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.geometry import (
    SAME_PLACE_MM,
    SAMPLES,
    Plane,
    Region,
    Stack,
    alike,
    along,
    arrange,
    fault_of,
    gaps_of,
    plane_of,
    points_of,
)
from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable, Reason

MAX_ACQUISITIONS: Final = 3
REPEATED_FRACTION: Final = 0.5  # of a stack's slices at a place that was taken already: it is that place once more
NARROW: Final = 0.8  # of the widest gap: so near to even that the table only wandered
MAX_PAUSE_S: Final = 1.0  # between the times of two acquisitions


@dataclass(frozen=True)
class Frame:
    """One slice: its instance's header, its zero-based number there, its place, and what else tells it from others.

    `split` holds, the first first, what sets slices at one place apart.
    """

    header: Header
    number: int
    plane: Plane
    split: tuple[object, ...] = ()


@dataclass(frozen=True)
class FrameStack:
    """Frames that lie as a stack, from the lowest to the highest; those at one place side by side."""

    frames: tuple[Frame, ...]
    geometry: Stack

    @property
    def region(self) -> Region:
        """The place that it covers."""
        positions = np.array([frame.plane.position for frame in self.frames], np.float64)
        distances = positions @ self.geometry.normal
        distinct = np.concatenate(([True], np.diff(distances) > SAME_PLACE_MM))
        plane = self.frames[0].plane
        assert plane.spacing_mm is not None
        shape = (plane.shape[0] or 1, plane.shape[1] or 1)
        return Region(self.geometry, positions[distinct], plane.spacing_mm, shape, plane.frame_of_reference_uid)


def frame_of(header: Header) -> Frame:
    """The one frame of a single-frame instance."""
    return Frame(header, 0, plane_of(header), split_of(header))


def split_of(header: Header) -> tuple[object, ...]:
    """What sets apart single-frame slices at one place: acquisition, time, temporal position, echo, kind."""
    kind = header.image_type[2:] if header.modality == "MR" else ()
    return (
        header.acquisition_number,
        moment(header),
        header.temporal_position,
        header.echo_time,
        kind,
        header.convolution_kernel,
    )


def frame_stacks(frames: Sequence[Frame]) -> tuple[list[FrameStack], list[tuple[Frame, Reason]]]:
    """The stacks that frames make, series by series, and the frames that lie in none, with the reason."""
    made: list[FrameStack] = []
    left: list[tuple[Frame, Reason]] = []
    by_series: dict[tuple[str, str], list[Frame]] = {}
    for frame in frames:
        fault = fault_of(frame.plane)
        if fault is not None:
            left.append((frame, fault))
        else:
            key = (frame.header.series_instance_uid, frame.plane.frame_of_reference_uid)
            by_series.setdefault(key, []).append(frame)
    references = Counter(series_uid for series_uid, _ in by_series)
    for (series_uid, _), series in by_series.items():
        groups = alike([frame.plane for frame in series])
        for indices in groups:
            if len(indices) == 1 and (len(groups) > 1 or references[series_uid] > 1):
                left.append((series[indices[0]], _why_alone(series, references[series_uid] > 1)))
                continue
            for part in passes([series[index] for index in indices]):
                try:
                    order, laid = arrange([frame.plane for frame in part])
                except NotAnalysable as refused:
                    left += [(frame, refused.reason) for frame in part]
                else:
                    made.append(FrameStack(tuple(part[index] for index in order), laid))
    return made, left


def _why_alone(series: Sequence[Frame], is_elsewhere: bool) -> Reason:
    """Why a slice makes no stack with the others of its series."""
    if is_elsewhere:
        return Reason("frame-of-reference-differs")
    sizes = {(frame.plane.shape, frame.plane.spacing_mm) for frame in series}
    return Reason("orientation-mixed" if len(sizes) == 1 else "frames-irregular")


def passes(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one orientation by the times that the table went past them, never woven into one stack.

    Number and time separate only what overlaps in place: a number per slice, or a time, is ordinary. Where nothing
    tells repeated positions apart they stay together.
    """
    distances = along([frame.plane for frame in frames])
    if not _repeats(distances) and _is_one_pass(distances):
        return [frames]
    for depth in range(len(frames[0].split)):
        parts: dict[object, list[int]] = {}
        for index, frame in enumerate(frames):
            parts.setdefault(frame.split[depth], []).append(index)
        if len(parts) > 1:
            ordered = [parts[key] for key in sorted(parts, key=_natural)]
            merged = _merged(ordered, distances)
            if len(merged) > 1 and _is_separable(merged, distances):
                return [[frames[index] for index in part] for part in merged]
    combs = _combs(distances)
    return [[frames[index] for index in comb] for comb in combs] if combs else [frames]


def _is_separable(parts: list[list[int]], distances: NDArray[np.float64]) -> bool:
    """No part repeats a place; where all together repeat none, each part must be evener than the whole."""
    if any(_repeats(distances[part]) for part in parts):
        return False
    return _repeats(distances) or all(len(part) > 2 and _kind(distances[part]) == "even" for part in parts)


def _merged(parts: list[list[int]], distances: NDArray[np.float64]) -> list[list[int]]:
    """Parts that do not overlap in place, one after the other, as one."""
    merged: list[list[int]] = []
    for part in parts:
        for whole in merged:
            if not _overlaps(distances[part], distances[whole]):
                whole += part
                break
        else:
            merged.append(list(part))
    return merged


def _overlaps(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two passes share a place: the lower one's end lies above the other's start."""
    return bool(one.min() <= other.max() + SAME_PLACE_MM and other.min() <= one.max() + SAME_PLACE_MM)


def _combs(distances: NDArray[np.float64]) -> list[list[int]]:
    """Two or three even series of positions of one step that were woven into each other; empty where there are none."""
    order = [int(at) for at in np.argsort(distances, kind="stable")]
    places = distances[order]
    if _repeats(distances) or len(places) < 8:
        return []
    for skip in (2, 3):
        step = float(np.median(places[skip:] - places[:-skip]))
        found = _chains(places, step, skip)
        if found:
            return [[order[at] for at in chain] for chain in found]
    return []


def _chains(places: NDArray[np.float64], step: float, maximum: int) -> list[list[int]]:
    chains: list[list[int]] = []
    for at, place in enumerate(places):
        near = next((c for c in chains if abs(place - places[c[-1]] - step) <= max(0.05, 0.02 * step)), None)
        if near is not None:
            near.append(at)
        elif len(chains) < maximum:
            chains.append([at])
        else:
            return []
    return chains if len(chains) > 1 and all(len(chain) > 2 for chain in chains) else []


def _is_one_pass(distances: NDArray[np.float64]) -> bool:
    """Whether nothing in the pattern of positions hints at a second pass between the first one's slices."""
    gaps = np.diff(np.sort(distances))
    return len(gaps) < 2 or _kind(distances) != "uneven" or float(gaps.min()) >= NARROW * float(gaps.max())


def _kind(distances: NDArray[np.float64]) -> str:
    return gaps_of(np.diff(np.sort(distances)))[0]


def _repeats(distances: NDArray[np.float64]) -> bool:
    return bool((np.diff(np.sort(distances)) <= SAME_PLACE_MM).any())


def _natural(value: object) -> tuple[bool, float, str]:
    """Orders numbers, also those in text, by their size and before other text."""
    try:
        return False, float(str(value)), ""
    except ValueError:
        return True, 0.0, str(value)


# Acquisitions ---------------------------------------------------------------------------------------------


def acquisitions(ranked: Sequence[FrameStack]) -> list[list[FrameStack]]:
    """Stacks, the best first, by the acquisition that they are of: the most complete and latest acquisition first.

    What lies beside or above the others, or is of the same acquisition, joins them; what is their place again at
    another time is an acquisition of its own.
    """
    groups: list[list[FrameStack]] = []
    for frame_stack in ranked:
        home = next((group for group in groups if _joins(frame_stack, group)), None)
        if home is None:
            groups.append([frame_stack])
        else:
            home.append(frame_stack)
    return sorted(groups, key=lambda group: (-round(_extent(group) / 10), -latest(group)))


def _joins(frame_stack: FrameStack, group: Sequence[FrameStack]) -> bool:
    if not is_same_space(frame_stack.frames[0], group[0].frames[0]):
        return False
    if any(is_same_acquisition(frame_stack.frames, each.frames) for each in group):
        return True
    regions = [each.region for each in group]
    again = [not outside(frame.plane, regions, within_mm=0.1).any() for frame in frame_stack.frames]
    return sum(again) < REPEATED_FRACTION * len(again)


def is_same_space(one: Frame, other: Frame) -> bool:
    """Whether places of these two can be compared: one Frame of Reference, or without any one series or acquisition."""
    frames = one.plane.frame_of_reference_uid, other.plane.frame_of_reference_uid
    if frames[0] or frames[1]:
        return frames[0] == frames[1]
    number = one.header.acquisition_number
    is_one = number is not None and number == other.header.acquisition_number
    return is_one or one.header.series_instance_uid == other.header.series_instance_uid


def is_same_acquisition(one: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether nothing says that these were acquired apart: neither their Acquisition Numbers nor their times."""
    numbers = [{frame.header.acquisition_number for frame in each} - {None} for each in (one, other)]
    if all(numbers) and not numbers[0] & numbers[1]:
        return False
    times = [[t for frame in each if (t := moment(frame.header)) is not None] for each in (one, other)]
    if not all(times):
        return True
    return max(map(min, times)) <= min(map(max, times)) + MAX_PAUSE_S


def latest(group: Sequence[FrameStack]) -> float:
    """When the last of the slices was acquired, in seconds on one scale; 0 where none says."""
    return max(
        (t for frame_stack in group for frame in frame_stack.frames if (t := moment(frame.header)) is not None),
        default=0.0,
    )


def _extent(group: Sequence[FrameStack]) -> float:
    normal = group[0].geometry.normal
    ends = [float(each @ normal) for frame_stack in group for each in frame_stack.region.positions[[0, -1]]]
    return max(ends) - min(ends)


def moment(header: Header) -> float | None:
    """Acquisition date and time in seconds on one scale; None where no time is told."""
    time = header.acquisition_time
    if len(time) < 6 or not time[:6].isdigit():
        return None
    seconds = int(time[:2]) * 3600 + int(time[2:4]) * 60 + int(time[4:6])
    fraction = float(f"0{time[6:]}") if time[6:7] == "." and time[7:].isdigit() else 0.0
    date = header.acquisition_date
    days = int(date[:4]) * 372 + int(date[4:6]) * 31 + int(date[6:8]) if len(date) == 8 and date.isdigit() else 0
    return days * 86400.0 + seconds + fraction


# Place ----------------------------------------------------------------------------------------------------


def outside(
    plane: Plane, regions: Sequence[Region], within_mm: float | None = None, samples: int = SAMPLES
) -> NDArray[np.bool_]:
    """Which points of an image lie where none of the regions does: (samples, samples), from corner to corner."""
    points = points_of(plane, samples)
    seen = np.zeros(len(points), np.bool_)
    for region in regions:
        seen |= region.covers(points, within_mm)
    return ~seen.reshape(samples, samples)
