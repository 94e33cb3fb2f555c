"""The only description of the SR that we write: Comprehensive 3D SR, TID 1500 (docs/results.md, "The tree").

It knows neither the study nor the template: it is built of a shape, and a renderer gives it each value.
"""

import zlib

from highdicom.sr import ContentItem
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian

from imaging import __version__
from imaging.domain.codes import Code
from imaging.domain.own_results import DEVICE
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from imaging.results import concepts
from imaging.results.content import code_item, coded, container, image, number, point, text, uid_ref
from imaging.results.identity import line
from imaging.results.shape import Algorithm, GroupShape, Shape
from imaging.results.template import Renderer, put


def document(shape: Shape, renderer: Renderer) -> Dataset:
    """The document of a shape, with the renderer's values."""
    sr = _root(tree(shape, renderer), shape.algorithm)
    _head(sr, renderer)
    sr.ContributingEquipmentSequence = [_algorithm_device(shape.algorithm, renderer)]
    sr.CodingSchemeIdentificationSequence = [_scheme(each) for each in _private_schemes(shape)]
    sr.CurrentRequestedProcedureEvidenceSequence = [_evidence(shape, renderer)]
    if shape.has_predecessor:
        sr.PredecessorDocumentsSequence = [_predecessor(renderer)]
    sr.file_meta.MediaStorageSOPInstanceUID = UID(renderer.uid("report.uid"))
    sr.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    sr.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return sr


def _root(content: ContentItem, algorithm: Algorithm) -> Dataset:
    """What all documents say of themselves, as highdicom's `Comprehensive3DSR` writes it (a test compares the two).

    That class takes patient and study from a source, by a list of all modules' attributes that it reads for it: 65 MiB
    and a quarter of a second.
    """
    sr = Dataset()
    for element in content:
        sr.add(element)
    sr.SpecificCharacterSet = "ISO_IR 192"
    sr.SOPClassUID = Comprehensive3DSRStorage
    sr.Modality = "SR"
    sr.SeriesNumber = 9000 + zlib.crc32(f"{algorithm.id}|{algorithm.version}".encode()) % 1000
    sr.SeriesDescription = line(f"AI, not a diagnosis: {algorithm.name} {algorithm.version}")
    sr.Manufacturer = sr.ManufacturerModelName = DEVICE
    sr.DeviceSerialNumber = IMPLEMENTATION_CLASS_UID
    sr.SoftwareVersions = __version__
    sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    sr.PerformedProcedureCodeSequence, sr.ReferencedPerformedProcedureStepSequence = [], []
    sr.file_meta = FileMetaDataset()
    sr.file_meta.MediaStorageSOPClassUID = Comprehensive3DSRStorage
    sr.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return sr


def _head(sr: Dataset, renderer: Renderer) -> None:
    """Patient, study and instance, each element written for its own.

    No Timezone Offset: it would speak for the source's times too. Ours are in the report's own zone.
    """
    for keyword, vr, slot in (
        ("PatientName", "PN", "study.patient_name"),
        ("PatientID", "LO", "study.patient_id"),
        ("IssuerOfPatientID", "LO", "study.issuer_of_patient_id"),
        ("PatientBirthDate", "DA", "study.patient_birth_date"),
        ("PatientSex", "CS", "study.patient_sex"),
        ("StudyID", "SH", "study.study_id"),
        ("StudyDate", "DA", "study.study_date"),
        ("StudyTime", "TM", "study.study_time"),
        ("StudyDescription", "LO", "study.study_description"),
        ("AccessionNumber", "SH", "study.accession_number"),
        ("ReferringPhysicianName", "PN", "study.referring_physician_name"),
        ("InstanceCreationDate", "DA", "report.date"),
        ("InstanceCreationTime", "TM", "report.time"),
        ("ContentDate", "DA", "report.date"),
        ("ContentTime", "TM", "report.time"),
    ):
        put(sr, keyword, vr, renderer.text(slot))
    put(sr, "StudyInstanceUID", "UI", renderer.uid("study.study_instance_uid"))
    put(sr, "SeriesInstanceUID", "UI", renderer.uid("report.series"))
    put(sr, "SOPInstanceUID", "UI", renderer.uid("report.uid"))
    put(sr, "InstanceNumber", "IS", renderer.number("report.number"))


def _algorithm_device(algorithm: Algorithm, renderer: Renderer) -> Dataset:
    """IHE AIR 6.5.3.1: the algorithm that contributed, by the UID that each retraining renews."""
    device = Dataset()
    device.PurposeOfReferenceCodeSequence = [code_item(concepts.PROCESSING_EQUIPMENT)]
    device.Manufacturer = algorithm.maker
    device.ManufacturerModelName = algorithm.name
    device.DeviceSerialNumber = algorithm.serial_number
    device.SoftwareVersions = algorithm.version
    device.DeviceUID = algorithm.device_uid
    put(device, "ContributionDateTime", "DT", renderer.text("report.datetime"))
    device.ContributionDescription = "AI model; not a diagnosis, not a medical device"
    return device


