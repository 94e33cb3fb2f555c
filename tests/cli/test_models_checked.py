"""Models as commands list, show and check them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from command_result import CommandResult
from small_models import write_models


def test_the_settings_say_which_models_are_asked_and_in_which_language(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_MODELS", str(models))
    assert "small-film" in run("models").out
    file = tmp_path / "imaging.toml"
    file.write_text('language = "fr"\n')
    run("analyse", films, "--config", file, "--output", tmp_path / "out")
    (report,) = (tmp_path / "out").glob("small-film-*.dcm")
    assert "ni diagnostic ni dispositif médical".encode() in report.read_bytes()


def test_models_are_listed_shown_and_checked(run: Callable[..., CommandResult], models: Path) -> None:
    assert "small-film" in run("models", "--models", models).out
    value = run("models", "show", "small-film", "--models", models, "--json").json
    assert [each["id"] for each in value["models"]] == ["small-film"]
    (shown,) = value["models"]
    assert shown["triage"] == [
        {
            "finding": "abnormal",
            "at_least": 0.7,
            "volume_ml": None,
            "value_least": None,
            "value_most": None,
            "class": "urgent",
            "raises_nothing": [],
        }
    ]
    assert shown["weights"] == {"model.onnx": shown["sha256"]}
    text = run("models", "show", "small-film", "--models", models).out
    assert text.startswith("small-film 1: small-film")
    assert f"  digest: {shown['digest']}\n  weights: model.onnx: {shown['sha256']}\n" in text


def test_a_network_that_does_not_give_what_its_card_says_is_told_by_check_and_analyse(
    run: Callable[..., CommandResult], tmp_path: Path, films: Path
) -> None:
    model = write_models(tmp_path / "models") / "small-film"
    network = onnx.load(model / "model.onnx")
    network.graph.output[0].type.tensor_type.ClearField("shape")  # else it is told when the card is read
    before = hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    onnx.save(network, model / "model.onnx")
    after = hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    card = (model / "card.toml").read_text().replace("channel = 0", "channel = 1")
    (model / "card.toml").write_text(card.replace(before, after))
    wanted = "the network's output y is (1, 1), expected (1, at least 2): (batch, channels)"
    checked = run("models", "check", "small-film", "--models", model)
    assert (checked.status, checked.out) == (1, f"small-film: {wanted}\n")
    result = run("analyse", films, "--models", model, "--json")
    (study,) = result.json["studies"]
    assert [(each["state"], each["reason"], each["findings"]) for each in study["results"]] == [("failed", wanted, [])]
    assert (result.status, result.err.splitlines()[-1]) == (1, "imaging analyse: 1 of 1 answers failed: small-film")


def test_a_model_without_a_golden_case_is_called_unproven_by_each_that_speaks_of_it(
    run: Callable[..., CommandResult], models: Path, home: Path
) -> None:
    checked = run("models", "check", "small-film", "--models", models)
    assert (checked.status, checked.out) == (1, "small-film: unproven: its card has no golden case\n")
    for what in (["models", "list"], ["models", "show"], ["models", "list", "--json"]):
        result = run(*what, "--models", models)
        assert (result.status, result.out.count("unproven")) == (0, 2)
    doctor = run("doctor", "--home", home, "--models", models, "--dicom-port", "0", "--web-port", "0")
    assert (doctor.status, doctor.out.count("unproven")) == (0, 2)


def test_a_disabled_model_is_a_failure_of_the_check_and_told_by_its_name(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    write_models(tmp_path)
    (tmp_path / "small-volume" / "model.onnx").write_bytes(b"other weights")
    card = tmp_path / "small-film" / "card.toml"
    card.write_text(card.read_text().replace("threshold = 0.6", "threshold = 6"))
    for what in (["check"], ["show"], ["check", "small-film", "small-volume"], ["show", "small-film", "small-volume"]):
        result = run("models", *what, "--models", tmp_path)
        assert result.status == 1
        assert f"small-film: disabled: {card}: finding[0].threshold = 6: must lie in 0..1" in result.out
        assert "small-volume: disabled: " in result.out
        assert "(sha256-differs)" in result.out
    assert run("models", "check", "small-film", "--models", tmp_path, "--json").json["small-film"][0] == "disabled"
    assert list(run("models", "show", "small-film", "--models", tmp_path, "--json").json["disabled"]) == ["small-film"]
    assert run("models", "list", "--models", tmp_path).status == 0


@pytest.mark.parametrize("command", [["serve"], ["doctor"], ["analyse"], ["models", "list"], ["models", "check"]])
def test_where_no_model_is_every_command_has_been_asked_wrongly(
    run: Callable[..., CommandResult], films: Path, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    place = {"analyse": [films], "models": []}.get(command[0], ["--home", tmp_path / "home"])
    result = run(*command, *place, "--models", tmp_path / "none", "--models", tmp_path / "empty", "--jsn")
    assert result.status == 2
    assert f"--models {tmp_path / 'none'}: no such folder" in result.err
    assert f"--models {tmp_path / 'empty'}: no card.toml" in result.err
    assert "--jsn: unknown" in result.err
    assert not (tmp_path / "home").exists()
