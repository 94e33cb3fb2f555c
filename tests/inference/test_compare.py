"""Two objects under one UID, as senders make them: the same image, a correction, a readable copy, or a conflict."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, RLELossless

from imaging.domain.same_image import Judgement, Kind
from imaging.domain.source import Source
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import split_part_10
from imaging.inference.compare import compare
from imaging.phantoms.study import film_study, head_study

Change = Callable[[Dataset], object]
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
UNREAD = "1.2.840.10008.1.2.4.100"


@pytest.fixture(scope="module")
def drawn() -> dict[str, Dataset]:
    head = head_study(1, False, NOW, slices=6, size=128).instances
    return {
        "film": film_study(1, frozenset(), NOW, "compare", 256, 256).instances[0],
        "slice": head[2],
        "air": with_values(head[2], noise()),
    }


@pytest.fixture
def judged(drawn: dict[str, Dataset], tmp_path: Path) -> Callable[..., Judgement]:
    """What the second of two copies of a drawn image is, each changed in its way."""

    def source(name: str, what: str, changes: tuple[Change, ...]) -> Source:
        image = copy.deepcopy(drawn[what])
        for change in changes:
            change(image)
        path = tmp_path / name
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.save_as(path, enforce_file_format=True)
        request = split_part_10(path.read_bytes())
        return Source(path, read_header(request.data, request.transfer_syntax_uid))

    def both(what: str, first: tuple[Change, ...] = (), second: tuple[Change, ...] = ()) -> Judgement:
        return compare(source("first.dcm", what, first), source("second.dcm", what, second))

    return both


def put(**elements: object) -> Change:
    def change(image: Dataset) -> None:
        for keyword, value in elements.items():
            setattr(image, keyword, value)

    return change


def without(*keywords: str) -> Change:
    def change(image: Dataset) -> None:
        for keyword in keywords:
            delattr(image, keyword)

    return change


def with_values(image: Dataset, values: np.ndarray) -> Dataset:
    """The image with these values in Hounsfield units."""
    made = copy.deepcopy(image)
    made.RescaleSlope, made.RescaleIntercept, made.PixelRepresentation = "1", "-1024", 0
    made.BitsStored, made.HighBit = 12, 11
    made.PixelData = (values + 1024).astype("<u2").tobytes()
    return made


def noise() -> np.ndarray:
    return np.random.default_rng(7).normal(-1000, 8, (128, 128)).round().clip(-1024, 3000)


def lossy(image: Dataset, level: int = 70) -> None:
    frame = imagecodecs.jpeg2k_encode(image.pixel_array, level=level, reversible=False)
    image.PixelData = encapsulate([frame])
    image.file_meta.TransferSyntaxUID = JPEG2000
    image.LossyImageCompression, image.ImageType = "01", ["DERIVED", "SECONDARY", *list(image.ImageType)[2:]]


def lossless(image: Dataset) -> None:
    image.PixelData = encapsulate([imagecodecs.jpeg2k_encode(image.pixel_array, level=0, reversible=True)])
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"


def rle(image: Dataset) -> None:
    image.compress(RLELossless, generate_instance_uid=False)


def inverted(image: Dataset) -> None:
    maximum = (1 << image.BitsStored) - 1
    image.PixelData = (maximum - image.pixel_array).astype("<u2").tobytes()
    other = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}
    image.PhotometricInterpretation = other[image.PhotometricInterpretation]


def in_units(image: Dataset) -> None:
    """Signed Hounsfield units in place of unsigned values with an intercept."""
    values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15
    image.RescaleSlope, image.RescaleIntercept = "1", "0"
    image.PixelData = values.astype("<i2").tobytes()


def one_pixel(image: Dataset) -> None:
    values = image.pixel_array.copy()
    values[20, 30] += 1
    image.PixelData = values.tobytes()


def flipped(image: Dataset) -> None:
    image.PixelData = image.pixel_array[:, ::-1].copy().tobytes()


def flipped_and_lossy(image: Dataset) -> None:
    flipped(image)
    lossy(image)


def cut(image: Dataset) -> None:
    image.PixelData = image.PixelData[:100]


def as_video(image: Dataset) -> None:
    """In a compression that no model reads."""
    image.PixelData = encapsulate([bytes(range(256)) * 40])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = UNREAD


def rounded(image: Dataset) -> None:
    image.ImagePositionPatient = [f"{float(each):.1f}" for each in image.ImagePositionPatient]


def moved(image: Dataset) -> None:
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, y, float(z) + 0.3]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("film", put(StationName="PACS", RetrieveAETitle="PACS")),
        ("film", put(AccessionNumber="", InstitutionName="")),
        ("film", put(InstanceCreationDate="20261125", InstanceCreationTime="235959")),
        ("film", inverted),
        ("film", rle),
        ("film", lossless),
        ("film", lossy),
        ("slice", rle),
        ("slice", lossless),
        ("slice", lossy),
        ("slice", in_units),
        ("slice", rounded),
        ("slice", put(SliceThickness="9")),
        ("air", lambda image: lossy(image, 40)),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_the_same_image_in_another_form(judged: Callable[..., Judgement], what: str, change: Change) -> None:
    found = judged(what, second=(change,))
    assert found.kind is Kind.SAME, found.words


@pytest.mark.parametrize(
    ("what", "change", "names"),
    [
        ("film", put(ViewPosition="LL"), "view_position"),
        ("film", put(PatientName="Nguyễn^An"), "patient_name"),
        ("film", put(PatientBirthDate="19500101"), "patient_birth_date"),
        ("film", put(AccessionNumber="CORRECTED"), "accession_number"),
        ("film", put(InstitutionName="Hospital", RetrieveAETitle="PACS"), "institution_name"),
        ("film", put(PixelSpacing=["0.2", "0.2"]), "pixel_spacing"),
        ("film", put(PatientOrientation=["R", "F"]), "patient_orientation"),
        ("film", put(SeriesInstanceUID="1.2.3"), "series_instance_uid"),
        ("film", put(SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1"), "sop_class_uid"),
        ("film", put(WindowCenter="900", WindowWidth="400"), "WindowCenter"),
        ("slice", put(SeriesDescription="native"), "series_description"),
        ("slice", put(ImageType=["DERIVED", "SECONDARY", "REFORMATTED"]), "image_type"),
        ("slice", put(ContrastBolusAgent="IOMERON"), "contrast_bolus_agent"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_mended_attribute_is_a_correction_and_the_newer_is_used(
    judged: Callable[..., Judgement], what: str, change: Change, names: str
) -> None:
    found = judged(what, second=(change,))
    assert (found.kind, found.takes_pixels) == (Kind.CORRECTION, True), found.words
    assert names in found.words
    mended = judged(what, second=(change, rle))
    assert (mended.kind, mended.header.transfer_syntax_uid) == (Kind.CORRECTION, RLELossless), mended.words


@pytest.mark.parametrize("lacking", [("ImagePositionPatient",), ("RescaleSlope", "RescaleIntercept")], ids=str)
def test_what_the_first_lacks_the_second_mends_and_what_the_second_lacks_contradicts(
    judged: Callable[..., Judgement], lacking: tuple[str, ...]
) -> None:
    assert judged("slice", first=(without(*lacking),)).kind is Kind.CORRECTION
    assert judged("slice", second=(without(*lacking),)).kind is Kind.CONFLICT


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("film", one_pixel),
        ("film", flipped),
        ("film", put(PhotometricInterpretation="MONOCHROME1")),
        ("slice", one_pixel),
        ("slice", flipped),
        ("slice", moved),
        ("slice", put(PixelSpacing=["0.5", "0.5"])),
        ("slice", put(RescaleIntercept="-1000")),
        ("slice", put(ImageOrientationPatient=["-1", "0", "0", "0", "1", "0"])),
        ("film", cut),
        ("film", flipped_and_lossy),
        ("slice", flipped_and_lossy),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_other_pixels_or_geometry_are_a_conflict(judged: Callable[..., Judgement], what: str, change: Change) -> None:
    found = judged(what, second=(put(PatientName="Trần^Bình"), change))
    assert found.kind is Kind.CONFLICT
    assert "Bình" not in found.words


def test_the_lossless_pixels_stay_under_the_newer_attributes_of_a_lossy_copy(
    judged: Callable[..., Judgement],
) -> None:
    found = judged("slice", second=(put(AccessionNumber="NEW", SeriesDescription="mended"), lossy))
    assert (found.kind, found.takes_pixels) == (Kind.CORRECTION, False)
    header = found.header
    assert (header.accession_number, header.series_description) == ("NEW", "mended")
    assert (header.image_type[0], header.lossy_image_compression) == ("ORIGINAL", "")


def test_a_lossless_copy_takes_the_place_of_the_lossy_one(judged: Callable[..., Judgement]) -> None:
    found = judged("slice", first=(lossy,))
    assert (found.kind, found.takes_pixels, found.header.image_type[0]) == (Kind.CORRECTION, True, "ORIGINAL")


def test_a_copy_that_can_be_read_takes_the_place_of_one_that_cannot(judged: Callable[..., Judgement]) -> None:
    for spoilt in (cut, as_video):
        found = judged("film", first=(spoilt,), second=(put(ViewPosition="PA"),))
        assert (found.kind, found.takes_pixels) == (Kind.READABLE, True)
    assert found.header.view_position == "PA"


def test_copies_of_which_neither_can_be_read_are_one_by_their_bytes_or_their_headers(
    judged: Callable[..., Judgement],
) -> None:
    assert judged("film", first=(cut,), second=(cut,)).kind is Kind.SAME
    assert judged("film", first=(cut,), second=(cut, put(ViewPosition="LL"))).kind is Kind.CORRECTION
    assert judged("film", first=(cut,), second=(cut, put(Rows=64))).kind is Kind.CONFLICT


def test_whose_image_it_is_is_not_taken_back_by_a_copy_that_leaves_it_out(judged: Callable[..., Judgement]) -> None:
    found = judged("film", first=(put(PatientName="An", AccessionNumber="A1"),), second=(
        put(PatientName="", AccessionNumber="", ViewPosition="LL"),
    ))  # fmt: skip
    assert (found.header.patient_name, found.header.accession_number, found.header.view_position) == ("An", "A1", "LL")


def test_colour_is_compared_as_it_is_shown(judged: Callable[..., Judgement]) -> None:
    def colour(image: Dataset) -> None:
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
        image.Rows = image.Columns = 64
        image.PixelData = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8).tobytes()

    def repainted(image: Dataset) -> None:
        image.PixelData = bytes(len(image.PixelData))

    assert judged("film", first=(colour,), second=(colour, rle)).kind is Kind.SAME
    assert judged("film", first=(colour,), second=(colour, repainted)).kind is Kind.CONFLICT


def test_an_enhanced_object_is_compared_frame_by_frame(judged: Callable[..., Judgement]) -> None:
    def enhanced(*heights: str) -> Change:
        def change(image: Dataset) -> None:
            groups = []
            for height in heights:
                group, plane, scale = Dataset(), Dataset(), Dataset()
                plane.ImagePositionPatient = ["0", "0", height]
                scale.RescaleSlope, scale.RescaleIntercept = image.RescaleSlope, image.RescaleIntercept
                group.PlanePositionSequence, group.PixelValueTransformationSequence = [plane], [scale]
                groups.append(group)
            image.PerFrameFunctionalGroupsSequence = groups
            image.NumberOfFrames = len(heights)
            image.PixelData = image.PixelData * len(heights)
            del image.RescaleSlope, image.RescaleIntercept, image.ImagePositionPatient

        return change

    assert judged("slice", first=(enhanced("1.50", "2.50"),), second=(enhanced("1.5", "2.5"),)).kind is Kind.SAME
    found = judged("slice", first=(enhanced("1.50", "2.50"),), second=(enhanced("1.50", "2.75"),))
    assert (found.kind, found.words) == (Kind.CONFLICT, "position in 1 of 2 frames: 0\\0\\2.50 and 0\\0\\2.75")


def test_a_rescale_that_is_no_number_makes_nothing_equal(judged: Callable[..., Judgement]) -> None:
    assert judged("slice", second=(put(RescaleSlope="1e300"), flipped)).kind is Kind.CONFLICT
    assert judged("slice", first=(put(RescaleIntercept="1e300"),)).kind is Kind.READABLE
