"""Header facts: what the ledger keeps of them comes back as it was."""

import json
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.header import Header, PatientId, age_at, age_text, same_patient
from imaging.domain.words import age_years

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


def _said(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


HEADERS = st.builds(Header, **{each.name: _BY_TYPE[_said(each.type)] for each in fields(Header)})


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
    headers = [Header(*"12345", patient_id=value, issuer_of_patient_id=issuer) for value, issuer in patients]
    assert same_patient(headers) == is_one


@pytest.mark.parametrize(
    ("said", "in_years"),
    [
        ("045Y", 45), ("018M", 1.5), ("000D", 0), ("45Y", 45), ("", None), ("Y045", 45), ("6", 6), ("006y", 6),
        ("6 YEARS", 6), ("6 tuổi", 6), ("72 ans", 72), ("000Y", None), ("999Y", None), ("121Y", None), ("0006Y", 6),
    ],
)  # fmt: skip
def test_ages_are_read_as_sites_write_them(said: str, in_years: float | None) -> None:
    assert age_years(said) == in_years


@pytest.mark.parametrize("said", ["6T", "Y", "six", "6Y6M", "??"])
def test_an_age_that_is_not_understood_passes_no_bound_but_the_dates_decide(said: str) -> None:
    header = Header("1", "2", "3", "4", "5", patient_age=said)
    assert math.isnan(age_at(header) or 0.0)
    born = replace(header, patient_birth_date="2000.01.01", study_date="2020-01-01")
    assert age_at(born) == pytest.approx(20, abs=0.01)


def test_an_age_is_taken_from_the_dates_where_it_is_not_stated() -> None:
    header = Header("1", "2", "3", "4", "5", patient_birth_date="20000101", study_date="20200101")
    age = age_at(header)
    assert age is not None
    assert abs(age - 20) < 0.01
    assert age_at(Header("1", "2", "3", "4", "5", patient_birth_date="20300101", study_date="20200101")) is None
    odd = age_at(Header("1", "2", "3", "4", "5", patient_birth_date="x", study_date="20200101"))
    assert odd is not None
    assert math.isnan(odd)


@given(st.text(max_size=6))
def test_no_age_string_fails(said: str) -> None:
    found = age_years(said)
    assert found is None or found >= 0 or math.isnan(found)


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
def test_the_age_to_be_shown_is_the_stated_one_else_that_of_the_calendar(stated, born, taken, shown):
    header = Header(*("",) * 5, patient_age=stated, patient_birth_date=born, study_date=taken)
    assert age_text(header) == shown
