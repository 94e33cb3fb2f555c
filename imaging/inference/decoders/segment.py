"""A finding's mask on the voxels of one stack, cut to the box that holds it: most of a volume is no finding."""

from collections.abc import Iterator, Sequence
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


def segment_of(spec: SegmentSpec, chance: Tensor, item: StackItem) -> Segment | None:
    """The components (26 neighbours) of at least `min_ml`; None where none is left. `chance`: on the item's grid."""
    mask = chance >= spec.mask_at
    box = _box(mask)
    if box is None:
        return None
    import SimpleITK  # only now: a film never needs it, and a clean volume neither

    image = SimpleITK.GetImageFromArray(mask[box].astype(np.uint8))
    parts = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    kept = np.bincount(parts.reshape(-1)) * item.grid.voxel_ml >= spec.min_ml
    kept[0] = False
    back = item.volume.parts_of(np.where(kept[parts], parts, 0), [each.start for each in box], item.grid)
    if back is None:
        return None
    own = np.bincount(back[0].reshape(-1), minlength=len(kept))
    own[0] = 0
    if not own.any():
        return None
    largest = int(own.argmax())
    score = float(chance[box][parts == largest].mean(dtype=np.float64))
    return Segment(item.volume, *back, largest, score)


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
