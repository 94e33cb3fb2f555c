"""Structured reports as they are built: the tree, the bytes, the header, and what other validators say."""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import Comprehensive3DSR
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from sr_cases import (
    AT,
    BEFORE,
    CARDIOMEGALY,
    CASES,
    CT,
    DATA,
    EFFUSION,
    FILM,
    FRACTION,
    card,
    directly,
    film,
    header_of,
    label,
    many_labels,
    not_analysed,
    volume,
)
from validators import complaints

from imaging.domain.artefacts import REPORT, Artefact
from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, ImageRef, State, TriageClass
from imaging.domain.measures import COUNT
from imaging.domain.reasons import REASONS
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID
from imaging.results import concepts
from imaging.results.document import document, tree
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR
from imaging.results.reading import Item, Reading
from imaging.results.registry import build, fallbacks
from imaging.results.report import CannotReport, Report, UnsoundReport
from imaging.results.shape import shape_of
from imaging.results.sr import write_sr
from imaging.results.template import PlaceholderRenderer
from imaging.results.uids import series_of, uid_of

CHECKOUT = Path(__file__).parents[2]
every_case = pytest.mark.parametrize("report", CASES.values(), ids=CASES)


def groups(report: Report) -> list[Item]:
    """The study's group, then one per finding."""
    return Reading(write_sr(report)).root.all_of(concepts.IMAGING_MEASUREMENTS)[0].all_of(concepts.MEASUREMENT_GROUP)


def in_words(report: Report) -> str:
    """The sentence on what was not analysed."""
    (box,) = Reading(write_sr(report)).root.all_of(concepts.QUALITATIVE_EVALUATIONS)
    (value,) = box.values(concepts.IN_PART)
    return str(value)


def test_an_unproven_model_and_a_finding_near_chance_say_so_in_the_findings_own_groups() -> None:
    near, unproven = concepts.NEAR_CHANCE["vi"], concepts.UNPROVEN["vi"]
    values = [group.values(concepts.NOTICE) for group in groups(CASES["doubted"])]
    assert values == [[concepts.NOT_A_DIAGNOSIS["vi"]], [near, unproven], [unproven]]
    assert [group.values(concepts.NOTICE) for group in groups(CASES["positive"])][1:] == [[], []]


@every_case
def test_what_all_documents_say_is_what_highdicom_writes_of_this_sop_class(report: Report) -> None:
    """But for patient, study, dates, devices and evidence, which are written anew for each report."""
    shape = shape_of(report)
    content = tree(shape, PlaceholderRenderer())
    named = {each.ReferencedSOPInstanceUID for each in references(content)}
    theirs = Comprehensive3DSR(
        evidence=[nobodys_image(uid) for uid in named],
        content=content,
        series_instance_uid="2.25.1",
        series_number=1,
        sop_instance_uid="2.25.2",
        instance_number=1,
        manufacturer="somebody",
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set="ISO_IR 192",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    ours = document(shape, PlaceholderRenderer())
    assert {*theirs.keys()} - {*ours.keys()} == set()
    same = set(theirs.keys()) - {Tag(each) for each in OUR_OWN}
    assert {tag: ours[tag] for tag in same} == {tag: theirs[tag] for tag in same}
    assert ours.file_meta.MediaStorageSOPClassUID == theirs.file_meta.MediaStorageSOPClassUID
    assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID


OUR_OWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "InstanceCreationDate", "InstanceCreationTime", "ContentDate",
    "ContentTime", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber", "SeriesNumber",
    "Manufacturer", "ContributingEquipmentSequence", "CurrentRequestedProcedureEvidenceSequence",
)  # fmt: skip


def references(content: Dataset) -> Iterator[Dataset]:
    """What a content tree names."""
    for item in content.get("ContentSequence", ()):
        yield from item.get("ReferencedSOPSequence", ())
        yield from references(item)


def nobodys_image(uid: str) -> Dataset:
    source = Dataset()
    source.SOPClassUID, source.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    source.StudyInstanceUID = source.SeriesInstanceUID = "2.25.3"
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
                    "StudyDate", "StudyTime", "Modality"):  # fmt: skip
        setattr(source, keyword, None)
    return source


