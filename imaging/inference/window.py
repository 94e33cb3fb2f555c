"""A volume through a network patch by patch, blended where patches overlap.

Written in numpy, so that torch is not needed for it. Outputs are blended before any activation.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np

from imaging.domain.card import Window
from imaging.domain.faults import is_out_of_memory
from imaging.inference.engines.engine import Arrays
from imaging.preparation.array import Tensor

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


def slide(run: Callable[[Arrays], Arrays], arrays: Arrays, window: Window) -> tuple[dict[str, Tensor], int]:
    """The network's outputs for a whole volume, and how many patches it took.

    `arrays`: by name, (channels, *shape), all of one shape; returns (output channels, *shape). A volume smaller than a
    patch is padded as the window says. Where memory does not last for a batch, it and those behind it are halved; one
    patch alone that does not fit raises what the network raised.
    """
    shape = next(iter(arrays.values())).shape[1:]
    before = [_short_by(size, span, window)[0] for size, span in zip(shape, window.roi, strict=True)]
    padded = {name: _reaching(each, window) for name, each in arrays.items()}
    whole = next(iter(padded.values())).shape[1:]
    where = places(whole, window)
    weight = importance(window)
    totals: dict[str, Tensor] = {}
    weights = np.zeros(whole, np.float32)
    first, size = 0, window.batch
    while first < len(where):
        batch = where[first : first + size]
        try:
            came = run(
                {name: np.stack([each[(slice(None), *place)] for place in batch]) for name, each in padded.items()}
            )
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            size = len(batch) // 2
            continue
        first += len(batch)
        for name, outputs in came.items():
            total = totals[name] if name in totals else np.zeros((outputs.shape[1], *whole), np.float32)
            totals[name] = total
            for place, output in zip(batch, outputs, strict=True):
                total[(slice(None), *place)] += output * weight
        for place in batch:
            weights[place] += weight
    inside = (slice(None), *(slice(start, start + size) for start, size in zip(before, shape, strict=True)))
    for total in totals.values():
        total /= weights
    return {name: total[inside] for name, total in totals.items()}, len(where)


def _reaching(values: Tensor, window: Window) -> Tensor:
    """Values that are as large as a patch at least."""
    wide = [(0, 0), *(_short_by(size, span, window) for size, span in zip(values.shape[1:], window.roi, strict=True))]
    if not any(after for _, after in wide):
        return values
    if window.padding == "replicate":
        return np.pad(values, wide, mode="edge")
    return np.pad(values, wide, constant_values=float(values.min()) if window.padding == "least" else 0.0)


def _short_by(size: int, span: int, window: Window) -> tuple[int, int]:
    """What an axis lacks of a patch's size, before and after it."""
    short = max(0, span - size)
    before = 0 if window.padding == "least" else short // 2
    return before, short - before
