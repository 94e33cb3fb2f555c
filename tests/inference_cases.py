"""Studies, cards and networks that the tests of inference share: drawn here, so that each value is known."""

import hashlib
import json
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from imaging.domain.card import (
    Card,
    Engine,
    FilmInput,
    LabelSpec,
    SegmentSpec,
    Step,
    TriageRule,
    VolumeInput,
    Window,
)
from imaging.domain.codes import Code
from imaging.domain.findings import TriageClass
from imaging.domain.gates import Scope, Verdict
from imaging.domain.source import Source
from imaging.encoding.headers import read_header
from imaging.inference.acquisitions import read_study
from imaging.inference.volume import Volume

CT, MR, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.1.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def shared(name: str) -> Path:
    """A folder of the shared data beside the checkout; the test is skipped, or fails under REQUIRE_PEERS, without."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / name).exists():
            return parent / "shared" / "data" / name
    if os.environ.get("REQUIRE_PEERS"):
        pytest.fail(f"shared/data/{name} is not beside the checkout")
    pytest.skip(f"shared/data/{name} is not beside the checkout")


def source_of(path: Path) -> Source:
    raw = path.read_bytes()
    meta = pydicom.dcmread(BytesIO(raw), stop_before_pixels=True, specific_tags=[]).file_meta
    return Source(path, read_header(raw[144 + meta.FileMetaInformationGroupLength :], str(meta.TransferSyntaxUID)))


def read_volume(sources: Sequence[Source], card_input: VolumeInput, threads: int = 1) -> Volume:
    """The first stack that is read of these instances."""
    data = {each.header.sop_instance_uid: Verdict(Scope.IN) for each in sources}
    return read_study(sources, card_input, data, 1 << 31, threads).acquired[0].parts[0].volume


def sources_in(folder: Path) -> list[Source]:
    return [source_of(path) for path in sorted(folder.glob("*.dcm"))]


def write_film(path: Path, pixels: np.ndarray, **elements: Any) -> Source:
    """A DX film, 12 of 16 bits."""
    dataset = _dataset(DX, "DX", pixels, **elements)
    dataset.BodyPartExamined = elements.get("BodyPartExamined", "CHEST")
    return _saved(dataset, path)


def write_series(
    folder: Path,
    values: np.ndarray,
    along: Sequence[float] | np.ndarray,
    *,
    orientation: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    start: Sequence[float] = (-20.0, -30.0, 5.0),
    spacing: tuple[float, float] = (0.8, 0.6),
    modality: str = "CT",
    **elements: Any,
) -> list[Source]:
    """A series of slices, (slices, rows, columns) in Hounsfield units, at `start + along * step` (default: normal).

    The very first voxel of a CT is air: one without any is in units that nobody knows.
    """
    if modality == "CT" and values.min() == 0:
        values = values.copy()
        values[0, 0, 0] = -1024
    normal = np.cross(orientation[:3], orientation[3:])
    direction = np.array(step if step is not None else normal, float)
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for at, (plane, distance) in enumerate(zip(values, along, strict=True)):
        dataset = _dataset(CT if modality == "CT" else MR, modality, (plane + 1024).astype(np.uint16))
        place = np.array(start) + distance * direction
        dataset.ImagePositionPatient = [f"{each:.8f}"[:16] for each in place]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.PixelSpacing = list(spacing)
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
        dataset.InstanceNumber = 100 - at  # the wrong way round: nobody may ask it
        dataset.FrameOfReferenceUID = "1.2.3.4"
        dataset.BodyPartExamined = "HEAD"
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        sources.append(_saved(dataset, folder / f"{at:03d}.dcm"))
    return sources


def _dataset(sop_class: str, modality: str, pixels: np.ndarray, **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, pydicom.uid.generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.Modality, dataset.PatientID = modality, "P1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.astype("<i2" if dataset.PixelRepresentation else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _saved(dataset: Dataset, path: Path) -> Source:
    dataset.save_as(path, enforce_file_format=True)
    return source_of(path)


def sheared_box(
    orientation: Sequence[float],
    along: Sequence[float] | np.ndarray,
    shape: tuple[int, int],
    spacing: tuple[float, float],
    centre: tuple[float, float, float],
    side: float,
) -> tuple[np.ndarray, np.ndarray]:
    """A cube of 1000 HU in a patient, as tilted slices from (-20, -25, 0) upward see it; and its centre."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    down, across = np.meshgrid(np.arange(shape[0]) * spacing[0], np.arange(shape[1]) * spacing[1], indexing="ij")
    planes = []
    for distance in along:
        start = np.array([-20.0, -25.0, 0.0]) + distance * np.array([0.0, 0.0, 1.0])
        place = start + across[..., None] * row + down[..., None] * column
        planes.append(np.where((np.abs(place - np.array(centre)) <= side / 2).all(axis=-1), 1000, 0))
    return np.stack(planes), np.array(centre)


