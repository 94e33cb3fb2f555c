"""The verifier: each rule refuses a document that breaks it, and a filled value that is wrong is seen."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pydicom
import pytest
from pydicom import Dataset, dcmwrite
from sr_cases import BEFORE, BONE_AGE, CASES, FILM, film

from imaging.domain.codes import Code
from imaging.domain.findings import TriageClass
from imaging.domain.measures import COUNT
from imaging.results import concepts
from imaging.results.document import document
from imaging.results.filled import verify_filled
from imaging.results.report import Report
from imaging.results.shape import shape_of
from imaging.results.sr import write_sr
from imaging.results.template import PlaceholderRenderer, Template, TemplateMismatch
from imaging.results.values import values_of
from imaging.results.verify import RULES, verify

REPORT = film(0.41, 0.2, triage=TriageClass.URGENT, predecessor=BEFORE, result="2")
Breaking = Callable[[Dataset], object]


def items(data: Dataset) -> Iterator[Dataset]:
    for item in data.get("ContentSequence") or []:
        yield item
        yield from items(item)


def named(data: Dataset, name: Code, number: int = 0) -> Dataset:
    """The n-th content item with this concept name."""
    found = [each for each in items(data) if each.ConceptNameCodeSequence[0].CodeValue == name.value]
    return found[number]


def without(data: Dataset, name: Code, number: int = 0) -> None:
    """Take a content item out of its parent."""
    gone = named(data, name, number)
    for parent in [data, *items(data)]:
        children = parent.get("ContentSequence") or []
        for index, child in enumerate(children):
            if child is gone:
                del children[index]
                return


def say(data: Dataset, name: Code, value: Code, number: int = 0) -> None:
    code = named(data, name, number).ConceptCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value.value, value.scheme, value.meaning


def measured(data: Dataset, name: Code, value: str) -> None:
    named(data, name).MeasuredValueSequence[0].NumericValue = value


def evidence(data: Dataset) -> Dataset:
    return data.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


def more_evidence(data: Dataset, uid: str) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = FILM.sop_class_uid, uid
    evidence(data).ReferencedSOPSequence.append(reference)


def other_evidence(data: Dataset) -> None:
    evidence(data).ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.9"


def other_study(data: Dataset) -> None:
    data.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = "2.25.9"


def doubled_group(data: Dataset) -> None:
    groups = named(data, concepts.IMAGING_MEASUREMENTS).ContentSequence
    groups.append(groups[1])


def swapped_groups(data: Dataset) -> None:
    groups = named(data, concepts.IMAGING_MEASUREMENTS).ContentSequence
    groups[0], groups[1] = groups[1], groups[0]


def put(keyword: str, value: object) -> Breaking:
    return lambda data: setattr(data, keyword, value)


def drop(keyword: str) -> Breaking:
    return lambda data: delattr(data, keyword)


BROKEN: list[tuple[str, Breaking]] = [
    ("readable", lambda data: setattr(data.file_meta, "MediaStorageSOPInstanceUID", "2.25.9")),
    ("sop-class", put("Modality", "DX")),
    ("template", lambda data: setattr(data.ContentTemplateSequence[0], "TemplateIdentifier", "2000")),
    ("template", drop("ContentTemplateSequence")),
    ("flags", put("PreliminaryFlag", "FINAL")),
    ("flags", put("VerificationFlag", "VERIFIED")),
    ("flags", put("CompletionFlag", "PARTIAL")),
    ("verifier", put("VerifyingObserverSequence", [Dataset()])),
    ("dates", put("ContentDate", "")),
    ("dates", put("StudyTime", "2510")),
    ("language", lambda data: without(data, concepts.LANGUAGE)),
    ("language", lambda data: say(data, concepts.LANGUAGE, concepts.LANGUAGES["vi"])),
    ("observer-device", lambda data: without(data, concepts.DEVICE_OBSERVER_UID)),
    ("observer-device", lambda data: without(data, concepts.DEVICE_OBSERVER_NAME)),
    ("procedure", lambda data: without(data, concepts.PROCEDURE_REPORTED)),
    ("measurements", lambda data: without(data, concepts.IMAGING_MEASUREMENTS)),
    ("tracking", lambda data: without(data, concepts.TRACKING_IDENTIFIER, 1)),
    ("tracking", doubled_group),
    ("tracking-stable", lambda data: setattr(named(data, concepts.TRACKING_UNIQUE_IDENTIFIER, 1), "UID", "2.25.7")),
    ("finding", lambda data: without(data, concepts.FINDING, 1)),
    ("algorithm", lambda data: without(data, concepts.ALGORITHM_VERSION, 2)),
    ("algorithm", lambda data: setattr(named(data, concepts.ALGORITHM_NAME), "TextValue", "Another")),
    ("algorithm-device", lambda data: delattr(data.ContributingEquipmentSequence[0], "DeviceUID")),
    ("evidence-complete", other_evidence),
    ("evidence-exact", lambda data: more_evidence(data, "2.25.9")),
    ("evidence-exact", lambda data: more_evidence(data, FILM.sop_instance_uid)),
    ("evidence-study", other_study),
    ("evidence-of-report", lambda data: setattr(evidence(data), "SeriesInstanceUID", "2.25.9")),
    ("units", lambda data: measured(data, concepts.PROBABILITY, "1.2")),
    ("units", lambda data: setattr(named(data, concepts.THRESHOLD), "MeasuredValueSequence", [])),
    ("codes", lambda data: say(data, concepts.FINDING, Code("SRT", "T-1", "Retired"), 1)),
    ("codes", lambda data: say(data, concepts.RESULT, Code("SCT", "52101004", " "))),
    ("private-codes", drop("CodingSchemeIdentificationSequence")),
    ("items", lambda data: delattr(named(data, concepts.RESULT), "RelationshipType")),
    ("items", lambda data: setattr(named(data, concepts.ALGORITHM_PARAMETERS), "TextValue", "")),
    ("items", lambda data: setattr(named(data, concepts.IMAGE_LIBRARY_GROUP), "ContentSequence", [])),
    ("uids", lambda data: setattr(named(data, concepts.DEVICE_OBSERVER_UID), "UID", "1.02.3")),
    ("uids", put("SeriesInstanceUID", FILM.study_instance_uid)),
    ("charset", put("SpecificCharacterSet", "ISO_IR 100")),
    ("charset", put("StudyDescription", "lost \ufffd")),
    ("charset", put("StudyDescription", "x" * 65)),
    ("text-nfc", put("StudyDescription", "e\u0302")),
    ("same-patient", put("PatientID", "BN-0002")),
    ("same-patient", put("PatientName", "Someone^Else")),
    ("same-patient", drop("PatientBirthDate")),
    ("same-study", put("AccessionNumber", "A-0002")),
    ("same-study", put("StudyInstanceUID", "2.25.9")),
    ("uid-derived", put("SOPInstanceUID", "2.25.9")),
    ("uid-derived", put("SeriesInstanceUID", "2.25.9")),
    ("no-real-clock", put("InstanceCreationTime", "102031")),
    ("no-real-clock", lambda data: setattr(data.ContributingEquipmentSequence[0], "ContributionDateTime", "20260101")),
    ("predecessor", drop("PredecessorDocumentsSequence")),
    ("predecessor", lambda data: setattr(data.PredecessorDocumentsSequence[0], "StudyInstanceUID", "2.25.9")),
    ("not-a-diagnosis", lambda data: without(data, concepts.NOTICE)),
    ("not-a-diagnosis", put("SeriesDescription", "Chest film")),
    ("finding-of-card", lambda data: say(data, concepts.FINDING, Code("SCT", "4147007", "Mass"), 1)),
    ("finding-of-card", swapped_groups),
    ("threshold-of-card", lambda data: measured(data, concepts.THRESHOLD, "0.3")),
    ("threshold-of-card", lambda data: without(data, concepts.THRESHOLD)),
    ("present-iff-over", lambda data: say(data, concepts.RESULT, concepts.ABSENT)),
    ("present-iff-over", lambda data: measured(data, concepts.PROBABILITY, "0.3")),
    ("values-of-answer", lambda data: measured(data, concepts.PROBABILITY, "0.42")),
    ("summary-agrees", lambda data: say(data, concepts.SUMMARY, concepts.ALL_WITHOUT_FINDINGS)),
    ("priority-agrees", lambda data: say(data, concepts.PRIORITY, concepts.PRIORITIES[TriageClass.STAT])),
    ("priority-agrees", lambda data: without(data, concepts.PRIORITY)),
]  # fmt: skip

BROKEN_VOLUME: list[tuple[str, Breaking]] = [
    ("regions", lambda data: setattr(named(data, concepts.IMAGE_REGION), "ReferencedFrameOfReferenceUID", "2.25.9")),
    ("regions", lambda data: without(data, concepts.IMAGE_REGION)),
    ("values-of-answer", lambda data: measured(data, Code("SCT", "118565006", "Volume"), "31.4")),
]

BROKEN_PLACED: list[tuple[str, Breaking]] = [
    ("places-of-answer", lambda data: without(data, concepts.PLACES)),
    ("places-of-answer", lambda data: setattr(named(data, concepts.PLACES), "TextValue", "Nodule: places: 1.")),
    ("present-iff-over", lambda data: measured(data, concepts.PROBABILITY, "0.4")),
    ("present-iff-over", lambda data: say(data, concepts.RESULT, concepts.ABSENT, 1)),
    ("values-of-answer", lambda data: measured(data, BONE_AGE.code, "121.5")),  # the other film's, twice
    ("values-of-answer", lambda data: measured(data, COUNT.code, "3")),
]

BROKEN_NOT_ANALYSED: list[tuple[str, Breaking]] = [
    ("reason-agrees", lambda data: say(data, concepts.NOT_ANALYSED, concepts.REASON_CODES["gap"])),
    ("summary-agrees", lambda data: say(data, concepts.SUMMARY, concepts.ALL_WITHOUT_FINDINGS)),
]

BROKEN_DOUBTED: list[tuple[str, Breaking]] = [
    ("notices-of-finding", lambda data: without(data, concepts.NOTICE, 1)),
    ("notices-of-finding", lambda data: say(data, concepts.NOTICE, concepts.UNPROVEN["vi"], 1)),
]

IN_PART = CASES["in-part"]
BROKEN_IN_PART: list[tuple[str, Breaking]] = [
    ("absent-of-what-was-seen", lambda data: say(data, concepts.RESULT, concepts.ABSENT)),
    ("summary-agrees", lambda data: say(data, concepts.SUMMARY, concepts.ALL_WITHOUT_FINDINGS)),
    ("in-part", lambda data: without(data, concepts.IN_PART)),
    ("in-part", lambda data: setattr(named(data, concepts.IN_PART), "TextValue", "1 of 40 images not analysed")),
    ("parameters-of-answer", lambda data: without(data, concepts.ALGORITHM_PARAMETERS, 5)),
]
IN_CONFLICT = replace(film(0.1, 0.2), outcome=film(0.1, 0.2).outcome.doubted(1))
ALL_BROKEN = [
    *((report, *each) for report in (IN_PART, IN_CONFLICT) for each in BROKEN_IN_PART),
    *((REPORT, *each) for each in BROKEN),
    *((CASES["volume"], *each) for each in BROKEN_VOLUME),
    *((CASES["placed"], *each) for each in BROKEN_PLACED),
    *((CASES["doubted"], *each) for each in BROKEN_DOUBTED),
    *((CASES["not-analysed"], *each) for each in BROKEN_NOT_ANALYSED),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("report", "rule", "breaking"), ALL_BROKEN, ids=[each[1] for each in ALL_BROKEN])
def test_a_broken_document_is_refused_by_its_rule(report: Report, rule: str, breaking: Breaking) -> None:
    data = pydicom.dcmread(BytesIO(write_sr(report)))
    breaking(data)
    buffer = BytesIO()
    dcmwrite(buffer, data)
    assert rule in {each.rule for each in verify(buffer.getvalue(), report)}


def test_each_rule_is_shown_to_refuse_something() -> None:
    assert {each[1] for each in ALL_BROKEN} == set(RULES)


@pytest.mark.parametrize("report", CASES.values(), ids=CASES)
def test_a_sound_document_breaks_no_rule(report: Report) -> None:
    assert verify(write_sr(report), report) == []


@pytest.mark.parametrize("data", [b"", b"not DICOM", b"\0" * 128 + b"DICM"], ids=["empty", "text", "preamble"])
def test_what_is_no_dicom_file_is_unreadable(data: bytes) -> None:
    assert verify(data, REPORT)[0].rule in ("readable", "sop-class")


def test_a_document_cut_short_is_refused() -> None:
    assert verify(write_sr(REPORT)[:3000], REPORT) != []


@pytest.mark.parametrize(
    ("other", "rule"),
    [
        (replace(REPORT, header=replace(FILM, patient_id="BN-0002")), "same-patient"),
        (replace(REPORT, header=replace(FILM, study_instance_uid="2.25.77")), "same-study"),
        (replace(REPORT, result="3"), "uid-derived"),
        (replace(REPORT, at=REPORT.at + timedelta(seconds=1)), "no-real-clock"),
        (replace(REPORT, predecessor=None), "predecessor"),
        (replace(REPORT, outcome=replace(REPORT.outcome, triage=TriageClass.STAT)), "priority-agrees"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_sound_document_of_another_answer_is_refused(other: Report, rule: str) -> None:
    assert rule in {each.rule for each in verify(write_sr(REPORT), other)}


def test_no_fault_quotes_the_patient() -> None:
    other = replace(
        REPORT, header=replace(FILM, patient_id="MARKED", patient_name="MARKED^NAME", accession_number="MARKED")
    )
    faults = verify(write_sr(REPORT), other) + verify_filled(_template(REPORT).read(write_sr(REPORT)), other)
    assert faults
    text = " ".join(map(str, faults))
    assert "MARKED" not in text
    assert FILM.patient_id not in text
    assert FILM.study_instance_uid not in text


# ------------------------------------------------------------ the cheap half


def _template(report: Report) -> Template:
    renderer = PlaceholderRenderer()
    return Template.cut(document(shape_of(report), renderer), renderer)


@pytest.mark.parametrize("report", CASES.values(), ids=CASES)
def test_a_sound_filling_breaks_no_rule(report: Report) -> None:
    assert verify_filled(_template(report).read(write_sr(report)), report) == []


@pytest.mark.parametrize("name", ["three-films-revised", "volume", "not-analysed", "in-part"])
def test_each_value_that_is_filled_wrongly_is_seen(name: str) -> None:
    report = CASES[name]
    template, values = _template(report), values_of(report)
    for piece in template.pieces:
        wrong = {b"UI": "2.25.9", b"DS": "0.777", b"IS": "9", b"FL": "1\\2\\3", b"DA": "20010101", b"TM": "1111"}
        data = template.fill({**values, piece.slot: wrong.get(piece.vr, "other")})
        assert verify_filled(template.read(data), report), piece.slot


def test_a_value_that_does_not_fit_its_vr_is_seen() -> None:
    template, values = _template(REPORT), values_of(REPORT)
    for slot, value in (("study.patient_name", "x" * 65), ("report.uid", "1.02"), ("report.date", "20251301")):
        data = template.fill({**values, slot: value})
        assert {"charset", "uids"} & {each.rule for each in verify_filled(template.read(data), REPORT)}


def test_bytes_that_differ_from_the_template_anywhere_are_seen() -> None:
    template, sound = _template(REPORT), write_sr(REPORT)
    (meta_length,) = struct.unpack_from("<L", sound, 140)
    for at in (0, 130, 144 + meta_length // 2, len(sound) // 3, len(sound) // 2, len(sound) - 9):
        data = bytearray(sound)
        data[at] ^= 1
        try:
            faults = verify_filled(template.read(bytes(data)), REPORT)
        except TemplateMismatch:
            continue
        assert faults, at


def test_a_filling_that_lacks_an_end_is_seen() -> None:
    template, sound = _template(REPORT), write_sr(REPORT)
    for length in (0, 100, 400, len(sound) // 2, len(sound) - 1):
        with pytest.raises(TemplateMismatch):
            list(template.read(sound[:length]))
