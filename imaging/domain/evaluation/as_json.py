"""An evaluation as JSON: its keys are an interface (docs/models.md)."""

from collections.abc import Mapping
from typing import Any, Final

from imaging.domain.evaluation.calibration import Calibration
from imaging.domain.evaluation.figures import Evaluation, Figures, Load, Suggestion
from imaging.domain.evaluation.proportions import Interval, Share

_DECIMALS: Final = 6
METHODS: Final[Mapping[str, str]] = {
    "delong": "DeLong",
    "newcombe": "Newcombe",
    "bootstrap-patient": "bootstrap by patient",
}
"""How an interval of the AUC was made, in words."""


def as_json(found: Evaluation) -> dict[str, Any]:
    """What was found, without what it was found on. An absent figure is null."""
    return {
        **_figures(found.figures),
        "refused": dict(found.refused),
        "failed": dict(found.failed),
        "metadata_auc": _round(found.metadata_auc),
        "calibration": _calibration(found.calibration),
        "suggested": _suggestion(found.suggestion),
        "flags_per_day": _load(found.load),
        "by": {
            by: [{"group": name, **_figures(each), "few": each.is_few} for name, each in groups.items()]
            for by, groups in found.groups.items()
        },
    }


def _figures(found: Figures) -> dict[str, Any]:
    area, ratio = found.area, found.lr_positive
    return {
        "n": found.n,
        "positives": found.positives,
        "auc": _round(area.value if area else None),
        "auc_ci": _pair(area.interval if area else None),
        "auc_method": area.method if area else None,
        **_share("sensitivity", found.sensitivity),
        **_share("specificity", found.specificity),
        "lr_positive": _round(ratio.value if ratio else None),
        "lr_positive_ci": _pair(ratio.interval if ratio else None),
        "lr_positive_corrected": ratio is not None and ratio.is_corrected,
    }


def _share(name: str, share: Share) -> dict[str, Any]:
    return {name: _round(share.value), f"{name}_ci": _pair(share.interval), f"{name}_of": [share.hits, share.total]}


def _calibration(found: Calibration | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    return {
        "brier": _round(found.brier),
        "brier_of_prevalence": _round(found.brier_of_prevalence),
        "slope": _round(found.slope),
        "intercept": _round(found.intercept),
        "bins": [
            {
                "n": each.found.total,
                "mean": _round(each.mean),
                "observed": _round(each.found.value),
                "observed_ci": _pair(each.found.interval),
            }
            for each in found.bins
        ],
    }


def _suggestion(found: Suggestion | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    return {
        "wanted_sensitivity": found.wanted,
        "threshold": found.threshold,
        **_share("sensitivity", found.sensitivity),
        **_share("specificity", found.specificity),
    }


def _load(found: Load | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    return {
        "studies": found.studies,
        "prevalence": _round(found.prevalence),
        "called": _round(found.called),
        "called_falsely": _round(found.false),
        "flags": {name: _round(each) for name, each in found.flags.items()},
        "ppv": _round(found.ppv),
        "npv": _round(found.npv),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(each, _DECIMALS) for each in interval]