# ------------------------------------------------------------ what others say


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of every kind of answer."""
    folder, files = tmp_path_factory.mktemp("answers"), []
    for name in sorted(
        CASES.keys() - {"volume-negative", "not-analysed-long-reason"}
    ):  # their kinds are among the others
        files.append(folder / f"{name}.dcm")
        files[-1].write_bytes(write_sr(CASES[name]))
    for name in ("volume", "positive", "three-films-revised"):
        files.append(folder / f"{name}-comprehensive.dcm")
        files[-1].write_bytes(as_comprehensive(CASES[name]).data)
    return files


def test_the_validators_of_debian_accept_every_kind_of_answer(every_kind: list[Path]) -> None:
    assert {file.stem: texts for file in every_kind if (texts := complaints(file))} == {}


def test_the_validators_of_debian_have_something_against_an_sr_without_its_title(tmp_path: Path) -> None:
    broken = pydicom.dcmread(BytesIO(write_sr(CASES["positive"])))
    del broken.ConceptNameCodeSequence
    broken.save_as(tmp_path / "broken.dcm")
    assert complaints(tmp_path / "broken.dcm") != []


def test_other_validators_accept_every_kind_of_answer(every_kind: list[Path], tools: Path) -> None:
    """dciodvfy, dsrdump, PixelMed and the project's own rules, in one call: each starts a JVM."""
    command = [sys.executable, str(tools / "check_sr"), "--json", "--require-all", *map(str, every_kind)]
    value = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    assert {Path(each["file"]).stem: each["reasons"] for each in value["files"] if not each["accept"]} == {}
    if value["missing"] and os.environ.get("REQUIRE_PEERS") != "1":
        pytest.skip(f"accepted by the rest, but validators are missing: {', '.join(value['missing'].values())}")
    assert value["missing"] == {}


def as_comprehensive(report: Report) -> Artefact:
    """The report as it is sent to who takes no Comprehensive 3D SR."""
    (sr,) = build(report)
    (way,) = fallbacks(sr.kind, sr.sop_class_uid)
    return way.make(sr)


# ------------------------------------------------------------ the same bytes


@every_case
def test_a_filled_document_has_the_bytes_of_one_that_highdicom_built(report: Report) -> None:
    assert write_sr(report) == directly(report)


def test_a_second_filling_has_the_bytes_of_one_that_highdicom_built() -> None:
    """The template of the first study must not shine through in the second."""
    write_sr(film(0.4, 0.1))
    second = film(
        0.123456, 0.77, header=replace(FILM, patient_name="Lê^Văn=黎^文", study_instance_uid="1.2.3"), result="12"
    )
    assert write_sr(second) == directly(second)


@every_case
def test_a_second_build_gives_the_same_bytes(report: Report) -> None:
    assert write_sr(report) == write_sr(replace(report))


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "from hashlib import sha256; from sr_cases import CASES; from imaging.results.sr import write_sr;"
        "print(*(sha256(write_sr(each)).hexdigest() for each in CASES.values()))"
    )
    path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo"}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment, text=True
    )
    assert result.stdout.split() == [sha256(write_sr(each)).hexdigest() for each in CASES.values()]


def test_every_date_is_the_jobs_or_the_sources() -> None:
    data = pydicom.dcmread(BytesIO(write_sr(CASES["positive"])))
    found = {str(element.value) for element in data.iterall() if element.VR in ("DA", "TM", "DT")}
    ours = {"20250301", "102030.000125", "20250301102030.000125+0700"}
    assert found == ours | {"19700131", "101010.5"}
    assert AT.strftime("%Y%m%d") in found


# ------------------------------------------------------------ whose it is


@every_case
def test_a_report_is_its_sources_patient_and_study(report: Report) -> None:
    data = pydicom.dcmread(BytesIO(write_sr(report)))
    header = report.header
    assert (data.PatientID, str(data.PatientName)) == (header.patient_id, header.patient_name)
    assert data.StudyInstanceUID == header.study_instance_uid
    assert data.AccessionNumber == header.accession_number
    assert data.SOPInstanceUID == uid_of(report, REPORT)
    assert data.SeriesInstanceUID == series_of(report, SR_CLASS)
    assert (data.file_meta.TransferSyntaxUID, data.SOPClassUID) == ("1.2.840.10008.1.2.1", SR_CLASS)
    assert data.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID


