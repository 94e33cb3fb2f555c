"""A finding's mask on the voxels of one stack, cut to the box that holds it: most of a volume is no finding."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import SegmentSpec
from imaging.inference.prepared import StackItem
from imaging.inference.volume import Volume, held
from imaging.preparation.array import Tensor

Mask = NDArray[np.bool_]
Vector = NDArray[np.float64]
Index = tuple[int, int, int]

DIRECTIONS: Final = 512
"""Along which a mask's width is taken; its largest diameter is then exact among the points found furthest out."""
EVEN: Final = 1e-5
"""By how much arithmetic may miss a value."""


@dataclass(frozen=True)
class Segment:
    """What a finding's mask is on a stack's own voxels.

    `labels`: by component, 0 where there is none, on a box of the volume's voxels of which `first` is the first.
    `largest`: which is the largest one. `score`: the mean over it on the network's grid, the card's
    `max-component-mean`.
    """

    volume: Volume
    labels: NDArray[np.integer[Any]]
    first: Index
    largest: int
    score: float

    def part(self, label: int = 0) -> "Part":
        """One component; all of them for 0."""
        return Part(self.volume, self.labels == label if label else self.labels > 0, self.first)

    def without(self, places: Mask) -> "Segment":
        """Without some of its voxels, in the order of `Part.voxels`."""
        labels = self.labels.copy()
        labels[tuple(np.argwhere(self.labels > 0)[places].T)] = 0
        return replace(self, labels=labels)


@dataclass(frozen=True)
class Part:
    """Some of a volume's voxels: a mask on a box of them, of which `first` is the first."""

    volume: Volume
    mask: Mask
    first: Index

    def places(self, voxels: NDArray[np.intp] | None = None) -> Vector:
        """Where voxels of the box lie, all of the mask's in their order unless given: (n, 3) in mm, LPS."""
        index = np.argwhere(self.mask) if voxels is None else voxels
        return self.volume.to_patient(index + np.array(self.first))

    def counts(self) -> NDArray[np.int64]:
        """How many voxels each slice of the volume has."""
        done = np.zeros(len(self.volume.values), np.int64)
        done[self.first[0] :][: len(self.mask)] = self.mask.sum(axis=(1, 2))
        return done

    def ml(self) -> float:
        """Its volume in ml."""
        return float(self.counts() @ self.volume.voxel_ml)

    def weights(self) -> Vector:
        """The volume of each voxel, in the order of `places`."""
        thick: Vector = self.volume.voxel_ml[self.first[0] + np.argwhere(self.mask)[:, 0]]
        return thick

    def values(self) -> NDArray[Any]:
        """What the volume holds there."""
        box = tuple(slice(start, start + size) for start, size in zip(self.first, self.mask.shape, strict=True))
        values: NDArray[Any] = self.volume.values[box][self.mask]
        return values

    def holds(self, places: Vector) -> Mask:
        """Which places, (n, 3) in mm, LPS, it holds: by the nearest voxel."""
        index, inside = self.volume.nearest(places)
        index = index - np.array(self.first)
        inside &= ((index >= 0) & (index < self.mask.shape)).all(axis=1)
        held = np.zeros(len(places), np.bool_)
        held[inside] = self.mask[tuple(index[inside].T)]
        return held

    def touches(self, other: "Part") -> bool:
        """Whether it lies within one slice spacing of another, of another stack."""
        places = self.places()
        gap = max(float(each.volume.laid.gaps_mm.max()) for each in (self, other))
        shifts = (0.0, gap, -gap)
        return any(other.holds(places + shift * other.volume.laid.normal).any() for shift in shifts)


def segment_of(spec: SegmentSpec, values: Tensor, item: StackItem) -> Segment | None:
    """The finding's components (26 neighbours); None where none is left.

    `values`: after activation, (channels, *shape) on the item's grid.
    """
    return _BY_CARRIED[spec.carried](spec, values, item)


