"""A network's outputs as shares of 1: what cannot be an answer is never shown as one."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from imaging.domain.card import Calibration, Card, FindingSpec, LabelSpec, SegmentSpec
from imaging.domain.faults import PublicError
from imaging.preparation.array import Tensor

OUTSIDE: Final = 1e-4
"""By how much a share of 1 may miss 0..1: what arithmetic leaves, and not a network's own scale."""


def check_values(card: Card, name: str, outputs: Sequence[Tensor]) -> None:
    """Refuses values of an output that are no numbers, or no shares of 1 where the card says so.

    `outputs`: before activation, channels first, one for each item. Raises PublicError.
    """
    if not all(np.isfinite(each).all() for each in outputs):
        raise PublicError(f"the network's output {name} has values that are not numbers (NaN or infinite)")
    for spec in (each for each in card.read_of(name) if _are_shares(each)):
        values = [each[spec.channel] for each in outputs]
        if any(each.min() < -OUTSIDE or each.max() > 1 + OUTSIDE for each in values):
            raise PublicError(
                f"channel {spec.channel} of the network's output {name} has values outside 0..1, but the card has "
                'activation = "none": are they logits, for sigmoid or softmax?'
            )


def _are_shares(spec: FindingSpec) -> bool:
    """Whether what the network gives are shares of 1 themselves. Scores of boxes are checked with these."""
    has_shares = isinstance(spec, LabelSpec | SegmentSpec)
    return has_shares and spec.activation == "none" and not _is_ranked(spec)


def _is_ranked(spec: FindingSpec) -> bool:
    """Whether nothing but which channel is the highest counts: its values need be no shares of 1."""
    return isinstance(spec, SegmentSpec) and spec.pick == "argmax"


def values_of(spec: FindingSpec, output: Tensor) -> Tensor:
    """An output as a finding is read of it; the channel axis comes first."""
    return output if spec.activation == "none" and _is_ranked(spec) else activated(output, spec.activation)


def activated(outputs: Tensor, activation: str) -> Tensor:
    """Outputs as shares of 1. The channel axis comes first."""
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(outputs, -80, 80))), np.float32)
    if activation == "softmax":
        powers = np.exp(outputs - outputs.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), np.float32)
    return np.clip(outputs, 0, 1)


def calibrated(score: float, calibration: Calibration | None) -> float:
    """Platt: sigmoid(a * logit + b); the score itself without."""
    if calibration is None:
        return score
    inner = min(max(score, 1e-7), 1 - 1e-7)
    return 1 / (1 + math.exp(-(calibration.a * math.log(inner / (1 - inner)) + calibration.b)))
