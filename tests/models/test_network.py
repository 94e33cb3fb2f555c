"""What an ONNX file says of its inputs and outputs is held against the card when it is read, in words."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from card_cases import CHEST, DIGEST, HEAD, written
from onnx import TensorProto, helper, numpy_helper

from imaging.domain.tables import CardError
from imaging.models.network import Port, Signature, signature
from imaging.models.reading import read_card

Shape = Sequence[str | int | None]
WANTED = "float32, float16 or float64 is wanted, as probabilities and logits are"
OF_MASKS = f'{WANTED}; a mask of 0 and 1 goes with activation = "none", and without probability'
FILM: Shape = ["n", 1, 224, 224]
FILM_LABELS: Shape = ["n", 2]
HEAD_IN: Shape = ["n", 1, 96, 96, 48]
HEAD_OUT: Shape = ["n", 2, 96, 96, 48]
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, None)


def network(
    given: Shape | None, made: Shape | None, kind: int = TensorProto.FLOAT, made_of: int = TensorProto.FLOAT
) -> bytes:
    """A file that says this of x and y; what it does is nobody's matter here."""
    x, y = helper.make_tensor_value_info("x", kind, given), helper.make_tensor_value_info("y", made_of, made)
    return bytes(helper.make_model(helper.make_graph([], "g", [x], [y])).SerializeToString())


def faults(folder: Path, card: str, weights: bytes) -> list[str]:
    model = written(folder / "model", card.replace(DIGEST, hashlib.sha256(weights).hexdigest()))
    (model / "model.onnx").write_bytes(weights)
    try:
        read_card(model)
    except CardError as error:
        return [line.partition("card.toml: ")[2] for line in error.faults]
    return []


def changed(card: str, old: str, new: str) -> str:
    assert old in card
    return card.replace(old, new)


THREE = [*FILM[:1], 3, *FILM[2:]]
REPEATED = changed(CHEST, 'do = "zscore"', 'do = "zscore"\n[[prepare]]\ndo = "repeat-channels"\ncount = 3')
CUT = changed(CHEST, 'do = "zscore"', 'do = "crop-centre"\nshape = [200, 230]\n[[prepare]]\ndo = "zscore"')
NO_SIZE = changed(CHEST, 'do = "resize"\nshape = [224, 224]\naspect = "pad"\nantialias = true', 'do = "zscore"')
NO_WINDOW = changed(HEAD, '[engine.window]\nroi = [96, 96, 48]\noverlap = 0.25\nblend = "gaussian"\nbatch = 2\n', "")
CROPPED = changed(
    NO_WINDOW, 'do = "window"\nlow', 'do = "crop-centre"\nshape = [64, 64, 64]\n[[prepare]]\ndo = "window"\nlow'
)