def _of_mask(spec: SegmentSpec, values: Tensor, item: StackItem) -> Segment | None:
    """The mask is taken on the network's grid, and brought to the volume's voxels."""
    mask = picked(spec, values)
    box = _box(mask)
    if box is None:
        return None
    parts = _components(spec, mask[box], np.full(len(mask[box]), item.grid.voxel_ml))
    back = item.volume.parts_of(parts, [each.start for each in box], item.grid)
    largest = largest_component(back[0]) if back is not None else 0
    if back is None or not largest:
        return None
    score = float(values[spec.channel][box][parts == largest].mean(dtype=np.float64))
    return Segment(item.volume, *back, largest, score)


def _of_values(spec: SegmentSpec, values: Tensor, item: StackItem) -> Segment | None:
    """The values are brought to the volume's voxels, and the mask is taken there."""
    box = _box(_may_hold(spec, values))
    if box is None:
        return None
    wide = tuple(slice(max(each.start - 1, 0), each.stop + 1) for each in box)
    mask = np.zeros(item.volume.values.shape, np.bool_)
    probability = np.zeros(mask.shape if spec.probability else (), np.float32)
    for plane in item.volume.planes_of(values[(slice(None), *wide)], [each.start for each in wide], item.grid):
        where = (plane.number, plane.rows, plane.columns)
        mask[where] = picked(spec, plane.values)
        if spec.probability:
            probability[where] = plane.values[spec.channel]
    own = _box(mask)
    if own is None:
        return None
    parts = _components(spec, mask[own], item.volume.voxel_ml[own[0]])
    largest = largest_component(parts)
    if not largest:
        return None
    score = float(probability[own][parts == largest].mean(dtype=np.float64)) if spec.probability else 0.0
    first = (own[0].start, own[1].start, own[2].start)
    return Segment(item.volume, parts, first, largest, score)


def _of_labels(spec: SegmentSpec, values: Tensor, item: StackItem) -> Segment | None:
    """The numbers of the labels are brought to the volume's voxels, linear, and rounded there: MONAI's way of inverting
    labels as if they were values. Between 0 and 2 it leaves a rim of 1.
    """
    labels, own = _numbered(spec, values), spec.channel if spec.pick == "argmax" else 1
    mask = np.zeros(item.volume.values.shape, np.bool_)
    for plane in item.volume.planes_of(labels[None], (0, 0, 0), item.grid):
        mask[plane.number, plane.rows, plane.columns] = np.round(plane.values[0]) == own
    box = _box(mask)
    if box is None:
        return None
    parts = _components(spec, mask[box], item.volume.voxel_ml[box[0]])
    largest = largest_component(parts)
    if not largest:
        return None
    on_grid = labels == own
    score = float(values[spec.channel][on_grid].mean(dtype=np.float64)) if spec.probability and on_grid.any() else 0.0
    return Segment(item.volume, parts, (box[0].start, box[1].start, box[2].start), largest, score)


def _numbered(spec: SegmentSpec, values: Tensor) -> Tensor:
    """Labels by their numbers on the network's grid, 0 where a component is dropped. Of a threshold: 1 in the mask."""
    if spec.pick == "threshold":
        labels = picked(spec, values).astype(np.float32)
        chosen = [1] if spec.largest is None or spec.channel in spec.largest else []
    else:
        labels = values.argmax(axis=0).astype(np.float32)
        chosen = [each for each in range(1, len(values)) if spec.largest is None or each in spec.largest]
    for label in chosen:
        mask = labels == label
        if (box := _box(mask)) is not None:
            kept = replace(spec, keep="largest", min_ml=0.0)
            parts = _components(kept, mask[box], np.ones(len(mask[box])))
            labels[box] = np.where(mask[box] & (parts == 0), np.float32(0), labels[box])
    return labels


_BY_CARRIED: Final[Mapping[str, Callable[[SegmentSpec, Tensor, StackItem], Segment | None]]] = {
    "mask": _of_mask,
    "values": _of_values,
    "labels": _of_labels,
}


