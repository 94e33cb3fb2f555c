"""`imaging models tune` as a command."""

from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult
from small_models import write_models

from imaging.models import tuning
from imaging.models.reading import read_card

Run = Callable[..., CommandResult]


def test_a_model_is_tuned_for_a_home_that_was_never_served(run: Run, models: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run("models", "tune", "small-film", "--models", models, "--home", home, "--seconds", 5)
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("small-film 1 on ")
    assert lines[1].split() == [
        "engine", "precision", "threads", "batch", "items/s", "gain", "alone", "ms", "MB", "parity",
    ]  # fmt: skip
    assert lines[2].split()[-3:] == ["the", "card's", "own"]
    assert sum(each.startswith("*") for each in lines) == 1
    assert "chosen: " in result.out
    assert f"kept in {home / 'tuning'}" in result.out
    assert "small-film: onnx f32, 1 thread, batch 4: " in result.err
    found = tuning.read(home, read_card(models / "small-film"))
    assert found is not None
    assert f"chosen: {found.chosen}" in result.out


def test_json_has_every_row_and_progress_stays_on_stderr(run: Run, models: Path, tmp_path: Path) -> None:
    result = run("models", "tune", "--models", models, "--home", tmp_path / "home", "--seconds", 6, "--json")
    assert result.status == 0
    assert sorted(result.json["models"]) == ["small-film", "small-volume"]
    for each in result.json["models"].values():
        assert each["chosen"] in [row["setup"] for row in each["rows"]]
        assert each["made_with"]["weights"]
    assert (result.json["failed"], result.json["home"]) == ({}, str(tmp_path / "home"))


def test_what_cannot_be_tuned_is_told_and_the_others_are(run: Run, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    card = models / "small-volume" / "card.toml"
    card.write_text(card.read_text().replace('output = "y"', 'output = "z"'))
    result = run("models", "tune", "--models", models, "--home", tmp_path / "home", "--seconds", 4)
    assert "small-volume: disabled: " in result.err
    assert (tmp_path / "home" / "tuning" / "small-film.json").exists()
    assert result.status == 0
    named = run("models", "tune", "small-volume", "--models", models, "--home", tmp_path / "home", "--seconds", 4)
    assert named.status == 1
    assert "imaging models: disabled: small-volume" in named.err


def test_it_is_asked_wrongly_in_one_answer(run: Run, models: Path, tmp_path: Path) -> None:
    result = run("models", "tune", "no-such", "--models", models, "--home", tmp_path / "home", "--seconds", "soon")
    assert result.status == 2
    assert "--seconds 'soon': expected a number" in result.err
    assert "'no-such': no such model; available: small-film, small-volume" in result.err
    assert "--seconds 0: expected a number above 0" in run("models", "tune", "--models", models, "--seconds", 0).err
    (tmp_path / "file").touch()
    wrong = run("models", "tune", "--models", models, "--home", tmp_path / "file")
    assert (wrong.status, wrong.err) == (1, f"imaging models: {tmp_path / 'file'} is not a folder\n")


def test_a_home_that_cannot_keep_anything_is_told_before_anything_is_measured(
    run: Run, models: Path, tmp_path: Path
) -> None:
    result = run("models", "tune", "small-film", "--models", models, "--home", "/proc/nowhere")
    assert (result.status, result.out) == (1, "")
    assert result.err == "imaging models: /proc/nowhere: No such file or directory\n"


def test_options_of_one_word_are_refused_beside_another(run: Run, models: Path) -> None:
    result = run("models", "tune", "--models", models, "--labels", "x.csv", "--by", "age", "--ungated", "--to", "ours")
    assert (result.status, result.out) == (2, "")
    for each in ("--labels: is only for evaluate", "--by: is only for evaluate", "--ungated: is", "--to: is only for"):
        assert each in result.err
    for what in ("list", "add", "evaluate"):
        assert "--seconds: is only for tune" in run("models", what, "small-film", "--seconds", 3).err
