"""The registry of kinds of result: what is built of a report, and as what else it can be sent."""

from io import BytesIO

import pydicom
import pytest
from sr_cases import CASES

from imaging.domain.artefacts import REPORT
from imaging.results.registry import KINDS, build, fallbacks, note
from imaging.results.report import Report


@pytest.mark.parametrize("report", CASES.values(), ids=CASES)
def test_each_object_is_what_it_is_said_to_be_and_the_same_each_time(report: Report) -> None:
    built = build(report)
    assert build(report) == built
    assert [each.kind for each in built] == [REPORT]
    for each in built:
        data = pydicom.dcmread(BytesIO(each.data))
        texts = (each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid)
        assert (data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID) == texts


def test_kinds_have_names_of_their_own_and_one_of_them_is_the_report() -> None:
    names = [each.name for each in KINDS]
    assert len(set(names)) == len(names)
    assert REPORT in names


def test_a_fallback_has_none_itself_and_is_noted_beside_its_delivery() -> None:
    for each in KINDS:
        assert note(each.name, each.sop_class_uid) == ""
        for way in fallbacks(each.name, each.sop_class_uid):
            assert fallbacks(each.name, way.sop_class_uid) == ()
            assert note(each.name, way.sop_class_uid) == way.note != ""
