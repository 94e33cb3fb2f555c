"""A detector's boxes lie on the images where they were drawn, however the images are stored and prepared."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import film_card, sheared_box, volume_card, write_film, write_series
from small_models import write_detector

from imaging.domain.card import BoxesSpec, Card, Engine, Step, VolumeInput
from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, State
from imaging.domain.places import Place
from imaging.inference.analyser import Analyser

NODULE = BoxesSpec(
    0,
    Code("SCT", "27925004", "Nodule"),
    activation="none",
    output="boxes",
    scores="scores",
    format="xyxy",
    axes="yx",
)
UPRIGHT = ("L\\F", "R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "H\\R")


def of_films(folder: Path, *, size: tuple[int, int] = (64, 64), aspect: str = "pad", **changes: Any) -> Card:
    spec = replace(NODULE, **changes)
    card = film_card(folder, findings=(spec,))
    steps = (Step("resize", {"shape": size, "aspect": aspect}),)
    sha256 = write_detector(folder, 2)
    engine = Engine("onnx", "model.onnx", sha256, {"film": "x"}, ("boxes", "scores"))
    return replace(card, prepare=steps, engine=engine, triage=())


def of_volumes(folder: Path, *steps: Step, axes: str = "zyx", **changes: Any) -> Card:
    spec = replace(NODULE, format="xyzxyz", axes=axes, **changes)
    window = Step("window", {"low": 0.0, "high": 1000.0})
    inputs = (VolumeInput("ct", ("CT",), slices=(3, 600)),)
    card = volume_card(folder, inputs=inputs, prepare=(*steps, window), findings=(spec,), triage=())
    engine = Engine("onnx", "model.onnx", write_detector(folder, 3), {"ct": "x"}, ("boxes", "scores"))
    return replace(card, engine=engine)


def found(answer: Answer) -> tuple[Finding, tuple[Place, ...]]:
    assert answer.state is State.ANALYSED, answer.why
    (finding,) = answer.findings
    return finding, finding.places


def drawn_film(path: Path, box: Sequence[int], size: tuple[int, int] = (256, 192), **elements: Any) -> Any:
    """A film with a bright rectangle: (left, top, right, bottom), the first and the last column and row."""
    left, top, right, bottom = box
    pixels = np.full(size, 100, np.uint16)
    pixels[top : bottom + 1, left : right + 1] = 4000
    if elements.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 4095 - pixels
    return write_film(path, pixels, **elements)


# Films -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("aspect", ["pad", "crop", "stretch"])
def test_a_box_on_a_film_lies_where_it_was_drawn_in_the_image_as_it_is_stored(
    tmp_path: Path, orientation: str, photometric: str, aspect: str
) -> None:
    drawn = (60, 72, 95, 155)
    film = drawn_film(
        tmp_path / "film.dcm", drawn, PatientOrientation=orientation, PhotometricInterpretation=photometric
    )
    size = (48, 48) if aspect == "crop" else (64, 64)  # by whole numbers of the film's pixels
    finding, (place,) = found(Analyser(of_films(tmp_path / "m", size=size, aspect=aspect)).analyse([film]))
    left, top, right, bottom = drawn
    assert np.abs(np.subtract(place.box, (left - 0.5, top - 0.5, right + 0.5, bottom + 0.5))).max() <= 0.5
    assert place.centre == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.5)
    assert place.image == (film.header.sop_instance_uid, 1)
    assert (finding.present, finding.sop_instance_uids) == (True, (film.header.sop_instance_uid,))
    assert finding.probability == place.score == pytest.approx(4000 / 4095, abs=1e-3)
    assert Finding.from_json(finding.to_json()) == finding


def test_sizes_that_do_not_divide_cost_less_than_half_a_pixel_of_the_network(tmp_path: Path) -> None:
    drawn, size = (301, 407, 558, 1101), (1503, 1217)
    film = drawn_film(tmp_path / "film.dcm", drawn, size, PatientOrientation="H\\R")
    _, (place,) = found(Analyser(of_films(tmp_path / "m", size=(96, 128))).analyse([film]))
    pixel = max(1217 / 96, 1503 / 128)
    assert np.abs(np.subtract(place.box, (300.5, 406.5, 558.5, 1101.5))).max() <= pixel / 2 + 0.5


def test_what_is_cropped_and_padded_around_a_film_moves_no_box(tmp_path: Path) -> None:
    film = drawn_film(tmp_path / "film.dcm", (60, 72, 95, 155), PatientOrientation="H\\R")
    card = of_films(tmp_path / "m")
    steps = (Step("crop-centre", {"shape": (60, 45)}), Step("pad-centre", {"shape": (71, 80)}), *card.prepare[1:])
    changed = replace(card, prepare=(*card.prepare[:1], *steps))
    _, (place,) = found(Analyser(changed).analyse([film]))
    assert place.box == (59.5, 71.5, 95.5, 155.5)


def test_axes_say_which_number_runs_along_a_row_and_zero_where_they_begin(tmp_path: Path) -> None:
    film = drawn_film(tmp_path / "film.dcm", (60, 72, 95, 155))
    wanted = (59.5, 71.5, 95.5, 155.5)
    as_numpy, as_torchvision = of_films(tmp_path / "a"), of_films(tmp_path / "b", axes="xy")
    assert found(Analyser(as_numpy).analyse([film]))[1][0].box == wanted
    turned = found(Analyser(as_torchvision).analyse([film]))[1][0].box
    assert turned != wanted  # the network gives rows first; read the other way round the box is another
    write_detector(tmp_path / "b", 2, order="10")
    swapped = replace(as_torchvision, engine=_with_digest(as_torchvision))
    assert found(Analyser(swapped).analyse([film]))[1][0].box == wanted
    edge = replace(as_numpy, findings=(replace(as_numpy.findings[0], zero="edge"),))  # type: ignore[call-arg]
    shifted = found(Analyser(edge).analyse([film]))[1][0].box
    assert np.allclose(np.subtract(wanted, shifted), 2.0)  # half of the network's pixels, which are four of the film's


def _with_digest(card: Card) -> Engine:
    from imaging.models.copies import digest_of

    return replace(card.engine, sha256=digest_of(card.folder / "model.onnx"))


def test_what_is_on_none_of_the_films_is_absent_and_has_no_place(tmp_path: Path) -> None:
    clean = write_film(tmp_path / "clean.dcm", np.arange(64 * 64).reshape(64, 64) % 50)
    finding, places = found(Analyser(of_films(tmp_path / "m", score_min=0.4)).analyse([clean]))
    assert (finding.present, finding.probability, finding.score, places) == (False, 0.0, 0.0, ())
    assert [(each.value, each.unit) for each in finding.measurements] == [(0, "1")]


def test_each_film_has_its_boxes_and_those_below_the_threshold_are_told_as_well(tmp_path: Path) -> None:
    bright = drawn_film(tmp_path / "a.dcm", (60, 72, 95, 155))
    faint = write_film(tmp_path / "b.dcm", np.pad(np.full((64, 64), 1200, np.uint16), 64))
    card = of_films(tmp_path / "m")
    write_detector(card.folder, 2, at=0.2)
    finding, places = found(Analyser(replace(card, engine=_with_digest(card))).analyse([bright, faint]))
    assert [each.image[0] for each in places] == [bright.header.sop_instance_uid, faint.header.sop_instance_uid]
    assert [each.score for each in places] == pytest.approx([4000 / 4095, 1200 / 4095], abs=1e-3)
    assert finding.sop_instance_uids == (bright.header.sop_instance_uid,)
    assert finding.measurements[0].value == 1


# Volumes -----------------------------------------------------------------------------------------------------------

OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
BACKWARD = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def block(shape: tuple[int, int, int], first: Sequence[int], last: Sequence[int]) -> np.ndarray:
    values = np.zeros(shape)
    values[tuple(slice(start, end + 1) for start, end in zip(first, last, strict=True))] = 1000
    return values


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1.0, 0), OBLIQUE, SAGITTAL, BACKWARD])
@pytest.mark.parametrize(
    ("steps", "axes", "order"),
    [
        ((), "zyx", ""),
        ((), "xyz", "210"),
        ((Step("orient", {"to": "RAS"}),), "xyz", ""),
        ((Step("orient", {"to": "SAR"}),), "zyx", ""),
        ((Step("orient", {"to": "SPL"}),), "xyz", "210"),
        ((Step("orient", {"to": "column-row-slice"}),), "xyz", ""),
    ],
)
def test_a_box_in_a_volume_lies_where_it_was_drawn_however_the_volume_is_turned(
    tmp_path: Path, orientation: tuple[float, ...], steps: tuple[Step, ...], axes: str, order: str
) -> None:
    first, last = (3, 8, 5), (6, 20, 9)
    sources = write_series(
        tmp_path / "s", block((10, 32, 24), first, last), np.arange(10) * 1.5, orientation=orientation
    )
    card = of_volumes(tmp_path / "m", *steps, axes=axes)
    write_detector(card.folder, 3, order=order)
    finding, (place,) = found(Analyser(replace(card, engine=_with_digest(card))).analyse(sources))
    assert place.box == pytest.approx((4.5, 7.5, 9.5, 20.5), abs=0.02)
    slices = sources[3:7]
    assert [uid for uid, _ in place.images] == [each.header.sop_instance_uid for each in slices]
    assert place.image in place.images[1:3]
    assert finding.sop_instance_uids == (place.image[0],)
    assert place.frame_of_reference_uid == "1.2.3.4"
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    middle = np.array([-20.0, -30.0, 5.0]) + 4.5 * 1.5 * np.cross(row, column) + 14 * 0.8 * column + 7 * 0.6 * row
    assert finding.centre_mm == place.centre_mm == pytest.approx(middle, abs=0.06)
    corners = np.array(place.corners_mm)
    assert corners.shape == (8, 3)
    sides = [np.ptp(corners @ axis) for axis in (np.cross(row, column), column, row)]
    assert sides == pytest.approx([4 * 1.5, 13 * 0.8, 5 * 0.6], abs=0.03)


@pytest.mark.parametrize(
    "steps",
    [
        (Step("crop-foreground", {}),),
        (Step("pad-multiple", {"of": 16}),),
        (Step("crop-centre", {"shape": (9, 25, 22)}), Step("pad-centre", {"shape": (20, 31, 23)})),
    ],
    ids=["cropped to the foreground", "padded to a multiple", "cropped and padded"],
)
def test_what_is_cropped_and_padded_around_a_volume_moves_no_box(tmp_path: Path, steps: tuple[Step, ...]) -> None:
    first, last = (3, 8, 5), (6, 20, 9)
    sources = write_series(tmp_path / "s", block((10, 32, 24), first, last), np.arange(10) * 1.5, orientation=OBLIQUE)
    card = of_volumes(tmp_path / "m")
    _, (place,) = found(Analyser(replace(card, prepare=(*card.prepare, *steps))).analyse(sources))
    assert place.box == pytest.approx((4.5, 7.5, 9.5, 20.5), abs=0.02)
    assert [uid for uid, _ in place.images] == [each.header.sop_instance_uid for each in sources[3:7]]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_box_in_a_resampled_volume_is_within_half_a_voxel(tmp_path: Path, factor: float) -> None:
    first, last = (4, 8, 6), (9, 21, 13)
    sources = write_series(tmp_path / "s", block((16, 32, 24), first, last), np.arange(16) * 1.5)
    steps = (
        Step("orient", {"to": "RAS"}),
        Step("resample", {"spacing": (0.6 * factor, 0.8 * factor, 1.5 * factor), "mode": "linear"}),
    )
    _, (place,) = found(Analyser(of_volumes(tmp_path / "m", *steps, axes="xyz")).analyse(sources))
    half = max(factor, 1.0) / 2 + 0.02  # of a voxel, of the coarser of the two grids
    assert np.abs(np.subtract(place.box, (5.5, 7.5, 13.5, 21.5))).max() <= half
    corners = np.array(place.corners_mm)
    low, high = (
        np.array([-20.0, -30.0, 5.0]) + np.array(each) * (0.6, 0.8, 1.5)
        for each in ((5.5, 7.5, 3.5), (13.5, 21.5, 9.5))
    )
    assert (np.abs(corners.min(axis=0) - low) <= half * np.array([0.6, 0.8, 1.5])).all()
    assert (np.abs(corners.max(axis=0) - high) <= half * np.array([0.6, 0.8, 1.5])).all()


def test_a_box_in_a_tilted_volume_is_shifted_from_slice_to_slice(tmp_path: Path) -> None:
    tilted = (1.0, 0.0, 0.0, 0.0, float(np.cos(np.radians(20))), float(np.sin(np.radians(20))))
    along = np.arange(24) * 2.0
    values, centre = sheared_box(tilted, along, (64, 64), (0.8, 0.8), (2.0, 5.0, 30.0), 12.0)
    sources = write_series(
        tmp_path / "s", values, along, orientation=tilted, step=(0, 0, 1), start=(-20, -25, 0), spacing=(0.8, 0.8)
    )
    finding, (place,) = found(Analyser(of_volumes(tmp_path / "m")).analyse(sources))
    assert finding.centre_mm is not None
    assert np.abs(np.subtract(finding.centre_mm, centre)).max() <= 1.0
    at = [each.header.sop_instance_uid for each in sources].index(place.image[0])
    rows, columns = np.nonzero(values[at])
    left, top, right, bottom = place.box
    assert abs(left - (columns.min() - 0.5)) <= 0.5
    assert abs(right - (columns.max() + 0.5)) <= 0.5
    # Upright in the patient, the cube leans in the stack, so that the box around it is larger: it holds the cube's
    # pixels on each slice, and its middle is theirs.
    assert top <= rows.min()
    assert bottom >= rows.max()
    assert abs((top + bottom) / 2 - rows.mean()) <= 1.0
    touched = {uid for uid, _ in place.images}
    assert {each.header.sop_instance_uid for each, plane in zip(sources, values, strict=True) if plane.any()} <= touched
