"""A MONAI bundle as it was published, from adding it to its report in the PACS."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from added_models import filled_in
from bundles import balance, need_monai, parser, published, save_weights
from peers import Node, Orthanc, eventually, imaging, imaging_json, program
from pydicom import dcmread
from pydicom.dataset import Dataset

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


def volume_in(dataset: Dataset) -> float:
    """The only volume of a report, in ml."""
    (found,) = (
        float(each.MeasuredValueSequence[0].NumericValue)
        for each in items(dataset)
        if "MeasuredValueSequence" in each and each.ConceptNameCodeSequence[0].CodeValue == "118565006"
    )
    return found


def items(dataset: Dataset) -> list[Dataset]:
    """All items of a report's tree."""
    inner = list(dataset.get("ContentSequence") or [])
    return [*inner, *(each for item in inner for each in items(item))]
