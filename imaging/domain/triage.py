"""Which of a card's rules speaks for a study, by the findings of its answer."""

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
    return is_probable and (rule.volume_ml is None or (volume is not None and volume >= rule.volume_ml))