CHARSETS = sorted((DATA / "charsets").glob("*.dcm")) or [DATA / "charsets" / "missing.dcm"]


@pytest.mark.parametrize("path", CHARSETS, ids=lambda each: each.stem)
def test_a_name_in_any_character_set_is_reported_in_utf_8(shared: Path, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = header_of(path)
    data = pydicom.dcmread(BytesIO(write_sr(film(0.4, 0.1, header=header))))
    assert data.SpecificCharacterSet == "ISO_IR 192"
    assert data.PatientID == header.patient_id
    if path.stem.startswith(("25", "26")):
        assert str(data.PatientName) == "Nguyễn^Thị Thử Nghiệm"


@settings(max_examples=150, deadline=None)
@given(
    name=st.text(max_size=200),
    words=st.text(max_size=90),
    numbers=st.text("0123456789.-: ", max_size=20),
    identifier=st.text(max_size=70),
)
def test_any_header_gets_a_sound_report_or_a_reason(name: str, words: str, numbers: str, identifier: str) -> None:
    header = replace(
        FILM,
        patient_name=name,
        patient_id=identifier,
        patient_birth_date=numbers,
        study_date=numbers,
        study_time=numbers,
        patient_sex=words,
        study_id=words,
        accession_number=words,
        study_description=words,
        referring_physician_name=name,
    )
    why = ""
    try:
        write_sr(film(0.4, 0.1, header=header))
    except CannotReport as refusal:
        why = refusal.why
    assert not why or why.startswith("Patient ID")


@settings(max_examples=100, deadline=None)
@given(probability=st.floats(0, 1), threshold=st.floats(0.001, 1), score=st.floats(0, 1, width=32))
@example(probability=0.10255959199048229, threshold=0.102559592, score=0.0)  # they differ behind the last digit written
@example(probability=0.99999999996, threshold=1.0, score=0.0)
@example(probability=0.001, threshold=0.001, score=0.0)
def test_any_probability_is_reported_beside_any_threshold(probability: float, threshold: float, score: float) -> None:
    threshold = round(threshold, 9)  # as a card states it
    spec = replace(EFFUSION, threshold=threshold)
    finding = Finding(spec.code, probability >= threshold, probability, threshold, score=score)
    outcome = Answer(State.ANALYSED, (finding,), images=film(0.1, 0.1).outcome.images)
    write_sr(replace(film(0.1, 0.1), card=card(spec), outcome=outcome))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"patient_id": "7" * 65}, "Patient ID has 65 characters"),
        ({"patient_id": "BN\ufffd1"}, "could not be decoded"),
        ({"patient_id": "BN1\\BN2"}, "several values"),
        ({"study_instance_uid": ""}, "Study Instance UID"),
        ({"study_instance_uid": "no-uid"}, "Study Instance UID"),
        ({"sop_instance_uid": ""}, "no usable"),
    ],
)
def test_a_study_whose_patient_is_in_doubt_gets_no_report(fault: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotReport, match=why):
        write_sr(not_analysed(header=replace(CT, **fault)))


def test_a_name_that_was_decoded_with_losses_still_gets_its_answer() -> None:
    data = pydicom.dcmread(BytesIO(write_sr(film(0.4, 0.1, header=replace(FILM, patient_name="Nguy\ufffdn^Th\ufffd")))))
    assert str(data.PatientName) == "Nguy?n^Th?"


def test_overlong_and_illegal_values_are_cut_or_emptied() -> None:
    header = replace(
        FILM,
        patient_name="Ă" * 70 + "=" + "漢" * 70,
        patient_birth_date="19700000",
        patient_sex="W",
        study_date="01.03.2025",
        study_time="10:20",
        study_id="S" * 20,
        accession_number="A" * 20,
        study_description="x\\y\n" + "z" * 70,
    )
    data = pydicom.dcmread(BytesIO(write_sr(film(0.4, 0.1, header=header))))
    assert str(data.PatientName) == "Ă" * 64 + "=" + "漢" * 64
    emptied = (data.PatientBirthDate, data.PatientSex, data.StudyDate, data.StudyTime, data.AccessionNumber)
    assert {str(each or "") for each in emptied} == {""}
    assert data.StudyID == "S" * 16
    assert data.StudyDescription == "x/y" + "z" * 61


