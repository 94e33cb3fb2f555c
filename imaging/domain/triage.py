"""Which of a card's rules speaks for a study, by the findings of its answer."""

import math
from collections.abc import Sequence

from imaging.domain.card import TriageRule
from imaging.domain.findings import Finding, TriageClass
from imaging.domain.measures import VOLUME


def fired(rules: Sequence[TriageRule], findings: Sequence[Finding]) -> TriageRule | None:
    """The rule that asks the most urgent class for a finding that is present; None where none does.

    Rules only raise: a class of "none" asks for nothing.
    """
    present = {each.code.value: each for each in findings if each.present}
    asking = [
        rule
        for rule in rules
        if rule.triage is not TriageClass.NONE and rule.finding in present and _is_met(rule, present[rule.finding])
    ]
    return min(asking, key=lambda rule: list(TriageClass).index(rule.triage), default=None)


def _is_met(rule: TriageRule, finding: Finding) -> bool:
    """Whether a finding fulfils a rule, by the numbers that its report says. One that it has not fulfils none."""
    is_probable = rule.at_least is None or (finding.probability is not None and finding.probability >= rule.at_least)
    volume = VOLUME.value_in(finding)
    is_large = rule.volume_ml is None or (volume is not None and volume >= rule.volume_ml)
    return is_probable and is_large and _has_value(rule, finding)


def _has_value(rule: TriageRule, finding: Finding) -> bool:
    """Whether one of the numbers that a finding is lies where a rule asks."""
    if rule.value_least is None and rule.value_most is None:
        return True
    values = [each.value for each in finding.measurements if each.code == finding.code]
    low = -math.inf if rule.value_least is None else rule.value_least
    high = math.inf if rule.value_most is None else rule.value_most
    return any(low <= each <= high for each in values)
