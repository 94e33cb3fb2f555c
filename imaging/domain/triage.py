"""Which of a card's rules speaks for a study, by the findings of its answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imaging.domain.card import Card, TriageRule
from imaging.domain.findings import NO_EVIDENCE, Finding, TriageClass
from imaging.domain.measures import VOLUME
from imaging.domain.sufficient_evidence import carries_rules


@dataclass(frozen=True)
class Proposal:
    """The class that a card's rules propose, as its report puts it into words, and why it is none where a rule is met
    (as `Answer.no_flag` has it).
    """

    triage: TriageClass | None
    words: str
    no_flag: str = ""


def proposed(card: Card, findings: Sequence[Finding]) -> Proposal:
    """What a card proposes for its findings: only the evidence of a finding lets its rules count."""
    rule = fired([each for each in card.triage if carries_rules(card, each.finding)], findings)
    if rule is not None:
        return Proposal(rule.triage, rule.text)
    met = fired(card.triage, findings)
    if met is None:
        return Proposal(None, "no rule applies")
    return Proposal(TriageClass.NONE, f"{met.text}; raises no flag: too little evidence", NO_EVIDENCE)


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
