"""A model of a real network's size: DenseNet-121 with random weights, 14 findings, under a card.

python -m benchmarks.model DIR           writes DIR/bench-densenet121, to be served with --models DIR
python -m benchmarks.model DIR --tiny    a network of four layers, for tests

What it says of a film means nothing; what it costs is what a real one costs. Needs the package onnx, which the [test]
extra brings.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.uids import derived_uid

ID: Final = "bench-densenet121"
SIDE: Final = 224
GROWTH, BOTTLENECK, STEM = 32, 128, 64
BLOCKS: Final = (6, 12, 24, 16)
"""Layers of each block (Huang et al. 2017, table 1)."""
TINY_BLOCKS: Final = (1, 1, 1, 1)

FINDINGS: Final = (
    ("SCT", "46621007", "Atelectasis"),
    ("99IMAGING", "cardiomegaly", "Cardiomegaly"),
    ("SCT", "60046008", "Pleural effusion"),
    ("DCM", "112121", "Infiltrate"),
    ("SCT", "4147007", "Mass"),
    ("SCT", "27925004", "Nodule"),
    ("SCT", "233604007", "Pneumonia"),
    ("SCT", "36118008", "Pneumothorax"),
    ("SCT", "9656002", "Consolidation"),
    ("SCT", "19242006", "Pulmonary edema"),
    ("SCT", "87433001", "Pulmonary emphysema"),
    ("SCT", "112674009", "Fibrosis"),
    ("99IMAGING", "pleural-thick", "Pleural thickening"),
    ("99IMAGING", "hernia", "Hernia"),
)

CARD: Final = """card = 1
id = "{id}"
version = "1.0.0"
name = "Benchmark network, random weights"
maker = "imaging"
licence = "Apache-2.0"
device_uid = "{device}"
status = "demonstration"
use = "Measuring speed. Its findings mean nothing."
not_for = []

[[input]]
role = "film"
modality = ["DX", "CR"]
images = "each"
sop_class = ["DigitalXRayImageStorageForPresentation", "ComputedRadiographyImageStorage"]
gate = [{{tag = "BodyPartExamined", any = ["CHEST", "THORAX"], absent = "refuse"}}]

[[prepare]]
do = "resize"
shape = [{side}, {side}]
aspect = "pad"
antialias = true

[[prepare]]
do = "zscore"

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{digest}"
input = "image"
output = "probability"
precision = "f32"
batch = 8
memory_mb = 400
seconds = 30
"""

FINDING: Final = """
[[finding]]
channel = {channel}
activation = "none"
as = "label"
code = {{scheme = "{scheme}", value = "{value}", meaning = "{meaning}"}}
threshold = 0.5
"""


class _Graph:
    """Nodes and weights as they are added; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(121)

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, values: NDArray[np.float64]) -> str:
        from onnx import numpy_helper

        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, channels: int, out: int, size: int, stride: int = 1) -> str:
        """A convolution whose random weights keep the variance (He et al. 2015), so that no layer goes to zero."""
        kernel = self._random.normal(0, (2 / (channels * size * size)) ** 0.5, (out, channels, size, size))
        pads = [size // 2] * 4
        return self.add("Conv", x, self.weight(kernel), kernel_shape=[size, size], strides=[stride] * 2, pads=pads)

    def norm_relu(self, x: str, channels: int) -> str:
        scale, shift, mean, variance = (self.weight(np.full(channels, each)) for each in (1.0, 0.0, 0.0, 1.0))
        return self.add("Relu", self.add("BatchNormalization", x, scale, shift, mean, variance))

    def layer(self, x: str, channels: int) -> str:
        """A dense layer: what it makes is put behind what it was given."""
        narrow = self.conv(self.norm_relu(x, channels), channels, BOTTLENECK, 1)
        made = self.conv(self.norm_relu(narrow, BOTTLENECK), BOTTLENECK, GROWTH, 3)
        return self.add("Concat", x, made, axis=1)

    def dense(self, x: str, channels: int, weights: NDArray[np.float64]) -> str:
        flat = self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.add("Gemm", flat, self.weight(weights), self.weight(np.zeros(weights.shape[1])))


def densenet(blocks: Sequence[int], findings: int) -> Any:
    """The network as an ONNX model: float32 `image` (batch, 1, 224, 224) to `probability` (batch, findings)."""
    from onnx import TensorProto, checker, helper

    graph, channels = _Graph(), STEM
    x = graph.norm_relu(graph.conv("image", 1, STEM, 7, 2), STEM)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for number, layers in enumerate(blocks):
        for _ in range(layers):
            x, channels = graph.layer(x, channels), channels + GROWTH
        x = graph.norm_relu(x, channels)
        if number < len(blocks) - 1:
            x = graph.conv(x, channels, channels // 2, 1)
            x, channels = graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), channels // 2
    head = np.random.default_rng(14).normal(0, 0.02, (channels, findings))
    graph.add("Sigmoid", graph.dense(x, channels, head), output="probability")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", findings])
    made = helper.make_graph(graph.nodes, "densenet", [image], [output], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def write(folder: Path, blocks: Sequence[int] = BLOCKS) -> Path:
    """Writes network and card under `folder`; returns the model's own folder."""
    made = folder / ID
    made.mkdir(parents=True, exist_ok=True)
    weights = densenet(blocks, len(FINDINGS)).SerializeToString()
    (made / "model.onnx").write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    card = CARD.format(id=ID, device=derived_uid("device", ID, digest), side=SIDE, digest=digest)
    for channel, (scheme, value, meaning) in enumerate(FINDINGS):
        card += FINDING.format(channel=channel, scheme=scheme, value=value, meaning=meaning)
    (made / "card.toml").write_text(card)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--tiny", action="store_true", help="four layers instead of 58, for tests")
    arguments = parser.parse_args()
    try:
        print(write(arguments.folder, TINY_BLOCKS if arguments.tiny else BLOCKS))
    except ImportError:
        print("the package onnx is missing: pip install -e '.[test]'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