def picked(spec: SegmentSpec, values: Tensor) -> Mask:
    """Which places, of any that are given with all their channels, are in the mask."""
    own = values[spec.channel]
    return np.asarray(values.argmax(axis=0) == spec.channel if spec.pick == "argmax" else own >= spec.mask_at)


def _may_hold(spec: SegmentSpec, values: Tensor) -> Mask:
    """Which voxels must be near a place, for it to be in the mask by values between voxels.

    Such a value is at most the largest of those around it; the largest of n shares of 1 is at least one nth.
    """
    own = values[spec.channel]
    if spec.pick == "argmax":
        is_share = spec.activation == "softmax"
        return np.asarray(own >= 1 / len(values) - EVEN) if is_share else np.ones(own.shape, np.bool_)
    return np.asarray(own >= spec.mask_at - EVEN)


def _components(spec: SegmentSpec, mask: Mask, voxel_ml: Vector) -> NDArray[np.integer[Any]]:
    """By number, those that are kept; 0 elsewhere. `voxel_ml`: of each plane of the mask."""
    import SimpleITK  # only now: a film never needs it, and a clean volume neither

    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    parts: NDArray[np.integer[Any]] = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    count = int(parts.max()) + 1
    kept = np.zeros(count, np.bool_)
    if spec.keep == "largest":
        kept[largest_component(parts)] = True
    else:
        held_ml = np.zeros(count)
        for plane, each_ml in zip(parts, voxel_ml, strict=True):
            held_ml += np.bincount(plane.reshape(-1), minlength=count) * each_ml
        kept = held_ml >= spec.min_ml - 1e-9  # a sum of many small numbers
    kept[0] = False
    return np.where(kept[parts], parts, 0)


def largest_component(parts: NDArray[np.integer[Any]]) -> int:
    """The number of the component with the most voxels; 0 where there is none."""
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    return int(sizes.argmax())


def _box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """What holds all of a mask; None where there is nothing."""
    z, y, x = (held(np.asarray(mask.any(axis=others))) for others in ((1, 2), (0, 2), (0, 1)))
    return (z, y, x) if z.stop else None


def largest_whole(segments: Sequence[Segment]) -> list[Part]:
    """The largest component, with those of other stacks that touch it: what lies across two stacks is one."""
    segment = max(segments, key=lambda each: each.part(each.largest).ml())
    largest = segment.part(segment.largest)
    return [largest, *(part for other in segments if other is not segment for part in _touching(other, largest))]


def _touching(segment: Segment, largest: Part) -> Iterator[Part]:
    for label in np.unique(segment.labels[segment.labels > 0]):
        part = segment.part(int(label))
        if part.touches(largest):
            yield part


def diameter(parts: Sequence[Part]) -> float:
    """The largest distance in mm between two voxel centres, by those furthest out in `DIRECTIONS` directions."""
    points = np.concatenate([_ends(part) for part in parts])
    turn = np.arange(DIRECTIONS // 2) + 0.5
    height, angle = 1 - turn / (DIRECTIONS // 2), np.pi * (1 + 5**0.5) * turn  # half a Fibonacci sphere
    flat = np.sqrt(1 - height**2)
    along = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1) @ points.T
    far = points[np.unique([along.argmax(axis=1), along.argmin(axis=1)])]
    return float(np.sqrt(((far[:, None] - far[None]) ** 2).sum(axis=2).max()))


def _ends(part: Part) -> Vector:
    """The places of the first and the last voxel of each row, (n, 3) in mm, LPS: one furthest out is among them."""
    mask = part.mask
    rows = np.argwhere(mask.any(axis=2))
    first = mask[rows[:, 0], rows[:, 1]].argmax(axis=1)
    last = mask.shape[2] - 1 - mask[rows[:, 0], rows[:, 1], ::-1].argmax(axis=1)
    return part.places(np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]))
