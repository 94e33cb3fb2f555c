"""What a rule for documents is, and how rules read one."""

from collections.abc import Callable, Iterator
from typing import Any

from imaging.domain.card import FindingSpec
from imaging.domain.codes import Code
from imaging.domain.findings import Finding
from imaging.results import concepts
from imaging.results.expected import (
    key,
    to_float,
)
from imaging.results.reading import Item, Reading, code_of, is_code, references
from imaging.results.report import Report

Rule = Callable[[Reading, Report], Iterator[str]]
"""Says each way in which a document breaks it, without patients' data."""


def enters(rules: dict[str, Rule]) -> Callable[[str], Callable[[Rule], Rule]]:
    """A decorator that enters a rule among these by its name."""

    def named(name: str) -> Callable[[Rule], Rule]:
        def enter(rule: Rule) -> Rule:
            rules[name] = rule
            return rule

        return enter

    return named


def groups(reading: Reading) -> list[Item]:
    """The measurement groups, one for the study and one a finding."""
    boxes = reading.root.all_of(concepts.IMAGING_MEASUREMENTS)
    return [group for box in boxes for group in box.all_of(concepts.MEASUREMENT_GROUP)]


def evidence(reading: Reading) -> list[Any]:
    """The images that the document names as its evidence, in its own study."""
    return [each for _, each in references(reading.items("CurrentRequestedProcedureEvidenceSequence"))]


def all_codes(reading: Reading) -> Iterator[tuple[str, Code]]:
    """Each coded entry, with the keyword of its sequence."""
    for element in reading.elements:
        for item in element.value if element.VR == "SQ" else ():
            if is_code(item):
                yield element.keyword, code_of(item)


def pairs(reading: Reading, report: Report) -> Iterator[tuple[Item, FindingSpec, Finding]]:
    """Each finding's group, with what the card and the answer say of it."""
    specs = {key(each.code): each for each in report.card.findings}
    findings = {key(each.code): each for each in report.findings}
    for group in groups(reading):
        about = subject(group)
        if about in specs and about in findings:
            yield group, specs[about], findings[about]


def subject(group: Item) -> tuple[str, str]:
    """What a group's finding is, or nothing."""
    return next((key(each) for each in group.values(concepts.FINDING) if isinstance(each, Code)), ("", ""))


def numbers(group: Item, name: Code) -> list[float]:
    """The values of a group's numbers of this name."""
    return [to_float(each[0]) for each in group.values(name) if each]