# Networks ----------------------------------------------------------------------------------------------------


def write_film_network(folder: Path, channels: int = 2, batch: int | str = "n", factor: float = 1.0) -> str:
    """x (n, 1, 32, 32) to y (n, channels): logit of channel k is (k + 1) `factor` times the mean of the square of x."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("GlobalAveragePool", ["square"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "factors"], ["y"]),
    ]
    factors = numpy_helper.from_array(factor * np.arange(1, channels + 1, dtype=np.float32)[None], "factors")
    return _save_network(folder, nodes, [factors], [batch, 1, 32, 32], [batch, channels])


def write_threshold_network(folder: Path, at: float = 0.5) -> str:
    """x (n, 1, d, h, w) to y (n, 2, d, h, w): the softmax of channel 1 is above one half where x is above `at`."""
    nodes = [
        helper.make_node("Sub", ["x", "at"], ["over"]),
        helper.make_node("Mul", ["over", "steep"], ["bleed"]),
        helper.make_node("Neg", ["bleed"], ["clean"]),
        helper.make_node("Concat", ["clean", "bleed"], ["y"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.array(at, np.float32), "at"),
        numpy_helper.from_array(np.array(8, np.float32), "steep"),
    ]
    return _save_network(folder, nodes, weights, ["n", 1, "d", "h", "w"], ["n", 2, "d", "h", "w"])


def _save_network(folder: Path, nodes: list[Any], weights: list[Any], shape: list[Any], out: list[Any]) -> str:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


# Cards -------------------------------------------------------------------------------------------------------


def film_card(folder: Path, **changes: Any) -> Card:
    sha256 = write_film_network(folder)
    findings = (
        LabelSpec(0, Code("99IMAGING", "one", "One"), threshold=0.6),
        LabelSpec(1, Code("99IMAGING", "two", "Two"), threshold=0.99),
    )
    return _card(
        folder,
        inputs=(FilmInput("film", ("DX", "CR")),),
        prepare=(Step("resize", {"shape": (32, 32), "aspect": "stretch"}), Step("zscore", {})),
        engine=Engine("onnx", "model.onnx", sha256, {"film": "x"}, ("y",), batch=4),
        findings=changes.pop("findings", findings),
        triage=(TriageRule("one", 0.7, TriageClass.URGENT), TriageRule("two", 0.0, TriageClass.STAT)),
        **changes,
    )


def volume_card(folder: Path, **changes: Any) -> Card:
    """Finds what is brighter than 40 HU."""
    finding = SegmentSpec(
        1,
        Code("SCT", "1386000", "Intracranial hemorrhage"),
        activation="softmax",
        min_ml=0.05,
        measure=("volume_ml", "max_diameter_mm", "centroid", "mean_hu"),
        present={"volume_ml": 0.1},
        probability="max-component-mean",
    )
    defaults: dict[str, Any] = {
        "inputs": (VolumeInput("ct", ("CT",), slices=(3, 600), max_gap_mm=8.0),),
        "prepare": (
            Step("orient", {"to": "SAR"}),
            Step("resample", {"spacing": (2.0, 1.0, 1.0), "mode": "linear"}),
            Step("window", {"low": 0.0, "high": 80.0}),
        ),
        "engine": Engine(
            "onnx",
            "model.onnx",
            write_threshold_network(folder),
            {"ct": "x"},
            ("y",),
            window=Window((8, 16, 16), batch=3),
        ),
        "findings": (finding,),
        "triage": (TriageRule("1386000", 0.5, TriageClass.STAT),),
    }
    return _card(folder, **{**defaults, **changes})


def _card(folder: Path, **parts: Any) -> Card:
    fixed: dict[str, Any] = {
        "id": folder.name,
        "version": "1",
        "name": "small",
        "maker": "tests",
        "licence": "Apache-2.0",
        "device_uid": "2.25.1",
        "status": "demonstration",
        "use": "tests",
        "not_for": (),
        "evidence": tuple(
            {
                "finding": each.code.value,
                "auc": 1.0,
                "ci95": [0.9, 1.0],
                "sensitivity": 1.0,
                "specificity": 0.9,
                "data": "synthetic: as the tests want it",
            }
            for each in parts["findings"]
        ),
        "golden": None,
        "folder": folder,
        "digest": "0" * 64,
    }
    return Card(**{**fixed, **parts})


def answer(outcome: Any) -> str:
    """An outcome without its timings, as one text that two runs must share."""
    return json.dumps(
        [
            str(outcome.state),
            outcome.why,
            str(outcome.flag),
            [[repr(each)] for each in outcome.findings],
            [repr(each) for each in outcome.images],
            dict(outcome.facts),
        ]
    )
