"""Answers to report, of every kind: what the tests of structured reports share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from imaging.domain.card import (
    BoxesSpec,
    Card,
    Engine,
    FilmInput,
    FindingSpec,
    LabelSpec,
    NumberSpec,
    SegmentSpec,
    VolumeInput,
)
from imaging.domain.codes import Code
from imaging.domain.coverage import Coverage
from imaging.domain.findings import (
    NO_GOLDEN_CASE,
    Answer,
    Finding,
    ImageRef,
    Measurement,
    State,
    TriageClass,
    seen_in_part,
)
from imaging.domain.header import Header
from imaging.domain.measures import COUNT
from imaging.domain.places import Place
from imaging.domain.reasons import Reason
from imaging.results.document import document
from imaging.results.expected import SR_CLASS
from imaging.results.report import Report
from imaging.results.shape import shape_of
from imaging.results.template import Point, encoded
from imaging.results.values import values_of

DATA = Path(__file__).parents[2] / "shared" / "data"
AT = datetime(2025, 3, 1, 10, 20, 30, 125, timezone(timedelta(hours=7)))
FILM_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"

FILM = Header(
    FILM_CLASS,
    "2.25.1001",
    "2.25.1002",
    "2.25.1003",
    "1.2.840.10008.1.2.1",
    modality="DX",
    patient_id="BN-0001",
    issuer_of_patient_id="Bệnh viện Giả Định",
    patient_name="Nguyễn^Thị Thử Nghiệm",
    patient_birth_date="19700131",
    patient_sex="F",
    study_id="S1",
    study_date="20250301",
    study_time="101010.5",
    accession_number="A-0001",
    referring_physician_name="Trần^Bác Sĩ",
    study_description="Ngực thẳng",
)
NOTHING = Header(FILM_CLASS, "2.25.2001", "2.25.2002", "2.25.2003", "1.2.840.10008.1.2.1")
CT = replace(FILM, sop_class_uid=CT_CLASS, modality="CT", frame_of_reference_uid="2.25.1004")

EFFUSION = LabelSpec(0, Code("SCT", "60046008", "Pleural effusion"), threshold=0.31)
CARDIOMEGALY = LabelSpec(1, Code("99IMAGING", "cardiomegaly", "Cardiomegaly"), threshold=0.62)
BLEED = SegmentSpec(1, Code("SCT", "1386000", "Intracranial hemorrhage"), site=Code("SCT", "12738006", "Brain"))


def card(*findings: FindingSpec, volume: bool = False) -> Card:
    return Card(
        id="head-ct-bleed" if volume else "chest-film",
        version="1.0.0",
        name="Head CT bleed, synthetic" if volume else "Chest film, demonstration",
        maker="Nhóm imaging",
        licence="Apache-2.0",
        device_uid="2.25.329800735698586629295641978511506172918",
        status="demonstration",
        use="Earlier reading. Not a diagnosis.",
        not_for=("children",),
        inputs=(VolumeInput("image", ("CT",)) if volume else FilmInput("image", ("DX", "CR")),),
        prepare=(),
        engine=Engine("onnx", "model.onnx", "0" * 64, {"image": "x"}, ("y",)),
        findings=findings,
        triage=(),
        evidence=(),
        golden=None,
        folder=Path(),
        digest="c0ffee" * 10 + "cafe",
    )


FILM_CARD = card(EFFUSION, CARDIOMEGALY)
VOLUME_CARD = card(BLEED, volume=True)


def label(spec: FindingSpec, probability: float, **more: Any) -> Finding:
    return Finding(spec.code, probability >= spec.threshold, probability, spec.threshold, score=probability / 2, **more)


def film_refs(header: Header, count: int = 1) -> tuple[ImageRef, ...]:
    """A film study's images: the second and third lie in a series of their own, as a lateral view may."""
    own = ImageRef(header.sop_class_uid, header.sop_instance_uid, header.series_instance_uid)
    others = [ImageRef(header.sop_class_uid, f"2.25.30{index}", "2.25.300") for index in range(1, count)]
    return (own, *others)


def film(*probabilities: float, header: Header = FILM, count: int = 1, **more: Any) -> Report:
    specs = (EFFUSION, CARDIOMEGALY)
    outcome = Answer(
        State.ANALYSED,
        tuple(map(label, specs, probabilities)),
        triage=more.pop("triage", None),
        images=film_refs(header, count),
        facts=more.pop("facts", {"engine": "onnx f32", "batch": "8"}),
    )
    return Report(header, more.pop("card", FILM_CARD), outcome, more.pop("result", "1"), AT, **more)


