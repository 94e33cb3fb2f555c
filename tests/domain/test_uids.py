"""Derived UIDs: legal, the same for the same work, another for other work."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RE_VALID_UID

from imaging.domain.uids import derived_uid, instance_uid, is_legal, is_usable, series_uid, tracking_uid

TEXT = st.text(max_size=30)


@given(st.lists(TEXT, max_size=6))
def test_derived_uids_are_legal(parts: list[str]) -> None:
    uid = derived_uid(*parts)
    assert is_legal(uid)
    assert re.match(RE_VALID_UID, uid)
    assert len(uid) <= 44


def test_objects_series_and_findings_of_one_study_never_share_a_uid() -> None:
    uids = {
        instance_uid("c0ffee", "sr"),
        instance_uid("c0ffee", "seg"),
        instance_uid("decade", "sr"),
        series_uid("1.2", "m", "1", "1.2.840.10008.5.1.4.1.1.88.34", "here"),
        series_uid("1.2", "m", "1", "1.2.840.10008.5.1.4.1.1.88.34", "there"),
        series_uid("1.2", "m", "2", "1.2.840.10008.5.1.4.1.1.88.34", "here"),
        tracking_uid("1.2", "m", "60046008", "", "here"),
        tracking_uid("1.2", "m", "60046008", "", "there"),
        tracking_uid("1.2", "m", "60046008", "left", "here"),
    }
    assert len(uids) == 9


@pytest.mark.parametrize("uid", ["", "1..2", ".1", "1.", "1.02", "1.a", "1" * 65, "1.2 ", "1.²"])
def test_what_is_no_uid_is_told(uid: str) -> None:
    assert not is_legal(uid)


@given(st.text(alphabet="0123456789.", max_size=70))
def test_what_is_legal_is_usable_and_pydicom_says_so_too(uid: str) -> None:
    assert is_legal(uid) == (len(uid) <= 64 and re.match(RE_VALID_UID, uid) is not None)
    assert is_usable(uid) or not is_legal(uid)
