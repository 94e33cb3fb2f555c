"""Whether a probability means what it says."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from imaging.domain.evaluation.logistic import fit
from imaging.domain.evaluation.proportions import Share
from imaging.domain.evaluation.roc import Truth, Values

_A_BIN: Final = 20
"""Studies that a bin should have."""
_BINS: Final = (5, 10)
_EDGE: Final = 1e-6
"""Nearer to 0 and 1 than this no probability counts: its logit would outweigh all others."""


@dataclass(frozen=True)
class Bin:
    """Studies of like probability: the mean of what was said, and how many of them have the finding."""

    mean: float
    found: Share


@dataclass(frozen=True)
class Calibration:
    """`brier`: the mean squared error; `brier_of_prevalence`: of who says the prevalence to all. `slope`, `intercept`:
    of the logistic regression of the truth on the probability's logit, 1 and 0 where it is calibrated; None where it
    has no fit, as where the two kinds are told apart without fault.
    """

    bins: tuple[Bin, ...]
    brier: float
    brier_of_prevalence: float
    slope: float | None
    intercept: float | None


def calibration(probabilities: Values, truth: Truth) -> Calibration:
    """Of n studies, at least one; both (n,). Bins have equal counts: five to ten, fewer only where studies are."""
    n = len(probabilities)
    prevalence = float(truth.mean())
    clipped = np.clip(probabilities, _EDGE, 1 - _EDGE)
    line = fit(np.log(clipped / (1 - clipped))[:, None], truth)
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, min(n, max(_BINS[0], min(_BINS[1], n // _A_BIN))))
    return Calibration(
        bins=tuple(Bin(float(probabilities[each].mean()), Share(int(truth[each].sum()), len(each))) for each in parts),
        brier=float(np.mean((probabilities - truth) ** 2)),
        brier_of_prevalence=prevalence * (1 - prevalence),
        slope=None if line is None else float(line[1]),
        intercept=None if line is None else float(line[0]),
    )
