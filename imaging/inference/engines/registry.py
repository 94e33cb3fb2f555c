"""The engines by the kind that cards ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from imaging.domain.card import Card
from imaging.inference.engines import onnx, openvino, torch
from imaging.inference.engines.engine import Engine, Identity


@dataclass(frozen=True)
class EngineKind:
    """`load`: the card's network on so many threads; raises PublicError. `identity`: what it would be, without loading
    it.
    """

    load: Callable[[Card, int], Engine]
    identity: Callable[[Card, int], Identity]


ENGINES: Final[Mapping[str, EngineKind]] = {
    "onnx": EngineKind(onnx.OnnxEngine, onnx.identity),
    "openvino": EngineKind(openvino.OpenVinoEngine, openvino.identity),
    "torch": EngineKind(torch.TorchEngine, torch.identity),
}


def load(card: Card, threads: int) -> Engine:
    """The card's engine, its network loaded. Raises PublicError."""
    return ENGINES[card.engine.kind].load(card, threads)


def identity(card: Card, threads: int = 1) -> Identity:
    """What the card's engine is on this machine."""
    return ENGINES[card.engine.kind].identity(card, threads)
