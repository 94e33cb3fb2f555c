"""A network's answer is checked before it is believed: shape, numbers, range; and what is wrong is said in words."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import film_card, volume_card, write_film, write_series
from onnx import TensorProto, helper, numpy_helper
from small_models import write_beside

from imaging.domain.card import Card, Golden, LabelSpec, SegmentSpec, TriageRule, Window
from imaging.domain.codes import Code
from imaging.domain.faults import PublicError
from imaging.domain.findings import Answer, State, TriageClass
from imaging.domain.outputs import shape_fault
from imaging.inference.analyser import Analyser
from imaging.inference.engines.registry import load
from imaging.inference.golden import check, proof
from imaging.models.copies import Copies, digest_of
from imaging.models.reading import read_card

FILM, VOLUME = [1, 1, 32, 32], [1, 1, 8, 16, 16]
POOLED = [helper.make_node("GlobalAveragePool", ["x"], ["mean"]), helper.make_node("Flatten", ["mean"], ["flat"])]


def network(card: Card, nodes: Sequence[Any], weights: dict[str, Any] | None = None, **options: Any) -> Card:
    """The card with another network: from x, of any sizes, to y."""
    axes = 2 + card.inputs[0].axes
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"d{n}" for n in range(axes)])
    y = helper.make_empty_tensor_value_info("y")
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "odd", [x], [y], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", options.get("opset", 17))])
    model.ir_version = options.get("ir", 8)
    (card.folder / "model.onnx").write_bytes(model.SerializeToString())
    return replace(card, engine=replace(card.engine, sha256=digest_of(card.folder / "model.onnx")))


def film(tmp_path: Path, **changes: Any) -> Card:
    """A film's card with one finding, of channel 0."""
    return film_card(tmp_path / "film", findings=(LabelSpec(0, Code("99IMAGING", "one", "One"), **changes),))


def fault(card: Card, given: Sequence[int] = FILM) -> str:
    with pytest.raises(PublicError) as error:
        load(card, 1).run({"x": np.zeros(given, np.float32)})
    return str(error.value)


# Shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Identity", ["x"], ["y"])],  # a map, as label
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],  # (n, 1, 1, 1)
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3], keepdims=0)],  # no channels
        [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)],
        [*POOLED, helper.make_node("Concat", ["flat", "flat"], ["y"], axis=0)],  # twice the batch
    ],
    ids=["map", "pooled", "no channels", "a number", "another batch"],
)
def test_a_label_is_a_number_per_film_and_channel_and_none_is_picked_out_of_a_map(
    tmp_path: Path, nodes: list[Any]
) -> None:
    card = network(film(tmp_path), nodes)
    text = fault(card)
    assert text.startswith("the network's output y is (")
    assert text.endswith("expected (1, at least 1): (batch, channels)")
    answer = Analyser(card).analyse([write_film(tmp_path / "film.dcm", np.arange(64 * 64).reshape(64, 64) % 4096)])
    assert (answer.state, answer.findings, answer.fault) == (State.FAILED, (), text)
    with pytest.raises(PublicError):
        Analyser(card).warm()
    assert check(card).faults == (text,)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2, 2], strides=[2, 2, 2])],
        [helper.make_node("GlobalMaxPool", ["x"], ["y"])],
        [helper.make_node("Squeeze", ["x", "axis"], ["y"])],
        [helper.make_node("Unsqueeze", ["x", "axis"], ["y"])],
        [helper.make_node("Slice", ["x", "from", "to", "along"], ["y"])],
    ],
    ids=["half the grid", "one voxel", "no channels", "heads", "cut"],
)
@pytest.mark.parametrize("window", [None, Window((8, 16, 16), batch=2)])
def test_a_segment_is_a_number_per_voxel_and_nothing_is_stretched_or_cut(
    tmp_path: Path, nodes: list[Any], window: Window | None
) -> None:
    card = volume_card(tmp_path / "model")
    card = replace(
        card,
        findings=(replace(card.findings[0], channel=0, activation="sigmoid"),),
        engine=replace(card.engine, window=window),
    )
    weights = {"axis": np.array([1]), "from": np.array([0]), "to": np.array([-1]), "along": np.array([2])}
    used = {name: value for name, value in weights.items() if any(name in each.input for each in nodes)}
    card = network(card, nodes, used)
    assert "expected (1, at least 1, 8, 16, 16): (batch, channels, and the input's grid)" in fault(card, VOLUME)
    values = np.zeros((8, 24, 24))
    values[2:5, 8:16, 8:16] = 70
    answer = Analyser(card).analyse(write_series(tmp_path / "s", values, np.arange(8) * 4.0))
    assert (answer.state, answer.findings) == (State.FAILED, ())


