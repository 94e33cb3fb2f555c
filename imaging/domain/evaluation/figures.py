"""What is said of a model after an evaluation: from each study's score, answer and truth to the figures."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from imaging.domain.evaluation.about import GROUPINGS, About, metadata_auc
from imaging.domain.evaluation.calibration import Calibration, calibration
from imaging.domain.evaluation.proportions import Ratio, Share, likelihood_ratio
from imaging.domain.evaluation.roc import Area, Truth, Values, area, curve

FEW: Final = 30
"""A group of fewer studies says little by itself."""


@dataclass(frozen=True)
class Case:
    """A study of known truth, and what the model said of it.

    `name`: as the table of labels has it. `present`: whether the finding was called. `meets_rest`: whether it would be
    called at any probability, by what the card asks beside (a volume). `flag`: the class that the card's rules for this
    finding ask for, where it is one of earlier reading. `reason`: why there is no score.
    """

    name: str
    patient: str
    truth: bool
    score: float | None = None
    present: bool = False
    meets_rest: bool = True
    flag: str = ""
    reason: str = ""
    is_failed: bool = False
    about: About = field(default_factory=About)


@dataclass(frozen=True)
class Figures:
    """Of the studies of a whole table or a group that have a score, at the card's threshold."""

    n: int
    positives: int
    area: Area | None
    sensitivity: Share
    specificity: Share
    lr_positive: Ratio | None

    @property
    def is_few(self) -> bool:
        """Whether a group is so small that its figures say little."""
        return self.n < FEW


@dataclass(frozen=True)
class Suggestion:
    """The highest threshold that reaches a wanted sensitivity in these studies, and what it gives there."""

    wanted: float
    threshold: float
    sensitivity: Share
    specificity: Share


@dataclass(frozen=True)
class Load:
    """What so many analysed studies a day bring, if the finding is as frequent as `prevalence` says.

    `called`: studies in which the finding is called, `false` without it. `flags`: of those, what asks for earlier
    reading, by class. `ppv`, `npv`: of a call, and of none; None where there is none.
    """

    studies: float
    prevalence: float
    called: float
    false: float
    flags: Mapping[str, float]
    ppv: float | None
    npv: float | None


@dataclass(frozen=True)
class Evaluation:
    """All figures. `calibration` and `suggestion` are None where scores are no probabilities, or none reaches it."""

    figures: Figures
    refused: Mapping[str, int]
    failed: Mapping[str, int]
    metadata_auc: float | None
    calibration: Calibration | None
    suggestion: Suggestion | None
    load: Load | None
    groups: Mapping[str, Mapping[str, Figures]]
    curve: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Wanted:
    """What is asked beside the figures. `prevalence`: None: that of the studies. `by`: keys of GROUPINGS."""

    sensitivity: float = 0.9
    studies_per_day: float = 100.0
    prevalence: float | None = None
    by: tuple[str, ...] = ()
    are_probabilities: bool = True


def evaluated(cases: Sequence[Case], wanted: Wanted) -> Evaluation:
    """The figures of these studies; those without a score are counted by their reasons."""
    scored = [each for each in cases if each.score is not None]
    without = [each for each in cases if each.score is None]
    scores, truth = _scores(scored), _truth(scored)
    both = bool(truth.any() and not truth.all())
    patients = [each.patient for each in scored]
    figures = _figures(scored)
    return Evaluation(
        figures=figures,
        refused=_counted([each for each in without if not each.is_failed]),
        failed=_counted([each for each in without if each.is_failed]),
        metadata_auc=metadata_auc([each.about for each in scored], truth, patients) if both else None,
        calibration=calibration(scores, truth) if wanted.are_probabilities and scored else None,
        suggestion=_suggestion(scored, wanted.sensitivity) if both else None,
        load=_load(scored, figures, wanted) if both else None,
        groups={name: _groups(scored, name) for name in wanted.by},
        curve=curve(scores, truth) if both else (),
    )


def _scores(cases: Sequence[Case]) -> Values:
    return np.array([each.score for each in cases], np.float64)


def _truth(cases: Sequence[Case]) -> Truth:
    return np.array([each.truth for each in cases], np.bool_)


def _counted(cases: Sequence[Case]) -> dict[str, int]:
    return dict(sorted(Counter(each.reason for each in cases).items()))


def _figures(cases: Sequence[Case]) -> Figures:
    truth = _truth(cases)
    positives = int(truth.sum())
    hits = Share(sum(each.present for each in cases if each.truth), positives)
    alarms = Share(sum(each.present for each in cases if not each.truth), len(cases) - positives)
    return Figures(
        n=len(cases),
        positives=positives,
        area=area(_scores(cases), truth, [each.patient for each in cases]) if cases else None,
        sensitivity=hits,
        specificity=Share(alarms.total - alarms.hits, alarms.total),
        lr_positive=likelihood_ratio(hits, alarms),
    )


def _groups(cases: Sequence[Case], grouping: str) -> dict[str, Figures]:
    group_of = GROUPINGS[grouping]
    members: dict[str, list[Case]] = {}
    for each in cases:
        members.setdefault(group_of(each.about), []).append(each)
    return {name: _figures(members[name]) for name in sorted(members)}


def _suggestion(cases: Sequence[Case], wanted: float) -> Suggestion | None:
    """None where too many are not called at any threshold."""
    reachable = [-math.inf if not each.meets_rest else _score(each) for each in cases]
    found = sorted((score for score, each in zip(reachable, cases, strict=True) if each.truth), reverse=True)
    threshold = found[max(1, math.ceil(wanted * len(found) - 1e-9)) - 1]
    if threshold == -math.inf:
        return None
    hits = sum(score >= threshold for score in found)
    spared = sum(score < threshold for score, each in zip(reachable, cases, strict=True) if not each.truth)
    return Suggestion(wanted, threshold, Share(hits, len(found)), Share(spared, len(cases) - len(found)))


def _score(case: Case) -> float:
    assert case.score is not None
    return case.score


def _load(cases: Sequence[Case], figures: Figures, wanted: Wanted) -> Load:
    """Needs studies of both kinds."""
    prevalence = figures.positives / figures.n if wanted.prevalence is None else wanted.prevalence
    with_it, without = wanted.studies_per_day * prevalence, wanted.studies_per_day * (1 - prevalence)
    hits = with_it * (figures.sensitivity.value or 0.0)
    false = without * (1 - (figures.specificity.value or 0.0))
    flags = {}
    for flag in sorted({each.flag for each in cases if each.flag}):
        share = {
            kind: sum(each.flag == flag for each in cases if each.truth is kind)
            / sum(each.truth is kind for each in cases)
            for kind in (True, False)
        }
        flags[flag] = with_it * share[True] + without * share[False]
    called = hits + false
    spared = wanted.studies_per_day - called
    return Load(
        studies=wanted.studies_per_day,
        prevalence=prevalence,
        called=called,
        false=false,
        flags=flags,
        ppv=hits / called if called else None,
        npv=(without - false) / spared if spared else None,
    )
