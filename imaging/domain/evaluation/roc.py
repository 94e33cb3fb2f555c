"""The area under the ROC curve (AUC), its interval, and the curve itself.

The AUC is the probability that a study with the finding scores higher than one without; ties count half. It is None
where the studies are all with the finding or all without.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.evaluation.proportions import Z95, Interval

Values = NDArray[np.float64]
Truth = NDArray[np.bool_]

ROUNDS: Final = 2000
SEED: Final = 20261130
"""Of the bootstrap: the same scores have the same interval."""


@dataclass(frozen=True)
class Area:
    """`method`: how the interval was made: "delong", "newcombe" or "bootstrap-patient"."""

    value: float
    interval: Interval
    method: str


def area(scores: Values, truth: Truth, patients: Sequence[str]) -> Area | None:
    """The AUC with its interval: by DeLong where each patient has one study, else by a bootstrap of patients.

    Where the two kinds are told apart without fault, or always wrongly, DeLong's variance is 0 whatever the number of
    studies; Newcombe's interval, which then still has a width, stands in its place. All three are (n,).
    """
    value = auc(scores, truth)
    if value is None:
        return None
    if len(set(patients)) < len(patients):
        return Area(value, _bootstrap(scores, truth, patients), "bootstrap-patient")
    variance = delong_variance(scores, truth)
    if variance == 0.0:
        return Area(value, newcombe(value, int(truth.sum()), int((~truth).sum())), "newcombe")
    half = Z95 * math.sqrt(variance)
    return Area(value, (max(0.0, value - half), min(1.0, value + half)), "delong")


def auc(scores: Values, truth: Truth) -> float | None:
    """The area; None where only one kind is there."""
    return _weighted(*_levels(scores, truth), np.ones(len(scores)))


def delong_variance(scores: Values, truth: Truth) -> float:
    """The variance of the AUC after DeLong, DeLong and Clarke-Pearson (1988), by midranks (Sun and Xu 2014).

    Needs both kinds; a kind of one study has no variance of its own and adds none.
    """
    positive, negative = scores[truth], scores[~truth]
    m, n = len(positive), len(negative)
    ranks = midranks(np.concatenate([positive, negative]))
    above = (ranks[:m] - midranks(positive)) / n
    below = 1.0 - (ranks[m:] - midranks(negative)) / m
    return sum(float(np.var(part, ddof=1)) / len(part) for part in (above, below) if len(part) > 1)


def midranks(values: Values) -> Values:
    """Ranks from 1 on; equal values share the mean of theirs. (n,)"""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: Values = (ends - (counts - 1) / 2)[inverse]
    return middle


def newcombe(value: float, positives: int, negatives: int) -> Interval:
    """Newcombe's method 5 (2006): a score interval with the variance of Hanley and McNeil, within 0 and 1.

    The bounds are those areas for which the one that was found is just within 1.96 of their own standard errors.
    """
    low = 0.0 if value <= 0 else _crossing(value, positives, negatives, 0.0)
    high = 1.0 if value >= 1 else _crossing(value, positives, negatives, 1.0)
    return low, high


def _crossing(value: float, positives: int, negatives: int, end: float) -> float:
    """The area between `end` and `value` that is 1.96 standard errors away from it, by halving."""
    mean = (positives + negatives) / 2 - 1

    def is_too_far(at: float) -> bool:
        spread = 1 + mean * ((1 - at) / (2 - at) + at / (1 + at))
        return (value - at) ** 2 > Z95**2 * at * (1 - at) * spread / (positives * negatives)

    outside, inside = end, value
    for _ in range(60):
        half = (outside + inside) / 2
        outside, inside = (half, inside) if is_too_far(half) else (outside, half)
    return (outside + inside) / 2


def _bootstrap(scores: Values, truth: Truth, patients: Sequence[str]) -> Interval:
    """Percentiles of the AUC when patients are drawn with replacement, each with all of his studies."""
    _, owner = np.unique(np.array(patients, dtype=object).astype(str), return_inverse=True)
    count, levels = int(owner.max()) + 1, _levels(scores, truth)
    generator = np.random.default_rng(SEED)
    areas = []
    for _ in range(ROUNDS):
        drawn = np.bincount(generator.integers(0, count, count), minlength=count)
        found = _weighted(*levels, drawn[owner].astype(np.float64))
        if found is not None:  # a draw of one kind alone has no area
            areas.append(found)
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


def _levels(scores: Values, truth: Truth) -> tuple[NDArray[Any], Truth]:
    """Which of the different scores each one is, in rising order; and the truth."""
    return np.unique(scores, return_inverse=True)[1], truth


def _weighted(level: NDArray[Any], truth: Truth, weights: Values) -> float | None:
    """The area where each study counts so many times."""
    positive = np.bincount(level, weights * truth)
    negative = np.bincount(level, weights * ~truth)
    pairs = float(positive.sum() * negative.sum())
    if not pairs:
        return None
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum()) / pairs


def curve(scores: Values, truth: Truth) -> list[tuple[float, float]]:
    """The ROC curve from (0, 0) to (1, 1): 1 - specificity and sensitivity at each score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    found = truth[order]
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits, alarms = np.cumsum(found)[last], np.cumsum(~found)[last]
    positives, negatives = int(truth.sum()), int((~truth).sum())
    points = [(int(alarm) / negatives, int(hit) / positives) for hit, alarm in zip(hits, alarms, strict=True)]
    return [(0.0, 0.0), *points]