def test_there_must_be_a_channel_for_each_finding_and_two_to_choose_from(tmp_path: Path) -> None:
    card = network(film(tmp_path), [*POOLED, helper.make_node("Identity", ["flat"], ["y"])])
    assert load(card, 1).run({"x": np.zeros(FILM, np.float32)})["y"].shape == (1, 1)
    second = replace(card, findings=(replace(card.findings[0], channel=1),))
    assert "(1, 1), expected (1, at least 2)" in fault(second)
    softmax = replace(card, findings=(replace(card.findings[0], activation="softmax"),))
    assert "(1, 1), expected (1, at least 2)" in fault(softmax)


def test_a_batch_is_answered_row_by_row(tmp_path: Path) -> None:
    card = film(tmp_path)
    assert shape_fault(card, "y", (3, 1, 32, 32), (3, 1)) == ""
    assert "(1, 1), expected (3, at least 1)" in shape_fault(card, "y", (3, 1, 32, 32), (1, 1))
    assert shape_fault(card, "y", (3, 1, 32, 32), (6, 1)) != ""


# Types -------------------------------------------------------------------------------------------------------

WANTED = "float32, float16 or float64 is wanted, as probabilities and logits are"

OF_MASKS = f'{WANTED}; a mask of 0 and 1 goes with activation = "none", and without probability'


def cast(card: Card, to: int) -> Card:
    """Of labels, with another type of number."""
    return network(card, [*POOLED, helper.make_node("Cast", ["flat"], ["y"], to=to)])


@pytest.mark.parametrize("to", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_numbers_of_another_precision_are_numbers(tmp_path: Path, to: int) -> None:
    assert load(cast(film(tmp_path), to), 1).run({"x": np.zeros(FILM, np.float32)})["y"].dtype == np.float32


@pytest.mark.parametrize(
    ("to", "kind"), [(TensorProto.INT64, "int64"), (TensorProto.BOOL, "bool"), (TensorProto.STRING, "string"),
                     (TensorProto.BFLOAT16, "bfloat16")],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_a_label_of_what_is_no_share_is_refused_before_anything_is_run(
    tmp_path: Path, to: int, kind: str, activation: Any
) -> None:
    """Its file leaves the type open, so that it is first known to the engine, which works it out."""
    card = cast(film(tmp_path, activation=activation), to)
    text = f"the network's output y is {kind}: {WANTED}"
    with pytest.raises(PublicError, match=text):
        load(card, 1)
    assert check(card).faults == (text,)


def test_an_output_that_is_no_tensor_is_said(tmp_path: Path) -> None:
    card = network(film(tmp_path), [helper.make_node("SequenceConstruct", ["x"], ["y"])])
    assert fault(card) == f"the network's output y is seq(tensor(float)): {WANTED}"


@pytest.mark.parametrize(
    ("activation", "probability", "is_taken"),
    [("none", "", True), ("none", "max-component-mean", False), ("sigmoid", "", False)],
)
def test_whole_numbers_are_a_mask_of_which_no_probability_is_told(
    tmp_path: Path, activation: Any, probability: str, *, is_taken: bool
) -> None:
    card = volume_card(tmp_path / "model")
    (segment,) = card.findings
    assert isinstance(segment, SegmentSpec)
    segment_spec = replace(segment, channel=0, activation=activation, probability=probability)
    nodes = [helper.make_node("Greater", ["x", "at"], ["over"]),
             helper.make_node("Cast", ["over"], ["y"], to=TensorProto.UINT8)]  # fmt: skip
    card = network(replace(card, findings=(segment_spec,), triage=()), nodes, {"at": np.float32(0.5)})
    values = np.zeros((8, 24, 24))
    values[2:5, 8:16, 8:16] = 70
    answer = Analyser(card).analyse(write_series(tmp_path / "s", values, np.arange(8) * 4.0))
    assert answer.state is (State.ANALYSED if is_taken else State.FAILED)
    assert answer.fault == (None if is_taken else f"the network's output y is uint8: {OF_MASKS}")


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.BOOL, "bool"), (TensorProto.STRING, "string")])
def test_an_input_that_no_image_can_be_fed_to_is_refused_when_the_network_is_loaded(
    tmp_path: Path, kind: int, name: str
) -> None:
    card = film(tmp_path)
    x = helper.make_tensor_value_info("x", kind, ["n", 1, 32, 32])
    y = helper.make_tensor_value_info("y", kind, ["n", 1, 32, 32])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "odd", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (card.folder / "model.onnx").write_bytes(model.SerializeToString())
    card = replace(card, engine=replace(card.engine, sha256=digest_of(card.folder / "model.onnx")))
    with pytest.raises(PublicError, match=f"the network's input x is {name}; expected float32"):
        load(card, 1)


# Values ------------------------------------------------------------------------------------------------------


