"""ONNX files as exporters leave them, with cards for films: for tests of what networks want."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from inference_cases import write_film
from onnx import TensorProto, helper, numpy_helper
from small_models import FILM, write_beside, write_card

from imaging.domain.source import Source
from imaging.models.copies import digest_of

Ports = Mapping[str, tuple[int, Sequence[Any]]]
"""By name, element type and shape."""


def write_network(
    folder: Path, nodes: list[Any], inputs: Ports, outputs: Ports, opset: int = 17, **weights: Any
) -> str:
    """Writes `model.onnx`, whose initializers are `weights`. Returns its digest."""
    given, made = (
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
        for each in (inputs, outputs)
    )
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", given, made, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return digest_of(folder / "model.onnx")


POOL = [helper.make_node("ReduceMean", ["x"], ["flat"], axes=[2, 3], keepdims=0)]
LOGITS = [*POOL, helper.make_node("MatMul", ["flat", "factors"], ["y"])]
FACTORS = np.array([[1.0, 2.0]])


TWO_VIEWS = FILM.replace(
    '[[input]]\nrole = "film"\nmodality = ["DX", "CR"]\nimages = "each"\n',
    '[[input]]\nrole = "frontal"\nmodality = ["DX", "CR"]\nimages = "best"\n'
    'gate = [{{tag = "ViewPosition", any = ["PA", "AP"]}}]\n'
    '[[input]]\nrole = "lateral"\nmodality = ["DX", "CR"]\nimages = "best"\n'
    'gate = [{{tag = "ViewPosition", any = ["LATERAL"]}}]\n',
).replace('input = "x"\n', 'inputs = {{lateral = "side", frontal = "front"}}\n')


def two_views(folder: Path, text: str = TWO_VIEWS) -> Path:
    """Its logit is that of the front's largest value less that of the side's, each a deviation from the mean."""
    nodes = [helper.make_node("ReduceMax", ["front"], ["a"], axes=[2, 3], keepdims=0),
             helper.make_node("ReduceMax", ["side"], ["b"], axes=[2, 3], keepdims=0),
             helper.make_node("Sub", ["a", "b"], ["y"]), helper.make_node("Sub", ["b", "a"], ["z"])]  # fmt: skip
    shape = ["n", 1, 32, 32]
    ports = {"front": (TensorProto.FLOAT, shape), "side": (TensorProto.FLOAT, shape)}
    digest = write_network(folder, nodes, ports, {name: (TensorProto.FLOAT, ["n", 1]) for name in "yz"})
    write_card(folder, text, 1, digest)
    return folder


def bright(folder: Path, name: str, height: int, **elements: Any) -> Source:
    """A film with a bright square on an even ground with some noise: the smaller, the further from the mean."""
    pixels = np.random.default_rng(4).integers(900, 1100, (64, 64))
    pixels[:height, :height] = 4000
    return write_film(folder / f"{name}.dcm", pixels, **elements)


FLOAT: Final = TensorProto.FLOAT
SQUARED = [helper.make_node("Mul", ["x", "x"], ["square"]),
           helper.make_node("ReduceMean", ["square"], ["flat"], axes=[2, 3], keepdims=0), LOGITS[-1]]  # fmt: skip
"""The mean of the square, which is 1 of what was brought to a deviation of 1; its logits are 1 and 2."""


def write_models(folder: Path) -> Path:
    """Models of films that say the same of them: one in f16, one with a fixed batch of 4, one with the channels last.
    And `two`, of two films, `new`, of an opset that no runtime has, and `beside`, with external data.
    """
    shape, factors = ["n", 1, 32, 32], FACTORS.astype(np.float32)
    turn = [helper.make_node("Transpose", ["film"], ["x"], perm=[0, 3, 1, 2])]
    last = FILM.replace('input = "x"', 'input = "film"\nlayout = "NHWC"')
    for name, text, nodes, given, made, more in (
        ("half", FILM, SQUARED, {"x": (TensorProto.FLOAT16, shape)}, TensorProto.FLOAT16, {}),
        ("four", FILM, SQUARED, {"x": (FLOAT, [4, 1, 32, 32])}, FLOAT, {}),
        ("last", last, [*turn, *SQUARED], {"film": (FLOAT, ["n", 32, 32, 1])}, FLOAT, {}),
        ("new", FILM, SQUARED, {"x": (FLOAT, shape)}, FLOAT, {"opset": 99}),
    ):
        of = factors.astype(np.float16) if made == TensorProto.FLOAT16 else factors
        count = 4 if name == "four" else "n"
        digest = write_network(folder / name, nodes, given, {"y": (made, [count, 2])}, factors=of, **more)
        write_card(folder / name, text, 1, digest)
    two_views(folder / "two")
    stated_beside(folder / "beside")
    return folder


def stated_beside(folder: Path) -> Path:
    """A model with external data, whose digest its card states."""
    card = write_beside(folder) / "card.toml"
    stated = f'external = {{"model.bin" = "{digest_of(folder / "model.bin")}"}}'
    card.write_text(card.read_text().replace('input = "x"\n', f'input = "x"\n{stated}\n'))
    return folder
