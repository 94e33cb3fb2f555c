"""A segment that is cut to its box is measured as if the whole volume had been looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from inference_cases import read_volume, write_series

from imaging.domain.card import SegmentSpec, VolumeInput
from imaging.domain.codes import Code
from imaging.domain.findings import Finding
from imaging.domain.grid import Grid
from imaging.inference.decoders import segments
from imaging.inference.prepared import StackItem
from imaging.inference.volume import Volume

EVEN, UNEVEN = np.arange(24) * 2.0, np.cumsum([*[2.0] * 12, *[3.5] * 12])
TILT = (0.0, -np.sin(0.3), np.cos(0.3))
SPEC = SegmentSpec(
    0,
    Code("99IMAGING", "blob", "Blob"),
    activation="none",
    min_ml=0.02,
    measure=("volume_ml", "max_diameter_mm", "centroid", "mean_hu"),
    probability="max-component-mean",
)


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Some balls of other chances in a grid, one of them at its edge."""
    probability = np.random.default_rng(seed)
    values = np.zeros(shape, np.float32)
    index = np.indices(shape)
    for at in [np.zeros(len(shape), int), *(probability.integers(0, shape) for _ in range(4))]:
        far = sum((axis - place) ** 2 for axis, place in zip(index, at, strict=True)) ** 0.5
        values = np.maximum(values, np.where(far <= probability.uniform(1, 5), probability.uniform(0.5, 1), 0))
    return values.astype(np.float32)


def measured_whole(probability: np.ndarray, volume: Volume, grid: Grid) -> dict[str, Any]:
    """The same by the plain way: all voxels of the grid, then all of the volume, each by its nearest of the grid."""
    image = SimpleITK.GetImageFromArray((probability >= SPEC.mask_at).astype(np.uint8))
    parts = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    kept = np.bincount(parts.reshape(-1)) * grid.voxel_ml >= SPEC.min_ml
    kept[0] = False
    labels = nearest(np.where(kept[parts], parts, 0), volume, grid)
    own = np.bincount(labels.reshape(-1), minlength=len(kept))
    own[0] = 0
    largest = labels == own.argmax()
    places = volume.to_patient(np.argwhere(largest))
    thick = volume.voxel_ml[np.argwhere(largest)[:, 0]]
    fullest = np.argsort(-(labels > 0).sum(axis=(1, 2)), kind="stable")[:3]
    return {
        "ml": round(float((labels > 0).sum(axis=(1, 2)) @ volume.voxel_ml), 2),
        "mm": round(float(max(np.linalg.norm(places - each, axis=1).max() for each in places)), 1),
        "[hnsf'U]": round(float(volume.values[labels > 0].mean(dtype=np.float64)), 1),
        "centre": tuple(round(each, 1) for each in np.average(places, axis=0, weights=thick).tolist()),
        "score": round(float(probability[parts == own.argmax()].mean(dtype=np.float64)), 6),
        "images": tuple(volume.images[at].sop_instance_uid for at in fullest),
    }


def nearest(parts: np.ndarray, volume: Volume, grid: Grid) -> np.ndarray:
    """Of each voxel of the volume along its own axes: tilt is undone by its slice's start, as in resampling."""
    shape = volume.values.shape
    along = volume.positions @ volume.axes.T
    if not volume.laid.tilt_degrees:
        along[:, 1:] = np.median(along[:, 1:], axis=0)
    steps = np.array([0.0, *volume.spacing_mm])
    places = along[np.indices(shape)[0]] + np.moveaxis(np.indices(shape), 0, -1) * steps
    offset = places @ volume.axes - grid.origin
    index = np.floor(offset @ grid.axes.T / grid.spacing_mm + 0.5 + 1e-9).astype(int)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=-1)
    done = np.zeros(shape, parts.dtype)
    done[inside] = parts[tuple(index[inside].T)]
    return done


def reported(finding: Finding) -> dict[str, Any]:
    measured: dict[str, Any] = {each.unit: each.value for each in finding.measurements}
    centre, images = finding.centre_mm, finding.sop_instance_uids
    return {**measured, "centre": centre, "score": finding.score, "images": images}


@pytest.mark.parametrize("toward", ["", "SAR", "LPI"])
@pytest.mark.parametrize(("along", "step"), [(EVEN, None), (UNEVEN, None), (EVEN, TILT)])
def test_findings_are_those_of_the_whole_volume(tmp_path: Path, along: Any, step: Any, toward: str) -> None:
    values = np.random.default_rng(3).integers(-200, 200, (24, 60, 70))
    sources = write_series(tmp_path / "s", values, along, step=step)
    volume = read_volume(sources, VolumeInput("ct", ("CT",), max_gap_mm=8.0))
    grid = volume.grid(toward=toward, spacing_mm=(1.7, 1.3, 1.1))
    for seed in range(3):
        probability = blobs(seed, grid.shape)
        item = StackItem({"ct": probability[None]}, volume.images, volume, grid)
        assert reported(segments.decode(SPEC, [probability[None]], [item])) == measured_whole(probability, volume, grid)


def test_a_mask_that_reaches_no_voxel_of_the_volume_is_no_finding(tmp_path: Path) -> None:
    sources = write_series(
        tmp_path / "s", np.random.default_rng(3).integers(-200, 200, (5, 20, 20)), np.arange(5) * 8.0
    )
    volume = read_volume(sources, VolumeInput("ct", ("CT",)))
    grid = volume.grid(spacing_mm=(1.0, 0.8, 0.6))
    probability = np.zeros(grid.shape, np.float32)
    probability[3:5] = 1.0  # between two slices, nearest to neither
    finding = segments.decode(SPEC, [probability[None]], [StackItem({}, volume.images, volume, grid)])
    assert (finding.present, finding.probability, finding.measurements) == (False, 0.0, ())
