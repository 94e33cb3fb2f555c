"""Two cards as they may be written, and what is said of others."""

import hashlib
from pathlib import Path

import pytest

from imaging.domain.tables import CardError
from imaging.models.reading import read_card

WEIGHTS = b"weights"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()

CHEST = f"""
card = 1
id = "chest-film"
version = "1.0.0"
name = "Chest film"
maker = "somebody"
licence = "Apache-2.0"
device_uid = "2.25.1"
status = "demonstration"
use = "Earlier reading of frontal adult films. Not a diagnosis."
not_for = ["children"]

[[input]]
role = "film"
modality = ["DX", "CR"]
images = "each"
sop_class = ["DigitalXRayImageStorageForPresentation", "ComputedRadiographyImageStorage"]
gate = [
  {{tag = "BodyPartExamined", any = ["CHEST", "THORAX"], absent = "doubt"}},
  {{tag = "PatientAge", min = 18, absent = "pass"}},
]

[[prepare]]
do = "resize"
shape = [224, 224]
aspect = "pad"
antialias = true

[[prepare]]
do = "zscore"

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{DIGEST}"
input = "x"
output = "y"
precision = "f32"
batch = 8
memory_mb = 250
seconds = 10

[[finding]]
channel = 0
activation = "sigmoid"
as = "label"
code = {{scheme = "99IMAGING", value = "abnormal", meaning = "Abnormal chest film"}}
calibration = {{kind = "platt", a = 0.83, b = -0.41, data = "out of fold"}}
threshold = 0.31
chosen = "sensitivity 0.90 on out-of-fold scores"

[[triage]]
when = {{finding = "abnormal", probability = ">=0.8"}}
class = "urgent"

[[evidence]]
finding = "abnormal"
auc = 0.7
ci95 = [0.6, 0.8]
sensitivity = 0.8
specificity = 0.7
anything_else = "is free"

[golden]
input = "golden/film.dcm"
output = "golden/expected.json"
tolerance = 1e-3
"""

HEAD = f"""
card = 1
id = "head"
version = "1.0.0"
name = "Head CT"
maker = "somebody"
licence = "Apache-2.0"
device_uid = "2.25.2"
status = "research"
use = "Tests."

[[input]]
role = "ct"
modality = ["CT"]
images = "best"
weighting = ""
gate = [{{tag = "BodyPartExamined", any = ["HEAD", "BRAIN"], absent = "doubt"}}]
slices = {{min = 12, max = 600}}
extent_mm = {{min = 100}}
max_gap_mm = 7.5
missing = "refuse"
contrast = "no"
prefer = ["axial", "kernel:soft", "thin"]

[[prepare]]
do = "orient"
to = "RAS"
[[prepare]]
do = "resample"
spacing = [1, 1, 2]
mode = "linear"
[[prepare]]
do = "window"
low = 0
high = 80

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{DIGEST}"
input = "x"
output = "y"
[engine.window]
roi = [96, 96, 48]
overlap = 0.25
blend = "gaussian"
batch = 2

[[finding]]
channel = 1
activation = "softmax"
as = "segment"
code = {{scheme = "SCT", value = "1386000", meaning = "Intracranial hemorrhage"}}
site = {{scheme = "SCT", value = "12738006", meaning = "Brain"}}
mask_at = 0.5
min_ml = 0.5
measure = ["volume_ml", "max_diameter_mm", "centroid", "mean_hu"]
present = {{volume_ml = ">=1.0"}}
probability = "max-component-mean"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "golden").mkdir(parents=True)
    for name in ("golden/film.dcm", "golden/expected.json"):
        (folder / name).touch()
    (folder / "itself").symlink_to("itself")
    (folder / "model.onnx").write_bytes(WEIGHTS)
    (folder / "card.toml").write_text(text)
    return folder


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(CardError) as error:
        read_card(written(tmp_path / "model", text))
    path = tmp_path / "model" / "card.toml"
    assert all(line.startswith(f"{path}: ") for line in error.value.faults)
    return [line.removeprefix(f"{path}: ") for line in error.value.faults]
