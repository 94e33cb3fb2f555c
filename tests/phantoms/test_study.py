"""What the drawn studies promise as DICOM."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import films
import numpy as np
import pydicom
import pytest

from imaging.phantoms.film import draw_film
from imaging.phantoms.head import draw_head
from imaging.phantoms.study import PhantomStudy, brain_study, film_study, head_study

NOW = datetime(2026, 11, 24, 8, 30, 15)
NOTHING: frozenset[str] = frozenset()
EFFUSION = frozenset({"effusion"})

STUDIES: dict[str, Callable[..., PhantomStudy]] = {
    "head": lambda seed, run="": head_study(seed, True, NOW, run, slices=14, size=64),
    "normal head": lambda seed, run="": head_study(seed, False, NOW, run, slices=14, size=64),
    "brain": lambda seed, run="": brain_study(seed, True, NOW, run, slices=14, size=64),
    "DX film": lambda seed, run="": film_study(2 * seed, EFFUSION, NOW, run, rows=128, columns=128),
    "CR film": lambda seed, run="": film_study(2 * seed + 1, NOTHING, NOW, run, rows=128, columns=128),
}
EACH = pytest.mark.parametrize("make", STUDIES.values(), ids=STUDIES)


def encoded(study: PhantomStudy) -> list[bytes]:
    return [films.encoded(each) for each in study.instances]


@EACH
def test_the_same_arguments_give_the_same_files(make: Callable[..., Any]) -> None:
    assert encoded(make(5)) == encoded(make(5))


@EACH
def test_another_run_is_another_study_of_another_patient(make: Callable[..., Any]) -> None:
    once, again = make(5, "one"), make(5, "two")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID", "AccessionNumber"):
        assert once.instances[0][keyword].value != again.instances[0][keyword].value
    assert once.instances[0].PixelData == again.instances[0].PixelData


@EACH
def test_a_study_is_one_patient_one_study_one_series(make: Callable[..., Any]) -> None:
    study = make(5)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert len({str(dataset[keyword].value) for dataset in study.instances}) == 1
    assert study.instances[0].StudyInstanceUID == study.study_instance_uid
    assert study.instances[0].Modality == study.modality
    assert len({dataset.SOPInstanceUID for dataset in study.instances}) == len(study.instances)


@EACH
def test_names_keep_their_marks_and_the_family_comes_first(make: Callable[..., Any]) -> None:
    read = pydicom.dcmread(BytesIO(encoded(make(5))[0]))
    assert read.SpecificCharacterSet == "ISO_IR 192"
    family, given = str(read.PatientName).split("^")
    assert family[0].isupper()
    assert " " in given


@EACH
def test_the_patient_is_grown_up_and_born_when_the_age_says(make: Callable[..., Any]) -> None:
    for seed in range(6):
        patient = make(seed).instances[0]
        born = datetime.strptime(patient.PatientBirthDate, "%Y%m%d")
        age = (NOW.date() - born.date()).days / 365.25
        assert int(patient.PatientAge[:3]) == int(age) >= 18


@EACH
def test_times_are_those_that_were_given(make: Callable[..., Any]) -> None:
    dataset = make(5).instances[0]
    assert (dataset.StudyDate, dataset.StudyTime) == ("20261124", "083015")
    assert (dataset.ContentDate, dataset.ContentTime) == ("20261124", "083015")


def test_truth_names_what_was_drawn() -> None:
    film = film_study(2, frozenset({"effusion", "cardiomegaly"}), NOW, rows=128, columns=128)
    truths = [make(5).truth for make in STUDIES.values()]
    assert truths == ["bleed", "normal", "lesion", "effusion", "normal"]
    assert film.truth == "cardiomegaly+effusion"


def test_film_modality_follows_the_seeds_parity() -> None:
    assert STUDIES["DX film"](1).modality == "DX"
    assert STUDIES["CR film"](1).modality == "CR"


def test_positions_rise_by_the_spacing_along_the_slice_normal() -> None:
    study = STUDIES["head"](5)
    spacing = draw_head(5, True, slices=14, size=64).spacing_mm
    places = np.array([dataset.ImagePositionPatient for dataset in study.instances], float)
    assert np.allclose(np.diff(places, axis=0), (0, 0, spacing[0]), atol=1e-3)
    assert [dataset.InstanceNumber for dataset in study.instances] == list(range(1, 15))


def test_the_volume_is_centred_on_the_isocentre() -> None:
    study = STUDIES["head"](5)
    ends = [np.array(study.instances[i].ImagePositionPatient, float) for i in (0, -1)]
    assert ends[0][2] == pytest.approx(-ends[1][2], abs=1e-3)


def test_ct_values_come_back_as_hounsfield_units() -> None:
    study, phantom = STUDIES["head"](5), draw_head(5, True, slices=14, size=64)
    for dataset, plane in zip(study.instances, phantom.values, strict=True):
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert np.array_equal(hu, plane)


def test_film_pixels_are_the_drawing() -> None:
    film = STUDIES["DX film"](3).instances[0]
    assert np.array_equal(film.pixel_array, draw_film(6, EFFUSION, 128, 128))


def test_flair_is_told_from_its_times() -> None:
    dataset = STUDIES["brain"](5).instances[0]
    assert "IR" in dataset.ScanningSequence
    assert dataset.InversionTime > 1500
    assert dataset.EchoTime > 70


@EACH
def test_dciodvfy_finds_no_error(make: Callable[..., Any], tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail("dciodvfy (package dicom3tools) is not installed")
        pytest.skip("dciodvfy (package dicom3tools) is not installed")
    study = make(5)
    for dataset in (study.instances[0], study.instances[-1]):
        path = tmp_path / "image.dcm"
        dataset.save_as(path, enforce_file_format=True)
        result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in result.stdout + result.stderr
