"""Several series of one examination become one input: by role, on the first one's grid, by where they lie."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import AXIAL, volume_card, write_series
from onnx import TensorProto, helper
from small_models import VOLUME, write_card

from imaging.domain.card import Card, Step, VolumeInput
from imaging.domain.findings import Answer, State
from imaging.domain.source import Source
from imaging.domain.tables import CardError
from imaging.inference.analyser import Analyser
from imaging.inference.prepared import Prepared, StackItem
from imaging.models.copies import digest_of
from imaging.models.reading import read_card
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


ROLES = """
[[input]]
role = "t2"
modality = ["MR"]
weighting = "t2"
[[input]]
role = "flair"
modality = ["MR"]
weighting = "flair"
"""


def onnx_card(folder: Path, fed: str, network: list[Any], inputs: Sequence[str], channels: int) -> Card:
    """A card whose network takes two series and gives (n, 2, d, h, w); what is found in it is nobody's matter here."""
    text = VOLUME.replace('[[input]]\nrole = "volume"\nmodality = ["CT", "MR"]\nimages = "best"\n', ROLES)
    text = text.replace("slices = {{min = 3, max = 600}}\nmax_gap_mm = 20\n", "").replace('input = "x"', fed)
    text = text.replace('do = "window"\nlow = 0\nhigh = 80', 'do = "scale"\nfactor = 0.01')
    shape: list[Any] = ["n", channels, "d", "h", "w"]
    given = [helper.make_tensor_value_info(each, TensorProto.FLOAT, shape) for each in inputs]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, *shape[2:]])]
    model = helper.make_model(
        helper.make_graph(network, "two", given, made), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_card(folder, text, 1, digest_of(folder / "model.onnx"))
    return read_card(folder)


APART = [helper.make_node("Concat", ["a", "b"], ["y"], axis=1)]
STACKED = [helper.make_node("Identity", ["x"], ["y"])]


def two_series(folder: Path) -> list[Source]:
    first = ramp(folder / "t2", 1, 40, 4.0 * np.arange(10), 1.0, **T2)
    return [*first, *ramp(folder / "flair", 2, 70, 3.0 * np.arange(13), 1.25, **FLAIR)]


def test_each_role_is_an_input_of_its_own_on_the_grid_of_the_reference(tmp_path: Path) -> None:
    fed = 'inputs = {{flair = "b", t2 = "a"}}\nreference = "flair"'
    card = onnx_card(tmp_path / "model", fed, APART, ["a", "b"], 1)
    sources = two_series(tmp_path)
    (item,) = prepared(card, sources).items
    assert isinstance(item, StackItem)
    assert {role: each.shape for role, each in item.arrays.items()} == dict.fromkeys(("flair", "t2"), (1, 10, 23, 23))
    assert item.volume.values.shape == (13, 70, 70)
    t2, flair = (item.arrays[each][0] for each in ("t2", "flair"))
    assert np.abs(flair - t2)[t2 != 0].max() <= 0.02
    answer = Analyser(card).analyse(sources)
    assert answer.state is State.ANALYSED, answer.why


def test_a_stack_has_its_channels_in_the_order_that_the_card_says(tmp_path: Path) -> None:
    """Whatever the order of the inputs, and whichever of them is the reference."""
    found = {}
    for order in (["t2", "flair"], ["flair", "t2"]):
        card = onnx_card(
            tmp_path / order[0], f'input = "x"\nstack = {order}\nreference = "t2"'.replace("'", '"'), STACKED, ["x"], 2
        )
        sources = two_series(tmp_path / f"{order[0]}-study")
        (item,) = prepared(card, sources).items
        (values,) = item.arrays.values()
        found[order[0]] = values
        answer = Analyser(card).analyse(sources)
        assert answer.state is State.ANALYSED, answer.why
    assert found["t2"].shape == (2, 10, 11, 11)
    assert np.array_equal(found["t2"], found["flair"][::-1])
    assert not np.array_equal(found["t2"][0], found["t2"][1])


@pytest.mark.parametrize("fed", ['input = "x"\nstack = ["t2", "flair"]', 'inputs = {{t2 = "a", flair = "b"}}'])
def test_a_step_may_be_of_one_role_alone(tmp_path: Path, fed: str) -> None:
    is_stacked = "stack" in fed
    how: Any = (STACKED, ["x"], 2) if is_stacked else (APART, ["a", "b"], 1)
    card = onnx_card(tmp_path / "model", fed, *how)
    more = Step("scale", {"factor": 3.0, "offset": 1.0}, ("flair",))
    sources = two_series(tmp_path)
    before, after = (
        np.concatenate(list(prepared(each, sources).items[0].arrays.values()))
        for each in (card, replace(card, prepare=(*card.prepare, more)))
    )
    assert np.array_equal(after[0], before[0])
    assert np.allclose(after[1], 3 * before[1] + 1)


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (Step("scale", {"factor": 2.0, "offset": 0.0}, ("t1",)), "role-unknown"),
        (Step("crop-foreground", {}, ("t2",)), "do-roles"),
        (Step("normalize", {"mean": (0.0, 0.0), "std": (1.0, 1.0)}, ("t2",)), "mean-channels"),
    ],
)
def test_a_step_of_a_role_is_of_one_that_there_is_and_of_values(tmp_path: Path, step: Step, fault: str) -> None:
    card = onnx_card(tmp_path / "model", 'input = "x"\nstack = ["t2", "flair"]', STACKED, ["x"], 2)
    both = Step("normalize", {"mean": (0.0, 0.0), "std": (1.0, 1.0)})
    assert [name for *_, name in contradictions(replace(card, prepare=(*card.prepare, both)))] == []
    assert [name for *_, name in contradictions(replace(card, prepare=(*card.prepare, step)))] == [fault]


def test_units_are_those_of_the_reference(tmp_path: Path) -> None:
    """A mean in Hounsfield units goes with a CT that others are laid over, and not with the others."""
    finding = replace(volume_card(tmp_path / "model").findings[0], channel=1)
    inputs = VolumeInput("pet", ("PT",)), VolumeInput("ct", ("CT",))
    card = replace(card_of(tmp_path / "model"), inputs=inputs, findings=(finding,))
    engine = replace(card.engine, inputs={"pet": "x", "ct": "x"})
    assert [name for *_, name in contradictions(replace(card, engine=replace(engine, reference="ct")))] == []
    assert [name for *_, name in contradictions(replace(card, engine=engine))] == ["mean-hu-modality"]


@pytest.mark.parametrize(
    ("fed", "fault"),
    [
        ('input = "x"\nstack = ["t2"]', "must name each role once, in the order of the network's channels: t2, flair"),
        ('input = "x"\nstack = ["t2", "flair", "t1"]', "must be one of t2, flair (stack-unknown)"),
        ('input = "x"\nstack = ["t2", "flair"]\nreference = "t1"', "must be one of t2, flair (reference-unknown)"),
        ('inputs = {{t2 = "x", flair = "x"}}\nstack = ["t2", "flair"]', "remove it (inputs-twice)"),
    ],
)
def test_a_stack_that_is_not_of_the_roles_is_a_fault(tmp_path: Path, fed: str, fault: str) -> None:
    with pytest.raises(CardError) as error:
        onnx_card(tmp_path / "model", fed, STACKED, ["x"], 2)
    assert any(fault in line for line in error.value.faults), error.value.faults


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