def _private_schemes(shape: Shape) -> list[str]:
    codes = [each.code for each in shape.groups]
    codes += [each.site for each in shape.groups if each.site]
    codes += [code for each in shape.groups for code, _ in each.measurements]
    return sorted({concepts.TRIAGE.scheme, *(code.scheme for code in codes if code.scheme.startswith("99"))})


def _scheme(designator: str) -> Dataset:
    """PS3.3 C.12.1, Coding Scheme Identification Sequence."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = designator
    if designator == concepts.TRIAGE.scheme:
        scheme.CodingSchemeName = "Codes of imaging, an open triage pipeline"
        scheme.CodingSchemeResponsibleOrganization = "imaging"
    else:
        scheme.CodingSchemeName = f"Private scheme of a model: {designator}"
    return scheme


def _evidence(shape: Shape, renderer: Renderer) -> Dataset:
    """Exactly what the content names, all of it in the report's own study."""
    study = Dataset()
    put(study, "StudyInstanceUID", "UI", renderer.uid("study.study_instance_uid"))
    study.ReferencedSeriesSequence = []
    for number_of_series in range(1 + max(shape.images)):
        members = [index for index, series in enumerate(shape.images) if series == number_of_series]
        series = Dataset()
        put(series, "SeriesInstanceUID", "UI", renderer.uid(f"image.{members[0]}.series"))
        series.ReferencedSOPSequence = [
            _instance(renderer.uid(f"image.{index}.class"), renderer.uid(f"image.{index}")) for index in members
        ]
        study.ReferencedSeriesSequence.append(series)
    return study


def _predecessor(renderer: Renderer) -> Dataset:
    """PS3.3 C.17.2: in the same study, which is why only its series and instance are told."""
    study, series = Dataset(), Dataset()
    put(study, "StudyInstanceUID", "UI", renderer.uid("study.study_instance_uid"))
    put(series, "SeriesInstanceUID", "UI", renderer.uid("predecessor.series_instance_uid"))
    series.ReferencedSOPSequence = [
        _instance(renderer.uid("predecessor.sop_class_uid"), renderer.uid("predecessor.sop_instance_uid"))
    ]
    study.ReferencedSeriesSequence = [series]
    return study


