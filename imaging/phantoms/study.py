"""Turns drawings into whole DICOM studies, as a modality would send them.

Patients, names and numbers are invented. UIDs, Patient ID and Accession Number are derived from
(run, kind of study, truth, seed): the same four give the same study, another run a new one.
`now` is when the study was made. Data sets are Explicit VR Little Endian with file meta, and
pass dciodvfy; their text is UTF-8 (ISO_IR 192).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from imaging.phantoms.brain import draw_brain
from imaging.phantoms.film import draw_film
from imaging.phantoms.head import draw_head
from imaging.phantoms.volume import Grid, Phantom

SPACE: Final = UUID("6a1f8d1e-53c5-5b0c-9a55-2f0a7f6a9c3e")
FILM_MM: Final = 420.0  # the longer side of a film
CT_INTERCEPT: Final = -1024
FAMILIES: Final = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô")
WOMEN: Final = ("Thị Hoa", "Thị Lệ", "Thu Hằng", "Ngọc Ánh", "Mỹ Duyên", "Thị Tuyết", "Khánh Huyền", "Thị Bưởi")
MEN: Final = ("Văn Hùng", "Đức Thắng", "Văn Út", "Quốc Cường", "Hữu Phước", "Văn Đạt", "Minh Triết", "Công Lý")

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PhantomStudy:
    """A study and what it holds.

    `truth` is "normal", "bleed", "lesion", or the findings of a film joined by "+" in order of
    name. `instances` lie in order of InstanceNumber, for volumes from inferior to superior.
    """

    study_instance_uid: str
    modality: str
    truth: str
    instances: tuple[Dataset, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """An invented examination of an invented patient."""

    modality: str
    body_part: str
    description: str
    truth: str
    seed: int
    run: str
    now: datetime

    def key(self, part: str) -> UUID:
        """Depends on nothing but the case and the part's name, not on `now`."""
        return uuid5(SPACE, f"{self.run}/{self.modality}/{self.body_part}/{self.truth}/{self.seed}/{part}")

    def uid(self, part: str) -> str:
        """A UID under 2.25 (PS3.5 B.2)."""
        return f"2.25.{self.key(part).int}"

    @property
    def date(self) -> str:
        """`now` as DA."""
        return self.now.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """`now` as TM."""
        return self.now.strftime("%H%M%S")


def head_study(seed: int, bleed: bool, now: datetime, run: str = "", slices: int = 24, size: int = 256) -> PhantomStudy:
    """A head CT without contrast, truth "bleed" or "normal"."""
    phantom = draw_head(seed, bleed, slices, size)
    case = Case("CT", "HEAD", "CT head without contrast", "bleed" if bleed else "normal", seed, run, now)
    stored = (phantom.values - CT_INTERCEPT).astype(np.uint16)
    return _study(case, _volume(case, CTImageStorage, phantom, stored, _ct_attributes(phantom)))


def brain_study(
    seed: int, lesion: bool, now: datetime, run: str = "", slices: int = 24, size: int = 256
) -> PhantomStudy:
    """An axial FLAIR of the brain, truth "lesion" or "normal"."""
    phantom = draw_brain(seed, lesion, slices, size)
    case = Case("MR", "BRAIN", "MR brain", "lesion" if lesion else "normal", seed, run, now)
    stored = phantom.values.astype(np.uint16)
    return _study(case, _volume(case, MRImageStorage, phantom, stored, _mr_attributes(phantom)))


def film_study(
    seed: int,
    findings: frozenset[str],
    now: datetime,
    run: str = "",
    rows: int = 1024,
    columns: int = 1024,
) -> PhantomStudy:
    """A PA chest film of an adult: DX For Presentation for even seeds, CR for odd ones."""
    digital = seed % 2 == 0
    truth = "+".join(sorted(findings)) or "normal"
    case = Case("DX" if digital else "CR", "CHEST", "Chest PA", truth, seed, run, now)
    pixels = draw_film(seed, findings, rows, columns)
    sop_class = DigitalXRayImageStorageForPresentation if digital else ComputedRadiographyImageStorage
    special = _dx_attributes() if digital else _cr_attributes()
    image = {**_film_attributes(rows, columns), **special}
    return _study(case, [_instance(case, sop_class, 1, pixels, image)])


def _study(case: Case, instances: Iterable[Dataset]) -> PhantomStudy:
    return PhantomStudy(case.uid("study"), case.modality, case.truth, tuple(instances))


def _volume(
    case: Case, sop_class: UID, phantom: Phantom, stored: NDArray[np.uint16], series: Attributes
) -> Iterator[Dataset]:
    """One instance per slice; positions in LPS, mm, to a tenth of a micrometre."""
    count, rows, columns = stored.shape
    grid = Grid((count, rows, columns), phantom.spacing_mm)
    left, back, heights = float(grid.axis(2)[0]), float(grid.axis(1)[0]), grid.axis(0)
    plane = {
        "FrameOfReferenceUID": case.uid("frame"),
        "PositionReferenceIndicator": "",
        "PatientPosition": "HFS",
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "PixelSpacing": [f"{step:.6f}" for step in phantom.spacing_mm[1:]],
        "SliceThickness": f"{phantom.spacing_mm[0]:.4f}",
    }
    for number, height in enumerate(heights, 1):
        position = [f"{value:.4f}" for value in (left, back, float(height))]
        here = {"ImagePositionPatient": position, "SliceLocation": position[2]}
        yield _instance(case, sop_class, number, stored[number - 1], {**series, **plane, **here})


