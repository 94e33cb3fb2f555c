"""Models that cost nothing, under cards that take almost everything: for tests of what is around a model."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CARD = """card = 1
id = "{name}"
version = "1"
name = "{name}"
maker = "tests"
licence = "Apache-2.0"
device_uid = "2.25.{number}"
status = "demonstration"
use = "Tests. Its findings mean nothing."
"""

FILM = """
[[input]]
role = "film"
modality = ["DX", "CR"]
images = "each"

[[prepare]]
do = "resize"
shape = [32, 32]
aspect = "stretch"
[[prepare]]
do = "zscore"

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{sha256}"
input = "x"
output = "y"
batch = 4
memory_mb = 200
seconds = 10

[[finding]]
channel = 0
as = "label"
code = {{scheme = "99IMAGING", value = "abnormal", meaning = "Abnormal film"}}
threshold = 0.6
[[triage]]
when = {{finding = "abnormal", probability = ">=0.7"}}
class = "urgent"
[[evidence]]
finding = "abnormal"
auc = 1.0
ci95 = [0.9, 1.0]
sensitivity = 1.0
specificity = 0.9
data = "synthetic: as the tests want it"
"""

VOLUME = """
[[input]]
role = "volume"
modality = ["CT", "MR"]
images = "best"
slices = {{min = 3, max = 600}}
max_gap_mm = 20

[[prepare]]
do = "orient"
to = "SAR"
[[prepare]]
do = "resample"
spacing = [4, 4, 4]
mode = "linear"
[[prepare]]
do = "window"
low = 0
high = 80

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{sha256}"
input = "x"
output = "y"
memory_mb = 400
seconds = 10
[engine.window]
roi = [8, 16, 16]
overlap = 0.25
blend = "constant"
batch = 4

[[finding]]
channel = 1
activation = "softmax"
as = "segment"
code = {{scheme = "SCT", value = "1386000", meaning = "Intracranial hemorrhage"}}
min_ml = 0.5
measure = ["volume_ml"]
present = {{volume_ml = ">=1.0"}}
probability = "max-component-mean"
"""


def write_models(folder: Path) -> Path:
    """A folder to serve by `--models`: `small-film` takes DX and CR, `small-volume` CT and MR."""
    write_card(folder / "small-film", FILM, 1, _film_network(folder / "small-film"))
    write_card(folder / "small-volume", VOLUME, 2, _volume_network(folder / "small-volume"))
    return folder


def write_card(folder: Path, text: str, number: int, sha256: str) -> None:
    """Writes the card of a model whose network has that digest: `text` is FILM or VOLUME, or like them."""
    (folder / "card.toml").write_text(CARD.format(name=folder.name, number=number) + text.format(sha256=sha256))


def _film_network(folder: Path) -> str:
    """x (n, 1, 32, 32) to y (n, 1): the mean of the square, which is 1."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("GlobalAveragePool", ["square"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    return write_network(folder, nodes, [], ["n", 1, 32, 32], ["n", 1])


def _volume_network(folder: Path) -> str:
    """x (n, 1, d, h, w) to y (n, 2, d, h, w): the softmax of channel 1 is above one half where x is."""
    nodes = [
        helper.make_node("Sub", ["x", "at"], ["over"]),
        helper.make_node("Neg", ["over"], ["under"]),
        helper.make_node("Concat", ["under", "over"], ["y"], axis=1),
    ]
    return write_network(
        folder,
        nodes,
        [numpy_helper.from_array(np.array(0.5, np.float32), "at")],
        ["n", 1, "d", "h", "w"],
        ["n", 2, "d", "h", "w"],
    )


def write_network(folder: Path, nodes: list[Any], weights: list[Any], shape: list[Any], out: list[Any]) -> str:
    """Writes a network of x of a shape to y of another. Returns its digest."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


def write_beside(folder: Path, bias: float = -3.0, location: str = "model.bin") -> Path:
    """A film model that keeps its weights in another file: its logit is `bias`, whatever the film shows."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "nothing"], ["gone"]),
        helper.make_node("Add", ["gone", "bias"], ["y"]),
    ]
    weights = [numpy_helper.from_array(np.full((1, 1), value, np.float32), name)
               for name, value in (("nothing", 0.0), ("bias", bias))]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / location
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_bytes(b"".join(each.raw_data for each in weights))
    for at, each in enumerate(weights):
        each.ClearField("raw_data")
        each.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(4 * at)), ("length", "4")):
            each.external_data.add(key=key, value=value)
    sha256 = write_network(folder, nodes, weights, ["n", 1, 32, 32], ["n", 1])
    write_card(folder, FILM, 4, sha256)
    return folder
