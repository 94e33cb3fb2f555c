"""ONNX files as they were exported, served: those that cannot be are disabled, and the others answer."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx_networks import bright, write_models
from peers import Node, Orthanc, eventually, program

TAKEN = ("four", "half", "last", "two")


def results(node: Node) -> dict[str, Any]:
    """Each model's answer for the only study, once all have answered."""
    (study,) = node.status("--study", "1.2.3")["studies"]
    return {each["model"]: each for each in study["results"]}


def test_models_as_exporters_leave_them_answer_beside_those_that_cannot_be_served(
    serve: Callable[..., Node], pacs: Orthanc, tmp_path: Path
) -> None:
    models, films = write_models(tmp_path / "models"), tmp_path / "films"
    (models / "beside" / "model.bin").write_bytes(bytes(8))
    films.mkdir()
    bright(films, "front", 6, ViewPosition="PA")
    bright(films, "side", 24, ViewPosition="LL")

    node = serve("--deliver-to", f"PACS={pacs.address}", "--models", str(models))
    served = {each["name"]: each for each in node.status()["models"]}
    states = {name: each["state"] for name, each in served.items()}
    assert states == {**dict.fromkeys(TAKEN, "served"), "new": "disabled", "beside": "disabled"}
    assert "Opset 99 is under development" in served["new"]["why"]
    assert "model.bin has the digest" in served["beside"]["why"]

    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), "+sd", str(films)]
    subprocess.run(command, check=True, capture_output=True)
    eventually(lambda: all(results(node).get(each, {}).get("state") == "analysed" for each in TAKEN), 60, "all answers")
    found = {each: results(node)[each]["findings"][0]["probability"] for each in TAKEN}
    assert found["half"] == pytest.approx(found["four"], abs=1e-3)
    assert found["last"] == pytest.approx(found["four"], abs=1e-5)
    assert found["two"] > 0.9
    eventually(lambda: results(node).get("new", {}).get("reason") == "model-disabled", 20, "why another does not")
    reports = len(TAKEN) + 1  # and one that says why `new` has no answer
    eventually(lambda: len(pacs.instances("SR")) == reports, 60, "the reports in the PACS")
    assert node.stop() == 0