def _instance(case: Case, sop_class: UID, number: int, pixels: NDArray[np.uint16], image: Attributes) -> Dataset:
    """One image: patient, study, series, equipment, then what `image` holds, then pixels."""
    dataset = Dataset()
    sop_instance_uid = case.uid(f"image/{number}")
    dataset.file_meta = _file_meta(sop_class, sop_instance_uid)
    own = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": sop_class,
        "SOPInstanceUID": sop_instance_uid,
        "InstanceNumber": str(number),
        "ImageComments": "Drawn by a program; no patient",
    }
    for keyword, value in {**own, **_patient(case), **_examination(case), **image}.items():
        setattr(dataset, keyword, value)
    _put_pixels(dataset, pixels)
    return dataset


def _file_meta(sop_class: UID, sop_instance_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"2.25.{SPACE.int}")
    meta.ImplementationVersionName = "IMAGING_PHANTOM"
    return meta


def _put_pixels(dataset: Dataset, pixels: NDArray[np.uint16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _patient(case: Case) -> Attributes:
    """An adult whose name, sex and age follow from the case."""
    rng = np.random.default_rng(case.key("patient").int)
    woman = bool(rng.random() < 0.5)
    family, given = rng.choice(FAMILIES), rng.choice(WOMEN if woman else MEN)
    age = int(rng.integers(20, 90))
    return {
        "PatientName": f"{family}^{given}",
        "PatientID": f"BN{case.key('patient').int % 10**10:010d}",
        "PatientBirthDate": _birth_date(case, age, rng),
        "PatientSex": "F" if woman else "M",
        "PatientAge": f"{age:03d}Y",
    }


def _birth_date(case: Case, age: int, rng: np.random.Generator) -> str:
    """A day on which somebody was born who is `age` years old at the case's time."""
    born = case.now - timedelta(days=age * 365.25 + int(rng.integers(1, 360)))
    return born.strftime("%Y%m%d")


def _examination(case: Case) -> Attributes:
    """Study, series and equipment; all times are the case's."""
    times = {
        f"{what}{unit}": getattr(case, unit.lower())
        for what in ("Study", "Series", "Acquisition", "Content")
        for unit in ("Date", "Time")
    }
    return {
        **times,
        "StudyInstanceUID": case.uid("study"),
        "SeriesInstanceUID": case.uid("series"),
        "AccessionNumber": f"A{case.key('accession').int % 10**10:010d}",
        "StudyID": "1",
        "SeriesNumber": "2",
        "AcquisitionNumber": "1",
        "ReferringPhysicianName": "",
        "Modality": case.modality,
        "StudyDescription": case.description,
        "SeriesDescription": case.description,
        "ProtocolName": case.description,
        "BodyPartExamined": case.body_part,
        "Manufacturer": "imaging",
        "ManufacturerModelName": "drawn",
        "InstitutionName": "Bệnh viện Đa khoa Ví dụ",
        "DeviceSerialNumber": "0",
        "SoftwareVersions": "1",
        "BurnedInAnnotation": "NO",
    }


def _ct_attributes(phantom: Phantom) -> Attributes:
    width = f"{phantom.spacing_mm[2] * phantom.values.shape[2]:.1f}"
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "RescaleIntercept": str(CT_INTERCEPT),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "40",
        "WindowWidth": "80",
        "KVP": "120",
        "ScanOptions": "AXIAL MODE",
        "DataCollectionDiameter": width,
        "ReconstructionDiameter": width,
        "GantryDetectorTilt": "0",
        "TableHeight": "150",
        "RotationDirection": "CW",
        "ExposureTime": "1000",
        "XRayTubeCurrent": "250",
        "Exposure": "250",
        "FilterType": "HEAD",
        "ConvolutionKernel": "STANDARD",
    }


def _mr_attributes(phantom: Phantom) -> Attributes:
    """FLAIR: an inversion recovery spin echo that nulls cerebrospinal fluid."""
    _, rows, columns = phantom.values.shape
    bright = max(2, round(float(np.percentile(phantom.values, 99.5))))
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "SeriesDescription": "AX FLAIR",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "9000",
        "EchoTime": "120",
        "InversionTime": "2500",
        "EchoTrainLength": "16",
        "EchoNumbers": "1",
        "FlipAngle": "150",
        "MagneticFieldStrength": "1.5",
        "ImagingFrequency": "63.87",
        "ImagedNucleus": "1H",
        "NumberOfAverages": "1",
        "PixelBandwidth": "180",
        "SpacingBetweenSlices": f"{phantom.spacing_mm[0]:.4f}",
        "AcquisitionMatrix": [0, columns, rows, 0],
        "InPlanePhaseEncodingDirection": "COL",
        "WindowCenter": str(bright // 2),
        "WindowWidth": str(bright),
    }


def _film_attributes(rows: int, columns: int) -> Attributes:
    spacing = f"{FILM_MM / max(rows, columns):.6f}"
    return {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [spacing, spacing],
        "WindowCenter": "2048",
        "WindowWidth": "4096",
        "KVP": "120",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
    }


def _cr_attributes() -> Attributes:
    return {"PlateType": "", "ExposureTime": "10", "XRayTubeCurrent": "320"}


def _dx_attributes() -> Attributes:
    return {
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageLaterality": "U",
        "AnatomicRegionSequence": [_code("816094009", "SCT", "Chest")],
        "ViewCodeSequence": [_code("272479007", "SCT", "postero-anterior")],
        "AcquisitionContextSequence": [],
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "US",
        "DetectorType": "DIRECT",
        "PositionerType": "NONE",
    }


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
