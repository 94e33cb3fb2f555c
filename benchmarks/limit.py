"""What the engine alone does on ready tensors: no node can be faster with this network on this machine.

Batches of 1, 4 and 8 on 1 and 2 threads take turns, so that a noisy neighbour disturbs all alike. The engine's threads
spin while they wait, as is its default.
"""

import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from imaging.domain.card import Card

BATCHES: Final = (1, 4, 8)
THREADS: Final = (1, 2)


@dataclass
class _Setting:
    batch: int
    threads: int
    session: Any
    feed: dict[str, Any]
    images_per_s: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        began, runs = time.perf_counter(), 0
        while not runs or time.perf_counter() - began < seconds:
            self.session.run(None, self.feed)
            runs += 1
        self.images_per_s.append(runs * self.batch / (time.perf_counter() - began))


class Limit:
    """The engine with a film model's network; measured by `round`, which may be called between other measurements."""

    def __init__(self, card: Card) -> None:
        self._settings = [_setting(card, batch, threads) for threads in THREADS for batch in BATCHES]

    def round(self, seconds: float) -> None:
        """Each setting for `seconds`."""
        for each in self._settings:
            each.run(seconds)

    def best(self) -> dict[str, float]:
        """The fastest setting, by the median of its rounds."""
        best = max(self._settings, key=lambda each: statistics.median(each.images_per_s))
        rate = statistics.median(best.images_per_s)
        return {"images_per_s": round(rate, 2), "batch": best.batch, "threads": best.threads}


def _setting(card: Card, batch: int, threads: int) -> _Setting:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # its wheels call their maker from 1.32 on; read once, at import
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = card.folder / card.engine.file
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = next(each for each in session.get_inputs() if each.name in card.engine.inputs.values())
    side = next((step.options["shape"] for step in card.prepare if step.do == "resize"), [224, 224])
    shape = [each if isinstance(each, int) else one for each, one in zip(wanted.shape, [batch, 1, *side], strict=True)]
    images = np.random.default_rng(0).random([batch, *shape[1:]]).astype(np.float32)
    setting = _Setting(batch, threads, session, {wanted.name: images})
    session.run(None, setting.feed)  # the first run allocates
    return setting
