"""What is known of a study beside its pixels: what a model may have learnt in the finding's place, and groups by it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from imaging.domain.evaluation.logistic import cross_validated_auc
from imaging.domain.evaluation.roc import Truth, Values

UNKNOWN: Final = "unknown"
_AGES: Final = ((18, "0 to 17"), (40, "18 to 39"), (65, "40 to 64"))
_OLDEST: Final = "65 and over"


@dataclass(frozen=True)
class About:
    """Empty or None: unknown. `age` in years; `sex` and `view` as DICOM's codes; `scanner`: maker and model."""

    patient: str = ""
    age: float | None = None
    sex: str = ""
    view: str = ""
    scanner: str = ""

    def or_else(self, other: "About") -> "About":
        """The same, with what is unknown taken from another."""
        return About(
            self.patient or other.patient,
            other.age if self.age is None else self.age,
            self.sex or other.sex,
            self.view or other.view,
            self.scanner or other.scanner,
        )


def _band(about: About) -> str:
    if about.age is None:
        return UNKNOWN
    return next((name for limit, name in _AGES if about.age < limit), _OLDEST)


GROUPINGS: Final[Mapping[str, Callable[[About], str]]] = {
    "scanner": lambda about: about.scanner or UNKNOWN,
    "sex": lambda about: about.sex or UNKNOWN,
    "age": _band,
    "view": lambda about: about.view or UNKNOWN,
}
"""What studies may be grouped by, and the group that each falls into."""


def metadata_auc(known: Sequence[About], truth: Truth, patients: Sequence[str]) -> float | None:
    """The AUC of age, sex and view alone, cross-validated; None where they say the same of all studies."""
    features = _features(known)
    return cross_validated_auc(features, truth, patients) if features.shape[1] else None


def _features(known: Sequence[About]) -> Values:
    """(n, k): the age in hundreds of years, and a column for each sex and view; that one is unknown counts as well."""
    ages = np.array([np.nan if each.age is None else each.age / 100 for each in known])
    is_unknown = np.isnan(ages)
    mean = 0.0 if is_unknown.all() else float(ages[~is_unknown].mean())
    columns = [np.where(is_unknown, mean, ages), is_unknown.astype(np.float64)]
    for words in ([each.sex for each in known], [each.view for each in known]):
        columns += [np.array([each == word for each in words], np.float64) for word in sorted(set(words))[1:]]
    kept = [each for each in columns if each.size and float(np.ptp(each)) > 0]
    return np.column_stack(kept) if kept else np.empty((len(known), 0))
