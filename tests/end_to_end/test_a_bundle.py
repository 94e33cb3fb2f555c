"""A MONAI bundle as it was published, from adding it to its report in the PACS."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from added_models import filled_in
from bundles import BRATS, balance, brats, changed, need_monai, parser, published, save_weights
from inference_cases import write_series
from peers import Node, Orthanc, eventually, imaging, imaging_json, program
from pydicom import dcmread
from pydicom.dataset import Dataset

from imaging.phantoms.head import draw_head
from imaging.phantoms.study import head_study


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder to which the spleen bundle was added, its weights drawn by a seed; its card takes heads, and is live."""
    need_monai()
    import torch

    torch.manual_seed(3)
    bundle = published("spleen_ct_segmentation", tmp_path / "downloads")
    network = parser(bundle).get_parsed_content("network_def")
    balance(network, torch.rand(1, 1, 48, 48, 48), [0.5, 0.5])
    save_weights(bundle, network)
    added = imaging_json("models", "add", str(bundle), "--to", str(tmp_path / "models"), "--id", "spleen", "--json")
    card = filled_in(added, gate='gate = [{tag = "BodyPartExamined", any = ["HEAD"], absent = "refuse"}]')
    card.write_text(card.read_text().replace('mode = "shadow"', 'mode = "live"'))
    return tmp_path / "models"


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A small head CT: one patch."""
    folder = tmp_path / "series"
    folder.mkdir()
    for number, image in enumerate(small(head_study(1, True, datetime(2026, 1, 1), slices=24, size=64).instances)):
        image.save_as(folder / f"{number:02d}.dcm", enforce_file_format=True)
    return folder


def small(images: tuple[Dataset, ...]) -> tuple[Dataset, ...]:
    """Half as large in the plane as they were."""
    for image in images:
        image.PixelSpacing = [float(each) / 2 for each in image.PixelSpacing]
    return images


@pytest.mark.filterwarnings("ignore")
def test_a_bundle_runs_from_add_to_the_report_in_the_pacs(
    serve: Callable[..., Node], pacs: Orthanc, models: Path, series: Path, tmp_path: Path
) -> None:
    made = imaging("models", "golden", "spleen", str(series), "--models", str(models))
    assert made.returncode == 0, made.stderr
    assert "spleen: as expected" in imaging("models", "check", "--models", str(models)).stdout

    (study,) = imaging_json("analyse", str(series), "--models", str(models), "--json")["studies"]
    (result,) = study["results"]
    (finding,) = result["findings"]
    assert (result["model"], result["version"], result["state"]) == ("spleen", "0.5.9", "analysed")
    volume = finding["measurements"][0]["value"]
    assert volume > 10

    node = serve("--deliver-to", f"PACS={pacs.address}", "--models", str(models))
    shutil.copytree(series, tmp_path / "sent")
    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), "+sd", str(tmp_path / "sent")]
    subprocess.run(command, check=True, capture_output=True)
    (report,) = eventually(lambda: pacs.instances("SR"), seconds=180, what="the report in Orthanc")
    (tmp_path / "report.dcm").write_bytes(pacs.file(report))
    assert volume == pytest.approx(volume_in(dcmread(tmp_path / "report.dcm")))
    assert node.stop() == 0


@pytest.mark.filterwarnings("ignore")
def test_four_series_of_one_study_become_one_report_in_the_pacs(
    serve: Callable[..., Node], pacs: Orthanc, tmp_path: Path
) -> None:
    need_monai()
    import torch

    torch.manual_seed(5)
    bundle = published("brats_mri_segmentation", tmp_path / "downloads")
    changed(bundle, brats)
    network = parser(bundle).get_parsed_content("network_def")
    balance(network, torch.randn(1, 4, 32, 32, 16), [0.5] * 3)
    save_weights(bundle, network)
    models = tmp_path / "models"
    added = imaging_json("models", "add", str(bundle), "--to", str(models), "--id", "brats", "--json")
    card = filled_in(added, gate='gate = [{tag = "BodyPartExamined", any = ["HEAD"], absent = "refuse"}]')
    card.write_text(card.read_text().replace('mode = "shadow"', 'mode = "live"'))
    head = np.clip(draw_head(1, True, 24, 256).values[:, 80:176, 80:176] + 1000, 0, None).astype(np.int16)
    for number, (role, elements) in enumerate(BRATS.items()):
        how: dict[str, Any] = {"spacing": (0.9, 0.9), "modality": "MR", "SeriesInstanceUID": f"1.2.3.{number}"}
        values = (head * (1 - number / 10)).astype(np.int16)
        write_series(tmp_path / "study" / role, values, 5.0 * np.arange(len(values)), **how, **elements)

    (study,) = imaging_json("analyse", str(tmp_path / "study"), "--models", str(models), "--json")["studies"]
    (result,) = study["results"]
    assert (result["state"], result["images"]["used"]) == ("analysed", 4 * len(head))
    wanted = [finding["measurements"][0]["value"] for finding in result["findings"]]
    assert len(wanted) == 3
    assert min(wanted) > 10

    node = serve("--deliver-to", f"PACS={pacs.address}", "--models", str(models))
    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), "+sd", "+r", str(tmp_path / "study")]
    subprocess.run(command, check=True, capture_output=True)
    (report,) = eventually(lambda: pacs.instances("SR"), seconds=180, what="the report in Orthanc")
    (tmp_path / "report.dcm").write_bytes(pacs.file(report))
    assert volumes_in(dcmread(tmp_path / "report.dcm")) == pytest.approx(wanted)
    assert node.stop() == 0


def volume_in(dataset: Dataset) -> float:
    """The only volume of a report, in ml."""
    (found,) = volumes_in(dataset)
    return found


def volumes_in(dataset: Dataset) -> list[float]:
    """The volumes of a report in its order, in ml."""
    return [
        float(each.MeasuredValueSequence[0].NumericValue)
        for each in items(dataset)
        if "MeasuredValueSequence" in each and each.ConceptNameCodeSequence[0].CodeValue == "118565006"
    ]


def items(dataset: Dataset) -> list[Dataset]:
    """All items of a report's tree."""
    inner = list(dataset.get("ContentSequence") or [])
    return [*inner, *(each for item in inner for each in items(item))]
