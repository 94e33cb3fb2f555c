"""Values in the modality's units: whatever slope, intercept, sign and padding they are stored with."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inference_cases import CT, shared, source_of, write_series

from imaging.domain.card import VolumeInput
from imaging.domain.gates import Scope, Verdict
from imaging.domain.reasons import NotAnalysable
from imaging.domain.source import Source
from imaging.inference.acquisitions import read_study
from imaging.inference.pixels import Layout, padding_of
from imaging.inference.volume import Volume

ANY = {each: VolumeInput(each.lower(), (each,)) for each in ("CT", "MR")}
HEAD = np.random.default_rng(11).integers(-1000, 1900, (4, 16, 16)).astype(float)


def stored_as(
    folder: Path, values: np.ndarray, slope: float, intercept: float, *, signed: bool, bits: int = 16, **elements: Any
) -> list[Source]:
    """A series whose stored values come nearest to these, with this slope and intercept."""
    modality = elements.pop("modality", "CT")
    sources = write_series(folder, np.zeros(values.shape), np.arange(len(values)) * 3.0, modality=modality)
    for source, plane in zip(sources, values, strict=True):
        dataset = pydicom.dcmread(source.path)
        stored = np.round((plane - intercept) / slope)
        dtype = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
        assert np.iinfo(dtype).min <= stored.min()
        assert stored.max() <= np.iinfo(dtype).max
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(signed)
        for keyword, value in elements.items():
            if keyword.startswith("PixelPadding"):
                dataset.add_new(keyword, "SS" if value < 0 else "US", value)
            else:
                setattr(dataset, keyword, value)
        dataset.PixelData = stored.astype(dtype).tobytes()
        dataset.save_as(source.path, enforce_file_format=True)
    return [source_of(source.path) for source in sources]


def read(sources: list[Source], modality: str = "CT") -> Volume:
    data = {each.header.sop_instance_uid: Verdict(Scope.IN) for each in sources}
    study = read_study(sources, ANY[modality], data, 1 << 31)
    return study.acquired[0].parts[0].volume


def reason(sources: list[Source]) -> str:
    with pytest.raises(NotAnalysable) as refused:
        read(sources)
    return str(refused.value)


@pytest.mark.parametrize(
    ("slope", "intercept", "signed", "bits"),
    [
        (1, -1024, False, 16),
        (1, -32768, False, 16),
        (1, -33000, False, 16),
        (1, -60000, False, 16),
        (1, 30000, True, 16),
        (-1, 1000, True, 16),
        (-1, 60000, False, 16),
        (2.059, -32754, False, 16),
        (0.0625, -2048, False, 16),
        (1, -1e6, False, 32),
        (1, -40000.5, False, 16),
    ],
)
def test_rescale_of_any_size_gives_the_values(
    tmp_path: Path, slope: float, intercept: float, signed: bool, bits: int
) -> None:
    volume = read(stored_as(tmp_path / "s", HEAD, slope, intercept, signed=signed, bits=bits))
    assert np.abs(volume.values - HEAD).max() <= slope**2 / 2 + 0.5 * (slope != round(slope) or intercept % 1 != 0)
    if slope in (1, -1) and intercept == round(intercept):
        assert volume.values.dtype == np.int16
        assert np.array_equal(volume.values, HEAD)


def test_values_beyond_int16_are_kept(tmp_path: Path) -> None:
    metal = HEAD.copy()
    metal[1, :3] = 50_000
    volume = read(stored_as(tmp_path / "s", metal, 1, -1024, signed=False))
    assert np.array_equal(volume.values, metal)
    assert volume.values.dtype == np.float32


def test_an_inverted_mr_of_sixteen_bits_is_inverted_not_wrapped(tmp_path: Path) -> None:
    values = HEAD + 1000
    sources = stored_as(
        tmp_path / "s", 65535 - values, 1, 0, signed=False, modality="MR", PhotometricInterpretation="MONOCHROME1"
    )
    assert np.array_equal(read(sources, "MR").values, values)


@pytest.mark.parametrize("text", ["HU", "hu", " HU ", "Hu", "", "HU_MOD", None])
def test_hounsfield_units_are_known_as_sites_write_them(tmp_path: Path, text: str | None) -> None:
    sources = stored_as(tmp_path / "s", HEAD, 1, -1024, signed=False, RescaleType=text)
    assert np.array_equal(read(sources).values, HEAD)


@pytest.mark.parametrize("text", ["US", "MGML", "OD"])
def test_other_units_are_not_hounsfield_units(tmp_path: Path, text: str) -> None:
    assert reason(stored_as(tmp_path / "s", HEAD, 1, -1024, signed=False, RescaleType=text)) == "units-unknown"


# An offset that was forgotten --------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_a_ct_without_air_that_begins_at_0_is_in_units_nobody_knows(tmp_path: Path, signed: bool) -> None:
    forgotten = HEAD - HEAD.min()
    assert reason(stored_as(tmp_path / "s", forgotten, 1, 0, signed=signed)) == "units-unknown"
    assert reason(stored_as(tmp_path / "t", forgotten, 0.5, 0, signed=signed)) == "units-unknown"


@pytest.mark.parametrize("minimum", [12, 1, -24])
def test_so_is_one_that_begins_a_little_beside_0_where_nothing_was_taken_off(tmp_path: Path, minimum: int) -> None:
    forgotten = HEAD - HEAD.min() + minimum
    assert reason(stored_as(tmp_path / "s", forgotten, 1, 0, signed=True)) == "units-unknown"


@pytest.mark.parametrize("padding", [0, -2000])
def test_padding_is_no_air(tmp_path: Path, padding: int) -> None:
    forgotten = HEAD - HEAD.min() + 1
    forgotten[:, :, :2] = 0
    forgotten[:, :2] = padding
    assert reason(stored_as(tmp_path / "s", forgotten, 1, 0, signed=True, PixelPaddingValue=padding)) == "units-unknown"


def test_it_is_asked_of_the_stack_not_of_a_slice(tmp_path: Path) -> None:
    head = HEAD.copy()
    head[1:] = np.abs(head[1:])
    head[1:, 0, 0] = 0
    assert np.array_equal(read(stored_as(tmp_path / "s", head, 1, -1024, signed=False)).values, head)


@pytest.mark.parametrize("minimum", [-150, 1, -199])
def test_a_narrow_field_of_view_without_air_is_in_hounsfield_units(tmp_path: Path, minimum: int) -> None:
    tissue = np.maximum(HEAD, minimum)
    assert np.array_equal(read(stored_as(tmp_path / "s", tissue, 1, -1024, signed=False)).values, tissue)


def test_an_mr_may_begin_at_0(tmp_path: Path) -> None:
    values = HEAD - HEAD.min()
    assert np.array_equal(
        read(stored_as(tmp_path / "s", values, 1, 0, signed=False, modality="MR"), "MR").values, values
    )


def test_frames_of_one_object_are_asked_together(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(shared("transfer_syntaxes") / "56_enhanced_ct_per_frame_rescale.dcm")
    stored = dataset.pixel_array.copy()
    stored[0, 0, 0] = 0
    for group in dataset.PerFrameFunctionalGroupsSequence:
        units = group.PixelValueTransformationSequence[0]
        units.RescaleSlope, units.RescaleIntercept, units.RescaleType = "1", "0", "HU"
    dataset.PixelData = stored.tobytes()
    dataset.save_as(tmp_path / "forgotten.dcm")
    assert stored.min() == 0 < stored[1:].min()
    assert reason([source_of(tmp_path / "forgotten.dcm")]) == "units-unknown"


# Padding -----------------------------------------------------------------------------------------------------

SIGNED, UNSIGNED = Layout(1, 1, 1, 16, 16, True), Layout(1, 1, 1, 16, 16, False)
TWELVE = {signed: Layout(1, 1, 1, 16, 12, signed) for signed in (True, False)}


@pytest.mark.parametrize(
    ("layout", "value", "limit", "wanted"),
    [
        (UNSIGNED, 0, None, (0, 0)),
        (UNSIGNED, 100, 0, (0, 100)),
        (UNSIGNED, -1, None, (65535, 65535)),
        (SIGNED, -2000, None, (-2000, -2000)),
        (SIGNED, 63536, None, (-2000, -2000)),
        (SIGNED, 63536, 64511, (-2000, -1025)),
        (SIGNED, -2000, 64511, (-2000, -1025)),
        (TWELVE[True], 63536, None, (-2000, -2000)),
        (TWELVE[True], 2096, None, (-2000, -2000)),
        (TWELVE[True], -32768, None, None),
        (TWELVE[False], 63536, None, None),
        (TWELVE[False], -2000, 10, (0, 10)),
        (TWELVE[False], 4095, 4000, (4000, 4095)),
        (UNSIGNED, None, 10, None),
        (UNSIGNED, "abc", None, None),
    ],
)
def test_padding_is_what_can_be_stored_whatever_its_vr_says(
    layout: Layout, value: Any, limit: int | None, wanted: tuple[int, int] | None
) -> None:
    dataset = pydicom.Dataset()
    for keyword, number in (("PixelPaddingValue", value), ("PixelPaddingRangeLimit", limit)):
        if number is not None:
            dataset.add_new(keyword, "LO" if isinstance(number, str) else "SS" if number < 0 else "US", number)
    assert padding_of(dataset, layout) == wanted


def test_a_padding_range_of_a_ct_becomes_air_and_counts_in_no_minimum(tmp_path: Path) -> None:
    values = HEAD.copy()
    values[:, 0] = -1900
    values[:, 1] = -1500
    sources = stored_as(
        tmp_path / "s", values, 1, 0, signed=True, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1200
    )
    volume = read(sources)
    assert volume.padding == 2 * 4 * 16
    assert (volume.values[:, :2] == -1024).all()
    assert np.array_equal(volume.values[:, 2:], HEAD[:, 2:])
    assert sources[0].header.sop_class_uid == CT