def volume(**more: Any) -> Report:
    slices = tuple(f"2.25.40{index:03d}" for index in range(30))
    finding = Finding(
        BLEED.code,
        present=True,
        probability=0.9137,
        threshold=0.5,
        measurements=(
            Measurement(Code("SCT", "118565006", "Volume"), 3.14159265, "ml"),
            Measurement(Code("SCT", "81827009", "Diameter"), 21.5, "mm"),
            Measurement(Code("99IMAGING", "mean-hu", "Mean attenuation"), 61.25, "[hnsf'U]"),
        ),
        score=0.88,
        sop_instance_uids=(slices[10], slices[4], slices[16]),
        centre_mm=(1.5, -20.25, 33.125),
        site=BLEED.site,
    )
    outcome = Answer(
        State.ANALYSED,
        (more.pop("finding", finding),),
        triage=TriageClass.STAT,
        images=tuple(ImageRef(CT_CLASS, each, "2.25.1003") for each in slices),
        facts={"slices": "30", "series": "1"},
    )
    return Report(more.pop("header", replace(CT, sop_instance_uid=slices[0])), VOLUME_CARD, outcome, "1", AT)


NODULE = BoxesSpec(0, Code("SCT", "27925004", "Nodule"), output="boxes", scores="scores")
BONE_AGE = NumberSpec(1, Code("99IMAGING", "bone-age", "Bone age"), unit="mo", range=(0.0, 240.0))
FRACTION = NumberSpec(2, Code("LN", "10230-1", "Left ventricular Ejection fraction"), unit="%", at_most=40.0)


def placed(**more: Any) -> Report:
    """Boxes on two films, a number of each that is measured only, and one that is present by its range."""
    refs = film_refs(FILM, 2)
    uids = [each.sop_instance_uid for each in refs]
    places = tuple(
        Place((uid, 1), (10.5, 20.25 + each, 110.5, 140.0), (60.5, 80.12), ((uid, 1),), 0.9 - 0.3 * each)
        for each, uid in enumerate(uids)
    )
    places = (*places, replace(places[0], score=0.1))  # told in JSON alone
    months = tuple(Measurement(BONE_AGE.code, 120.5 + each, "mo", (uid,)) for each, uid in enumerate(uids))
    count, percent = (COUNT.of(2),), (Measurement(FRACTION.code, 31.5, "%"),)
    findings = (
        Finding(NODULE.code, True, 0.9, 0.5, count, 0.9, sop_instance_uids=tuple(uids), places=places),
        Finding(BONE_AGE.code, None, None, None, months, sop_instance_uids=tuple(uids), is_measured_only=True),
        Finding(FRACTION.code, True, None, None, percent, sop_instance_uids=(uids[0],)),
    )
    outcome = Answer(State.ANALYSED, findings, triage=TriageClass.URGENT, images=refs, facts={"images": "2"})
    return Report(FILM, card(NODULE, BONE_AGE, FRACTION), outcome, "1", AT, **more)


def placed_in_volume() -> Report:
    """Boxes in a volume: as a volume's finding, with corners in the patient; twelve, of which ten are told in words."""
    report = volume()
    corners = tuple((float(x), float(y), float(z)) for x in (0, 10) for y in (0, 20) for z in (0, 30))
    (found,) = report.outcome.findings
    image = (found.sop_instance_uids[0], 1)
    places = tuple(
        Place(image, (1.5, 2.5, 3.5, 4.5), (2.5, 3.5), (image,), 0.9 - each / 100, corners, "2.25.1004")
        for each in range(12)
    )
    outcome = replace(report.outcome, findings=(replace(found, places=places),))
    return replace(report, outcome=outcome, language="fr")


def not_analysed(reason: str = "slices-missing: 3", header: Header = CT, **more: Any) -> Report:
    return Report(header, VOLUME_CARD, Answer(State.NOT_ANALYSED, reason=Reason.parse(reason)), "1", AT, **more)


def failed(**more: Any) -> Report:
    return Report(FILM, FILM_CARD, Answer(State.FAILED, fault="engine-5f3c"), "1", AT, **more)


