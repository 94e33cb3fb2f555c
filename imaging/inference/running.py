"""Items through a network: together where their shapes allow, or patch by patch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from imaging.domain.card import Card, Window
from imaging.inference.engines.engine import Arrays, Engine
from imaging.inference.prepared import Item
from imaging.inference.window import slide

Run = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Ran:
    """What came of an item: the outputs by name, channels first, or the error. `patches`: 0 where it went whole."""

    outputs: Arrays | Exception
    ms: float
    patches: int = 0


def through(engine: Engine, card: Card, items: Sequence[Item], *, is_alone: bool = True) -> list[Ran]:
    """What comes of each item, in their order; those of several studies may be mixed. One that fails does so alone."""
    run: Run = partial(engine.run, is_alone=is_alone)
    named = [{card.engine.inputs[role]: values for role, values in item.arrays.items()} for item in items]
    if card.engine.window is not None:
        return [_patched(run, arrays, card.engine.window) for arrays in named]
    done: list[Ran] = []
    for batch in _batches(named, engine.max_batch):
        began = time.perf_counter()
        rows = _rows(run, batch)
        ms = 1000 * (time.perf_counter() - began) / len(batch)
        done += [Ran(row, ms) for row in rows]
    return done


def _patched(run: Run, arrays: Arrays, window: Window) -> Ran:
    began = time.perf_counter()
    came: Arrays | Exception
    try:
        came, patches = slide(run, arrays, window)
    except Exception as error:  # noqa: BLE001 - it becomes the answer of whom it concerns
        came, patches = error, 0
    return Ran(came, 1000 * (time.perf_counter() - began), patches)


def _batches(items: Sequence[Arrays], max_batch: int) -> Iterator[list[Arrays]]:
    """Neighbours of the same shapes, so many at once."""
    for _, same in groupby(items, key=lambda arrays: [each.shape for each in arrays.values()]):
        alike = list(same)
        yield from (alike[first : first + max_batch] for first in range(0, len(alike), max_batch))


def _rows(run: Run, batch: Sequence[Arrays]) -> list[Arrays | Exception]:
    """A row per item. A batch that fails is halved until what fails is alone: it may be memory, or one item."""
    try:
        outputs = run({name: np.stack([each[name] for each in batch]) for name in batch[0]})
        return [{name: values[at] for name, values in outputs.items()} for at in range(len(batch))]
    except Exception as error:  # noqa: BLE001 - it becomes the answer of whom it concerns
        if len(batch) == 1:
            return [error]
        half = len(batch) // 2
        return _rows(run, batch[:half]) + _rows(run, batch[half:])