@pytest.mark.parametrize(
    ("card", "given", "made", "fault"),
    [
        (changed(CHEST, 'input = "x"', 'input = "image"'), FILM, FILM_LABELS,
         "engine.input = 'image': model.onnx has the input x (any, 1, 224, 224) (input-unknown)"),
        (changed(CHEST, 'output = "y"', 'output = "logits"'), FILM, FILM_LABELS,
         "engine.output = 'logits': model.onnx has the output y (any, 2) (output-unknown)"),
        (CHEST, ["n", 224, 224], FILM_LABELS, "x (any, 224, 224), expected (batch, channels, rows, columns)"),
        (CHEST, THREE, FILM_LABELS, "expects 3 channels, but the steps produce 1: add do = \"repeat-channels\""),
        (CHEST, ["n", 224, 224, 3], FILM_LABELS, "model.onnx has x (any, 224, 224, 3), with the channels last"),
        (CHEST, ["n", 64, 224, 224], FILM_LABELS, "expects 64 channels, but the steps produce 1 (input-channels)"),
        (REPEATED, FILM, FILM_LABELS, "expects 1 channel, but the steps produce 3 (input-channels)"),
        (CHEST, ["n", 1, 256, 256], FILM_LABELS,
         "prepare = [224, 224]: the network's input x (any, 1, 256, 256) expects 256 x 256 (input-size)"),
        (NO_SIZE, FILM, FILM_LABELS, 'expects 224 x 224: films have sizes of their own: add do = "resize"'),
        (CHEST, FILM, ["n", 2, 1, 1], "y (any, 2, 1, 1), expected (batch, channels) (output-shape)"),
        (changed(CHEST, "channel = 0", "channel = 2"), FILM, FILM_LABELS,
         "finding[0].channel = 2: the network's output y (any, 2) has 2 channels, counted from 0 (channel-absent)"),
        (HEAD, FILM, HEAD_OUT, "expected (batch, channels, and three sizes) (input-shape)"),
        (HEAD, ["n", 1, 64, 96, 48], ["n", 2, 64, 96, 48],
         "engine.window.roi = [96, 96, 48]: the network's input x (any, 1, 64, 96, 48) expects 64 x 96 x 48 ("),
        (NO_WINDOW, HEAD_IN, HEAD_OUT, "volumes have sizes of their own: add [engine.window] with its roi"),
        (CROPPED, HEAD_IN, HEAD_OUT, "prepare = [64, 64, 64]: the network's input"),
        (HEAD, HEAD_IN, ["n", 2], "y (any, 2), expected (batch, channels, and the input's three sizes)"),
        (HEAD, HEAD_IN, ["n", 2, 48, 48, 24],
         "model.onnx gives y (any, 2, 48, 48, 24) for x (any, 1, 96, 96, 48); expected a value for each voxel"),
        (changed(HEAD, "channel = 1", "channel = 0"), HEAD_IN, ["n", 1, 96, 96, 48],
         "finding[0].activation = 'softmax': the network's output y (any, 1, 96, 96, 48) has one channel"),
    ],
)  # fmt: skip
def test_a_network_that_is_not_what_the_card_says_is_a_fault_in_words(
    tmp_path: Path, card: str, given: Shape, made: Shape, fault: str
) -> None:
    (text,) = faults(tmp_path, card, network(given, made))
    assert fault in text


@pytest.mark.parametrize(
    ("card", "given", "made"),
    [
        (CHEST, FILM, FILM_LABELS),
        (CHEST, [8, 1, 224, 224], [8, 14]),  # a fixed batch is filled up
        (CHEST, ["n", 1, "h", "w"], ["n", "labels"]),
        (CHEST, ["n", -1, -1, -1], None),
        (CHEST, None, None),
        (NO_SIZE, ["n", 1, "h", "w"], FILM_LABELS),
        (CUT, ["n", 1, 200, 224], FILM_LABELS),
        (REPEATED, THREE, FILM_LABELS),
        (HEAD, HEAD_IN, HEAD_OUT),
        (HEAD, ["n", 1, "d", "h", "w"], ["n", 2, 1, 1, 1]),  # sizes of outputs are often an example's
        (NO_WINDOW, ["n", 1, "d", "h", "w"], HEAD_OUT),
    ],
)
def test_what_a_network_leaves_open_is_no_fault(
    tmp_path: Path, card: str, given: Shape | None, made: Shape | None
) -> None:
    assert faults(tmp_path, card, network(given, made)) == []


FED = "expected float32, float16, float64, uint8, int8, uint16, int16, uint32, int32, uint64 or int64"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(TensorProto.BOOL, "bool"), (TensorProto.STRING, "string"), (TensorProto.BFLOAT16, "bfloat16"),
     (TensorProto.FLOAT8E5M2, "type 19")],
)  # fmt: skip
def test_an_input_that_no_image_can_be_cast_to_is_a_fault(tmp_path: Path, kind: int, name: str) -> None:
    texts = faults(tmp_path, CHEST, network(FILM, FILM_LABELS, kind))
    assert texts == [f"engine.input = 'x': is {name} in model.onnx; {FED} (input-type)"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT64])
