"""Derived UIDs: legal, the same for the same work, another for other work."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RE_VALID_UID

from imaging.domain.uids import derived_uid, is_legal, is_usable, report_uid, series_uid, tracking_uid

TEXT = st.text(max_size=30)


@given(st.lists(TEXT, max_size=6))
def test_derived_uids_are_legal(parts: list[str]) -> None:
    uid = derived_uid(*parts)
    assert is_legal(uid)
    assert re.match(RE_VALID_UID, uid)
    assert len(uid) <= 44


@given(TEXT, TEXT, TEXT)
def test_the_same_work_gives_the_same_uid(study: str, model: str, number: str) -> None:
    assert report_uid(study, model, number) == report_uid(study, model, number)


UID_LIKE = st.from_regex(r"[0-9.]{1,40}", fullmatch=True)


@given(UID_LIKE, st.integers(1, 9), st.integers(1, 9))
def test_each_answer_has_a_uid_of_its_own(study: str, one: int, other: int) -> None:
    same = report_uid(study, "chest-film", str(one)) == report_uid(study, "chest-film", str(other))
    assert same == (one == other)


def test_objects_series_and_findings_of_one_study_never_share_a_uid() -> None:
    uids = {
        report_uid("1.2", "m", "1"),
        report_uid("1.2", "m", "1", "seg"),
        report_uid("1.2", "n", "1"),
        series_uid("1.2", "m", "1", "1.2.840.10008.5.1.4.1.1.88.34"),
        series_uid("1.2", "m", "2", "1.2.840.10008.5.1.4.1.1.88.34"),
        tracking_uid("1.2", "m", "60046008"),
        tracking_uid("1.2", "m", "60046008", "left"),
    }
    assert len(uids) == 7


@pytest.mark.parametrize("uid", ["", "1..2", ".1", "1.", "1.02", "1.a", "1" * 65, "1.2 ", "1.²"])
def test_what_is_no_uid_is_told(uid: str) -> None:
    assert not is_legal(uid)


@given(st.text(alphabet="0123456789.", max_size=70))
def test_what_is_legal_is_usable_and_pydicom_says_so_too(uid: str) -> None:
    assert is_legal(uid) == (len(uid) <= 64 and re.match(RE_VALID_UID, uid) is not None)
    assert is_usable(uid) or not is_legal(uid)
