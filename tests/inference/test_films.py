"""A film's grey values, and the promise that shrinking it by lines gives what Pillow gives for the whole."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from inference_cases import shared, write_film
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from imaging.domain.card import Step
from imaging.domain.reasons import NotAnalysable
from imaging.inference.film import read_film
from imaging.inference.pixels import decode, read_file
from imaging.inference.prepare import prepare_film

pytestmark = pytest.mark.filterwarnings("ignore:Applying a VOI LUT")  # pydicom's, of what it is asked here
STRETCH = (Step("resize", {"shape": (64, 64), "aspect": "stretch"}), Step("zscore", {}))
PAD = (Step("resize", {"shape": (64, 64), "aspect": "pad"}), Step("zscore", {}))


def by_definition(grey: np.ndarray, size: int = 64) -> np.ndarray:
    """The whole film as float32, Pillow's BILINEAR, z-score."""
    small = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR), np.float32)
    return (small - small.mean()) / max(float(small.std()), 1e-6)


def grey_by_pydicom(path: Path) -> np.ndarray:
    """Values after VOI, inverted for MONOCHROME1, by pydicom: another hand than ours, from the stored values on."""
    dataset = pydicom.dcmread(path)
    values = np.asarray(apply_voi_lut(apply_modality_lut(decode(dataset)[0], dataset), dataset), np.float64)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return (values.max() - values if inverted else values).astype(np.float32)


def test_real_films_are_prepared_within_a_thousandth_of_the_definition():
    for path in sorted((shared("cxr") / "dicom").glob("*.dcm")):
        got = prepare_film(read_film(read_file(path)), STRETCH)
        wanted = by_definition(grey_by_pydicom(path))
        assert got.shape == (1, 64, 64)
        assert got.dtype == np.float32
        assert np.abs(got[0] - wanted).max() < 1e-3, path.name


def test_films_of_other_transfer_syntaxes_and_tables_agree_too():
    names = ("02_explicit_le_cr_mono1_12bit", "53_voi_lut_sequence", "54_modality_lut", "51_overlay_in_pixel_bits")
    for name in names:
        path = shared("transfer_syntaxes") / f"{name}.dcm"
        got = prepare_film(read_film(read_file(path)), STRETCH)
        assert np.abs(got[0] - by_definition(grey_by_pydicom(path))).max() < 2e-3, name


@pytest.mark.parametrize("shape", [(200, 170), (64, 64), (300, 90), (40, 50), (2000, 1700)])
def test_shrinking_by_lines_is_pillows_bilinear(tmp_path: Path, shape: tuple[int, int]):
    pixels = np.random.default_rng(1).integers(0, 4096, shape)
    film = read_film(read_file(write_film(tmp_path / "film.dcm", pixels).path))
    whole = Image.fromarray(film.grey()).resize((48, 56), Image.Resampling.BILINEAR)
    assert np.abs(film.shrink(56, 48) - np.asarray(whole)).max() < 1e-5


def test_a_window_clips_before_the_film_is_shrunk(tmp_path: Path):
    pixels = np.random.default_rng(2).integers(0, 4096, (100, 100))
    path = write_film(tmp_path / "film.dcm", pixels, WindowCenter=1000, WindowWidth=400).path
    grey = np.clip((pixels - 999.5) / 399 + 0.5, 0, 1).astype(np.float32)
    assert np.abs(read_film(read_file(path)).grey() - grey).max() < 1e-5
    assert np.abs(prepare_film(read_film(read_file(path)), STRETCH)[0] - by_definition(grey)).max() < 1e-3


def test_window_functions_are_those_of_the_standard(tmp_path: Path):
    pixels = np.tile(np.arange(0, 4096, 64), (64, 1))
    exact = write_film(tmp_path / "e.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    wanted = np.clip((pixels - 2000) / 1000 + 0.5, 0, 1)
    assert np.abs(read_film(read_file(exact.path)).grey() - wanted).max() < 1e-5
    sigmoid = write_film(tmp_path / "s.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert (
        np.abs(read_film(read_file(sigmoid.path)).grey() - 1 / (1 + np.exp(-4 * (pixels - 2000) / 1000))).max() < 1e-5
    )


def test_monochrome1_is_the_same_film_the_other_way_round(tmp_path: Path):
    pixels = np.random.default_rng(3).integers(0, 4096, (80, 80))
    usual = write_film(tmp_path / "2.dcm", pixels)
    other = write_film(tmp_path / "1.dcm", 4095 - pixels, PhotometricInterpretation="MONOCHROME1")
    one, two = (prepare_film(read_film(read_file(each.path)), STRETCH) for each in (usual, other))
    assert np.abs(one - two).max() < 1e-4


def test_a_film_for_processing_keeps_its_values_whatever_window_it_carries(tmp_path: Path):
    pixels = np.random.default_rng(4).integers(0, 4096, (80, 80))
    raw = "1.2.840.10008.5.1.4.1.1.1.1.1"
    path = write_film(tmp_path / "raw.dcm", pixels, WindowCenter=10, WindowWidth=5, SOPClassUID=raw).path
    assert np.abs(read_film(read_file(path)).grey() - pixels / 4095).max() < 1e-6


def test_a_window_that_is_none_changes_nothing(tmp_path: Path):
    pixels = np.random.default_rng(5).integers(0, 4096, (80, 80))
    path = write_film(tmp_path / "film.dcm", pixels, WindowCenter=[10, 20], WindowWidth=[0, 3]).path
    assert np.abs(read_film(read_file(path)).grey() - pixels / 4095).max() < 1e-6


def test_padding_keeps_the_aspect_and_is_as_dark_as_the_darkest(tmp_path: Path):
    pixels = np.full((200, 100), 3000)
    pixels[50:150, 20:80] = 1000
    film = read_film(read_file(write_film(tmp_path / "film.dcm", pixels).path))
    got = prepare_film(film, PAD[:1])[0]
    assert np.allclose(got[:, :16], 1000 / 4095)
    assert np.allclose(got[:, 48:], 1000 / 4095)
    assert np.allclose(got[:, 16:48], film.shrink(64, 32))


@pytest.mark.parametrize(
    ("pixels", "elements", "reason"),
    [
        (np.full((64, 64), 7), {}, "pixels-blank"),
        (np.arange(64 * 64).reshape(64, 64) % 9, {"WindowCenter": 3000, "WindowWidth": 10}, "pixels-blank"),
        (np.eye(64, dtype=int), {"RescaleSlope": 0, "RescaleIntercept": 0}, "units-unknown"),
        (np.arange(4096).reshape(1, 4096), {}, "pixels-unreadable: 1 x 4096"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path: Path, pixels: np.ndarray, elements: dict[str, object], reason: str):
    path = write_film(tmp_path / "film.dcm", pixels, **elements).path
    with pytest.raises(NotAnalysable) as refused:
        read_film(read_file(path))
    assert str(refused.value) == reason


def test_steps_for_values_do_what_they_say(tmp_path: Path):
    pixels = np.random.default_rng(6).integers(0, 4096, (64, 64))
    film = read_film(read_file(write_film(tmp_path / "film.dcm", pixels).path))
    steps = (
        Step("percentile", {"lower": 5.0, "upper": 95.0}),
        Step("scale", {"factor": 2.0, "offset": -1.0}),
        Step("repeat-channels", {"count": 3}),
    )
    got = prepare_film(film, steps)
    assert got.shape == (3, 64, 64)
    assert np.isclose(got.min(), -1)
    assert np.isclose(got.max(), 1)
    assert np.array_equal(got[0], got[2])
