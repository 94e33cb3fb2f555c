"""Several series of one examination become one input: by role, on the first one's grid, by where they lie."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import AXIAL, volume_card, write_series

from imaging.domain.card import Card, VolumeInput
from imaging.domain.findings import Answer
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.prepared import Prepared, StackItem
from imaging.models.rules import contradictions

T2: dict[str, Any] = {"EchoTime": 100, "RepetitionTime": 5000, "ScanningSequence": "SE", "SeriesDescription": "T2"}
FLAIR: dict[str, Any] = {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500, "SeriesDescription": "FLAIR"}
TURNED = (0.9848077530, 0.1736481777, 0.0, -0.1736481777, 0.9848077530, 0.0)


def card_of(folder: Path) -> Card:
    card = volume_card(folder, prepare=())
    inputs = tuple(VolumeInput(each, ("MR",), weighting=each) for each in ("t2", "flair"))
    return replace(card, inputs=inputs, engine=replace(card.engine, inputs={"t2": "x", "flair": "x"}))


def ramp(
    folder: Path,
    number: int,
    size: int,
    along: np.ndarray,
    spacing: float,
    orientation: tuple[float, ...] = AXIAL,
    **elements: Any,
) -> list[Source]:
    """A series whose values rise evenly in the patient: 2 for each mm to the left, 3 posterior, 5 superior."""
    start = np.array([-40.0, -40.0, 0.0])
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    down, across = np.meshgrid(spacing * np.arange(size), spacing * np.arange(size), indexing="ij")
    places = start + across[..., None] * row + down[..., None] * column
    values = np.stack([places @ [2.0, 3.0, 5.0] + 5.0 * each for each in along])
    how: dict[str, Any] = {"orientation": orientation, "start": start, "spacing": (spacing, spacing), "modality": "MR"}
    return write_series(folder, np.round(values), along, **how, SeriesInstanceUID=f"1.2.3.{number}", **elements)


def prepared(card: Card, sources: list[Source]) -> Prepared:
    made = Analyser(card).prepared(sources)
    assert not isinstance(made, Answer), made.why
    return made


@pytest.mark.parametrize("orientation", [AXIAL, TURNED], ids=["the same axes", "other axes"])
def test_the_second_series_lies_on_the_grid_of_the_first_where_it_lies_in_the_patient(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    card = card_of(tmp_path / "model")
    first = ramp(tmp_path / "t2", 1, 40, 4.0 * np.arange(10), 1.0, **T2)
    second = ramp(tmp_path / "flair", 2, 70, 3.0 * np.arange(13), 1.25, orientation, **FLAIR)
    made = prepared(card, [*second, *first])
    (item,) = made.items
    assert isinstance(item, StackItem)
    t2, flair = item.arrays["t2"]
    assert t2.shape == (10, 40, 40)
    inside = flair != 0  # beyond the second series there is nothing
    assert inside.mean() > 0.5
    assert np.abs(flair - t2)[inside].max() <= 2.0  # of values rounded to whole numbers
    assert (made.coverage.used, made.coverage.missing) == (23, {})
    assert len(made.images) == 23


@pytest.mark.parametrize(
    ("roles", "weightings", "fault"),
    [
        (("t2", "t2"), ("t2", "flair"), "role-repeated"),
        (("a", "b"), ("t2", "t2"), "input-ambiguous"),
        (("a", "b"), ("t2", ""), "input-ambiguous"),
        (("a", "../b"), ("t2", "flair"), "role-form"),
    ],
)
def test_series_that_nothing_tells_apart_are_faults_of_the_card(
    tmp_path: Path, roles: tuple[str, str], weightings: tuple[str, str], fault: str
) -> None:
    inputs = tuple(VolumeInput(*each) for each in zip(roles, (("MR",), ("MR",)), strict=True))
    values = tuple(replace(each, weighting=text) for each, text in zip(inputs, weightings, strict=True))
    card = replace(card_of(tmp_path / "model"), inputs=values, findings=())
    assert [name for *_, name in contradictions(card)] == [fault]


def test_a_series_that_is_absent_is_named_by_its_role(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model")
    first = ramp(tmp_path / "t2", 1, 20, 4.0 * np.arange(5), 1.0, **T2)
    made = Analyser(card).analyse(first)
    assert made.why == "input-missing: flair"


def test_series_of_different_frames_of_reference_are_not_laid_over_each_other(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model")
    first = ramp(tmp_path / "t2", 1, 20, 4.0 * np.arange(5), 1.0, **T2)
    second = ramp(tmp_path / "flair", 2, 20, 4.0 * np.arange(5), 1.0, FrameOfReferenceUID="1.2.3.5", **FLAIR)
    assert Analyser(card).analyse([*first, *second]).why == "frame-of-reference-differs"
