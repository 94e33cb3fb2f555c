"""The benchmark of inference: the stages of a job beside the engine alone."""

import pytest

from benchmarks import inference


def test_a_job_is_measured_by_its_stages_beside_the_engine_alone() -> None:
    found = inference.job(14, 1)
    assert {"read", "prepare", "infer", "decode"} <= set(found["stages_ms"])
    assert found["engine_alone_ms"] > 0
    assert found["total_ms"] >= found["stages_ms"]["infer"]
    text = inference.as_text({"cores": 1, "missing": ["monai"], "job": found, "window": {}})
    assert "the engine alone" in text
    assert "not measured, missing: monai" in text


def test_what_is_asked_wrongly_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert inference.main(["--rounds", "0"]) == 2
    assert "--rounds: expected a whole number from 1" in capsys.readouterr().err