def _instance(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    put(reference, "ReferencedSOPClassUID", "UI", sop_class_uid)
    put(reference, "ReferencedSOPInstanceUID", "UI", sop_instance_uid)
    return reference


def tree(shape: Shape, renderer: Renderer) -> ContentItem:
    """TID 1500."""
    return container(
        concepts.IMAGING_MEASUREMENT_REPORT,
        [
            coded(concepts.LANGUAGE, concepts.LANGUAGES[shape.language], "HAS CONCEPT MOD"),
            *_observer(shape.algorithm),
            coded(
                concepts.PROCEDURE_REPORTED,
                concepts.PROCEDURES.get(shape.modality, concepts.IMAGING_PROCEDURE),
                "HAS CONCEPT MOD",
            ),
            _image_library(shape, renderer),
            container(
                concepts.IMAGING_MEASUREMENTS,
                [
                    _study_group(shape, renderer),
                    *(_finding_group(index, group, shape, renderer) for index, group in enumerate(shape.groups)),
                ],
            ),
            *_evaluations(shape, renderer),
        ],
        relation=None,
        template="1500",
    )


def _observer(algorithm: Algorithm) -> list[ContentItem]:
    """TID 1002, 1004: the model, not the software that ran it."""
    return [
        coded(concepts.OBSERVER_TYPE, concepts.DEVICE, "HAS OBS CONTEXT"),
        uid_ref(concepts.DEVICE_OBSERVER_UID, algorithm.device_uid),
        text(concepts.DEVICE_OBSERVER_NAME, algorithm.id, "HAS OBS CONTEXT"),
        text(concepts.DEVICE_OBSERVER_MANUFACTURER, algorithm.maker, "HAS OBS CONTEXT"),
        text(concepts.DEVICE_OBSERVER_MODEL_NAME, algorithm.name, "HAS OBS CONTEXT"),
        text(concepts.DEVICE_OBSERVER_SERIAL_NUMBER, algorithm.serial_number, "HAS OBS CONTEXT"),
    ]


def _image_library(shape: Shape, renderer: Renderer) -> ContentItem:
    """TID 1600: one group, since all are of one model's input."""
    modality = concepts.MODALITIES.get(shape.modality)
    descriptors = [coded(concepts.MODALITY, modality, "HAS ACQ CONTEXT")] if modality else []
    images = [
        image(concepts.SOURCE, renderer.uid(f"image.{index}.class"), renderer.uid(f"image.{index}"))
        for index in range(len(shape.images))
    ]
    return container(concepts.IMAGE_LIBRARY, [container(concepts.IMAGE_LIBRARY_GROUP, [*descriptors, *images])])


def _study_group(shape: Shape, renderer: Renderer) -> ContentItem:
    """What the answer means for the study: how the work ended, and how soon it asks to be read."""
    facts = [renderer.text(f"fact.{index}") for index in range(shape.facts)]
    algorithm = shape.algorithm
    parameters = [f"model={algorithm.id}", f"status={algorithm.status}", *algorithm.digests]
    if shape.is_analysed:
        verdicts = [
            coded(concepts.SUMMARY, _rendered_code(renderer, "DCM", "summary")),
            coded(concepts.PRIORITY, _rendered_code(renderer, "RADLEX", "priority")),
        ]
    else:
        verdicts = [
            coded(concepts.SUMMARY, concepts.NONE_SUCCEEDED),
            coded(concepts.NOT_ANALYSED, _rendered_code(renderer, concepts.NOT_ANALYSED.scheme, "reason")),
        ]
    return container(
        concepts.MEASUREMENT_GROUP,
        [
            *_tracking(f"{shape.algorithm.id}: {concepts.TRIAGE.meaning}", renderer.uid("triage.tracking")),
            coded(concepts.FINDING, concepts.TRIAGE),
            *_algorithm(shape.algorithm, [*parameters, *facts]),
            *verdicts,
            coded(concepts.NOTICE, concepts.NOT_A_DIAGNOSIS[shape.language]),
        ],
        template="1501",
    )


def _evaluations(shape: Shape, renderer: Renderer) -> list[ContentItem]:
    """What the answer does not speak for, in words: TID 1500 takes text here, TID 1501 takes none."""
    if not shape.is_in_part:
        return []
    parameters = text(concepts.IN_PART, renderer.text("in_part"), "CONTAINS")
    return [container(concepts.QUALITATIVE_EVALUATIONS, [parameters])]


def _finding_group(index: int, group: GroupShape, shape: Shape, renderer: Renderer) -> ContentItem:
    """TID 1501, or 1410 where a point of the patient is known."""
    slot = f"finding.{index}"
    sources = [
        image(
            concepts.SOURCE_OF_MEASUREMENT,
            renderer.uid(f"{slot}.source.{each}.class"),
            renderer.uid(f"{slot}.source.{each}"),
            "INFERRED FROM",
        )
        for each in range(group.sources)
    ]
    children = [
        *_tracking(f"{shape.algorithm.id}: {group.code.meaning}", renderer.uid(f"{slot}.tracking")),
        coded(concepts.FINDING, group.code),
    ]
    if group.site:
        children.append(coded(concepts.FINDING_SITE, group.site, "HAS CONCEPT MOD"))
    children += _algorithm(shape.algorithm, [renderer.text(f"{slot}.score")] if group.has_score else [])
    if group.is_located:
        children.append(point(concepts.IMAGE_REGION, renderer.point(f"{slot}.point"), renderer.uid(f"{slot}.frame")))
    if group.has_probability:
        children.append(number(concepts.PROBABILITY, renderer.number(f"{slot}.probability"), "{0:1}", sources))
    if group.has_threshold:
        children.append(number(concepts.THRESHOLD, renderer.number(f"{slot}.threshold"), "{0:1}"))
    for which, (code, ucum) in enumerate(group.measurements):
        children.append(number(code, renderer.number(f"{slot}.measurement.{which}"), ucum, sources))
    children.append(coded(concepts.RESULT, _rendered_code(renderer, "SCT", f"{slot}.result")))
    children += [coded(concepts.NOTICE, each) for each in group.notices]
    return container(concepts.MEASUREMENT_GROUP, children, template="1410" if group.is_located else "1501")


def _tracking(identifier: str, uid: str) -> list[ContentItem]:
    return [
        text(concepts.TRACKING_IDENTIFIER, identifier, "HAS OBS CONTEXT"),
        uid_ref(concepts.TRACKING_UNIQUE_IDENTIFIER, uid),
    ]


def _algorithm(algorithm: Algorithm, parameters: list[str]) -> list[ContentItem]:
    """TID 4019."""
    return [
        text(concepts.ALGORITHM_NAME, algorithm.name),
        text(concepts.ALGORITHM_VERSION, algorithm.version),
        text(concepts.ALGORITHM_MANUFACTURER, algorithm.maker),
        *(text(concepts.ALGORITHM_PARAMETERS, each) for each in parameters),
    ]


def _rendered_code(renderer: Renderer, scheme: str, slot: str) -> Code:
    return Code(scheme, renderer.text(f"{slot}.value"), renderer.text(f"{slot}.meaning"))