def answered(card: Card, folder: Path) -> Answer:
    pixels = np.full((64, 64), 1000)
    pixels[::2] = 3000
    return Analyser(card).analyse([write_film(folder / "film.dcm", pixels)])


@pytest.mark.parametrize("value", [-9.0, -0.001, 1.001, 9.0])
def test_values_beyond_0_to_1_are_no_probabilities(tmp_path: Path, value: float) -> None:
    nodes = [*POOLED, helper.make_node("Mul", ["flat", "nothing"], ["gone"]),
             helper.make_node("Add", ["gone", "value"], ["y"])]  # fmt: skip
    weights = {"nothing": np.float32(0), "value": np.float32(value)}
    answer = answered(network(film(tmp_path, activation="none"), nodes, weights), tmp_path)
    assert (answer.state, answer.findings) == (State.FAILED, ())
    assert answer.fault is not None
    assert 'has values outside 0..1, but the card has activation = "none"' in answer.fault
    assert answered(network(film(tmp_path), nodes, weights), tmp_path).state is State.ANALYSED


@pytest.mark.parametrize(("value", "fraction"), [(-0.00005, 0.0), (1.00005, 1.0), (0.25, 0.25)])
def test_what_arithmetic_leaves_is_within_0_to_1(tmp_path: Path, value: float, fraction: float) -> None:
    nodes = [*POOLED, helper.make_node("Mul", ["flat", "nothing"], ["gone"]),
             helper.make_node("Add", ["gone", "value"], ["y"])]  # fmt: skip
    weights = {"nothing": np.float32(0), "value": np.float32(value)}
    answer = answered(network(film(tmp_path, activation="none"), nodes, weights), tmp_path)
    assert answer.findings[0].probability == fraction


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
@pytest.mark.parametrize("divided", ["NaN", "infinite"])
def test_what_is_no_number_is_no_answer(tmp_path: Path, activation: Any, divided: str) -> None:
    one = "nothing" if divided == "NaN" else "one"
    nodes = [*POOLED, helper.make_node("Div", [one, "nothing"], ["odd"]),
             helper.make_node("Add", ["flat", "odd"], ["y"])]  # fmt: skip
    weights = {"nothing": np.float32(0), **({"one": np.float32(1)} if one == "one" else {})}
    answer = answered(network(film(tmp_path, activation=activation), nodes, weights), tmp_path)
    assert (answer.state, answer.findings) == (State.FAILED, ())
    assert answer.fault == "the network's output y has values that are not numbers (NaN or infinite)"


# The runtime's words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "options", "words"),
    [
        ([helper.make_node("Identity", ["x"], ["y"])], {"opset": 99}, ["Opset 99", "opset 28"]),
        ([helper.make_node("Identity", ["x"], ["y"])], {"ir": 99}, ["Unsupported model IR version: 99"]),
        ([helper.make_node("Sharpen", ["x"], ["y"])], {}, ["No Op registered for Sharpen"]),
    ],
    ids=["opset", "form", "operator"],
)
def test_what_cannot_be_loaded_is_said_in_the_runtimes_words(
    tmp_path: Path, nodes: list[Any], options: dict[str, Any], words: list[str]
) -> None:
    text = fault(network(film(tmp_path), nodes, **options))
    assert text.startswith("the network cannot be loaded: ")
    assert words[0] in text
    assert "/" not in text.replace("inputs/outputs", "")  # no place on this machine, or on the runtime's maker's


def test_what_is_no_onnx_file_is_said_in_the_runtimes_words(tmp_path: Path) -> None:
    card = film(tmp_path)
    (card.folder / "model.onnx").write_bytes(b"weights")
    card = replace(card, engine=replace(card.engine, sha256=digest_of(card.folder / "model.onnx")))
    assert "Protobuf parsing failed" in fault(card)


def test_an_input_of_another_size_is_said_with_both_shapes(tmp_path: Path) -> None:
    assert "index: 2 Got: 48 Expected: 32" in fault(film(tmp_path), [1, 1, 48, 32])


