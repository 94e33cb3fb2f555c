"""Bringing a model: where its folder is named, what is told of it beforehand, and the golden case that proves it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_models import write_models

from imaging.cli.main import main
from imaging.models.folders import shipped_folder
from imaging.settings import Settings, load
from imaging.supervise import child_config

SHIPPED = ["brain-mr-lesion", "chest-film", "head-ct-bleed"]


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command in this process."""
    monkeypatch.delenv("IMAGING_MODELS", raising=False)

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        status = main([str(each) for each in arguments])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders with a model each."""
    folder = write_models(tmp_path_factory.mktemp("models"))
    return folder / "small-film", folder / "small-volume"


def listed(said: Said) -> list[str]:
    return [line.split()[0] for line in said.out.splitlines()[1:]]


def test_a_plus_serves_the_shipped_models_too_and_without_one_only_the_named_are(
    run: Callable[..., Said], two: tuple[Path, Path]
) -> None:
    film, volume = two
    for named, served in (
        ([f"+{film}"], [*SHIPPED, "small-film"]),
        ([f"+{film}", f"+{volume}"], [*SHIPPED, "small-film", "small-volume"]),
        ([film, f"+{volume}"], [*SHIPPED, "small-film", "small-volume"]),
        ([film, volume], ["small-film", "small-volume"]),
        ([], SHIPPED),
    ):
        asked = [each for folder in named for each in ("--models", folder)]
        assert listed(run("models", "list", *asked)) == served


def test_the_plus_is_understood_in_the_environment_and_in_the_file_and_told_to_every_role(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, volume = two
    monkeypatch.chdir(film.parent)
    config = tmp_path / "imaging.toml"
    config.write_text('models = ["+small-film", "+small-volume"]\n')
    by_all: list[Settings] = [
        load({"models": ["+small-film", "+small-volume"]}, environ={}),
        load({}, environ={"IMAGING_MODELS": "+small-film,+small-volume"}),
        load({}, config, {}),
    ]
    wanted = [str(each) for each in (shipped_folder(), film, volume)]
    for settings in by_all:
        for role in ("node", "worker"):
            told: Any = child_config(role, 0, settings, tmp_path)
            assert told["models"] == wanted


def test_an_added_folder_that_is_not_there_is_named_without_its_plus(run: Callable[..., Said], tmp_path: Path) -> None:
    for command in (["models"], ["serve", "--home", tmp_path / "home"], ["analyse", tmp_path]):
        said = run(*command, "--models", f"+{tmp_path / 'none'}")
        assert (said.status, f"--models {tmp_path / 'none'}: there is no such folder" in said.err) == (2, True)
    assert "is no folder" in run("models", "--models", "+").err