def test_an_illegal_study_uid_is_copied_since_identity_beats_form() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom's warnings would quote the UID in a log
        data = write_sr(not_analysed(header=replace(CT, study_instance_uid="1.2.840.0099.1")))
    assert b"1.2.840.0099.1" in data


# ------------------------------------------------------------ what it says


def test_a_negative_answer_names_each_label_of_the_card_as_absent() -> None:
    study, *findings = groups(CASES["negative"])
    assert [each.values(concepts.FINDING) for each in findings] == [[EFFUSION.code], [CARDIOMEGALY.code]]
    assert [each.values(concepts.RESULT) for each in findings] == [[concepts.ABSENT]] * 2
    assert study.values(concepts.SUMMARY) == [concepts.ALL_WITHOUT_FINDINGS]
    assert study.values(concepts.PRIORITY) == [concepts.PRIORITIES[TriageClass.NONE]]


def test_an_answer_of_images_with_a_second_content_calls_nothing_absent_and_says_why() -> None:
    negative, positive = CASES["negative"], CASES["positive"]
    study, *findings = groups(replace(negative, outcome=negative.outcome.doubted(1)))
    assert [each.values(concepts.RESULT) for each in findings] == [[concepts.UNDETERMINED]] * 2
    assert study.values(concepts.SUMMARY) == [concepts.PART_WITHOUT_FINDINGS]
    assert in_words(replace(negative, outcome=negative.outcome.doubted(1))).startswith(
        "Số ảnh có phiên bản thứ hai khác"
    )
    study, effusion, _ = groups(replace(positive, outcome=positive.outcome.doubted(2)))
    assert (study.values(concepts.SUMMARY), effusion.values(concepts.RESULT)) == (
        [concepts.PART_WITH_FINDINGS],
        [concepts.PRESENT],
    )


def test_a_positive_answer_gives_probability_threshold_and_priority() -> None:
    study, effusion, _ = groups(CASES["positive"])
    assert effusion.values(concepts.PROBABILITY) == [("0.41", "{0:1}")]
    assert effusion.values(concepts.THRESHOLD) == [("0.31", "{0:1}")]
    assert effusion.values(concepts.RESULT) == [concepts.PRESENT]
    assert effusion.values(concepts.ALGORITHM_PARAMETERS) == ["score=0.205"]
    assert study.values(concepts.SUMMARY) == [concepts.ALL_WITH_FINDINGS]
    assert [each.value for each in study.values(concepts.PRIORITY)] == ["RID49481"]


def test_of_a_study_seen_in_part_nothing_is_called_absent_and_the_report_says_what_is_missing() -> None:
    study, *findings = groups(CASES["in-part"])
    assert study.values(concepts.SUMMARY) == [concepts.PART_WITHOUT_FINDINGS]
    assert [each.values(concepts.RESULT) for each in findings] == [[concepts.UNDETERMINED]] * 2
    assert in_words(CASES["in-part"]).startswith(
        "15 trên 40 ảnh chưa được phân tích (orientation-mixed 12, positions 3)."
    )


def test_what_was_found_on_a_part_of_a_study_stays_found() -> None:
    study, bleed = groups(CASES["in-part-found"])
    assert study.values(concepts.SUMMARY) == [concepts.PART_WITH_FINDINGS]
    assert bleed.values(concepts.RESULT) == [concepts.PRESENT]
    assert in_words(CASES["in-part-found"]).startswith("15 images sur 40 non analysées")
    assert [each.value for each in study.values(concepts.PRIORITY)] == ["RID49480"]


def test_places_are_told_in_words_those_that_reach_the_threshold_and_the_first_ten_of_them() -> None:
    reading = Reading(write_sr(CASES["placed"]))
    texts = [each.value for each in reading.root.below() if each.is_named(concepts.PLACES)]
    assert texts == [
        "Nodule: places: 2. Columns and rows are counted from 0, to the centres of pixels. "
        "(1) score 0.9, image 2.25.1001, frame 1, columns 10.5 to 110.5, rows 20.25 to 140. "
        "(2) score 0.6, image 2.25.301, frame 1, columns 10.5 to 110.5, rows 21.25 to 140."
    ]
    of_volume = Reading(write_sr(CASES["placed-in-volume"])).root.below()
    (text,) = (each.value for each in of_volume if each.is_named(concepts.PLACES))
    assert text.startswith("Intracranial hemorrhage : emplacements : 12. Colonnes et lignes comptées à partir de 0")
    assert "(10) score 0.81," in text
    assert "(11)" not in text
    assert "centre en 5 10 15 mm (LPS)" in text


