"""What a volume model has seen of a study: stacks joined, repeats told apart, the rest counted."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from inference_cases import source_of
from pydicom.dataset import Dataset

from imaging.domain.findings import Answer, State
from imaging.inference.analyser import Analyser
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import head_study

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
Change = Callable[[int, Dataset], None]
LOW = 15
"""The bleed of this head lies in its lower fifteen of forty slices."""


@lru_cache(maxsize=1)
def analyser() -> Analyser:
    card = load_models([shipped_folder()]).model("head-ct-bleed")
    assert card is not None
    return Analyser(card)


def head() -> list[Dataset]:
    return list(head_study(15, True, NOW, slices=40, run="acquisitions").instances)


def answered(folder: Path, slices: Sequence[Dataset]) -> Answer:
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(slices):
        each.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return analyser().analyse([source_of(path) for path in sorted(folder.glob("*.dcm"))])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """What is said of the head as it was drawn."""
    return answered(tmp_path_factory.mktemp("whole"), head())


def again(slices: Sequence[Dataset], **changes: object) -> list[Dataset]:
    """Another series of the same places."""
    for each in slices:
        each.SeriesInstanceUID += ".7"
        each.SOPInstanceUID += ".7"
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(each, keyword, value)
    return list(slices)


def turned(number: int, each: Dataset) -> None:
    if number < LOW:
        c, s = np.cos(np.radians(0.3)), np.sin(np.radians(0.3))
        each.ImageOrientationPatient = ["1", "0", "0", "0", f"{c:.6f}", f"{-s:.6f}"]


def numbered(number: int, each: Dataset) -> None:
    each.AcquisitionNumber = 1 if number < LOW else 2


def timed(number: int, each: Dataset) -> None:
    each.AcquisitionTime = f"0930{number:02d}"


def in_two_series(number: int, each: Dataset) -> None:
    if number < LOW:
        each.SeriesInstanceUID += ".3"


@pytest.mark.parametrize("change", [turned, numbered, timed, in_two_series])
def test_a_head_in_two_stacks_is_one_whole_and_its_bleed_is_found(
    whole: Answer, tmp_path: Path, change: Change
) -> None:
    slices = head()
    for number, each in enumerate(slices):
        change(number, each)
    answer = answered(tmp_path / "cut", slices)
    assert (answer.flag, answer.is_in_part) == (whole.flag, False)
    assert (answer.coverage.used, answer.coverage.considered) == (40, 40)
    (found,), (wanted,) = answer.findings, whole.findings
    assert found.present
    assert found.measurements[0].value == pytest.approx(wanted.measurements[0].value, rel=0.05)


def test_a_place_that_two_stacks_share_counts_once(whole: Answer, tmp_path: Path) -> None:
    (wanted,) = whole.findings
    shared = again([head()[LOW]], SeriesInstanceUID=head()[0].SeriesInstanceUID, AcquisitionNumber=1)
    slices = head()
    for number, each in enumerate(slices):
        numbered(number, each)
    answer = answered(tmp_path / "cut", [*slices, *shared])
    assert answer.findings[0].measurements[0].value == pytest.approx(wanted.measurements[0].value, rel=0.01)
    assert not answer.is_in_part


def test_another_kernel_adds_nothing_and_is_counted(tmp_path: Path) -> None:
    answer = answered(tmp_path / "s", [*head(), *again(head(), ConvolutionKernel="H70s", SeriesNumber="3")])
    assert (answer.coverage.used, answer.coverage.redundant, answer.is_in_part) == (40, {"same-place": 40}, False)


def test_a_second_acquisition_is_analysed_as_well_and_its_volume_never_added(whole: Answer, tmp_path: Path) -> None:
    (wanted,) = whole.findings
    first, second = head(), again(head(), AcquisitionNumber="2", AcquisitionTime="113000")
    for each in first:
        each.AcquisitionNumber, each.AcquisitionTime = "1", "093000"
    answer = answered(tmp_path / "s", [*first, *second])
    assert (answer.coverage.used, answer.facts["stacks"]) == (80, "1; 1")
    assert answer.findings[0].measurements[0].value == pytest.approx(wanted.measurements[0].value, rel=0.01)


def test_without_its_lower_slices_readable_nothing_is_called_absent(tmp_path: Path) -> None:
    slices = head()
    for each in slices[:LOW]:
        each.PixelData = each.PixelData[: len(each.PixelData) // 4]
    answer = answered(tmp_path / "s", slices)
    assert (answer.state, answer.is_in_part) == (State.ANALYSED, True)
    assert answer.coverage.missing == {"pixels-unreadable": LOW}
    assert [each.present for each in answer.findings] == [None]
    assert answer.coverage.sentence == "15 of 40 images not analysed: pixels-unreadable"


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("BodyPartExamined", "NECK", "body-part"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7", "capture"),
        ("SeriesDescription", "WITH AND WITHOUT CONTRAST", "contrast"),
    ],
)
def test_where_its_lower_slices_are_written_otherwise_nothing_is_called_absent(
    tmp_path: Path, keyword: str, value: str, why: str
) -> None:
    slices = head()
    for each in slices[:LOW]:
        setattr(each, keyword, value)
        each.file_meta.MediaStorageSOPClassUID = each.SOPClassUID
    answer = answered(tmp_path, slices)
    assert [finding.present for finding in answer.findings] == [None]
    assert answer.coverage.missing.keys() == {why}


def test_a_good_series_beside_one_that_cannot_be_read_speaks(tmp_path: Path) -> None:
    bad = again(head(), SeriesNumber="1")
    for each in bad:
        each.PixelData = each.PixelData[:1000]
    answer = answered(tmp_path / "s", [*head(), *bad])
    assert (answer.flag, answer.is_in_part) == ("stat", False)
    assert answer.coverage.redundant == {"same-place": 40}


def test_two_reconstructions_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    slices, other = head(), again(head())
    for each in other:
        each.SeriesInstanceUID = slices[0].SeriesInstanceUID
        each.PixelData = np.roll(np.frombuffer(each.PixelData, "<u2"), 3).tobytes()
    answer = answered(tmp_path / "s", [*slices, *other])
    assert (answer.state, answer.why) == (State.NOT_ANALYSED, "positions-repeated")
