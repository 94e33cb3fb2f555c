"""Boxes, outlines, numbers and labels of volumes, from the check of their cards to accepted reports in the PACS."""

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from peers import ROOT, Node, Orthanc, eventually, imaging, imaging_json, program
from pydicom import dcmread
from pydicom.dataset import Dataset
from small_models import write_placed
from validators import complaints

from imaging.phantoms.study import film_study, head_study

CHECK_SR = ROOT.parent / "shared" / "tools" / "check_sr"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_placed(tmp_path / "models")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A film with the size of its pixels at the detector, and a head."""
    folder = tmp_path / "studies"
    folder.mkdir()
    (film,) = film_study(3, frozenset({"effusion"}), datetime(2026, 1, 1, tzinfo=UTC), rows=256, columns=256).instances
    film.ImagerPixelSpacing = [1.4, 1.4]
    head = head_study(1, True, datetime(2026, 1, 1, tzinfo=UTC), slices=14, size=64).instances
    for number, image in enumerate([film, *head]):
        image.save_as(folder / f"{number:02d}.dcm", enforce_file_format=True)
    return folder


def test_what_has_a_place_or_a_unit_goes_from_the_card_to_an_accepted_report(
    serve: Callable[..., Node], pacs: Orthanc, models: Path, studies: Path, tmp_path: Path
) -> None:
    listed = imaging("models", "list", "--models", str(models))
    assert (listed.returncode, "disabled" in listed.stdout) == (0, False), listed.stdout
    results = [
        result
        for study in imaging_json("analyse", str(studies), "--models", str(models), "--json")["studies"]
        for result in study["results"]
    ]
    answers = {result["model"]: {each["code"]: each for each in result["findings"]} for result in results}
    film, head = answers["film-places"], answers["volume-places"]
    assert film["27925004"]["places"][0]["score"] == film["27925004"]["probability"]
    assert len(head["27925004"]["places"][0]["corners_mm"]) == 8
    assert [each["unit"] for each in film["outline"]["measurements"]] == ["mm2", "mm"]
    assert film["outline"]["places"]
    for found in (film, head):
        assert (found["age"]["present"], found["age"]["measured_only"]) == (None, True)
        assert (found["age"]["measurements"][0]["unit"], found["fraction"]["present"]) == ("mo", True)
        assert found["bright"]["probability"] == pytest.approx(found["age"]["measurements"][0]["value"] / 240, abs=1e-4)
    in_words = imaging("analyse", str(studies), "--models", str(models)).stdout
    assert "Bone age: measured" in in_words
    assert "place 1: score" in in_words

    node = serve("--deliver-to", f"PACS={pacs.address}", "--models", str(models), "--film-quiet-s", "0.2")
    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), "+sd", str(studies)]
    subprocess.run(command, check=True, capture_output=True)
    eventually(lambda: len(pacs.instances("SR")) == 2, seconds=120, what="a report of each study in Orthanc")
    files = []
    for number, instance in enumerate(pacs.instances("SR")):
        files.append(tmp_path / f"sr{number}.dcm")
        files[-1].write_bytes(pacs.file(instance))
    assert [complaint for file in files for complaint in complaints(file)] == []
    if CHECK_SR.is_file():
        command = [sys.executable, str(CHECK_SR), "--require-all", *map(str, files)]
        verdict = subprocess.run(command, capture_output=True, text=True, check=False)
        assert verdict.returncode == 0, verdict.stdout
    for file in files:
        report = dcmread(file)
        found = film if "film-places" in str(report) else head
        months = numbers(report, "age")
        assert months == [("mo", pytest.approx(found["age"]["measurements"][0]["value"], rel=1e-4))]
        assert numbers(report, "246205007") == [("1", len(found["27925004"]["places"]))]
        assert any(text.startswith("Nodule: số vị trí: 1.") for text in texts(report))
        assert len(results_of(report)) == len(found) - 1  # a number that is only measured is neither present nor absent
    pages = [page(node, f"study/{number}?lang=en") for number in (1, 2)]
    (of_film,), (of_head,) = ([each for each in pages if model in each] for model in ("film-places", "volume-places"))
    left, top, right, bottom = film["27925004"]["places"][0]["box"]
    assert re.search(rf"columns {left:.0f}–{right:.0f}, rows {top:.0f}–{bottom:.0f}", of_film)
    assert re.search(r"at [-0-9]+ [-0-9]+ [-0-9]+ mm \(LPS\), on [0-9]+ images", of_head)
    assert "measured" in of_film
    assert "Bone age" in page(node, "?lang=en")
    assert node.stop() == 0


def test_the_golden_case_of_a_detector_holds_its_boxes_and_numbers(models: Path, studies: Path) -> None:
    (studies / "00.dcm").rename(models / "film.dcm")
    (models / "film").mkdir()
    shutil.move(models / "film.dcm", models / "film" / "00.dcm")
    for model, study in (("film-places", models / "film"), ("volume-places", studies)):
        made = imaging("models", "golden", model, str(study), "--models", str(models / model))
        assert made.returncode == 0, made.stderr
        path = models / model / "golden" / "expected.json"
        assert '"boxes"' in path.read_text()
        path.write_text(path.read_text().replace('"values": [\n        ', '"values": [\n        9'))
        checked = imaging("models", "check", "--models", str(models / model))
        assert checked.returncode == 1
        assert "age: values[0] is" in checked.stdout


def page(node: Node, path: str) -> str:
    with urllib.request.urlopen(f"{node.url.rstrip('/')}/{path}", timeout=10) as answer:
        return str(answer.read().decode())


def items(dataset: Dataset) -> list[Dataset]:
    """All items of a report's tree."""
    inner = list(dataset.get("ContentSequence") or [])
    return [*inner, *(each for item in inner for each in items(item))]


def numbers(report: Dataset, code: str) -> list[Any]:
    found = [
        each.MeasuredValueSequence[0]
        for each in items(report)
        if named(each) == code and "MeasuredValueSequence" in each
    ]
    return [(each.MeasurementUnitsCodeSequence[0].CodeValue, float(each.NumericValue)) for each in found]


def texts(report: Dataset) -> list[str]:
    return [each.TextValue for each in items(report) if "TextValue" in each]


def results_of(report: Dataset) -> list[Dataset]:
    return [each for each in items(report) if named(each) == "result"]


def named(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""
