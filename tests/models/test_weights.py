"""The files that an ONNX file takes weights from are found in its own bytes, wherever in it a tensor lies."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imaging.models.weights import locations


def kept_in(location: str, name: str = "w") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> onnx.GraphProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    return helper.make_graph(nodes, "g", [], [y], weights)


def constant(**value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], **value)


def sparse(location: str) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(kept_in(location), numpy_helper.from_array(np.arange(2), "i"), [8])


def in_a_branch() -> onnx.ModelProto:
    inner = graph([constant(value=kept_in("inner.bin"))], [kept_in("deep.bin")])
    return helper.make_model(graph([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], []))


def in_a_function() -> onnx.ModelProto:
    opset = [helper.make_opsetid("", 17)]
    made = helper.make_function("own", "F", [], ["y"], [constant(value=kept_in("function.bin"))], opset)
    return helper.make_model(graph([helper.make_node("F", [], ["y"], domain="own")], []), functions=[made])


def in_training() -> onnx.ModelProto:
    model = helper.make_model(graph([], []))
    model.training_info.add().algorithm.CopyFrom(graph([], [kept_in("training.bin")]))
    return model


def in_sparse_weights() -> onnx.ModelProto:
    made = graph([], [])
    made.sparse_initializer.append(sparse("sparse.bin"))
    return helper.make_model(made)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (helper.make_model(graph([], [kept_in("b.bin"), kept_in("a.bin", "v"), kept_in("b.bin", "u")])),
         ("a.bin", "b.bin")),
        (helper.make_model(graph([constant(value=kept_in("constant.bin"))], [])), ("constant.bin",)),
        (helper.make_model(graph([constant(sparse_value=sparse("sparse.bin"))], [])), ("sparse.bin",)),
        (in_sparse_weights(), ("sparse.bin",)),
        (in_a_branch(), ("deep.bin", "inner.bin")),
        (in_a_function(), ("function.bin",)),
        (in_training(), ("training.bin",)),
        (helper.make_model(graph([], [numpy_helper.from_array(np.zeros(2, np.float32), "w")])), ()),
    ],
    ids=["weights", "constant", "sparse constant", "sparse weights", "branch", "function", "training", "none"],
)  # fmt: skip
def test_weights_outside_are_found_wherever_a_tensor_lies(
    tmp_path: Path, model: onnx.ModelProto, found: tuple[str]
) -> None:
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert locations(tmp_path / "model.onnx") == found


def test_a_place_noted_beside_a_tensors_own_data_is_not_where_it_lies(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.external_data.add(key="location", value="old.bin")
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph([], [tensor])).SerializeToString())
    assert locations(tmp_path / "model.onnx") == ()


def test_a_file_cut_anywhere_or_no_onnx_at_all_is_the_engines_to_refuse(tmp_path: Path) -> None:
    whole = in_a_branch().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert set(locations(path)) <= {"deep.bin", "inner.bin"}
    for other in (b"weights", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b\x0c"):
        path.write_bytes(other)
        assert locations(path) == ()
