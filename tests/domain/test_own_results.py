"""What we made is known when it comes back, whatever a PACS wrote over it."""

from dataclasses import replace

import pytest

from imaging.domain.header import Header
from imaging.domain.own_results import is_device, is_ours, is_result_class
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID

REPORT = Header("1.2.840.10008.5.1.4.1.1.88.34", "1", "2", "3", "1.2.840.10008.1.2.1", is_our_device=True)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        (("imaging", "imaging", IMPLEMENTATION_CLASS_UID), True),
        (("IMAGING ", "imaging", ""), True),
        (("imaging", "drawn", IMPLEMENTATION_CLASS_UID), False),
        (("imaging", "imaging", "1.2.3"), False),
        (("", "", IMPLEMENTATION_CLASS_UID), False),
        (("Imaging Inc.", "imaging", ""), False),
    ],
)
def test_our_device_is_known_by_manufacturer_model_and_serial(device: tuple[str, str, str], wanted: bool) -> None:
    assert is_device(*device) == wanted


def test_only_results_are_reports_of_ours() -> None:
    assert is_ours(REPORT)
    assert not is_ours(replace(REPORT, is_our_device=False))
    film = replace(REPORT, sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1")
    assert not is_result_class(film)
    assert not is_ours(film)
