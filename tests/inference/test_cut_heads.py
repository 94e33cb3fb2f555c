"""Drawn heads that are cut, tilted, split, doubled, re-ordered, renamed and rounded: none becomes a clean "absent".

Each head's uncut form is found, and its bleed is in what is sent. A way is whole where each place of the head is sent
so that it can be read; in the others some images cannot be analysed.
"""

import copy
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cut_heads import Head, Way, across, doubled, each_slice, named, reformatted, tilted
from inference_cases import source_of
from pydicom.dataset import Dataset

from imaging.domain.findings import Answer, State
from imaging.inference.analyser import Analyser
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.head import draw_head
from imaging.phantoms.study import head_study

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # lower case, and what is longer
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SLICES = 32
SEEDS = (15, 13, 17, 21, 23, 22)
"""Bleeds of 2 to 42 ml: subarachnoid, epidural, intraparenchymal, low and high in the head."""


@cache
def _drawn(seed: int) -> Head:
    places = np.flatnonzero(draw_head(seed, True, SLICES, 256).mask.any((1, 2)))
    return Head(list(head_study(seed, True, NOW, slices=SLICES, run="cut").instances), (places[0], places[-1] + 1))


def head(seed: int) -> Head:
    known = _drawn(seed)
    return Head([copy.deepcopy(each) for each in known.slices], known.bleed)


@lru_cache(maxsize=1)
def _analyser() -> Analyser:
    card = load_models([shipped_folder()]).model("head-ct-bleed")
    assert card is not None
    return Analyser(card)


def answered(slices: list[Dataset]) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate(slices):
            each.save_as(Path(folder) / f"{number:03d}.dcm", enforce_file_format=True)
        return _analyser().analyse([source_of(path) for path in sorted(Path(folder).glob("*.dcm"))])


def positions(text: Callable[[float], str]) -> Way:
    return each_slice(ImagePositionPatient=lambda _, each: [text(float(value)) for value in each.ImagePositionPatient])


def jittered(mm: float) -> Way:
    probability = np.random.default_rng(19)
    return positions(lambda value: f"{value + probability.uniform(-mm, mm):.6f}")


def lower(fraction: float, **values: Any) -> Way:
    """Sets elements of the slices below a share of the head."""

    def change(head: Head) -> list[Dataset]:
        for each in head.slices[: int(fraction * SLICES)]:
            for keyword, value in values.items():
                setattr(each, keyword, value(each) if callable(value) else value)
        return head.slices

    return change


def other_series(each: Dataset) -> str:
    return f"{each.SeriesInstanceUID}.5"  # and of such a series once more another


def both(*ways: Way) -> Way:
    def change(head: Head) -> list[Dataset]:
        for way in ways:
            head = Head(way(head), head.bleed)
        return head.slices

    return change


def shuffled(head: Head) -> list[Dataset]:
    return [head.slices[number] for number in np.random.default_rng(3).permutation(len(head.slices))]


def upside_down(head: Head) -> list[Dataset]:
    """Numbered from above, and each image turned by half: rows run to the right, columns to the front."""
    for number, each in enumerate(head.slices):
        each.InstanceNumber = str(SLICES - number)
        each.PixelData = np.ascontiguousarray(each.pixel_array[::-1, ::-1]).tobytes()
        start = np.array([float(value) for value in each.ImagePositionPatient]) + across(each)
        each.ImagePositionPatient = [f"{value:.4f}" for value in start]
        each.ImageOrientationPatient = ["-1", "0", "0", "0", "-1", "0"]
    return head.slices


def another_pose(head: Head) -> list[Dataset]:
    """The same patient on the right side: the frame is turned by 90 degrees, the pixels are not touched."""
    for each in head.slices:
        x, y, z = (float(value) for value in each.ImagePositionPatient)
        each.ImagePositionPatient = [f"{-y:.4f}", f"{x:.4f}", f"{z:.4f}"]
        each.ImageOrientationPatient = ["0", "1", "0", "-1", "0", "0"]
        each.PatientPosition = "HFDR"
    return head.slices


def repeated(shared: int) -> Way:
    """Two acquisitions in one series that have `shared` slices in common, with other noise."""

    def change(head: Head) -> list[Dataset]:
        middle = sum(head.bleed) // 2
        first, second = head.slices[: middle + shared], [copy.deepcopy(each) for each in head.slices[middle:]]
        probability = np.random.default_rng(7)
        for number, part in (("1", first), ("2", second)):
            for each in part:
                each.AcquisitionNumber = number
                noise = probability.integers(-3, 4, each.pixel_array.shape)
                each.PixelData = (each.pixel_array.astype(int) + noise).clip(0).astype("<u2").tobytes()
                named(each, number)
        return [*first, *second]

    return change