def test_an_input_that_images_are_cast_to_is_no_fault(tmp_path: Path, kind: int) -> None:
    card = changed(CHEST, 'precision = "f32"\n', "")
    assert faults(tmp_path, card, network(FILM, FILM_LABELS, kind)) == []


def test_whole_numbers_that_leave_black_and_white_of_a_film_are_a_fault(tmp_path: Path) -> None:
    card = changed(CHEST, '[[prepare]]\ndo = "zscore"\n', "")
    (text,) = faults(tmp_path / "bare", card, network(FILM, FILM_LABELS, TensorProto.UINT8))
    assert 'the network\'s input x is uint8, and the steps produce 0 to 1: add do = "scale", factor = 255' in text
    scaled = changed(CHEST, 'do = "zscore"', 'do = "scale"\nfactor = 255')
    assert faults(tmp_path / "scaled", scaled, network(FILM, FILM_LABELS, TensorProto.UINT8)) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [(TensorProto.INT64, "int64"), (TensorProto.UINT8, "uint8"), (TensorProto.BOOL, "bool"),
     (TensorProto.STRING, "string"), (TensorProto.COMPLEX64, "complex64"), (TensorProto.BFLOAT16, "bfloat16"),
     (TensorProto.FLOAT8E5M2, "type 19")],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_an_output_that_is_no_probability_is_a_fault(tmp_path: Path, kind: int, name: str, activation: str) -> None:
    card = changed(CHEST, 'activation = "sigmoid"', f'activation = "{activation}"')
    texts = faults(tmp_path, card, network(FILM, FILM_LABELS, made_of=kind))
    assert texts == [f"engine.output = 'y': is {name} in model.onnx: {WANTED} (output-type)"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_an_output_of_another_precision_is_no_fault(tmp_path: Path, kind: int) -> None:
    assert faults(tmp_path, CHEST, network(FILM, FILM_LABELS, made_of=kind)) == []


def test_a_mask_may_be_of_whole_numbers_and_nothing_of_which_a_probability_is_told(tmp_path: Path) -> None:
    with_probability = changed(HEAD, 'activation = "softmax"', 'activation = "none"')
    mask = changed(with_probability, 'probability = "max-component-mean"', "")
    for kind in (TensorProto.UINT8, TensorProto.INT64, TensorProto.BOOL):
        weights = network(HEAD_IN, HEAD_OUT, made_of=kind)
        assert faults(tmp_path / f"mask-{kind}", mask, weights) == []
        (text,) = faults(tmp_path / f"probability-{kind}", with_probability, weights)
        assert text.endswith(f"{OF_MASKS} (output-type)")
    (text,) = faults(tmp_path / "mask", mask, network(HEAD_IN, HEAD_OUT, made_of=TensorProto.STRING))
    assert text.startswith("engine.output = 'y': is string in model.onnx")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (helper.make_sequence_type_proto(FLOATS), "a sequence"),
        (helper.make_map_type_proto(TensorProto.INT64, FLOATS), "a map"),
        (helper.make_optional_type_proto(FLOATS), "optional"),
    ],
    ids=["sequence", "map", "optional"],
)
def test_what_is_no_tensor_is_a_fault(tmp_path: Path, kind: onnx.TypeProto, name: str) -> None:
    """As exporters of classifiers give a list of probabilities by name."""
    model = onnx.load_from_string(network(FILM, FILM_LABELS))
    model.graph.output[0].type.CopyFrom(kind)
    texts = faults(tmp_path, CHEST, model.SerializeToString())
    assert texts == [f"engine.output = 'y': is {name} in model.onnx: {WANTED} (output-type)"]


