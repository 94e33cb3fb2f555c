"""A film's grey values, and the promise that shrinking it by lines gives what Pillow gives for the whole."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from inference_cases import shared, write_film
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from imaging.domain.card import Step
from imaging.domain.orientation import reorientation_of
from imaging.domain.reasons import NotAnalysable
from imaging.inference.film import Film, read_film
from imaging.inference.pixels import decode, read_file
from imaging.preparation.array import Tensor
from imaging.preparation.registry import prepare

pytestmark = pytest.mark.filterwarnings("ignore:Applying a VOI LUT")  # pydicom's, of what it is asked here
STRETCH = (Step("resize", {"shape": (64, 64), "aspect": "stretch"}), Step("zscore", {}))
PAD = (Step("resize", {"shape": (64, 64), "aspect": "pad"}), Step("zscore", {}))


def prepare_film(film: Film, steps: Sequence[Step]) -> Tensor:
    return prepare(film.array, steps).values


def by_definition(grey: np.ndarray, size: int = 64) -> np.ndarray:
    """The whole film as float32, Pillow's BILINEAR, z-score."""
    small = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR), np.float32)
    scaled: np.ndarray = (small - small.mean()) / max(float(small.std()), 1e-6)
    return scaled


def grey_by_pydicom(path: Path) -> np.ndarray:
    """Values after VOI, inverted for MONOCHROME1, by pydicom: another hand than ours, from the stored values on."""
    dataset = pydicom.dcmread(path)
    values = np.asarray(apply_voi_lut(apply_modality_lut(decode(dataset)[0], dataset), dataset), np.float64)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return (values.max() - values if inverted else values).astype(np.float32)


def test_real_films_are_prepared_within_a_thousandth_of_the_definition() -> None:
    for path in sorted((shared("cxr") / "dicom").glob("*.dcm")):
        got = prepare_film(read_film(read_file(path)), STRETCH)
        wanted = by_definition(grey_by_pydicom(path))
        assert got.shape == (1, 64, 64)
        assert got.dtype == np.float32
        assert np.abs(got[0] - wanted).max() < 1e-3, path.name


def test_films_of_other_transfer_syntaxes_and_tables_agree_too() -> None:
    names = ("02_explicit_le_cr_mono1_12bit", "53_voi_lut_sequence", "54_modality_lut", "51_overlay_in_pixel_bits")
    for name in names:
        path = shared("transfer_syntaxes") / f"{name}.dcm"
        got = prepare_film(read_film(read_file(path)), STRETCH)
        assert np.abs(got[0] - by_definition(grey_by_pydicom(path))).max() < 2e-3, name


@pytest.mark.parametrize("shape", [(200, 170), (64, 64), (300, 90), (40, 50), (2000, 1700)])
def test_shrinking_by_lines_is_pillows_bilinear(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, shape)
    film = read_film(read_file(write_film(tmp_path / "film.dcm", pixels).path))
    whole = Image.fromarray(film.grey()).resize((48, 56), Image.Resampling.BILINEAR)
    assert np.abs(film.shrink(56, 48) - np.asarray(whole)).max() < 1e-5


def test_a_window_clips_before_the_film_is_shrunk(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 4096, (100, 100))
    path = write_film(tmp_path / "film.dcm", pixels, WindowCenter=1000, WindowWidth=400).path
    grey = np.clip((pixels - 999.5) / 399 + 0.5, 0, 1).astype(np.float32)
    assert np.abs(read_film(read_file(path)).grey() - grey).max() < 1e-5
    assert np.abs(prepare_film(read_film(read_file(path)), STRETCH)[0] - by_definition(grey)).max() < 1e-3


