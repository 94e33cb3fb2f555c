"""In which ways a card's network can be run on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from imaging.domain.card import CHANNELS_LAST, CONTIGUOUS, Card
from imaging.domain.tuning import Setup
from imaging.models.installed import EXTRAS
from imaging.models.machine import has_bf16

ONNX_FILES: Final = ("onnx", "openvino")
"""Engines that read ONNX files."""


def own(card: Card, threads: int) -> Setup:
    """As the card is run where nothing was tuned."""
    window, engine = card.engine.window, card.engine
    each = 1 if card.lane.is_side_by_side else threads
    return Setup(engine.kind, engine.precision, each, window.batch if window is not None else 1)


def reference(card: Card, threads: int) -> Setup:
    """What parity is measured against: the card's own engine, in f32 where it can be told its precision."""
    mine = own(card, threads)
    precision = mine.precision if mine.engine == "onnx" else "f32"
    return Setup(mine.engine, precision, mine.threads, mine.batch)


def others(card: Card, threads: int) -> list[Setup]:
    """The other engines and precisions, with the card's own threads and batch."""
    mine = own(card, threads)
    kinds = ONNX_FILES if mine.engine in ONNX_FILES else (mine.engine,)
    made = [
        Setup(kind, precision, mine.threads, mine.batch, layout)
        for kind in kinds
        if kind not in EXTRAS or EXTRAS[kind].is_installed
        for precision in _precisions(kind, card)
        for layout in ((CONTIGUOUS, CHANNELS_LAST) if kind == "torch" else (CONTIGUOUS,))
    ]
    return [each for each in made if each != mine]


def variants(setup: Setup, card: Card, threads: int) -> Iterator[Setup]:
    """The same engine and precision with other threads and batches."""
    for each in dict.fromkeys((setup.threads, 1, threads)):
        for batch in dict.fromkeys((setup.batch, *_batches(card))):
            made = replace(setup, threads=each, batch=batch)
            if made != setup:
                yield made


def _batches(card: Card) -> tuple[int, ...]:
    if card.engine.window is not None:
        return (1, 2, 4)
    return (1, 4) if card.lane.is_side_by_side else (1,)


def missing(card: Card) -> list[str]:
    """What would add ways, as a line for a person: extras that are not installed."""
    if card.engine.kind not in ONNX_FILES or EXTRAS["openvino"].is_installed:
        return []
    return [f"OpenVINO is not installed, which is often faster with ONNX files: {EXTRAS['openvino'].mend}"]


def _precisions(kind: str, card: Card) -> tuple[str, ...]:
    if kind == "onnx":
        return (card.engine.precision,) if card.engine.kind == "onnx" else ("f32",)
    return ("f32", "bf16") if has_bf16() else ("f32",)
