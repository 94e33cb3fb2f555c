"""A ball whose volume is known, sent in many forms: what is measured is the drawing's own.

Within 1 % where the stack is whole. Where stacks meet at an angle, or slices change their distance, within 2.5 %: a
place counts once to within half a voxel, and a straight line between slices 4 mm apart cuts off the ball's curve.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import volume_card, write_series

from imaging.domain.findings import State
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser

RADIUS = 20.0
BALL_ML = 4 / 3 * np.pi * RADIUS**3 / 1000
CENTRE = np.array([6.0, -9.0, 4.0])
HALF = 70.0
"""Half the side of what is drawn, in mm."""
TILT = np.radians(18)
AXES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (np.cos(TILT), np.sin(TILT), 0, -np.sin(TILT), np.cos(TILT), 0),
    "tilted": (1, 0, 0, 0, np.cos(TILT), np.sin(TILT)),
}


def drawn(
    folder: Path, axes: str, along: Sequence[float], spacing: tuple[float, float] = (0.9, 0.7), **elements: Any
) -> list[Source]:
    """Slices through the ball: 80 HU within, water around, air beyond; its surface lies where 40 HU do."""
    orientation = [float(f"{each:.6f}") for each in AXES[axes]]
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    shape = tuple(int(2 * HALF / each) for each in spacing)
    start = -HALF * (row + column)
    down, across = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij")
    planes = []
    for distance in along:
        place = start + distance * normal + across[..., None] * row + down[..., None] * column
        inward = RADIUS - np.linalg.norm(place - CENTRE, axis=-1)
        tissue = np.clip(40 + 15 * inward, 0, 80)
        planes.append(np.where(np.linalg.norm(place, axis=-1) < 60, tissue, -1000).round())
    return write_series(
        folder, np.stack(planes).astype(int), along, orientation=orientation, start=tuple(start), spacing=spacing,
        **elements,
    )  # fmt: skip


def even(step: float) -> list[float]:
    return [float(each) for each in np.arange(-HALF, HALF, step)]


def one_stack(axes: str, step: float) -> Callable[[Path], list[Source]]:
    return lambda folder: drawn(folder, axes, even(step))


def in_two_series(folder: Path) -> list[Source]:
    along = even(2.5)
    below = drawn(folder / "a", "axial", along[:30])
    return [*below, *drawn(folder / "b", "axial", along[30:], SeriesInstanceUID="1.2.3.2")]


def in_two_stacks(folder: Path) -> list[Source]:
    """The lower one tilted; where they meet they overlap, and each place counts once."""
    upper = [each for each in even(2.5) if each > -2]
    lower = [each for each in even(2.5) if each < 18]
    return [*drawn(folder / "a", "axial", upper), *drawn(folder / "b", "tilted", lower)]


def twice(folder: Path) -> list[Source]:
    first = drawn(folder / "a", "axial", even(2.5), AcquisitionNumber="1", AcquisitionTime="090000")
    later: dict[str, Any] = {"SeriesInstanceUID": "1.2.3.2", "AcquisitionNumber": "2", "AcquisitionTime": "100000"}
    return [*first, *drawn(folder / "b", "axial", even(2.5), **later)]


def two_kernels(folder: Path) -> list[Source]:
    again = drawn(folder / "b", "axial", even(5.0), SeriesInstanceUID="1.2.3.2", ConvolutionKernel="H70s")
    return [*drawn(folder / "a", "axial", even(2.5)), *again]


def thin_then_thick(folder: Path) -> list[Source]:
    along = [*np.arange(-HALF, 0, 2.0), *np.arange(0, HALF, 4.0)]
    return drawn(folder, "axial", [float(each) for each in along])


@pytest.mark.parametrize(
    ("sent", "fraction"),
    [
        *(pytest.param(one_stack(axes, 2.5), 0.01, id=axes) for axes in AXES if axes != "tilted"),
        pytest.param(one_stack("tilted", 1.5), 0.01, id="tilted"),
        pytest.param(one_stack("axial", 1.0), 0.01, id="1 mm"),
        pytest.param(one_stack("axial", 4.0), 0.01, id="4 mm"),
        (in_two_series, 0.01),
        (twice, 0.01),
        (two_kernels, 0.01),
        (in_two_stacks, 0.025),
        (thin_then_thick, 0.025),
    ],
)
def test_a_ball_has_its_volume_size_and_place_however_it_is_sent(tmp_path: Path, sent: Any, fraction: float) -> None:
    answer = Analyser(volume_card(tmp_path / "model")).analyse(sent(tmp_path / "s"))
    assert (answer.state, answer.is_in_part) == (State.ANALYSED, False), answer.why
    (ball,) = answer.findings
    volume, diameter, _ = (each.value for each in ball.measurements)
    assert volume == pytest.approx(BALL_ML, rel=fraction)
    assert diameter == pytest.approx(2 * RADIUS, abs=2.0)
    assert ball.centre_mm is not None
    assert np.linalg.norm(np.array(ball.centre_mm) - CENTRE) < 1.0
