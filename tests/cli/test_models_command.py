"""Bringing a model: where its folder is named, what is told of it beforehand, and the golden case that proves it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest
from onnx import TensorProto, helper
from pydicom import Dataset
from pydicom.uid import generate_uid
from small_models import write_models

from imaging.cli.main import main
from imaging.inference.golden import sources_of
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study, head_study
from imaging.settings import Settings, load
from imaging.supervise import child_config

SHIPPED = ["brain-mr-lesion", "chest-film", "head-ct-bleed"]


@dataclass(frozen=True)
class CommandResult:
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandResult]:
    """Runs a command in this process."""
    monkeypatch.delenv("IMAGING_MODELS", raising=False)

    def call(*arguments: object) -> CommandResult:
        capsys.readouterr()
        status = main([str(each) for each in arguments])
        return CommandResult(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders with a model each."""
    folder = write_models(tmp_path_factory.mktemp("models"))
    return folder / "small-film", folder / "small-volume"


def listed(result: CommandResult) -> list[str]:
    return [line.split()[0] for line in result.out.splitlines()[1:]]


def test_a_plus_serves_the_shipped_models_too_and_without_one_only_the_named_are(
    run: Callable[..., CommandResult], two: tuple[Path, Path]
) -> None:
    film, volume = two
    for named, served in (
        ([f"+{film}"], [*SHIPPED, "small-film"]),
        ([f"+{film}", f"+{volume}"], [*SHIPPED, "small-film", "small-volume"]),
        ([film, f"+{volume}"], [*SHIPPED, "small-film", "small-volume"]),
        ([film, volume], ["small-film", "small-volume"]),
        ([], SHIPPED),
    ):
        values = [each for folder in named for each in ("--models", folder)]
        assert listed(run("models", "list", *values)) == served


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
            value: Any = child_config(role, 0, settings, tmp_path)
            assert value["models"] == wanted


