"""Whether what was measured of a finding is enough for its rules to flag studies.

A flag sends a study before others, so it has to do better than a guess from what everybody knows: the patient's age and
sex, the view (`metadata_auc`). Whoever cannot show that still shows and sends findings.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from imaging.domain.card import CHANCE, Card

LR_POSITIVE: Final = 2.0
"""A present finding that is not more than twice as frequent among those who have it barely moves a reader's odds."""


def carries_rules(card: Card, finding: str) -> bool:
    """Whether the rules about a finding, by its code value, count."""
    return not shortfalls(card, finding)


def shortfalls(card: Card, finding: str) -> tuple[str, ...]:
    """Why the rules about a finding raise nothing, by its code value; empty where they count.

    They count where one of its `[[evidence]]` shows an AUC whose lower bound lies above that of the metadata and above
    chance, and a positive likelihood ratio above 2 at its threshold, and none that says these figures shows less. What
    was measured on drawn images alone is enough only for a demonstration.
    """
    measured = [each for each in card.evidence if each.get("finding") == finding]
    if not measured:
        return ("it has no [[evidence]]",)
    counted = [each for each in measured if card.status == "demonstration" or not is_synthetic(each)]
    if not counted:
        return (f"its evidence is synthetic, which is enough only for a demonstration, not for {card.status}",)
    missed = [why for each in counted for why in _missed(each)]
    if missed:
        return tuple(dict.fromkeys(missed))
    unsaid = [tuple(_unsaid(each)) for each in counted]
    return min(unsaid, key=len)


def is_synthetic(evidence: Mapping[str, Any]) -> bool:
    """Whether it was measured on drawn images."""
    return str(evidence.get("data", "")).startswith("synthetic")


def lr_positive(evidence: Mapping[str, Any]) -> float | None:
    """The positive likelihood ratio at the threshold, sensitivity / (1 - specificity); None where it is not said."""
    sensitivity, specificity = _share(evidence.get("sensitivity")), _share(evidence.get("specificity"))
    if sensitivity is None or specificity is None:
        return None
    if specificity < 1:
        return sensitivity / (1 - specificity)
    return math.inf if sensitivity else 0.0


def _missed(evidence: Mapping[str, Any]) -> Iterator[str]:
    """The figures that are said, and are too low."""
    low, known = lower_bound(evidence), _share(evidence.get("metadata_auc"))
    than = max(CHANCE, known or 0.0)  # metadata that tell less than nothing are no excuse
    if low is not None and low <= than:
        what = "chance" if than == CHANCE else "age, sex and view alone (metadata_auc)"
        yield f"the lower bound of its AUC, {low:g}, is not above {than:g}, that of {what}"
    ratio = lr_positive(evidence)
    if ratio is not None and ratio <= LR_POSITIVE:
        yield f"its LR+, {ratio:.2f}, is not above {LR_POSITIVE:g}"


def _unsaid(evidence: Mapping[str, Any]) -> Iterator[str]:
    """The figures that are not said."""
    if lower_bound(evidence) is None:
        yield "its evidence says no auc with ci95"
    if lr_positive(evidence) is None:
        yield "its evidence says no sensitivity and specificity"


def lower_bound(evidence: Mapping[str, Any]) -> float | None:
    """Of the AUC's interval; None where an evidence has none: its keys are free."""
    bounds = evidence.get("ci95")
    return _share(bounds[0]) if "auc" in evidence and isinstance(bounds, list) and bounds else None


def _share(value: Any) -> float | None:
    """A number from 0 to 1; None for all else that a free key may hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else None
