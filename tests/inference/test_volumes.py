"""The laws of the Volume: on regular series SimpleITK is the oracle, elsewhere the numbers are known."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from inference_cases import AXIAL, MR, read_volume, shared, sheared_box, source_of, sources_in, write_series

from imaging.domain.card import Step, VolumeInput
from imaging.domain.grid import Grid
from imaging.domain.reasons import NotAnalysable
from imaging.inference.readers.volumes import facts_of
from imaging.inference.volume import Volume
from imaging.preparation.registry import prepare

ANY = VolumeInput("ct", ("CT",), max_gap_mm=8.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 2000, shape)


def by_sitk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def on_ras(image: SimpleITK.Image, spacing: tuple[float, float, float], outside: float) -> np.ndarray:
    """A regular image turned to RAS and resampled by SimpleITK: centre of the first voxel stays."""
    image = SimpleITK.DICOMOrient(SimpleITK.Cast(image, SimpleITK.sitkFloat32), "RAS")
    size = [round((n - 1) * d / t) + 1 for n, d, t in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    done = SimpleITK.Resample(
        image,
        size,
        SimpleITK.Transform(),
        SimpleITK.sitkLinear,
        image.GetOrigin(),
        spacing,
        image.GetDirection(),
        outside,
    )
    turned: np.ndarray = SimpleITK.GetArrayFromImage(done).T  # (x, y, z): right, anterior, superior
    return turned


REGULAR = ("ct/phantom_head/bleed", "mr/phantom_brain/lesion", "mr/t1_sagittal_siemens", "mr/epi_axial_ge")


@pytest.mark.parametrize("name", REGULAR)
@pytest.mark.parametrize("spacing", [(1.0, 1.5, 2.0), (2.0, 2.0, 4.0)])
def test_a_regular_series_is_resampled_as_simpleitk_does_it(name: str, spacing: tuple[float, float, float]) -> None:
    folder = shared(name)
    volume = read_volume(sources_in(folder), VolumeInput("any", ("CT", "MR"), max_gap_mm=8.0))
    steps = (Step("orient", {"to": "RAS"}), Step("resample", {"spacing": spacing, "mode": "linear"}))
    got = prepare(volume.array, steps).values[0]
    wanted = on_ras(by_sitk(folder), spacing, volume.outside)
    assert got.shape == wanted.shape
    scale = float(np.abs(wanted).max())
    # At the very rim a rounding of 1e-6 mm decides whether a voxel is inside; everywhere else they agree.
    assert (np.abs(got - wanted) > 2e-4 * scale).mean() < 1e-3


def test_values_and_places_are_those_that_simpleitk_reads(tmp_path: Path) -> None:
    values = noise(6, 20, 30)
    sources = write_series(tmp_path / "s", values, np.arange(6) * 2.5, orientation=CORONAL)
    volume = read_volume(sources, ANY)
    image = by_sitk(tmp_path / "s")
    assert np.array_equal(volume.values, SimpleITK.GetArrayFromImage(image))
    for index in ((0, 0, 0), (5, 19, 29), (2, 3, 4)):
        place = image.TransformIndexToPhysicalPoint(tuple(reversed(index)))
        assert np.allclose(volume.to_patient(np.array([index]))[0], place, atol=1e-4)


def test_order_of_files_changes_nothing(tmp_path: Path) -> None:
    sources = write_series(tmp_path / "s", noise(5, 16, 16), np.arange(5) * 3.0)
    one, two = read_volume(sources, ANY), read_volume(sources[::-1], ANY)
    assert np.array_equal(one.values, two.values)
    assert one.images == two.images


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)])
@pytest.mark.parametrize("to", ["RAS", "SAR", "LPI"])
def test_after_orient_the_index_grows_where_its_letters_say(
    tmp_path: Path, orientation: tuple[float, ...], to: str
) -> None:
    volume = read_volume(
        write_series(tmp_path / "s", noise(7, 12, 15), np.arange(7) * 1.5, orientation=orientation), ANY
    )
    prepared = prepare(volume.array, (Step("orient", {"to": to}),))
    assert isinstance(prepared.grid, Grid)
    origin, *ends = prepared.grid.to_patient(np.concatenate(([[0, 0, 0]], np.eye(3))))
    steps = [end - origin for end in ends]
    grows = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "S": (2, 1), "I": (2, -1)}  # in LPS
    for step, letter in zip(steps, to, strict=True):
        axis, sign = grows[letter]
        assert int(np.abs(step).argmax()) == axis
        assert np.sign(step[axis]) == sign
    # Turning moves no value: the voxel at a place in the patient is the same one.
    for index in ((0, 0, 0), (6, 11, 14), (3, 5, 2)):
        place = volume.to_patient(np.array([index]))[0]
        at = ((place - prepared.grid.origin) @ prepared.grid.axes.T / prepared.grid.spacing_mm).round().astype(int)
        assert prepared.values[0][tuple(at)] == volume.values[index]


def test_a_tilted_stack_keeps_its_shear_and_resampling_undoes_it(tmp_path: Path) -> None:
    tilt = np.radians(20)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(-np.sin(tilt)))
    along = np.arange(24) * 4.0
    values, box = sheared_box(orientation, along, (60, 60), (1.0, 1.0), centre=(10.0, 5.0, 45.0), side=24.0)
    start = (-20.0, -25.0, 0.0)
    sources = write_series(
        tmp_path / "s", values, along, orientation=orientation, step=(0, 0, 1), start=start, spacing=(1.0, 1.0)
    )
    volume = read_volume(sources, ANY)
    assert volume.laid.tilt_degrees == pytest.approx(20, abs=0.01)
    assert facts_of(volume)["tilt_degrees"] == "20.0"
    grid = volume.grid(toward="SAR", spacing_mm=(2.0, 1.0, 1.0))
    assert np.allclose(grid.axes @ grid.axes.T, np.eye(3))
    seen = grid.to_patient(np.argwhere(volume.resample(grid) > 500))
    assert np.allclose(seen.mean(axis=0), box, atol=0.6)  # without the shear: 16 mm off
    assert np.allclose(np.ptp(seen[:, 0]), 24, atol=1.6)


def test_the_real_tilted_uneven_head_is_a_volume(tmp_path: Path) -> None:
    sources = sources_in(shared("ct/ge_head_human"))
    volume = read_volume(sources, VolumeInput("ct", ("CT",), max_gap_mm=7.5), threads=2)
    assert volume.values.shape == (28, 512, 512)
    assert volume.laid.kind == "uneven"
    assert volume.laid.tilt_degrees == pytest.approx(18.5, abs=0.05)
    assert volume.laid.gaps_mm.min() == pytest.approx(1.08, abs=0.01)
    assert volume.values.min() == -1024  # padding of -1500
    for at, image in enumerate(volume.images):
        header = next(s.header for s in sources if s.header.sop_instance_uid == image.sop_instance_uid)
        assert header.image_position is not None
        assert np.allclose(volume.to_patient(np.array([[at, 0, 0]]))[0], header.image_position)
    with pytest.raises(NotAnalysable, match=r"gap: 7.0 mm"):
        read_volume(sources, VolumeInput("ct", ("CT",), max_gap_mm=6.0))


def test_uneven_slices_are_interpolated_where_they_truly_lie(tmp_path: Path) -> None:
    along = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0])  # 1 mm, then 2 mm
    values = np.broadcast_to((along * 10)[:, None, None], (7, 16, 16))
    volume = read_volume(write_series(tmp_path / "s", values + np.eye(16), along), ANY)
    assert volume.laid.kind == "uneven"
    grid = volume.grid(toward="SAR", spacing_mm=(0.5, 0.8, 0.6))
    column = volume.resample(grid)[:, 3, 8]
    assert np.allclose(column, np.arange(0, 9.25, 0.5) * 10, atol=1e-3)


def test_missing_slices_are_refused_by_number_or_interpolated_as_the_card_says(tmp_path: Path) -> None:
    along = np.delete(np.arange(20.0), [8, 9, 10])
    sources = write_series(tmp_path / "s", noise(17, 16, 16), along)
    with pytest.raises(NotAnalysable, match="slices-missing: 3"):
        read_volume(sources, ANY)
    volume = read_volume(sources, VolumeInput("ct", ("CT",), missing="interpolate"))
    assert facts_of(volume)["slices_missing"] == "3"
    assert volume.grid().shape[0] == 20


def test_one_slice_twice_is_taken_once_if_its_pixels_are_the_same(tmp_path: Path) -> None:
    values = noise(6, 16, 16)
    twice = write_series(tmp_path / "s", values[[0, 1, 2, 2, 3, 4, 5]], [0, 1, 2, 2, 3, 4, 5])
    volume = read_volume(twice, ANY)
    assert np.array_equal(volume.values, values)
    assert volume.dropped == 1
    other = write_series(tmp_path / "t", values[[0, 1, 2, 3, 3, 4, 5]], [0, 1, 2, 2, 3, 4, 5])
    with pytest.raises(NotAnalysable, match="positions-repeated"):
        read_volume(other, ANY)


def test_two_echoes_at_one_place_are_told_apart(tmp_path: Path) -> None:
    first = write_series(tmp_path / "a", noise(5, 16, 16), np.arange(5.0), modality="MR", EchoTime="20")
    second = write_series(tmp_path / "b", noise(5, 16, 16) + 1, np.arange(5.0), modality="MR", EchoTime="80")
    volume = read_volume([*second, *first], VolumeInput("mr", ("MR",)))
    assert np.array_equal(volume.values, noise(5, 16, 16))


def test_a_sagittal_localizer_in_front_is_left_out(tmp_path: Path) -> None:
    stray = write_series(tmp_path / "a", noise(1, 16, 16), [0.0], orientation=SAGITTAL)
    axial = write_series(tmp_path / "b", noise(9, 16, 16), np.arange(9.0))
    assert len(read_volume([*stray, *axial], ANY).images) == 9


def test_each_slice_has_its_own_slope_and_padding_becomes_air(tmp_path: Path) -> None:
    values = noise(4, 16, 16)
    sources = write_series(tmp_path / "s", values, np.arange(4.0), PixelPaddingValue=3000)
    dataset = pydicom.dcmread(sources[2].path)
    dataset.RescaleSlope = "2"
    stored = dataset.pixel_array.copy()
    stored[0, :5] = 3000
    dataset.PixelData = stored.tobytes()
    dataset.save_as(sources[2].path)
    volume = read_volume(sources, ANY)
    assert volume.values.dtype == np.float32
    assert (volume.values[2, 0, :5] == -1024).all()
    assert np.allclose(volume.values[2, 1], 2 * (values[2, 1] + 1024) - 1024)
    assert np.allclose(volume.values[1], values[1])


def test_enhanced_frames_have_their_own_place_and_slope() -> None:
    source = source_of(shared("transfer_syntaxes") / "56_enhanced_ct_per_frame_rescale.dcm")
    volume = read_volume([source], ANY)
    dataset = pydicom.dcmread(source.path)
    for frame, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = [float(each) for each in group.PlanePositionSequence[0].ImagePositionPatient]
        at = int(np.argmin(np.linalg.norm(volume.positions - place, axis=1)))
        units = group.PixelValueTransformationSequence[0]
        wanted = dataset.pixel_array[frame] * float(units.RescaleSlope) + float(units.RescaleIntercept)
        assert np.allclose(volume.values[at], np.maximum(wanted, -1024), atol=1e-3)


def test_an_enhanced_series_of_two_kinds_of_frames_gives_one_of_them() -> None:
    volume = read_volume(sources_in(shared("mr/enhanced_phantom_philips")), VolumeInput("mr", ("MR",)))
    assert volume.values.shape == (32, 64, 64)


def test_a_mask_returns_to_within_half_a_voxel(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "s", noise(12, 40, 50), np.arange(12) * 3.0), ANY)
    mask = np.zeros(volume.values.shape, bool)
    mask[4:8, 10:22, 20:35] = True
    inside = Volume(**{**volume.__dict__, "values": np.where(mask, 1000, 0).astype(np.int16)})
    grid = volume.grid(toward="SAR", spacing_mm=(1.0, 0.7, 0.7))
    parts, (z, y, x) = volume.parts_of(inside.resample(grid) >= 500, (0, 0, 0), grid) or pytest.fail("nothing")
    back = np.zeros(volume.values.shape, bool)
    back[z : z + parts.shape[0], y : y + parts.shape[1], x : x + parts.shape[2]] = parts
    centre, wanted = (volume.to_patient(np.argwhere(each)).mean(axis=0) for each in (back, mask))
    assert (np.abs(centre - wanted) < 0.5 * np.array([0.6, 0.8, 3.0])).all()
    assert back.sum() == pytest.approx(mask.sum(), rel=0.1)


def test_malformed_geometry_ends_with_a_reason_or_a_volume() -> None:
    folder = shared("malformed") / "geometry"
    series: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.dcm")):
        series.setdefault(path.name[:3], []).append(path)
    card_input = VolumeInput("any", ("CT", "MR", "DX"), slices=(1, 600), max_gap_mm=8.0)
    ends = {}
    for name, paths in series.items():
        try:
            volume = read_volume([source_of(path) for path in paths], card_input)
            prepare(volume.array, (Step("orient", {"to": "RAS"}),))
            ends[name] = "volume"
        except NotAnalysable as refused:
            ends[name] = refused.reason.code
    expected = {
        "g01": "positions-absent", "g02": "positions-absent", "g03": "positions-absent", "g04": "positions-absent",
        "g06": "orientation-invalid", "g07": "orientation-invalid", "g08": "orientation-invalid",
        "g09": "pixel-size-absent", "g10": "pixel-size-absent", "g11": "pixel-size-absent", "g12": "pixel-size-absent",
        "g13": "pixel-size-absent", "g14": "pixel-size-absent", "g16": "too-few-slices", "g17": "too-few-slices",
        "g18": "too-few-slices", "g19": "too-few-slices", "g22": "frames-irregular", "g25": "orientation-mixed",
        "g26": "frames-irregular", "g27": "frame-of-reference-differs", "g28": "frames-irregular",
        "g29": "slices-missing",
    }  # fmt: skip
    assert {name: ends[name] for name in expected} == expected
    assert ends["g24"] in ("positions-repeated", "too-few-slices")


def test_a_volume_of_another_class_keeps_its_padding_at_zero(tmp_path: Path) -> None:
    sources = write_series(tmp_path / "s", noise(4, 16, 16), np.arange(4.0), modality="MR")
    assert sources[0].header.sop_class_uid == MR
    assert read_volume(sources, VolumeInput("mr", ("MR",))).outside == 0.0


def test_shapes_can_be_cropped_and_padded(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "s", noise(9, 20, 31), np.arange(9.0)), ANY)
    cropped = prepare(volume.array, (Step("crop-centre", {"shape": (5, 50, 11)}),))
    assert cropped.values.shape == (1, 5, 20, 11)
    assert np.array_equal(cropped.values[0], volume.values[2:7, :, 10:21])
    assert cropped.grid is not None
    assert np.allclose(cropped.grid.origin, volume.to_patient(np.array([[2, 0, 10]]))[0], atol=1e-6)
    padded = prepare(volume.array, (Step("pad-multiple", {"of": 8}),))
    assert padded.values.shape == (1, 16, 24, 32)