def test_an_added_folder_that_is_not_there_is_named_without_its_plus(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    for command in (["models"], ["serve", "--home", tmp_path / "home"], ["analyse", tmp_path]):
        result = run(*command, "--models", f"+{tmp_path / 'none'}")
        assert (result.status, f"--models {tmp_path / 'none'}: no such folder" in result.err) == (2, True)
    assert "is not a folder" in run("models", "--models", "+").err


# Before serving ----------------------------------------------------------------------------------------------


def test_a_wrong_name_shape_or_channel_is_told_by_list_and_check_before_anything_is_served(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    card = write_models(tmp_path) / "small-film" / "card.toml"
    for old, new, message in (
        ('input = "x"', 'input = "image"', "model.onnx has the input x (any, 1, 32, 32) (input-unknown)"),
        ("shape = [32, 32]", "shape = [64, 64]", "expects 32 x 32 (input-size)"),
        ("channel = 0", "channel = 1", "the network's output y (any, 1) has 1 channel, counted from 0"),
    ):
        text = card.read_text()
        card.write_text(text.replace(old, new, 1))
        listed, checked = (run("models", what, "--models", card.parent) for what in ("list", "check"))
        assert (listed.status, message in listed.out) == (0, True)
        assert (checked.status, message in checked.out) == (1, True)
        card.write_text(text)


def test_steps_that_do_not_fit_the_values_are_warned_of_and_served(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    card = write_models(tmp_path) / "small-film" / "card.toml"
    card.write_text(card.read_text().replace('do = "zscore"', 'do = "window"\nlow = 0\nhigh = 255'))
    result = run("models", "list", "--models", card.parent)
    assert (result.status, result.err.startswith("warning: small-film: prepare[1] = window, low = 0, high = 255")) == (
        0,
        True,
    )
    assert "warning: prepare[1] = window" in run("models", "show", "--models", card.parent).out
    assert "uses less than a twentieth" in run("models", "list", "--json", "--models", card.parent).out


# The golden case ---------------------------------------------------------------------------------------------

AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
MARK = "ZZMARK"


def written(folder: Path, datasets: Sequence[Dataset]) -> Path:
    """A study as a hospital has it: everything that can name somebody is marked."""
    folder.mkdir()
    for at, dataset in enumerate(datasets):
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{MARK}^A", f"{MARK}1", "19701231"
        dataset.StudyDescription = dataset.InstitutionName = dataset.ProtocolName = MARK
        dataset.add_new(0x00091001, "LO", MARK)
        dataset.WindowCenterWidthExplanation = MARK
        dataset.save_as(folder / f"{at:02d}.dcm", enforce_file_format=True)
    return folder


def test_one_command_makes_the_golden_case_and_the_check_is_green(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    films = film_study(1, frozenset(), AT, run="golden", rows=128, columns=128).instances
    heads = head_study(1, True, AT, run="golden", slices=12, size=64).instances
    models = write_models(tmp_path / "models")
    for model, study, named in (
        ("small-film", written(tmp_path / "film", films), ["1.dcm"]),
        ("small-volume", written(tmp_path / "head", heads), [f"{at:02d}.dcm" for at in range(1, 13)]),
    ):
        unproven = run("models", "check", model, "--models", models)
        assert (unproven.status, "unproven" in unproven.out) == (1, True)
        made = run("models", "golden", model, study, "--models", models)
        assert (made.status, made.out.splitlines()[-1]) == (0, f"{model}: as expected"), made
        assert "The pixels are those of the study" in made.out
        assert run("models", "check", model, "--models", models).status == 0
        case = models / model / "golden"
        assert sorted(each.name for each in case.iterdir()) == [*named, "expected.json"]
        for file in case.glob("*.dcm"):
            assert MARK.encode() not in file.read_bytes()
            kept = pydicom.dcmread(file)
            assert not {"PatientName", "PatientID", "StudyDate", "StudyDescription"} & {each.keyword for each in kept}
        assert np.array_equal(
            pydicom.dcmread(case / named[0]).pixel_array, pydicom.dcmread(study / "00.dcm").pixel_array
        )
        twice = run("models", "golden", model, study, "--models", models)
        assert (twice.status, "already has a golden case" in twice.err) == (1, True)


def test_a_film_that_lies_is_turned_in_its_golden_case_too(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    model = write_models(tmp_path / "models") / "small-film"
    (film,) = film_study(1, frozenset(), AT, run="golden", rows=128, columns=128).instances
    film.PatientOrientation = ["F", "R"]
    film.save_as(tmp_path / "lies.dcm", enforce_file_format=True)
    made = run("models", "golden", "small-film", tmp_path / "lies.dcm", "--models", model)
    assert (made.status, made.out.splitlines()[-1]) == (0, "small-film: as expected"), made
    (kept,) = sources_of(model / "golden")
    assert kept.header.patient_orientation == ("F", "R")


def test_a_case_that_changes_later_is_seen(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    films = film_study(1, frozenset(), AT, run="golden", rows=128, columns=128).instances
    models, study = write_models(tmp_path / "models"), written(tmp_path / "film", films)
    assert run("models", "golden", "small-film", study, "--models", models).status == 0
    expected = models / "small-film" / "golden" / "expected.json"
    expected.write_text(expected.read_text().replace('"probability": 0.7', '"probability": 0.6'))
    checked = run("models", "check", "small-film", "--models", models)
    assert (checked.status, "abnormal: probability is 0.7" in checked.out) == (1, True)


def test_what_is_no_study_for_the_model_makes_no_case_and_leaves_the_folder_as_it_was(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    films = film_study(1, frozenset(), AT, run="golden", rows=128, columns=128).instances
    models, study = write_models(tmp_path / "models"), written(tmp_path / "film", films)
    model = models / "small-film"
    before = {each: each.read_bytes() for each in model.iterdir()}
    films[0].StudyInstanceUID = generate_uid()
    films[0].save_as(study / "other.dcm", enforce_file_format=True)
    blank = film_study(2, frozenset(), AT, run="golden", rows=128, columns=128).instances[0]
    blank.PixelData = bytes(len(blank.PixelData))
    blank.save_as(tmp_path / "blank.dcm", enforce_file_format=True)
    for what, status, text in (
        (["small-film", study], 1, "expected one study, found 2"),
        (["small-film", tmp_path / "blank.dcm"], 1, "small-film refuses this study: pixels-blank"),
        (["small-film"], 2, "expected a model and a study"),
        (["small-film", tmp_path / "none"], 2, f"{tmp_path / 'none'}: no such file or folder"),
        (["other", study], 2, "'other': no such model"),
    ):
        found = run("models", "golden", *what, "--models", models)
        assert (found.status, text in found.err) == (status, True), found
    assert {each: each.read_bytes() for each in model.iterdir()} == before


def test_the_example_of_the_documentation_becomes_a_proven_model_as_written(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    card = text.partition("held by tests/cli/test_models_command.py")[2].partition("```toml\n")[2].partition("```")[0]
    model = tmp_path / "my-models" / "my-model"
    model.mkdir(parents=True)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["y"], axes=[1]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    network = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    network.ir_version = 8
    onnx.save(network, model / "model.onnx")
    (model / "card.toml").write_text(card)
    digest = hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    ours = ["--models", tmp_path / "my-models"]
    assert f"model.onnx has the digest {digest}" in run("models", "list", *ours).out
    (model / "card.toml").write_text(card.replace("SHA256", digest))
    rule = "triage[0] = 60046008 >= 0.8: urgent"
    told = f"warning: my-model: {rule}: raises nothing: it has no [[evidence]] (triage-evidence)\n"
    assert (listed(run("models", "list", *ours)), run("models", "list", *ours).err) == (["my-model"], told)
    run("simulate", "--studies", "1", "--kind", "film", "--output", tmp_path / "drawn")
    assert run("models", "golden", "my-model", tmp_path / "drawn", *ours).status == 0
    assert run("models", "check", *ours).status == 0
    analysed = run("analyse", tmp_path / "drawn", *ours)
    assert (analysed.status, "unproven" in analysed.out) == (0, False)
    assert "my-model 0.1: analysed" in run("analyse", tmp_path / "drawn", "--models", f"+{tmp_path / 'my-models'}").out
