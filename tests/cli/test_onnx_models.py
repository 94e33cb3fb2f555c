"""ONNX files as they were exported, through the commands: each ends as it should, and none hinders another."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_result import CommandResult
from onnx_networks import bright, write_models

TAKEN = ("four", "half", "last", "two")


@pytest.fixture
def onnx_models(tmp_path: Path) -> Path:
    """With external data that was exchanged after its digest was stated."""
    folder = write_models(tmp_path / "models")
    (folder / "beside" / "model.bin").write_bytes(bytes(8))
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A frontal film and a lateral."""
    (tmp_path / "study").mkdir()
    bright(tmp_path / "study", "front", 6, ViewPosition="PA")
    bright(tmp_path / "study", "side", 24, ViewPosition="LL")
    return tmp_path / "study"


def test_each_file_is_analysed_or_told_by_name_why_it_is_not(
    run: Callable[..., CommandResult], onnx_models: Path, study: Path
) -> None:
    result = run("analyse", study, "--models", onnx_models, "--json")
    (answered,) = result.json["studies"]
    states = {each["model"]: each["state"] for each in answered["results"]}
    assert states == {**dict.fromkeys(TAKEN, "analysed"), "new": "failed"}
    found = {each["model"]: each["findings"] for each in answered["results"]}
    for each in ("four", "half", "last"):
        assert found[each][0]["probability"] == pytest.approx(0.7310586, abs=1e-3)
    assert found["two"][0]["probability"] > 0.9
    assert "model beside is disabled: " in result.err
    assert "model.bin has the digest " in result.err


def test_golden_cases_are_made_of_each_and_the_check_says_what_the_runtime_says(
    run: Callable[..., CommandResult], onnx_models: Path, study: Path
) -> None:
    for each in TAKEN:
        made = run("models", "golden", each, study, "--models", onnx_models)
        assert (made.status, made.out.splitlines()[-1]) == (0, f"{each}: as expected")
        assert made.out.startswith(f"{onnx_models / each / 'golden'}: 2 of 2 images")
    case = onnx_models / "two" / "golden"
    assert {each.parent.name for each in case.rglob("*.dcm")} == {"frontal", "lateral"}
    assert json.loads((case / "expected.json").read_text())["findings"][0]["probability"] > 0.9
    checked = run("models", "check", "--models", onnx_models)
    lines = dict(line.split(": ", 1) for line in checked.out.splitlines())
    assert {name: line for name, line in lines.items() if name in TAKEN} == dict.fromkeys(TAKEN, "as expected")
    assert lines["new"].startswith("the network cannot be loaded: ")
    assert "Opset 99 is under development" in lines["new"]
    assert lines["beside"].startswith("disabled: ")
    assert lines["beside"].endswith("(sha256-differs)")
    assert checked.status == 1