def test_window_functions_are_those_of_the_standard(tmp_path: Path) -> None:
    pixels = np.tile(np.arange(0, 4096, 64), (64, 1))
    exact = write_film(tmp_path / "e.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    wanted = np.clip((pixels - 2000) / 1000 + 0.5, 0, 1)
    assert np.abs(read_film(read_file(exact.path)).grey() - wanted).max() < 1e-5
    sigmoid = write_film(tmp_path / "s.dcm", pixels, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert (
        np.abs(read_film(read_file(sigmoid.path)).grey() - 1 / (1 + np.exp(-4 * (pixels - 2000) / 1000))).max() < 1e-5
    )


def test_monochrome1_is_the_same_film_the_other_way_round(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 4096, (80, 80))
    usual = write_film(tmp_path / "2.dcm", pixels)
    other = write_film(tmp_path / "1.dcm", 4095 - pixels, PhotometricInterpretation="MONOCHROME1")
    one, two = (prepare_film(read_film(read_file(each.path)), STRETCH) for each in (usual, other))
    assert np.abs(one - two).max() < 1e-4


def test_a_film_for_processing_keeps_its_values_whatever_window_it_carries(tmp_path: Path) -> None:
    pixels = np.random.default_rng(4).integers(0, 4096, (80, 80))
    raw = "1.2.840.10008.5.1.4.1.1.1.1.1"
    path = write_film(tmp_path / "raw.dcm", pixels, WindowCenter=10, WindowWidth=5, SOPClassUID=raw).path
    assert np.abs(read_film(read_file(path)).grey() - pixels / 4095).max() < 1e-6


def test_a_window_that_is_none_changes_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 4096, (80, 80))
    path = write_film(tmp_path / "film.dcm", pixels, WindowCenter=[10, 20], WindowWidth=[0, 3]).path
    assert np.abs(read_film(read_file(path)).grey() - pixels / 4095).max() < 1e-6


def test_padding_keeps_the_aspect_and_is_as_dark_as_the_darkest(tmp_path: Path) -> None:
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
def test_what_is_no_film_is_refused(
    tmp_path: Path, pixels: np.ndarray, elements: dict[str, object], reason: str
) -> None:
    path = write_film(tmp_path / "film.dcm", pixels, **elements).path
    with pytest.raises(NotAnalysable) as refused:
        read_film(read_file(path))
    assert str(refused.value) == reason


def test_steps_for_values_do_what_they_say(tmp_path: Path) -> None:
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


# Turned films ------------------------------------------------------------------------------------------------

LYING = {
    ("L", "F"): lambda film: film,
    ("R", "F"): lambda film: film[:, ::-1],
    ("L", "H"): lambda film: film[::-1],
    ("R", "H"): lambda film: film[::-1, ::-1],
    ("F", "L"): lambda film: film.T,
    ("F", "R"): lambda film: np.rot90(film),
    ("H", "L"): lambda film: np.rot90(film, -1),
    ("H", "R"): lambda film: film[::-1, ::-1].T,
}


@pytest.mark.parametrize("texts", LYING)
@pytest.mark.parametrize("steps", [STRETCH, PAD, (Step("zscore", {}),)])
@pytest.mark.parametrize("elements", [{}, {"PixelPaddingValue": 7}, {"WindowCenter": 900, "WindowWidth": 1000,
                                                                     "VOILUTFunction": "SIGMOID"}])  # fmt: skip
def test_a_film_that_lies_otherwise_is_prepared_as_the_upright_one(
    tmp_path: Path, texts: tuple[str, str], steps: tuple[Step, ...], elements: dict[str, object]
) -> None:
    upright = np.random.default_rng(8).integers(0, 2000, (150, 110))
    upright[20:60, 10:30] = 7
    path = padded(tmp_path / "upright.dcm", upright, **elements)
    wanted = prepare_film(read_film(read_file(path)), steps)
    path = padded(tmp_path / "lying.dcm", np.ascontiguousarray(LYING[texts](upright)), **elements)
    got = prepare_film(read_film(read_file(path), reorientation_of(texts)), steps)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-4
    assert got.flags["C_CONTIGUOUS"]


# Padding -----------------------------------------------------------------------------------------------------


def padded(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    """A film whose padding has the VR that its value needs."""
    write_film(path, pixels, **{name: each for name, each in elements.items() if "Padding" not in name})
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if isinstance(value, int) and "Padding" in keyword:
            dataset.add_new(keyword, "SS" if value < 0 else "US", value)
    dataset.save_as(path, enforce_file_format=True)
    return path


CHEST = np.random.default_rng(9).integers(500, 3500, (128, 128))
INSIDE = (slice(32, 96), slice(32, 96))


def collimated(value: int) -> np.ndarray:
    pixels = np.full(CHEST.shape, value)
    pixels[INSIDE] = CHEST[INSIDE]
    return pixels


@pytest.mark.parametrize("value", [0, 4095, 2000])
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": 2000, "WindowWidth": 2500},
        {"WindowCenter": 2000, "WindowWidth": 2500, "VOILUTFunction": "SIGMOID"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 2500},
        {"RescaleSlope": -1, "RescaleIntercept": 4095},
    ],
)
def test_padding_is_black_whatever_is_stored_there(tmp_path: Path, value: int, elements: dict[str, object]) -> None:
    pixels = collimated(value)
    pixels[INSIDE][pixels[INSIDE] == value] += 1
    film = read_film(read_file(padded(tmp_path / "film.dcm", pixels, PixelPaddingValue=value, **elements)))
    plain = read_film(read_file(padded(tmp_path / "plain.dcm", pixels, **elements)))
    grey = film.grey()
    assert np.array_equal(grey[INSIDE], plain.grey()[INSIDE])
    outside = np.ones(CHEST.shape, bool)
    outside[INSIDE] = False
    assert np.abs(grey[outside]).max() < 1e-6
    assert film.darkest() == 0.0


@pytest.mark.parametrize("value", [0, 4095])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_is_white_or_black_behind_the_padding_makes_no_difference(
    tmp_path: Path, value: int, photometric: str
) -> None:
    kind = {"PhotometricInterpretation": photometric}
    got = prepare_film(
        read_film(read_file(padded(tmp_path / "a.dcm", collimated(value), PixelPaddingValue=value, **kind))), STRETCH
    )
    other = prepare_film(
        read_film(read_file(padded(tmp_path / "b.dcm", collimated(77), PixelPaddingValue=77, **kind))), STRETCH
    )
    assert np.abs(got - other).max() < 1e-5


