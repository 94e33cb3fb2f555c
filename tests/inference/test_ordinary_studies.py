"""Ordinary studies stay ordinary: without a lesion a plain "absent", with one found; none in part."""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cut_heads import Head, doubled, each_slice, reformatted
from inference_cases import source_of
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from imaging.domain.findings import Answer, State
from imaging.inference.analyser import Analyser
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import brain_study, film_study, head_study

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@cache
def analyser(model: str) -> Analyser:
    card = load_models([shipped_folder()]).model(model)
    assert card is not None
    return Analyser(card)


def answered(folder: Path, model: str, images: Sequence[Dataset]) -> Answer:
    for number, each in enumerate(images):
        each.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return analyser(model).analyse([source_of(path) for path in sorted(folder.glob("*.dcm"))])


def other(each: Dataset, part: str, **values: object) -> Dataset:
    """Another image of the same study, in a series of its own."""
    made = copy.deepcopy(each)
    made.SeriesInstanceUID += f".{part}"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{made.SOPInstanceUID}.{part}"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def topogram(each: Dataset) -> Dataset:
    lying = ["0", "1", "0", "0", "0", "-1"]
    return other(each, "1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=lying)


def capture(each: Dataset) -> Dataset:
    """The dose page that a scanner sends along."""
    made = other(each, "99", ImageType=["DERIVED", "SECONDARY", "OTHER"], SeriesDescription="Dose Report")
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(made, keyword)
    return made


def of_series(part: str, slices: Sequence[Dataset], **values: object) -> list[Dataset]:
    return [other(each, part, **values) for each in slices]


def head(bleed: bool) -> list[Dataset]:
    return list(head_study(17 if bleed else 32, bleed, NOW, slices=32, run="ordinary").instances)


def ct_with_all_that_a_scanner_makes(bleed: bool) -> list[Dataset]:
    slices = head(bleed)
    made = doubled("3", ConvolutionKernel="H70s", SeriesDescription="BONE")(Head(slices, (0, 0)))
    reformats = {
        "4": reformatted((1, 0, 0), (0, 0, -1), 5.0), "5": reformatted((0, 1, 0), (0, 0, -1), 5.0)
    }  # fmt: skip
    for part, cut in reformats.items():
        cuts = cut(Head(copy.deepcopy(slices), (0, 0)))
        made += of_series(part, cuts, ImageType=["DERIVED", "SECONDARY", "REFORMATTED"], SeriesDescription="MPR")
    return [topogram(slices[0]), *made, capture(slices[0])]


def native_and_with_contrast(bleed: bool) -> list[Dataset]:
    slices = head(bleed)
    given = of_series(
        "6", slices, ContrastBolusAgent="IOHEXOL 300", SeriesDescription="CT head C+", AcquisitionNumber="2"
    )
    bright = np.where(given[0].pixel_array > 1050, 80, 0)
    for each in given:
        each.PixelData = (each.pixel_array + bright).astype("<u2").tobytes()
    return [*slices, *given]


@pytest.mark.parametrize("bleed", [False, True])
@pytest.mark.parametrize("study", [ct_with_all_that_a_scanner_makes, native_and_with_contrast])
def test_a_head_ct(tmp_path: Path, study: Callable[[bool], list[Dataset]], bleed: bool) -> None:
    answer = answered(tmp_path, "head-ct-bleed", study(bleed))
    assert (answer.state, answer.is_in_part) == (State.ANALYSED, False), answer.to_json()
    assert [each.present for each in answer.findings] == [bleed]


@pytest.mark.parametrize("lesion", [False, True])
def test_an_mr_with_all_its_weightings(tmp_path: Path, lesion: bool) -> None:
    flair = list(brain_study(3 if lesion else 4, lesion, NOW, slices=24, run="ordinary").instances)
    t1 = {"EchoTime": "9", "RepetitionTime": "500", "ScanningSequence": "SE", "InversionTime": None}
    t2 = {"EchoTime": "100", "RepetitionTime": "4500", "ScanningSequence": "SE", "InversionTime": None}
    diffusion = {"EchoTime": "85", "RepetitionTime": "4000", "ScanningSequence": "EP", "InversionTime": None}
    answer = answered(
        tmp_path,
        "brain-mr-lesion",
        [
            *flair,
            *of_series("2", flair, SeriesDescription="AX T1", **t1),
            *of_series("3", flair, SeriesDescription="AX T2 TSE", **t2),
            *of_series("4", flair, SeriesDescription="ep2d_diff_b1000", **diffusion),
            *of_series(
                "5", flair, SeriesDescription="ADC", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], **diffusion
            ),
        ],
    )
    assert (answer.state, answer.is_in_part) == (State.ANALYSED, False), answer.to_json()
    assert [each.present for each in answer.findings] == [lesion]
    assert answer.coverage.used == 24


def lateral(each: Dataset) -> Dataset:
    values = {"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}
    made = other(each, "2", **values)
    if "ViewCodeSequence" in made:
        made.ViewCodeSequence[0].CodeValue, made.ViewCodeSequence[0].CodeMeaning = "399173006", "left lateral"
    return made


def raw(each: Dataset) -> Dataset:
    made = other(each, "3", PresentationIntentType="FOR PROCESSING", SeriesNumber="1")
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1.1"
    return made


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize("beside", [lateral, raw])
def test_a_chest_film(tmp_path: Path, beside: Callable[[Dataset], Dataset], seed: int) -> None:
    """What the model says of the film alone it says of the study."""
    (film,) = film_study(seed, frozenset(), NOW, run="ordinary").instances
    alone, both = tmp_path / "alone", tmp_path / "both"
    alone.mkdir()
    both.mkdir()
    wanted = answered(alone, "chest-film", [film])
    answer = answered(both, "chest-film", [film, beside(film)])
    assert (answer.state, answer.is_in_part) == (State.ANALYSED, False), answer.to_json()
    assert [each.present for each in answer.findings] == [each.present for each in wanted.findings]
    assert answer.coverage.used == 1


def test_two_films_of_one_view_count_both(tmp_path: Path) -> None:
    (film,) = film_study(4, frozenset(), NOW, run="ordinary").instances
    answer = answered(
        tmp_path, "chest-film", [film, other(film, "2"), each_slice(PixelData=b"")(Head([other(film, "3")], (0, 0)))[0]]
    )
    assert answer.coverage.used == 2
    assert answer.is_in_part