def moved(head: Head) -> list[Dataset]:
    """The patient moved: the lower half once more, later, with its bleed 3 mm to the left."""
    for each in head.slices:
        each.AcquisitionNumber, each.AcquisitionTime = "1", "093000"
    again = [named(copy.deepcopy(each), "2") for each in head.slices]
    for each in again:
        each.AcquisitionNumber, each.AcquisitionTime = "2", "094500"
        each.PixelData = np.roll(each.pixel_array, 3, axis=1).tobytes()
    return [*head.slices, *again]


WHOLE: dict[str, Way] = {
    "tilted by 0.1": tilted(0.1, 0.5),
    "tilted by 1": tilted(1, 0.4),
    "tilted by 3, near the top": tilted(3, 0.75),
    "tilted by 8": tilted(8, 0.5),
    "orientation by 0.03 degrees": lower(0.5, ImageOrientationPatient=["1", "0", "0", "0", "1", "-0.0005"]),
    "two series": lower(0.5, SeriesInstanceUID=other_series),
    "two series, and acquisitions": both(
        lower(0.6, SeriesInstanceUID=other_series), lower(0.6, AcquisitionNumber="2")
    ),
    "three series": both(
        lower(0.66, SeriesInstanceUID=other_series), lower(0.33, SeriesInstanceUID=other_series)
    ),
    "two acquisitions": lower(0.5, AcquisitionNumber="9"),
    "an acquisition per slice": each_slice(AcquisitionNumber=lambda number, _: str(number + 1)),
    "a time per slice": each_slice(AcquisitionTime=lambda number, _: f"0930{number:02d}.5"),
    "a series per other slice": each_slice(
        SeriesInstanceUID=lambda number, each: f"{each.SeriesInstanceUID}.{number % 2 + 1}"
    ),
    "acquisitions that share a slice": repeated(1),
    "acquisitions that share three": repeated(3),
    "doubled": doubled("2"),
    "doubled with another kernel": doubled("2", ConvolutionKernel="H60s"),
    "doubled later": doubled("2", AcquisitionTime="113000", AcquisitionNumber="2"),
    "doubled without a frame": both(each_slice(FrameOfReferenceUID=""), doubled("2")),
    "doubled, the second unreadable": doubled("2", PixelData=lambda _, each: each.PixelData[:2000]),
    "moved": moved,
    "shuffled": shuffled,
    "numbered backwards": each_slice(InstanceNumber=lambda number, _: str(SLICES - number)),
    "without numbers": each_slice(InstanceNumber=None),
    "upside down": upside_down,
    "on the side": another_pose,
    "coronal": reformatted((1, 0, 0), (0, 0, -1), 4.0),
    "sagittal": reformatted((0, 1, 0), (0, 0, -1), 4.0),
    "renamed in Vietnamese": each_slice(BodyPartExamined="SO NAO", SeriesDescription="Sọ não không tiêm"),
    "renamed in French": each_slice(BodyPartExamined="CRANE", SeriesDescription="Crâne sans injection"),
    "in lower case": each_slice(BodyPartExamined="head", ConvolutionKernel="br40", ImageType=["original", "primary"]),
    "derived by name": each_slice(ImageType=["DERIVED", "PRIMARY", "AXIAL"]),
    "positions without decimals": positions(lambda value: f"{value:.0f}"),
    "positions with one decimal": positions(lambda value: f"{value:.1f}"),
    "positions with sixteen characters": positions(lambda value: f"{value:.9f}"[:16]),
    "positions jittered": jittered(0.004),
    "spacing rounded": each_slice(PixelSpacing=lambda _, each: [f"{float(value):.2f}" for value in each.PixelSpacing]),
    "intercept beyond": each_slice(
        RescaleIntercept="-3024",
        PixelData=lambda _, each: (each.pixel_array.astype(int) + 2000).astype("<u2").tobytes(),
    ),
    "with a localizer": lambda head: [*head.slices, *_localizer(head)],
    "tilted and in two series": both(tilted(2, 0.5), lower(0.5, SeriesInstanceUID=other_series)),
}  # fmt: skip


def _localizer(head: Head) -> list[Dataset]:
    each = named(copy.deepcopy(head.slices[0]), "8")
    each.SeriesInstanceUID += ".8"
    each.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    each.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    return [each]


def of_bleed(**values: Any) -> Way:
    """Sets elements of the slices with the bleed."""

    def change(head: Head) -> list[Dataset]:
        for each in head.slices[head.bleed[0] : head.bleed[1]]:
            for keyword, value in values.items():
                setattr(each, keyword, value(each) if callable(value) else value)
        return head.slices

    return change