def test_an_input_that_the_card_does_not_feed_is_a_fault(tmp_path: Path) -> None:
    model = onnx.load_from_string(network(FILM, FILM_LABELS))
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [1]))
    two = faults(tmp_path / "two", CHEST, model.SerializeToString())
    rule = "also takes age (1): give each an [[input]], and its name under [engine] inputs (input-count)"
    assert two == [f"engine.file = 'model.onnx': {rule}"]


LAST = changed(CHEST, 'output = "y"', 'output = "y"\nlayout = "NHWC"')
HEAD_LAST = changed(HEAD, 'output = "y"', 'output = "y"\nlayout = "NDHWC"')


def test_a_network_with_the_channels_last_is_held_by_its_layout(tmp_path: Path) -> None:
    last: Shape = ["n", 224, 224, 1]
    assert faults(tmp_path / "film", LAST, network(last, FILM_LABELS)) == []
    assert faults(tmp_path / "head", HEAD_LAST, network(["n", 96, 96, 48, 1], ["n", 96, 96, 48, 2])) == []
    (text,) = faults(tmp_path / "first", LAST, network(FILM, FILM_LABELS))
    rule = 'with the channels first; expected (batch, rows, columns, channels): layout = "NCHW" (input-shape)'
    assert text.endswith(rule)
    (text,) = faults(tmp_path / "size", LAST, network(["n", 256, 256, 1], FILM_LABELS))
    assert "expects 256 x 256 (input-size)" in text
    (text,) = faults(tmp_path / "map", HEAD_LAST, network(["n", 96, 96, 48, 1], HEAD_OUT))
    assert text.endswith("expected a value for each voxel (output-size)")
    (text,) = faults(tmp_path / "unsaid", CHEST, network(["n", 224, 224, 3], FILM_LABELS))
    rule = 'with the channels last; expected (batch, channels, rows, columns): layout = "NHWC" (input-shape)'
    assert text.endswith(rule)
    (text,) = faults(tmp_path / "other", changed(LAST, "NHWC", "NDHWC"), network(last, FILM_LABELS))
    assert text == "engine.layout = 'NDHWC': must be one of NCHW, NHWC (layout-unknown)"


def test_the_precision_is_what_the_file_is(tmp_path: Path) -> None:
    half = onnx.load_from_string(network(FILM, FILM_LABELS))
    half.graph.initializer.append(numpy_helper.from_array(np.zeros(8, np.float16), "w"))
    whole = onnx.load_from_string(network(FILM, FILM_LABELS))
    whole.graph.node.append(helper.make_node("DequantizeLinear", ["w", "s"], ["v"]))
    free = changed(CHEST, 'precision = "f32"\n', "")
    for name, model, precision in (("half", half, "f16"), ("whole", whole, "int8")):
        weights = model.SerializeToString()
        (text,) = faults(tmp_path / f"{name}-said", CHEST, weights)
        assert text.startswith(f"engine.precision = 'f32': model.onnx is {precision}, and runs as it is")
        assert faults(tmp_path / name, free, weights) == []


def test_weights_that_stand_among_the_inputs_are_none(tmp_path: Path) -> None:
    """As files of IR version 3 and earlier have it."""
    model = onnx.load_from_string(network(FILM, FILM_LABELS))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(helper.make_tensor(
        "w", TensorProto.FLOAT, [2], [0.0, 1.0])), "w"))  # fmt: skip
    assert faults(tmp_path, CHEST, model.SerializeToString()) == []


@pytest.mark.parametrize("cut", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"weights"])
def test_what_is_no_onnx_file_is_the_engines_to_say(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    (tmp_path / "model.onnx").write_bytes(cut(network(FILM, FILM_LABELS)))
    assert signature(tmp_path / "model.onnx") is None


def test_names_types_and_sizes_are_read_as_onnx_writes_them(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(network(["n", 1, 32, "w"], None))
    wanted = Signature((Port("x", "float32", (None, 1, 32, None)),), (Port("y", "float32", None),))
    assert signature(tmp_path / "model.onnx") == wanted
