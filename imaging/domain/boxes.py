"""Boxes as detectors give them: their formats, and which of many that say the same is kept.

A box has a low and a high end on each axis, in voxels or pixels, and is as long as the one lies from the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Format:
    """`first`, `second`: which numbers of a row are each axis's low end and its high end (`corners`), its low end and
    its size (`size`), or its middle and its size (`centre`).
    """

    kind: Literal["corners", "size", "centre"]
    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def axes(self) -> int:
        """How many axes a box has."""
        return len(self.first)

    def ends(self, rows: Vector) -> tuple[Vector, Vector]:
        """The low and the high ends of boxes, both (n, axes). `rows`: (n, 2 * axes)."""
        first, second = rows[:, list(self.first)], rows[:, list(self.second)]
        if self.kind == "corners":
            return first, second
        low = first - second / 2 if self.kind == "centre" else first
        return low, low + second


FORMATS: Final[Mapping[str, Format]] = {
    "xyxy": Format("corners", (0, 1), (2, 3)),
    "xxyy": Format("corners", (0, 2), (1, 3)),
    "xywh": Format("size", (0, 1), (2, 3)),
    "ccwh": Format("centre", (0, 1), (2, 3)),
    "cxcywh": Format("centre", (0, 1), (2, 3)),
    "xyzxyz": Format("corners", (0, 1, 2), (3, 4, 5)),
    "xxyyzz": Format("corners", (0, 2, 4), (1, 3, 5)),
    "xyxyzz": Format("corners", (0, 1, 4), (2, 3, 5)),
    "xyzwhd": Format("size", (0, 1, 2), (3, 4, 5)),
    "cccwhd": Format("centre", (0, 1, 2), (3, 4, 5)),
}
"""As MONAI names them, and `cxcywh`, as others name `ccwh`."""


def overlaps(low: Vector, high: Vector, of: int) -> Vector:
    """Intersection over union of each box with one of them; 0 where both are nothing."""
    shared = np.clip(np.minimum(high, high[of]) - np.maximum(low, low[of]), 0.0, None).prod(axis=1)
    sizes = (high - low).prod(axis=1)
    union = sizes + sizes[of] - shared
    share: Vector = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


def kept(low: Vector, high: Vector, scores: Vector, most: float, top: int) -> Index:
    """Greedy non-maximum suppression: the boxes that are kept, the highest score first, of equal ones the first given.

    A box goes where it overlaps one that is kept by more than `most` (as torchvision and MONAI have it). At most `top`.
    """
    order = np.argsort(-scores, kind="stable")
    done: list[int] = []
    while order.size and len(done) < top:
        best = int(order[0])
        done.append(best)
        rest = order[1:]
        near = overlaps(np.vstack([low[[best]], low[rest]]), np.vstack([high[[best]], high[rest]]), 0)[1:]
        order = rest[near <= most]
    return np.array(done, np.intp)
