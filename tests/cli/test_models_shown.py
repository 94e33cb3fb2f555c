"""What `imaging models list` and `show` say of a model in a home: mode, engine, speed, whether proven, evidence."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_result import CommandResult
from ledger_cases import POSITIVE, lease_one, queued
from small_models import write_models

from imaging.domain.tuning import Measured, Parity, Setup, Tuning
from imaging.ledger import jobs, migrate, registry
from imaging.ledger.store import Ledger
from imaging.models import tuning
from imaging.models.folders import shipped_folder
from imaging.models.reading import read_card

CHOSEN = Setup("onnx", "f32", 1, 4)


def shown(run: Callable[..., CommandResult], home: Path, *options: object) -> Any:
    """The film model by `models list --json`, and its row of the list, cell by cell."""
    command = ("models", "list", "chest-film", "--home", home, *options)
    (document,) = run(*command, "--json").json["models"]
    head, row = run(*command).out.splitlines()
    starts = [0]
    for name in NAMES[1:]:
        starts.append(head.index(f"  {name}", starts[-1] + 1) + 2)
    ends = [*starts[1:], None]
    return document, {name: row[a:b].strip() for name, a, b in zip(NAMES, starts, ends, strict=True)}


NAMES = ("model", "version", "mode", "status", "engine", "device", "speed here", "proven", "evidence", "looks for")


def test_a_home_that_was_never_served_knows_nothing_and_stays_so(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    document, row = shown(run, home)
    assert (row["mode"], row["engine"], row["device"]) == ("findings", "onnx f32", "cpu")
    assert (row["speed here"], row["proven"]) == ("not measured", "not tried here")
    first, second = document["evidence"]
    assert row["evidence"] == "; ".join(
        f"AUC {each['auc']:.2f} [{each['ci95'][0]:.2f}, {each['ci95'][1]:.2f}]" for each in (first, second)
    )
    assert document["mode"] == "findings"
    wanted = {"engine": "onnx", "precision": "f32", "threads": None, "batch": 8, "device": "cpu", "tuned": False}
    assert document["runs_as"].items() >= wanted.items()
    assert document["speed"] == {"per_s": None, "alone_ms": None, "infer_ms": None, "answers": 0}
    assert not home.exists()


def test_the_setting_goes_before_the_card(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    document, row = shown(run, tmp_path, "--model-mode", "chest-film=shadow")
    assert document["mode"] == row["mode"] == "shadow"


def test_a_home_tells_its_past_answers_what_was_tuned_and_whether_the_golden_case_passed_there(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    card = read_card(shipped_folder() / "chest-film")
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    for study, ms in enumerate((10.0, 30.0, 20.0)):
        queued(ledger, f"1.2.{study}", [card.id])
        job = replace(lease_one(ledger), version=card.version)
        assert jobs.conclude(ledger, job, replace(POSITIVE, timings_ms={"infer": ms}), [])
    registry.note_model(ledger, card.id, card.version, "another card and other weights")
    document, row = shown(run, tmp_path)
    assert (row["speed here"], row["proven"]) == ("20 ms, median of 3", "not tried here")
    assert document["speed"] == {"per_s": None, "alone_ms": None, "infer_ms": 20.0, "answers": 3}

    proof = f"{card.engine.digest[:16]} {card.digest[:16]} case identity"
    registry.note_model(ledger, card.id, card.version, proof)
    parity = Parity(0.0, 0, None, True)
    rows = [Measured(Setup("onnx", "f32", 2, 1), 20.0, 50.0, 1.0), Measured(CHOSEN, 41.0, 48.6, 2.05, 90.0, parity)]
    found = Tuning(card.id, card.version, "2026-11-30T18:00:00+00:00", 2, tuning.made_with(card), rows, CHOSEN)
    tuning.write(tmp_path, card, found)
    document, row = shown(run, tmp_path)
    assert (row["engine"], row["speed here"], row["proven"]) == ("onnx f32 (tuned)", "41/s, 49 ms alone", "here")
    assert document["runs_as"]["batch"] == 4
    assert document["runs_as"]["tuned"] is True
    text = run("models", "show", card.id, "--home", tmp_path).out
    assert "  engine: onnx f32, 1 thread, batch 4 on cpu, as tuned here\n  speed here: 41/s, 49 ms alone\n" in text
    assert "  mode: findings\n" in text

    registry.note_model(ledger, card.id, card.version, "", "its golden case differs", is_served=False)
    document, row = shown(run, tmp_path)
    assert (document["proven"], row["proven"]) == ("disabled here: its golden case differs", "disabled here")
    ledger.close()


@pytest.mark.parametrize("what", ["list", "show", "check"])
def test_a_rule_that_raises_nothing_is_told_with_the_figure_that_is_too_low(
    run: Callable[..., CommandResult], tmp_path: Path, what: str
) -> None:
    weak = shutil.copytree(shipped_folder() / "chest-film", tmp_path / "weak")
    text = (weak / "card.toml").read_text()
    (weak / "card.toml").write_text(text.replace("specificity = 0.899", "specificity = 0.7"))
    result = run("models", what, "--models", weak)
    why = "raises nothing: its LR+, 1.78, is not above 2"
    assert result.status == 0
    assert f"triage[2] = cardiomegaly >= 0.153: routine: {why} (triage-evidence)" in result.out + result.err
    assert (f"  rule: cardiomegaly >= 0.153: routine; {why}\n" in result.out) == (what == "show")
    (model,) = run("models", "list", "--models", weak, "--json").json["models"]
    assert [bool(each["raises_nothing"]) for each in model["triage"]] == [False, False, True]


def test_no_shipped_rule_raises_nothing(run: Callable[..., CommandResult]) -> None:
    models = run("models", "list", "--json").json["models"]
    assert {each["id"]: each["mode"] for each in models} == {
        "brain-mr-lesion": "live", "chest-film": "findings", "head-ct-bleed": "live",
    }  # fmt: skip
    assert [each["raises_nothing"] for model in models for each in model["triage"]] == [[]] * 5
    assert [each["warnings"] for each in models] == [[], [], []]


def test_a_model_without_a_golden_case_is_unproven_wherever_it_ran(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    models = write_models(tmp_path / "models")
    (model, _) = run("models", "list", "--models", models, "--home", tmp_path, "--json").json["models"]
    assert (model["golden_case"], model["proven"]) == ("unproven", "no golden case")


def test_what_makes_a_finding_present_is_shown(run: Callable[..., CommandResult]) -> None:
    bleed = run("models", "show", "head-ct-bleed").out
    assert "(SCT 1386000): a mask, present from volume_ml >= " in bleed
    assert " and probability >= " in bleed
    assert "Pleural effusion (SCT 60046008): threshold " in run("models", "show", "chest-film").out
