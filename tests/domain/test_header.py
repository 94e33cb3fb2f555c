"""Header facts: what the ledger keeps of them comes back as it was."""

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.free_text import NOT_UNDERSTOOD, age_years, days
from imaging.domain.header import Header, PatientId, age_at, age_text, same_patient

_NUMBERS = st.floats(-1e4, 1e4)
_BY_TYPE = {
    "str": st.text(max_size=20),
    "int": st.integers(1, 9999),
    "int | None": st.none() | st.integers(0, 9999),
    "float | None": st.none() | _NUMBERS,
    "bool": st.booleans(),
    "tuple[str, ...]": st.lists(st.text(max_size=8), max_size=3).map(tuple),
    "tuple[float, float] | None": st.none() | st.tuples(*[_NUMBERS] * 2),
    "tuple[float, float, float] | None": st.none() | st.tuples(*[_NUMBERS] * 3),
    "tuple[float, float, float, float, float, float] | None": st.none() | st.tuples(*[_NUMBERS] * 6),
}


def _type_name(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


HEADERS = st.builds(Header, **{each.name: _BY_TYPE[_type_name(each.type)] for each in fields(Header)})


@given(HEADERS)
def test_a_header_comes_back_from_the_ledger_as_it_went_in(header: Header) -> None:
    assert Header.from_json(json.loads(json.dumps(header.to_json()))) == header


def test_only_what_is_said_is_kept() -> None:
    assert set(Header("1", "2", "3", "4", "5", modality="DX").to_json()) == {
        "sop_class_uid",
        "sop_instance_uid",
        "study_instance_uid",
        "series_instance_uid",
        "transfer_syntax_uid",
        "modality",
    }


def test_an_empty_patient_id_is_not_a_key() -> None:
    assert not PatientId("", "HANOI")
    assert PatientId("1", "HANOI") != PatientId("1", "HUE")


@pytest.mark.parametrize(
    ("patients", "is_one"),
    [
        ([("1", "HANOI"), ("1", "HANOI")], True),
        ([("1", "HANOI"), ("1", "")], True),
        ([("", "HUE"), ("1", "HANOI"), ("", "")], True),
        ([("1", ""), ("2", "")], False),
        ([("1", "HANOI"), ("1", "HUE")], False),
        ([("1", ""), ("1", "HANOI"), ("1", "HUE")], False),
        ([], True),
    ],
)
def test_an_identifier_or_issuer_that_is_left_out_contradicts_nobody(
    patients: list[tuple[str, str]], is_one: bool
) -> None:
    headers = [
        Header("1", "2", "3", "4", "5", patient_id=value, issuer_of_patient_id=issuer) for value, issuer in patients
    ]
    assert same_patient(headers) == is_one


@pytest.mark.parametrize(
    ("text", "in_years"),
    [
        ("045Y", 45), ("018M", 1.5), ("000D", 0), ("45Y", 45), ("Y045", 45), ("6", 6), ("018", 18), ("006y", 6),
        ("6 Y", 6), ("6 YEARS", 6), ("6 years old", 6), ("6 tuổi", 6), ("72 ans", 72), ("18 tháng", 1.5), ("0006Y", 6),
        ("6.5Y", 6.5),
        ("6Y6M", 6.5), ("2 tuổi 6 tháng", 2.5), ("104W", pytest.approx(2, abs=0.01)),
    ],
)  # fmt: skip
def test_ages_are_read_as_sites_write_them(text: str, in_years: float) -> None:
    assert age_years(text) == (in_years,)


@pytest.mark.parametrize("text", ["", "  ", "000Y", "0", "999Y", "121Y", "Y999"])
def test_an_age_that_nobody_has_is_none_at_all(text: str) -> None:
    assert age_years(text) == ()


@pytest.mark.parametrize("text", ["Y", "six", "6Y6", "??", "N/A", "45F", "-6"])
def test_an_age_that_is_not_understood_passes_no_bound_but_the_dates_decide(text: str) -> None:
    header = Header("1", "2", "3", "4", "5", patient_age=text)
    assert age_at(header) is NOT_UNDERSTOOD
    born = replace(header, patient_birth_date="2000.01.01", study_date="2020-01-01")
    assert age_at(born) == pytest.approx((20,), abs=0.01)


def test_an_age_with_several_readings_has_them_all_and_the_dates_decide() -> None:
    header = Header("1", "2", "3", "4", "5", patient_age="30t")
    assert age_at(header) == pytest.approx((30, 2.5, 30 / 52.18))
    born = replace(header, patient_birth_date="20230701", study_date="20260101")
    assert age_at(born) == pytest.approx((2.5,), abs=0.01)


@pytest.mark.parametrize("date", ["study_date", "series_date", "acquisition_date", "content_date"])
def test_an_age_is_taken_from_the_birth_date_and_whichever_date_the_examination_has(date: str) -> None:
    dates: dict[str, Any] = {"patient_birth_date": "20000101", date: "20200101"}
    header = Header("1", "2", "3", "4", "5", **dates)
    assert age_at(header) == pytest.approx((20,), abs=0.01)
    assert age_at(replace(header, patient_age="999Y")) == pytest.approx((20,), abs=0.01)


def test_a_birth_date_that_names_no_day_gives_the_youngest_and_the_oldest_age() -> None:
    header = Header("1", "2", "3", "4", "5", patient_birth_date="2008", study_date="20260701")
    assert age_at(header) == pytest.approx((18.5, 17.5), abs=0.01)


@pytest.mark.parametrize(
    ("born", "taken"), [("20200101", ""), ("20200101", "19000101"), ("x", "20200101"), ("20300101", "20200101")]
)
def test_a_birth_date_that_tells_no_age_is_not_understood_rather_than_absent(born: str, taken: str) -> None:
    """Whoever wrote it knows the age, which may be a child's: `absent = "pass"` is for ages that nobody stated."""
    assert age_at(Header("1", "2", "3", "4", "5", patient_birth_date=born, study_date=taken)) is NOT_UNDERSTOOD


@pytest.mark.parametrize("born", ["", "19000101", "18000101"])
def test_a_birth_date_that_is_a_placeholder_is_none(born: str) -> None:
    assert age_at(Header("1", "2", "3", "4", "5", patient_birth_date=born, study_date="20200101")) == ()


@given(st.text(max_size=6))
def test_no_age_string_fails(text: str) -> None:
    assert all(found >= 0 or math.isnan(found) for found in age_years(text))


@given(st.text(max_size=10))
def test_no_date_fails(text: str) -> None:
    assert days(text) is NOT_UNDERSTOOD or all(found >= 0 for found in days(text))


@pytest.mark.parametrize(
    ("stated", "born", "taken", "shown"),
    [
        ("045Y", "19700101", "20261124", "045Y"),
        ("", "19701125", "20261124", "055Y"),
        ("", "19701124", "20261124", "056Y"),
        ("", "20241125", "20261124", "023M"),
        ("", "20241124", "20261124", "002Y"),
        ("", "20260925", "20261124", "060D"),
        ("", "20261124", "20261124", "000D"),
        ("45", "19700101", "20261124", "056Y"),
        ("old", "", "20261124", "old"),
        ("", "19700101", "", ""),
        ("", "20270101", "20261124", ""),
    ],
)
def test_the_age_to_be_shown_is_the_stated_one_else_that_of_the_calendar(
    stated: str, born: str, taken: str, shown: Any
) -> None:
    header = Header(*("",) * 5, patient_age=stated, patient_birth_date=born, study_date=taken)
    assert age_text(header) == shown
