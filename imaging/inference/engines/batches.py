"""Networks that take batches of one size only."""

from collections.abc import Callable

import numpy as np

from imaging.inference.engines.engine import Arrays
from imaging.preparation.array import Tensor


def in_fixed_batches(run: Callable[[Arrays], Arrays], arrays: Arrays, size: int | None) -> Arrays:
    """The outputs of a network that takes batches of this size; the last one is filled up with zeros. None: of any."""
    count = len(next(iter(arrays.values())))
    if size is None or size == count:
        return run(arrays)
    parts = []
    for first in range(0, count, size):
        part = {name: _filled(each[first : first + size], size) for name, each in arrays.items()}
        done = run(part)
        parts.append({name: each[: min(size, count - first)] for name, each in done.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _filled(array: Tensor, count: int) -> Tensor:
    """The batch with zeros up to a count."""
    full = np.zeros((count, *array.shape[1:]), np.float32)
    full[: len(array)] = array
    return full
