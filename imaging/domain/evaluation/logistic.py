"""Logistic regression by Newton's steps, for calibration and for what age, sex and view tell alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.evaluation.roc import Truth, Values, auc

_STEPS: Final = 100
_TOO_STEEP: Final = 1e3
"""A coefficient beyond it has no end: the two kinds are told apart without fault."""
FOLDS: Final = 5
REPEATS: Final = 20
SEED: Final = 20261130


def fit(features: Values, truth: Truth, ridge: float = 0.0) -> Values | None:
    """Intercept and coefficients, (1 + k,), of features (n, k). `ridge`: weight of the coefficients' squares, halved.

    None where there is no best fit: one kind alone, features that say the same, or that tell all apart.
    """
    if truth.all() or not truth.any():
        return None
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.diag([0.0, *[ridge] * features.shape[1]])
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = sigmoid(design @ weights)
        slope = design.T @ (truth - p) - penalty @ weights
        bend = (design * (p * (1 - p))[:, None]).T @ design + penalty
        try:
            step = np.linalg.solve(bend, slope)
        except np.linalg.LinAlgError:
            return None
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        weights = weights + step
        if not np.isfinite(weights).all() or float(np.abs(weights[1:]).max(initial=0.0)) > _TOO_STEEP:
            return None
        if float(np.abs(step).max()) < 1e-10:
            return weights
    return None


def sigmoid(values: Values) -> Values:
    """1 / (1 + exp(-x)), also where x is large."""
    found: Values = 0.5 * (1 + np.tanh(values / 2))
    return found


def cross_validated_auc(features: Values, truth: Truth, patients: Sequence[str]) -> float | None:
    """How well the features (n, k) alone tell the two kinds apart: the mean AUC of folds that were not learnt from.

    Patients, not studies, are dealt to FOLDS folds, those with the finding and those without evenly, REPEATS times with
    fixed seeds. Each fold has an AUC of its own: pooled scores of folds with other intercepts would have one below one
    half where nothing can be told. None where no fold has both kinds.
    """
    _, owner = np.unique(np.array(patients, dtype=object).astype(str), return_inverse=True)
    areas = []
    for held_out in _folds(owner, truth):
        learnt = fit(features[~held_out], truth[~held_out], ridge=1.0)
        if learnt is not None:
            found = auc(features[held_out] @ learnt[1:], truth[held_out])
            areas += [found] if found is not None else []
    return float(np.mean(areas)) if areas else None


def _folds(owner: NDArray[Any], truth: Truth) -> Iterator[Truth]:
    """Which studies are held out, fold by fold. `owner`: each study's patient."""
    count = int(owner.max()) + 1
    is_positive = np.zeros(count, bool)
    is_positive[owner[truth]] = True
    generator = np.random.default_rng(SEED)
    for _ in range(REPEATS):
        fold = np.empty(count, int)
        for kind in (is_positive, ~is_positive):
            members = generator.permutation(np.flatnonzero(kind))
            fold[members] = np.arange(len(members)) % FOLDS
        for each in range(FOLDS):
            yield fold[owner] == each
