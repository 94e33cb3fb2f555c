"""Which findings may flag studies, by what was measured of them."""

from dataclasses import replace
from typing import Any

import pytest
from sr_cases import EFFUSION
from sr_cases import card as card_of

from imaging.domain.card import Card, TriageRule
from imaging.domain.codes import Code
from imaging.domain.findings import Finding, TriageClass
from imaging.domain.sufficient_evidence import carries_rules, shortfalls
from imaging.domain.triage import proposed

GOOD = {"finding": "60046008", "auc": 0.84, "ci95": [0.73, 0.92], "metadata_auc": 0.5, "sensitivity": 0.6,
        "specificity": 0.86, "data": "films of a site"}  # fmt: skip


def card(*evidence: dict[str, Any], status: Any = "research") -> Card:
    rule = TriageRule("60046008", 0.9, TriageClass.URGENT)
    return replace(card_of(EFFUSION), triage=(rule,), evidence=evidence, status=status)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"specificity": 1.0}, ""),
        (
            {"metadata_auc": 0.73},
            "the lower bound of its AUC, 0.73, is not above 0.73, that of age, sex and view alone",
        ),
        ({"metadata_auc": None, "ci95": [0.5, 0.9]}, "its AUC, 0.5, is not above 0.5, that of chance"),
        ({"metadata_auc": None, "ci95": [0.51, 0.9]}, ""),
        ({"metadata_auc": 0.375, "ci95": [0.45, 0.9]}, "its AUC, 0.45, is not above 0.5, that of chance"),
        ({"sensitivity": 0.5, "specificity": 0.75}, "its LR+, 2.00, is not above 2"),
        ({"sensitivity": 0.0, "specificity": 1.0}, "its LR+, 0.00, is not above 2"),
        ({"ci95": None}, "its evidence says no auc with ci95"),
        ({"ci95": "0.7"}, "its evidence says no auc with ci95"),
        ({"auc": None}, "its evidence says no auc with ci95"),
        ({"specificity": None}, "its evidence says no sensitivity and specificity"),
        ({"specificity": 86}, "its evidence says no sensitivity and specificity"),
        ({"data": "synthetic: drawn"}, "its evidence is synthetic, which is enough only for a demonstration"),
        ({"finding": "another"}, "it has no [[evidence]]"),
    ],
)
def test_a_rule_counts_on_an_auc_above_the_metadatas_and_a_likelihood_ratio_above_two(
    changes: dict[str, Any], why: str
) -> None:
    evidence = {key: value for key, value in (GOOD | changes).items() if value is not None}
    found = shortfalls(card(evidence), "60046008")
    assert why in "; ".join(found)
    assert bool(found) == bool(why)


def test_synthetic_evidence_is_enough_for_a_demonstration_and_for_nothing_else() -> None:
    drawn = GOOD | {"data": "synthetic: drawn"}
    for status, counts in (("demonstration", True), ("research", False), ("validated-here", False)):
        assert carries_rules(card(drawn, status=status), "60046008") is counts
    assert carries_rules(card(drawn, GOOD), "60046008")


def test_one_evidence_that_shows_too_little_outweighs_another_that_shows_enough() -> None:
    assert not carries_rules(card(GOOD, GOOD | {"ci95": [0.4, 0.8]}), "60046008")
    assert carries_rules(card(GOOD, {"finding": "60046008", "dice": 0.8}), "60046008")


def test_a_rule_that_does_not_count_proposes_nothing_and_says_why() -> None:
    finding = Finding(Code("SCT", "60046008", "Pleural effusion"), True, 0.99, 0.5)
    strong, weak = proposed(card(GOOD), [finding]), proposed(card(), [finding])
    assert (strong.triage, strong.no_flag) == (TriageClass.URGENT, "")
    assert (weak.triage, weak.no_flag) == (TriageClass.NONE, "evidence")
    assert weak.words == f"{strong.words}; raises no flag: too little evidence"
    nothing = proposed(card(), [])
    assert (nothing.triage, nothing.words, nothing.no_flag) == (None, "no rule applies", "")