def cut_short(each: Dataset) -> bytes:
    return bytes(each.PixelData[:5000])


def unreadable(which: Callable[[Head], Iterable[int]]) -> Way:
    def change(head: Head) -> list[Dataset]:
        for number in which(head):
            head.slices[number].PixelData = cut_short(head.slices[number])
        return head.slices

    return change


def second_spoilt(head: Head) -> list[Dataset]:
    for each in head.slices:
        if each.AcquisitionNumber == 2:
            each.PixelData = cut_short(each)
    return head.slices


MISSING: dict[str, Way] = {
    "the bleed unreadable": unreadable(lambda head: range(*head.bleed)),
    "the lower half unreadable": unreadable(lambda head: range(SLICES // 2)),
    "the upper part unreadable": unreadable(lambda head: range(24, SLICES)),
    "the bleed without positions": of_bleed(ImagePositionPatient=None),
    "the bleed without orientation": of_bleed(ImageOrientationPatient=None),
    "the bleed without pixel spacing": of_bleed(PixelSpacing=None),
    "the bleed without rescale": of_bleed(RescaleSlope=None, RescaleIntercept=None),
    "the bleed in unknown units": of_bleed(RescaleType="OD"),
    "the bleed in another frame": of_bleed(FrameOfReferenceUID="2.25.77"),
    "the bleed of doubtful contrast": of_bleed(SeriesDescription="with and without contrast"),
    "the bleed of a body part that nobody knows": of_bleed(BodyPartExamined="XQ7"),
    "the bleed in half the matrix": of_bleed(
        Rows=128, PixelData=lambda each: bytes(each.PixelData[: 128 * 256 * 2])
    ),
    "the lower half on one place": lower(0.5, ImagePositionPatient=["-120", "-120", "0"]),
    "the bleed's first slice unreadable": unreadable(lambda head: [head.bleed[0]]),
    "each third slice unreadable": unreadable(lambda head: range(0, SLICES, 3)),
    "two series, one unreadable": both(
        lower(0.5, SeriesInstanceUID=other_series), lower(0.5, PixelData=cut_short)
    ),
    "the second acquisition unreadable": both(repeated(1), second_spoilt),
    "tilted, the tilted part unreadable": both(tilted(5, 0.6), lower(0.6, PixelData=cut_short)),
    "doubled, both unreadable at the bleed": both(unreadable(lambda head: range(*head.bleed)), doubled("2")),
}  # fmt: skip


def _seed(name: str) -> int:
    return SEEDS[[*WHOLE, *MISSING].index(name) % len(SEEDS)]


def is_clean_absent(answer: Answer) -> bool:
    return answer.state is State.ANALYSED and any(each.present is False for each in answer.findings)


@cache
def _answer(name: str) -> Answer:
    return answered((WHOLE | MISSING)[name](head(_seed(name))))


@cache
def _uncut(seed: int) -> Answer:
    return answered(head(seed).slices)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_uncut_form_is_found(seed: int) -> None:
    answer = _uncut(seed)
    assert (answer.findings[0].present, answer.is_in_part) == (True, False)


@pytest.mark.parametrize("name", MISSING)
def test_with_images_missing_nothing_is_called_absent(name: str) -> None:
    answer = _answer(name)
    assert answer.state is State.NOT_ANALYSED or answer.is_in_part
    assert not is_clean_absent(answer)


@pytest.mark.parametrize("name", WHOLE)
def test_a_head_that_was_sent_whole_is_analysed_whole_or_says_why_not(name: str) -> None:
    answer = _answer(name)
    assert not is_clean_absent(answer) or not answer.coverage.missed
    assert answer.coverage.considered >= SLICES


@pytest.mark.parametrize(
    "name",
    ["two acquisitions", "a time per slice", "doubled", "moved", "shuffled", "numbered backwards", "upside down"],
)
def test_the_volume_of_a_whole_head_does_not_depend_on_how_it_was_sent(name: str) -> None:
    (found,), (wanted,) = _answer(name).findings, _uncut(_seed(name)).findings
    assert found.measurements[0].value == pytest.approx(wanted.measurements[0].value, rel=0.01)


def test_at_least_eight_of_ten_heads_that_were_sent_whole_are_found() -> None:
    found = {name: [each.present for each in _answer(name).findings] == [True] for name in WHOLE}
    assert len(WHOLE) + len(MISSING) >= 40
    assert sum(found.values()) >= 0.8 * len(WHOLE), [name for name, is_found in found.items() if not is_found]
