"""An answer for a destination that takes no Comprehensive 3D SR: the same document as Comprehensive SR.

Comprehensive SR (PS3.3 A.35.3) has no SCOORD3D, so a finding loses its point in the patient and is of TID 1501; all
else it keeps, also the sizes that were measured there. It is another object, under UIDs derived from the first one's,
and so is what it names as its predecessor: who takes this one took that one in the same form.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Final

from pydicom import Dataset, FileDataset, dcmread
from pydicom.uid import ComprehensiveSRStorage

from imaging.domain.artefacts import Artefact
from imaging.domain.uids import derived_uid

COMPREHENSIVE_SR: Final = str(ComprehensiveSRStorage)
_WITHOUT_REGION: Final = "1501"


def comprehensive(report: Artefact) -> Artefact:
    """A Comprehensive 3D SR of ours, as Comprehensive SR. The same bytes give the same bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values: a source's illegal UID must not reach a log
        sr = dcmread(BytesIO(report.data))
        data = _comprehensive(sr)
    return replace(
        report,
        sop_class_uid=COMPREHENSIVE_SR,
        sop_instance_uid=str(sr.SOPInstanceUID),
        series_instance_uid=str(sr.SeriesInstanceUID),
        data=data,
    )


def _comprehensive(sr: FileDataset) -> bytes:
    sr.SOPClassUID = sr.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    sr.SOPInstanceUID = _derived(sr.SOPInstanceUID)
    sr.file_meta.MediaStorageSOPInstanceUID = sr.SOPInstanceUID
    sr.SeriesInstanceUID = _derived(sr.SeriesInstanceUID)
    for study in sr.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            series.SeriesInstanceUID = _derived(series.SeriesInstanceUID)
            for document in series.ReferencedSOPSequence:
                document.ReferencedSOPClassUID = ComprehensiveSRStorage
                document.ReferencedSOPInstanceUID = _derived(document.ReferencedSOPInstanceUID)
    for item in _items(sr):
        children = item.ContentSequence
        flat = [each for each in children if each.ValueType != "SCOORD3D"]
        if len(flat) == len(children):
            continue
        item.ContentSequence = flat
        item.ContentTemplateSequence[0].TemplateIdentifier = _WITHOUT_REGION
    written = BytesIO()
    sr.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _derived(uid: str) -> str:
    return derived_uid(str(uid), COMPREHENSIVE_SR)


def _items(item: Dataset) -> Iterator[Dataset]:
    """The item and all below it that have children."""
    if "ContentSequence" in item:
        yield item
        for child in item.ContentSequence:
            yield from _items(child)
