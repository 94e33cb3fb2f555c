"""A card whose steps do not fit the values that enter them is warned of; one whose steps do is not."""

from pathlib import Path

import pytest
from card_cases import CHEST, HEAD, faults, written

from imaging.models.catalogue import load_models
from imaging.models.cautions import warnings
from imaging.models.folders import shipped_folder
from imaging.models.reading import read_card

SCORED = '[[prepare]]\ndo = "zscore"\n'
IMAGENET = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]"
COLOUR = 'do = "repeat-channels"\ncount = 3'
IN_BYTES = "mean = [123.7, 116.3, 103.5]\nstd = [58, 57, 57]"


def film(*steps: str) -> str:
    return CHEST.replace(SCORED, "".join(f"[[prepare]]\n{each}\n" for each in steps))


def volume(step: str, modality: str = "CT") -> str:
    text = HEAD.replace('do = "window"\nlow = 0\nhigh = 80', step).replace('["CT"]', f'["{modality}"]')
    return text if modality == "CT" else text.replace(', "mean_hu"', "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (film('do = "window"\nlow = 0\nhigh = 255'), "prepare[1] = window, low = 0, high = 255: uses less than"),
        (film('do = "window"\nlow = -160\nhigh = 240'), "uses less than a twentieth of 0..1; its input is a film's"),
        (film('do = "window"\nlow = 40\nhigh = 80'), "leaves only one grey level"),
        (film(f'do = "scale"\nfactor = {1 / 255}'), "prepare[1] = scale, factor = 0.00392157, offset = 0: uses less"),
        (film(COLOUR, f'do = "normalize"\n{IN_BYTES}'),
         "prepare[2] = normalize, mean = [123.7, 116.3, 103.5], std = [58, 57, 57]: has the mean 123.7, which no"),
        (film('do = "scale"\nfactor = 255', 'do = "normalize"\nmean = 0.5\nstd = 0.25'), "has the deviation 0.25"),
        (volume('do = "window"\nlow = 0\nhigh = 1'), "leaves only black and white; its input is a CT's Hounsf"),
        (volume('do = "normalize"\nmean = 0.5\nstd = 0.25'), "has the deviation 0.25, which no image has"),
        (volume('do = "window"\nlow = -2000\nhigh = -900', "MR"), "leaves only one grey level; its input is"),
    ],
)  # fmt: skip
def test_a_step_for_other_values_than_come_is_warned_of(tmp_path: Path, text: str, message: str) -> None:
    (warning,) = warnings(read_card(written(tmp_path / "model", text)))
    assert message in warning


@pytest.mark.parametrize(
    "text",
    [
        CHEST,
        HEAD,
        film(COLOUR, f'do = "normalize"\n{IMAGENET}'),
        film('do = "scale"\nfactor = 255', 'do = "normalize"\nmean = 123.7\nstd = 58.4'),
        film('do = "scale"\nfactor = 2048\noffset = -1024'),
        film('do = "percentile"\nlower = 1\nupper = 99', 'do = "window"\nlow = 0\nhigh = 255'),
        volume('do = "window"\nlow = -160\nhigh = 240'),
        volume('do = "normalize"\nmean = -158.6\nstd = 324.7'),
        volume('do = "scale"\nfactor = 0.001'),
        volume('do = "zscore"\nnonzero = true', "MR"),
    ],
)
def test_a_step_that_fits_is_not(tmp_path: Path, text: str) -> None:
    assert warnings(read_card(written(tmp_path / "model", text))) == ()


def test_evidence_of_a_finding_that_the_card_does_not_have_is_warned_of(tmp_path: Path) -> None:
    text = CHEST.replace('[[evidence]]\nfinding = "abnormal"', '[[evidence]]\nfinding = "abnormol"')
    warning, consequence = warnings(read_card(written(tmp_path / "model", text)))
    assert consequence.endswith("raises nothing: it has no [[evidence]] (triage-evidence)")
    assert (
        warning == "evidence[0].finding = 'abnormol': is not the code value of a finding: abnormal (evidence-finding)"
    )


def test_no_shipped_model_is_warned_of() -> None:
    assert [warnings(card) for card in load_models([shipped_folder()]).models] == [(), (), ()]


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (f'do = "normalize"\n{IMAGENET}', 'is for 3 channels, but there is 1 here: put "repeat-channels" before it'),
        ('do = "normalize"\nmean = [0.5, 0.5]\nstd = 0.2', "has 1 numbers, and mean has 2 (std-length)"),
        ('do = "normalize"\nmean = 0.5\nstd = 0', "must be numbers in 1e-06..1e+06, one for each channel (std-range)"),
        ('do = "normalize"\nmean = []\nstd = 1', "(mean-range)"),
        ('do = "normalize"\nmean = "0.5"\nstd = 1', "must be a number, or one for each channel (mean-type)"),
        ('do = "normalize"\nstd = 1', "(mean-absent)"),
    ],
)
def test_means_and_deviations_are_one_or_one_for_each_channel(tmp_path: Path, step: str, fault: str) -> None:
    texts = faults(tmp_path, film(step))
    assert any(fault in line for line in texts), texts
