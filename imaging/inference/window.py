"""A volume through a network patch by patch, blended where patches overlap.

Written in numpy, so that torch is not needed for it. Outputs are blended before any activation.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Window

Tensor = NDArray[np.float32]
Place = tuple[slice, slice, slice]


def places(shape: tuple[int, ...], window: Window) -> list[Place]:
    """Where patches lie in a volume that is at least as large as one; the last of each axis ends with the volume."""
    axes = []
    for size, span in zip(shape, window.roi, strict=True):
        step = max(1, int(span * (1 - window.overlap)))
        axes.append(sorted({min(start, size - span) for start in range(0, size - span + step, step)}))
    z, y, x = window.roi
    return [(slice(a, a + z), slice(b, b + y), slice(c, c + x)) for a, b, c in product(*axes)]


@lru_cache(maxsize=8)
def importance(window: Window) -> Tensor:
    """Weight of a patch's voxels: a Gaussian of sigma roi / 8, never below 0.001; or constant."""
    if window.blend == "constant":
        return np.ones(window.roi, np.float32)
    z, y, x = (np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size / 8)) ** 2) for size in window.roi)
    return np.asarray(np.maximum(z[:, None, None] * y[:, None] * x, 1e-3), np.float32)


def slide(run: Callable[[Tensor], Tensor], values: Tensor, window: Window) -> tuple[Tensor, int]:
    """The network's output for the whole volume, and how many patches it took.

    `values`: (channels, *shape); returns (output channels, *shape). A volume smaller than a patch is padded at the
    end of each axis with its least value.
    """
    shape = values.shape[1:]
    wide = [(0, max(0, span - size)) for size, span in zip(shape, window.roi, strict=True)]
    padded = np.pad(values, [(0, 0), *wide], constant_values=float(values.min())) if any(w for _, w in wide) else values
    where = places(padded.shape[1:], window)
    weight = importance(window)
    total: Tensor | None = None
    weights = np.zeros(padded.shape[1:], np.float32)
    for first in range(0, len(where), window.batch):
        batch = where[first : first + window.batch]
        outputs = run(np.stack([padded[(slice(None), *place)] for place in batch]))
        if total is None:
            total = np.zeros((outputs.shape[1], *padded.shape[1:]), np.float32)
        for place, output in zip(batch, outputs, strict=True):
            total[(slice(None), *place)] += output * weight
            weights[place] += weight
    assert total is not None
    total /= weights
    return total[(slice(None), *(slice(0, size) for size in shape))], len(where)
