"""How fast a network is run as the pipeline runs it: films that wait side by side, a lone one, a volume's patches."""

import resource
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imaging.inference.analyser import Analyser
from imaging.inference.parity import drawn
from imaging.inference.prepared import Item
from imaging.inference.running import through

ALONE: Final = 0.35
"""The share of the time in which a lone film is measured."""


@dataclass(frozen=True)
class Speed:
    """`per_s`: films, or patches, while others wait. `alone_ms`: a film, or a patch, with nothing beside it.
    `memory_mb`: the most that this process has held.
    """

    per_s: float
    alone_ms: float
    memory_mb: float


def speed(analyser: Analyser, seconds: float, callers: int) -> Speed:
    """Runs drawn images for so long, at least once. `callers`: how many films run at once. Raises what a run does."""
    card = analyser.card
    if not card.lane.is_side_by_side:
        items = [_slab(analyser)]
        per_s = _rate(analyser, items, seconds, 1, is_alone=True) * (
            card.engine.window.batch if card.engine.window else 1
        )
        return Speed(per_s, 1000 / per_s, _memory_mb())
    batch = drawn(analyser, analyser.max_batch)
    waiting = _rate(analyser, batch, seconds * (1 - ALONE), callers, is_alone=False) * len(batch)
    return Speed(waiting, _alone_ms(analyser, batch[0], seconds * ALONE), _memory_mb())


def _slab(analyser: Analyser) -> Item:
    """A volume of as many patches as go through the network at once."""
    window = analyser.card.engine.window
    if window is None:
        return drawn(analyser, 1)[0]
    step = max(1, int(window.roi[0] * (1 - window.overlap)))
    return drawn(analyser, 1, (window.roi[0] + (window.batch - 1) * step, *window.roi[1:]))[0]


def _rate(analyser: Analyser, items: Sequence[Item], seconds: float, callers: int, *, is_alone: bool) -> float:
    """Runs a second, of so many callers at once."""
    counts, errors = [0] * callers, list[Exception]()
    began = time.perf_counter()

    def call(at: int) -> None:
        try:
            while not errors and (not counts[at] or time.perf_counter() - began < seconds):
                _run(analyser, items, is_alone=is_alone)
                counts[at] += 1
        except Exception as error:  # noqa: BLE001 (raised below, by who asked)
            errors.append(error)

    threads = [threading.Thread(target=call, args=(at,)) for at in range(callers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - began)


def _alone_ms(analyser: Analyser, item: Item, seconds: float) -> float:
    """The median of lone runs."""
    began, took = time.perf_counter(), list[float]()
    while not took or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        _run(analyser, [item], is_alone=True)
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took)


def _run(analyser: Analyser, items: Sequence[Item], *, is_alone: bool) -> None:
    for ran in through(analyser.engine, analyser.card, items, is_alone=is_alone):
        if isinstance(ran.outputs, Exception):
            raise ran.outputs


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