def test_a_number_names_its_unit_and_its_own_film_and_one_that_is_only_measured_has_no_result() -> None:
    _, nodule, months, fraction = groups(CASES["placed"])
    assert nodule.values(COUNT.code) == [("2", "1")]
    told = [each for each in months.children if each.value_type == "NUM"]
    assert [each.value for each in told] == [("120.5", "mo"), ("121.5", "mo")]
    assert [[child.value[1] for child in each.children] for each in told] == [["2.25.1001"], ["2.25.301"]]
    assert months.values(concepts.RESULT) == []
    assert fraction.values(concepts.RESULT) == [concepts.PRESENT]
    assert fraction.values(FRACTION.code) == [("31.5", "%")]


@every_case
def test_every_report_counts_the_studys_images(report: Report) -> None:
    seen = report.outcome.coverage
    data = dict(each.split("=", 1) for each in groups(report)[0].values(concepts.ALGORITHM_PARAMETERS))
    assert (data["images_considered"], data["images_used"]) == (str(seen.considered), str(seen.used))
    for name, counts in (("missing", seen.missing), ("redundant", seen.redundant), ("out_of_scope", seen.out_of_scope)):
        assert data[f"images_{name}"].split(":")[0] == str(sum(counts.values()))


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_what_was_not_analysed_says_why_and_looks_not_negative(reason: str) -> None:
    (study,) = groups(not_analysed(f"{reason}: 3"))
    assert study.values(concepts.SUMMARY) == [concepts.NONE_SUCCEEDED]
    assert study.values(concepts.NOT_ANALYSED) == [concepts.REASON_CODES[reason]]
    assert study.values(concepts.PRIORITY) == []
    assert f"reason={reason}: 3" in study.values(concepts.ALGORITHM_PARAMETERS)


def test_reason_codes_are_short_and_no_two_are_the_same() -> None:
    codes = [each.value for each in concepts.REASON_CODES.values()]
    assert max(map(len, codes)) <= 16
    assert len(set(codes)) == len(REASONS)


def test_a_volumes_finding_has_measurements_key_slices_and_a_point() -> None:
    _, bleed = groups(CASES["volume"])
    assert bleed.values(concepts.FINDING_SITE) == [Code("SCT", "12738006", "Brain")]
    assert bleed.values(Code("SCT", "118565006", "Volume")) == [("3.14159", "ml")]
    assert bleed.values(concepts.IMAGE_REGION) == [("POINT", (1.5, -20.25, 33.125))]
    named = [uid for each in bleed.children for _, uid in (child.value for child in each.children)]
    assert set(named) == {"2.25.40004", "2.25.40010", "2.25.40016"}


def test_only_the_named_slices_of_a_volume_are_evidence() -> None:
    report = CASES["volume"]
    assert len(report.outcome.images) == 30
    reading = Reading(write_sr(report))
    assert {uid for _, uid in reading.named_images} == {"2.25.40004", "2.25.40010", "2.25.40016"}


@every_case
def test_a_comprehensive_sr_says_all_but_the_points_in_the_patient(report: Report) -> None:
    def value(data: bytes) -> list[tuple[object, ...]]:
        return [(each.name, each.value) for each in Reading(data).root.below() if each.value_type != "SCOORD3D"]

    whole = write_sr(report)
    other = as_comprehensive(report)
    assert as_comprehensive(report) == other
    assert value(other.data) == value(whole)
    assert b"SCOORD3D" not in other.data
    sr, first = (pydicom.dcmread(BytesIO(each)) for each in (other.data, whole))
    assert sr.file_meta.MediaStorageSOPClassUID == sr.SOPClassUID == COMPREHENSIVE_SR
    assert sr.file_meta.MediaStorageSOPInstanceUID == sr.SOPInstanceUID == other.sop_instance_uid
    assert len({sr.SOPInstanceUID, first.SOPInstanceUID, sr.SeriesInstanceUID, first.SeriesInstanceUID}) == 4
    assert (sr.PatientName, sr.StudyInstanceUID) == (first.PatientName, first.StudyInstanceUID)