def test_a_run_that_fails_tells_shapes_and_no_value(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    add = network(film(tmp_path), [helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.zeros(5, np.float32)})
    assert "5 by 32" in fault(add)
    nodes = [
        helper.make_node("Cast", ["x"], ["at"], to=TensorProto.INT64),
        helper.make_node("Gather", ["w", "at"], ["y"]),
    ]
    gather = network(film(tmp_path / "other"), nodes, {"w": np.zeros(3, np.float32)})
    with pytest.raises(PublicError) as error:
        load(gather, 1).run({"x": np.full(FILM, 1234, np.float32)})
    assert "while running Gather node" in str(error.value)
    assert "idx=# must be within" in str(error.value)
    assert "1234" not in str(error.value) + "".join(capfd.readouterr())


# What is loaded ----------------------------------------------------------------------------------------------


def test_weights_beside_the_file_answer_with_it_and_stand_in_the_digest(tmp_path: Path) -> None:
    pixels = np.arange(64 * 64).reshape(64, 64) % 4096
    source = write_film(tmp_path / "film.dcm", pixels)
    answers = []
    for bias in (-3.0, 3.0):
        card = read_card(write_beside(tmp_path / "model", bias))
        answers.append(Analyser(card).analyse([source]))
    assert [each.findings[0].present for each in answers] == [False, True]
    assert answers[0].facts["card"] != answers[1].facts["card"]
    assert answers[0].facts["weights"] != answers[1].facts["weights"]


def test_a_kept_model_is_loaded_from_its_copy_whatever_becomes_of_its_folder(tmp_path: Path) -> None:
    source = write_film(tmp_path / "film.dcm", np.arange(64 * 64).reshape(64, 64) % 4096)
    kept = Copies(tmp_path / "home").kept(read_card(write_beside(tmp_path / "model", -3.0)))
    before = Analyser(kept).analyse([source])
    write_beside(tmp_path / "model", 3.0)
    assert Analyser(kept).analyse([source]).findings == before.findings
    shutil.rmtree(tmp_path / "model")
    assert Analyser(kept).analyse([source]).findings == before.findings


def test_weights_that_change_after_the_card_was_read_are_never_loaded(tmp_path: Path) -> None:
    card = read_card(write_beside(tmp_path / "model", -3.0))
    write_beside(tmp_path / "model", 3.0)
    assert fault(card).startswith("model.bin has changed since its card was read")
    (card.folder / "model.bin").unlink()
    assert fault(card) == "the weights cannot be copied to a temporary folder: No such file or directory"


def test_a_golden_case_is_run_again_for_whatever_makes_the_answer_and_for_the_case_itself(tmp_path: Path) -> None:
    card = read_card(write_beside(tmp_path / "model"))
    write_film(tmp_path / "model" / "film.dcm", np.arange(64 * 64).reshape(64, 64) % 4096)
    (tmp_path / "model" / "expected.json").write_text(json.dumps({"findings": []}))
    card = replace(card, golden=Golden("film.dcm", "expected.json", 1e-3))
    proofs = [proof(card)]
    assert proof(card) == proofs[0]
    proofs.append(proof(replace(card, digest="1" * 64)))
    proofs.append(proof(replace(card, engine=replace(card.engine, beside=()))))
    for name in ("film.dcm", "expected.json"):
        (tmp_path / "model" / name).write_bytes((tmp_path / "model" / name).read_bytes() + b" ")
        proofs.append(proof(card))
    (tmp_path / "model" / "expected.json").unlink()
    proofs.append(proof(card))
    assert len(set(proofs)) == 6


# Triage by volume --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "flag"),
    [
        (TriageRule("1386000", None, TriageClass.STAT, 1.0), TriageClass.STAT),
        (TriageRule("1386000", None, TriageClass.STAT, 50.0), None),
        (TriageRule("1386000", 0.9, TriageClass.STAT, 1.0), TriageClass.STAT),
        (TriageRule("1386000", 1.0, TriageClass.STAT, 1.0), None),
        (TriageRule("1386000", 0.0, TriageClass.STAT), TriageClass.STAT),
    ],
)
def test_a_rule_by_volume_flags_what_is_large_enough(
    tmp_path: Path, rule: TriageRule, flag: TriageClass | None
) -> None:
    values = np.zeros((12, 40, 40))
    values[3:9, 10:30, 10:30] = 70
    card = volume_card(tmp_path / "model", triage=(rule,))
    answer = Analyser(card).analyse(write_series(tmp_path / "s", values, np.arange(12) * 3.0))
    assert answer.findings[0].present is True
    assert answer.flag == flag
    assert answer.facts["triage"] == (rule.text if flag else "no rule applies")


def test_a_segment_without_probability_is_flagged_by_its_volume_and_never_by_probability(tmp_path: Path) -> None:
    values = np.zeros((12, 40, 40))
    values[3:9, 10:30, 10:30] = 70
    card = volume_card(tmp_path / "model")
    (segment,) = card.findings
    assert isinstance(segment, SegmentSpec)
    card = replace(card, findings=(replace(segment, probability=""),))
    sources = write_series(tmp_path / "s", values, np.arange(12) * 3.0)
    by_volume = replace(card, triage=(TriageRule("1386000", None, TriageClass.STAT, 2.5),))
    answer = Analyser(by_volume).analyse(sources)
    assert (answer.flag, answer.findings[0].probability) == (TriageClass.STAT, None)
    assert answer.facts["triage"] == "1386000 volume_ml >= 2.5: stat"
    by_probability = replace(card, triage=(TriageRule("1386000", 0.0, TriageClass.STAT),))
    assert Analyser(by_probability).analyse(sources).flag is None