def in_part(report: Report, **more: Any) -> Report:
    """The same where images are missing for two reasons, and some are none of the model's."""
    seen = Coverage(25, {"orientation-mixed": 12, "positions": 3}, {"same-place": 40}, {"localizer": 2})
    outcome = replace(report.outcome, findings=seen_in_part(report.outcome.findings), coverage=seen)
    return replace(report, outcome=outcome, **more)


def doubted(report: Report, **more: Any) -> Report:
    """The same of an unproven model, whose first finding is near chance by its card's evidence."""
    first, *others = report.outcome.findings
    weak = {"finding": first.code.value, "auc": 0.56, "ci95": [0.46, 0.66]}
    findings = (replace(first, is_near_chance=True), *others)
    outcome = replace(report.outcome, findings=findings, unproven=NO_GOLDEN_CASE)
    return replace(report, card=replace(report.card, evidence=(weak,)), outcome=outcome, **more)


BEFORE = ImageRef(SR_CLASS, "2.25.5001", "2.25.5002")

CASES: Mapping[str, Report] = {
    "positive": film(0.41, 0.9, triage=TriageClass.URGENT),
    "negative": film(0.1, 0.2, language="vi"),
    "three-films-revised": film(0.1, 0.9, count=3, predecessor=BEFORE, result="2", triage=TriageClass.ROUTINE),
    "undetermined": replace(
        film(0.1, 0.2),
        outcome=Answer(State.ANALYSED, (Finding(EFFUSION.code, None, None, None), label(CARDIOMEGALY, 0.1))),
    ),
    "bare-header": film(0.1, 0.2, header=NOTHING, facts={}),
    "doubted": doubted(film(0.41, 0.9), language="vi"),
    "volume": volume(),
    "volume-without-frame": volume(header=replace(CT, frame_of_reference_uid="")),
    "volume-negative": volume(finding=Finding(BLEED.code, False, 0.02, 0.5)),
    "placed": placed(),
    "placed-in-part": in_part(placed(language="vi")),
    "placed-in-volume": placed_in_volume(),
    "in-part": in_part(film(0.1, 0.2), language="vi"),
    "in-part-found": in_part(volume(), language="fr"),
    "not-analysed": not_analysed(language="fr"),
    "not-analysed-long-reason": not_analysed("frame-of-reference-differs", NOTHING),
    "failed": failed(),
}


def many_labels(count: int = 14) -> Report:
    """As a chest film's model with 14 findings answers."""
    specs = [
        LabelSpec(each, Code("99IMAGING", f"label-{each}", f"Label {each}"), threshold=0.31) for each in range(count)
    ]
    findings = tuple(label(each, 0.05 + 0.9 * each.channel / count) for each in specs)
    outcome = Answer(State.ANALYSED, findings, images=film_refs(FILM), facts={"batch": "8"}, triage=TriageClass.URGENT)
    return Report(FILM, card(*specs), outcome, "7", AT)


@dataclass(frozen=True)
class DirectRenderer:
    """A renderer that writes one study's values, where a template's writes placeholders."""

    values: Mapping[str, str]

    def text(self, slot: str) -> str:
        return self.values[slot]

    uid = number = text

    def point(self, slot: str) -> Point:
        return np.array([self.values[slot].split("\\")], "<f4")


def directly(report: Report) -> bytes:
    """The report's SR by the slow way: highdicom builds this one document, pydicom writes it."""
    return encoded(document(shape_of(report), DirectRenderer(values_of(report))))


def header_of(path: Path) -> Header:
    """The header facts of a real file, as far as a report needs them."""
    data = pydicom.dcmread(path, stop_before_pixels=True)

    def value(keyword: str) -> str:
        value = data.get(keyword)
        return "" if value is None else str(value)

    return Header(
        value("SOPClassUID"),
        value("SOPInstanceUID"),
        value("StudyInstanceUID"),
        value("SeriesInstanceUID"),
        "1.2.840.10008.1.2.1",
        modality=value("Modality"),
        patient_id=value("PatientID"),
        patient_name=value("PatientName"),
        patient_birth_date=value("PatientBirthDate"),
        patient_sex=value("PatientSex"),
        study_id=value("StudyID"),
        study_date=value("StudyDate"),
        study_time=value("StudyTime"),
        accession_number=value("AccessionNumber"),
        referring_physician_name=value("ReferringPhysicianName"),
        study_description=value("StudyDescription"),
        frame_of_reference_uid=value("FrameOfReferenceUID"),
    )