def test_the_predecessor_of_a_comprehensive_sr_is_one_too() -> None:
    report = CASES["three-films-revised"]
    before = replace(report, predecessor=None, result="1")
    (named,) = build(before)
    was = ImageRef(SR_CLASS, named.sop_instance_uid, named.series_instance_uid)
    sr = pydicom.dcmread(BytesIO(as_comprehensive(replace(report, predecessor=was)).data))
    ((series,),) = (each.ReferencedSeriesSequence for each in sr.PredecessorDocumentsSequence)
    (document,) = series.ReferencedSOPSequence
    sent = as_comprehensive(before)
    assert series.SeriesInstanceUID == sent.series_instance_uid == sr.SeriesInstanceUID
    assert document.ReferencedSOPInstanceUID == sent.sop_instance_uid
    assert document.ReferencedSOPClassUID == COMPREHENSIVE_SR


def test_each_answer_says_that_it_is_no_diagnosis_in_its_language() -> None:
    for language in ("en", "vi", "fr"):
        study, *_ = groups(not_analysed(language=language))
        assert study.values(concepts.NOTICE) == [concepts.NOT_A_DIAGNOSIS[language]]


def test_a_probability_is_never_rounded_over_its_threshold() -> None:
    _, effusion, _ = groups(film(0.30999999, 0.1))
    (probability, _), (threshold, _) = (effusion.values(each)[0] for each in (concepts.PROBABILITY, concepts.THRESHOLD))
    assert float(probability) < float(threshold)


def test_a_number_that_is_none_is_our_fault_and_not_sent() -> None:
    with pytest.raises(UnsoundReport, match="units"):
        write_sr(film(float("nan"), 0.1))


@pytest.mark.parametrize("written_before", [False, True])
def test_an_answer_that_contradicts_its_card_is_not_sent(written_before: bool) -> None:
    sound = film(0.41, 0.1)
    if written_before:
        write_sr(sound)
    wrong = Finding(EFFUSION.code, present=False, probability=0.41, threshold=0.31, score=0.2)
    outcome = replace(sound.outcome, findings=(wrong, sound.outcome.findings[1]))
    with pytest.raises(UnsoundReport, match="present-iff-over"):
        write_sr(replace(sound, outcome=outcome))


def test_a_label_that_the_card_does_not_report_is_not_sent() -> None:
    only = Answer(State.ANALYSED, (label(EFFUSION, 0.1),), images=film(0.1, 0.1).outcome.images)
    with pytest.raises(UnsoundReport, match="finding-of-card"):
        write_sr(replace(film(0.1, 0.1), outcome=only))


def test_a_revision_names_the_answer_that_it_replaces() -> None:
    (study,) = pydicom.dcmread(BytesIO(write_sr(CASES["three-films-revised"]))).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == BEFORE.series_instance_uid
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == BEFORE.sop_instance_uid


def test_tracking_uids_outlive_a_revision() -> None:
    first, second = groups(film(0.4, 0.1)), groups(film(0.5, 0.9, result="2", predecessor=BEFORE))
    uids = [[each.values(concepts.TRACKING_UNIQUE_IDENTIFIER) for each in values] for values in (first, second)]
    assert uids[0] == uids[1]


def test_a_volume_without_a_frame_of_reference_states_no_point() -> None:
    _, bleed = groups(volume(header=replace(CT, frame_of_reference_uid="")))
    assert bleed.values(concepts.IMAGE_REGION) == []


def test_one_film_has_one_form_of_report_whatever_was_found_on_it() -> None:
    forms = {shape_of(film(one, two)) for one in (0.1, 0.9) for two in (0.2, 0.8)}
    assert len(forms) == 1
    assert Reading(write_sr(film(0.1, 0.2))).named_images == Reading(write_sr(film(0.9, 0.8))).named_images


def test_a_film_report_of_fourteen_findings_is_written_and_verified_within_its_budget() -> None:
    """1-3 ms on a quiet machine (docs/architecture.md); the best of many, with room for a busy one."""
    report = many_labels()
    write_sr(report)
    spent = []
    for _ in range(30):
        start = time.perf_counter()
        write_sr(report)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.010
