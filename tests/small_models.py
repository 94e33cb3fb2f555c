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


def write_network(
    folder: Path, nodes: list[Any], weights: list[Any], shape: list[Any], out: list[Any] | dict[str, list[Any]]
) -> str:
    """Writes a network of x of a shape to y of another, or to outputs of these. Returns its digest."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    shapes = out if isinstance(out, dict) else {"y": out}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, each) for name, each in shapes.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


BOXES = """
[[finding]]
as = "boxes"
code = {{scheme = "SCT", value = "27925004", meaning = "Nodule"}}
outputs = {{boxes = "boxes", scores = "scores"}}
decode = {{format = "{format}", axes = "{axes}", score = "none", score_min = 0.02, nms = 0.22, top = 100}}
present = {{score = ">=0.5"}}
[[triage]]
when = {{finding = "27925004", probability = ">=0.9"}}
class = "urgent"
"""


OTHERS = """
[[finding]]
as = "label"
output = "mean"
channel = 0
activation = "none"
threshold = 0.05
code = {scheme = "99IMAGING", value = "bright", meaning = "Bright on the whole"}

[[finding]]
as = "number"
output = "mean"
channel = 0
factor = 240
unit = "mo"
range = [0, 240]
code = {scheme = "99IMAGING", value = "age", meaning = "Bone age"}

[[finding]]
as = "number"
output = "mean"
channel = 0
factor = 100
unit = "%"
range = [0, 100]
present = {value = "<=90"}
code = {scheme = "99IMAGING", value = "fraction", meaning = "Fraction"}
"""
OUTLINE = """
[[finding]]
as = "segment"
output = "map"
channel = 0
activation = "none"
measure = ["area_mm2", "max_diameter_mm"]
probability = "max-component-mean"
code = {scheme = "99IMAGING", value = "outline", meaning = "Outline"}
"""


def write_placed(folder: Path) -> Path:
    """A folder to serve: `film-places` and `volume-places` answer with boxes, a label and two numbers, films with an
    outline as well.
    """
    for name, text, axes in (("film-places", FILM, 2), ("volume-places", VOLUME, 3)):
        sha256 = write_detector(folder / name, axes, at=0.5)
        head, own = without_finding(text).format(sha256=sha256), OUTLINE if axes == 2 else ""
        head = head.replace('do = "zscore"', 'do = "scale"\nfactor = 1\noffset = 0')
        boxes = BOXES.format(format="xyxy" if axes == 2 else "xyzxyz", axes="yx" if axes == 2 else "zyx")
        write_card(
            folder / name, (head + boxes + OTHERS + own).replace("{", "{{").replace("}", "}}"), axes + 10, sha256
        )
    return folder


def without_finding(text: str) -> str:
    """FILM or VOLUME up to its engine, whose output is then what a finding names."""
    return text.partition("[[finding]]")[0].replace('output = "y"\n', "").partition("[engine.window]")[0]


def write_detector(
    folder: Path, axes: int, at: float = 0.5, *, order: str = "", has_batch: bool = True, size: int = 0
) -> str:
    """x (n, 1, sizes) to boxes (n, 1, 2 * axes) and scores (n, 1): around all that is more than `at`, from edge to edge
    in pixels with centres at whole numbers; its score is the greatest x. `order`: of the array's axes in the box, by
    number, all low ends first; by default as they are. Also x itself as map, and its mean, (n, 1). `size`: fixed.
    """
    nodes = [
        helper.make_node("Greater", ["x", "at"], ["over"]),
        helper.make_node("Cast", ["over"], ["mask"], to=TensorProto.FLOAT),
    ]
    for axis in range(axes):
        others = [1, *(2 + each for each in range(axes) if each != axis)]
        nodes.append(helper.make_node("ReduceMax", ["mask"], [f"line{axis}"], axes=others, keepdims=0))
        for name, last, half in (("low", 0, "minus"), ("high", 1, "plus")):
            whole, end = f"{name}_at{axis}", f"{name}{axis}"
            nodes.append(helper.make_node("ArgMax", [f"line{axis}"], [whole], axis=1, select_last_index=last))
            nodes.append(helper.make_node("Cast", [whole], [f"{end}_float"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Add", [f"{end}_float", half], [end]))
    ends = [f"{name}{axis}" for name in ("low", "high") for axis in (order or "012"[:axes])]
    nodes.append(helper.make_node("Identity", ["x"], ["map"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["x"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["mean"]))
    greatest = [helper.make_node("ReduceMax", ["x"], ["greatest"], axes=list(range(1, 2 + axes)), keepdims=0)]
    nodes += [helper.make_node("Concat", ends, ["rows"], axis=1), *greatest]
    if has_batch:
        nodes.append(helper.make_node("Unsqueeze", ["rows", "one"], ["boxes"]))
        nodes.append(helper.make_node("Unsqueeze", ["greatest", "one"], ["scores"]))
    else:
        nodes.append(helper.make_node("Identity", ["rows"], ["boxes"]))
        nodes.append(helper.make_node("Identity", ["greatest"], ["scores"]))
    numbers = {"at": at, "minus": -0.5, "plus": 0.5}
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()]
    weights += [numpy_helper.from_array(np.array([1], np.int64), "one")] if has_batch else []
    batch = ["n"] if has_batch else []
    sizes = ["n", 1, *([size] * axes if size else "dhw"[3 - axes :])]
    out: dict[str, list[Any]] = {"boxes": [*batch, "boxes", 2 * axes], "scores": [*batch, "boxes"]}
    out |= {"map": sizes, "mean": ["n", 1]}
    return write_network(folder, nodes, weights, sizes, out)


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
