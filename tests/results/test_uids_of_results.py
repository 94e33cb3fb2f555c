"""The UIDs of results: the same report always gives the same, and whatever changes the content gives another."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sr_cases import BEFORE, CASES, FILM, film

from imaging import __version__
from imaging.domain.codes import Code
from imaging.domain.coverage import Coverage
from imaging.domain.findings import Answer, Finding, ImageRef, Measurement
from imaging.domain.reasons import REASONS, Reason
from imaging.results import report as reports
from imaging.results.report import Report
from imaging.results.uids import series_of, tracking_of, uid_of

REPORT = film(0.41, 0.2, result="2", installation="here")
NO_CONTENT = {"timings_ms", "sr", "provenance"}

WORDS = st.text(max_size=5)
COUNTS = st.dictionaries(WORDS, st.integers(0, 99), max_size=2)
CODES = st.builds(Code, WORDS, WORDS, WORDS)
NUMBERS = st.floats(allow_nan=False)
FINDINGS = st.builds(
    Finding,
    CODES,
    st.none() | st.booleans(),
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    measurements=st.tuples() | st.tuples(st.builds(Measurement, CODES, NUMBERS, WORDS)),
    score=st.none() | NUMBERS,
    sop_instance_uids=st.lists(WORDS, max_size=2).map(tuple),
    centre_mm=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    site=st.none() | CODES,
    is_calibrated=st.booleans(),
    is_near_chance=st.booleans(),
)
ANSWERS = st.builds(
    Answer,
    findings=st.lists(FINDINGS, max_size=2).map(tuple),
    reason=st.none() | st.builds(Reason, st.sampled_from(sorted(REASONS)), WORDS),
    images=st.lists(st.builds(ImageRef, WORDS, WORDS, WORDS), max_size=2).map(tuple),
    coverage=st.builds(Coverage, st.integers(0, 99), COUNTS, COUNTS, COUNTS),
    facts=st.dictionaries(WORDS, WORDS, max_size=2),
    provenance=st.dictionaries(WORDS, WORDS, max_size=2),
)


def uid(report: Report) -> str:
    return uid_of(report, "sr")


def answering(answer: Answer) -> str:
    return uid(replace(REPORT, outcome=answer))


@given(ANSWERS, ANSWERS)
def test_answers_that_differ_in_anything_but_timings_never_have_one_uid(one: Answer, other: Answer) -> None:
    for field in fields(Answer):
        changed = replace(one, **{field.name: getattr(other, field.name)})
        if field.name in NO_CONTENT:
            assert answering(changed) == answering(one)
        elif repr(changed) != repr(one):
            assert answering(changed) != answering(one), field.name


@given(FINDINGS, FINDINGS)
def test_findings_that_differ_in_anything_never_have_one_uid(one: Finding, other: Finding) -> None:
    for field in fields(Finding):
        changed = replace(one, **{field.name: getattr(other, field.name)})
        if repr(changed) != repr(one):
            answers = (replace(REPORT.outcome, findings=(each,)) for each in (one, changed))
            assert len(set(map(answering, answers))) == 2, field.name


OTHERS: dict[str, Any] = {
    "header": replace(FILM, patient_name="Nguyễn^Khác"),
    "card": replace(REPORT.card, digest="decade"),
    "outcome": film(0.42, 0.2).outcome,
    "result": "3",
    "at": REPORT.at + timedelta(microseconds=1),
    "predecessor": BEFORE,
    "language": "vi",
    "installation": "there",
}


@pytest.mark.parametrize("field", [each.name for each in fields(Report)])
def test_reports_that_differ_in_anything_never_have_one_uid(field: str) -> None:
    assert uid(replace(REPORT, **{field: OTHERS[field]})) != uid(REPORT)


def test_another_version_of_the_software_gives_another_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    before = uid(replace(REPORT))
    monkeypatch.setattr(reports, "__version__", f"{__version__}.1")
    assert uid(replace(REPORT)) != before


@pytest.mark.parametrize("report", CASES.values(), ids=CASES)
def test_the_same_report_gives_the_same_uid_however_long_it_took(report: Report) -> None:
    again = replace(
        report, outcome=replace(report.outcome, timings_ms={"engine": 12.5}, sr="2.25.9", provenance={"threads": 2})
    )
    assert uid(again) == uid(report)


def test_two_installations_share_neither_series_nor_tracking_uids() -> None:
    other = replace(REPORT, installation="there")
    assert series_of(other, "1.2") != series_of(REPORT, "1.2")
    assert tracking_of(other, "60046008") != tracking_of(REPORT, "60046008")


def test_revisions_of_one_installation_share_series_and_tracking_uids() -> None:
    other = replace(film(0.9, 0.9, result="3", predecessor=BEFORE), installation="here")
    assert series_of(other, "1.2") == series_of(REPORT, "1.2")
    assert tracking_of(other, "60046008") == tracking_of(REPORT, "60046008")