def test_a_padding_range_is_padding_as_a_whole(tmp_path: Path) -> None:
    pixels = collimated(4095)
    pixels[:, :10] = 4000
    path = padded(tmp_path / "film.dcm", pixels, PixelPaddingValue=4095, PixelPaddingRangeLimit=3900)
    grey = read_film(read_file(path)).grey()
    assert grey[:32].max() == 0
    assert np.allclose(grey[INSIDE], CHEST[INSIDE] / 4095, atol=1e-6)


def test_padding_counts_in_no_statistics(tmp_path: Path) -> None:
    film = read_film(read_file(padded(tmp_path / "film.dcm", collimated(4095), PixelPaddingValue=4095)))
    grey = CHEST[INSIDE] / 4095
    scored = prepare_film(film, (Step("zscore", {}),))[0]
    assert np.allclose(scored[INSIDE], (grey - grey.mean()) / grey.std(), atol=1e-4)
    assert np.allclose(scored[0], -grey.mean() / grey.std(), atol=1e-4)
    clipped = prepare_film(film, (Step("percentile", {"lower": 5.0, "upper": 95.0}),))[0]
    low, high = np.percentile(grey, [5, 95])
    assert np.allclose(clipped[INSIDE], (np.clip(grey, low, high) - low) / (high - low), atol=1e-4)
    assert clipped[0].max() == 0
    shrunk = prepare_film(film, STRETCH)[0]
    assert abs(shrunk[16:48, 16:48].mean()) < 1e-5
    nonzero = prepare_film(film, (Step("zscore", {"nonzero": True}),))[0]
    assert np.allclose(nonzero[INSIDE], scored[INSIDE], atol=1e-5)
    assert np.abs(nonzero[0]).max() == 0


def test_torchvisions_usual_preparation_is_four_steps(tmp_path: Path) -> None:
    """Resize(64), CenterCrop(56), three channels, Normalize with each channel's mean and deviation; by Pillow here."""
    pixels = np.random.default_rng(1).integers(0, 4096, (200, 160))
    film = read_film(read_file(write_film(tmp_path / "film.dcm", pixels).path))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = (
        Step("resize", {"shape": (64, 64), "aspect": "crop"}),
        Step("crop-centre", {"shape": (56, 56)}),
        Step("repeat-channels", {"count": 3}),
        Step("normalize", {"mean": mean, "std": std}),
    )
    small = np.asarray(Image.fromarray(film.grey()).resize((64, 80), Image.Resampling.BILINEAR))[12:68, 4:60]
    wanted = np.stack([(small - each) / by for each, by in zip(mean, std, strict=True)])
    assert np.abs(prepare_film(film, steps) - wanted).max() < 1e-5


def test_a_film_that_is_cropped_keeps_its_padding_out_of_statistics(tmp_path: Path) -> None:
    film = read_film(read_file(padded(tmp_path / "film.dcm", collimated(4095), PixelPaddingValue=4095)))
    crop = Step("crop-centre", {"shape": (40, 48)})
    scored = prepare_film(film, (crop, Step("zscore", {})))[0]
    whole, part = film.grey(), film.image(*film.shape)
    assert part is not None
    rows, columns = (
        slice((size - wanted) // 2, (size + wanted) // 2) for size, wanted in zip(whole.shape, (40, 48), strict=True)
    )
    inside = whole[rows, columns][part[rows, columns]]
    assert scored.shape == (40, 48)
    assert np.allclose(scored, (whole[rows, columns] - inside.mean()) / inside.std(), atol=1e-4)


def test_a_padding_value_that_does_not_occur_changes_nothing(tmp_path: Path) -> None:
    plain = prepare_film(read_film(read_file(padded(tmp_path / "a.dcm", CHEST))), STRETCH)
    other = prepare_film(read_film(read_file(padded(tmp_path / "b.dcm", CHEST, PixelPaddingValue=0))), STRETCH)
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("limit", [None, 4095])
def test_a_film_of_padding_alone_is_blank(tmp_path: Path, limit: int | None) -> None:
    pixels = collimated(0) if limit else np.where(CHEST > 2000, 3000, 0)
    elements = {"PixelPaddingRangeLimit": limit} if limit else {}
    with pytest.raises(NotAnalysable, match="pixels-blank"):
        read_film(read_file(padded(tmp_path / "film.dcm", pixels, PixelPaddingValue=0, **elements)))


def test_a_signed_film_knows_its_padding_by_an_unsigned_value(tmp_path: Path) -> None:
    pixels = collimated(0) - 2048
    path = padded(
        tmp_path / "film.dcm",
        pixels,
        PixelPaddingValue=63488,  # -2048, as US
        PixelRepresentation=1,
        RescaleSlope=1,
        RescaleIntercept=2048,
    )
    film = read_film(read_file(path))
    assert film.padding == (-2048, -2048)
    assert film.grey()[0].max() == 0
