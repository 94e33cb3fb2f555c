"""What `imaging models tune` measures, and that a worker of the home runs by it. OpenVINO adds ways where it is there;
without it the ways of ONNX Runtime are measured, and all holds as well.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_models import write_models

from imaging.confined.analyser import ConfinedAnalyser
from imaging.confined.client import Confined
from imaging.domain.card import Card, Lane
from imaging.domain.findings import ImageRef, State
from imaging.domain.tuning import Setup, Tuning
from imaging.ledger import migrate, registry
from imaging.ledger.store import Ledger
from imaging.models import candidates, tuning
from imaging.models.reading import read_card
from imaging.roles import tuning as tuner
from imaging.roles.tuning import CannotTune, tune
from imaging.roles.worker import Worker
from imaging.roles.worker_config import WorkerConfig, begin

IMAGE = ImageRef("1.2.840.10008.5.1.4.1.1.1.1", "2.25.2", "2.25.3")
AT = datetime(2026, 11, 30, tzinfo=UTC)


def tuned(card: Card, seconds: float = 6.0, memory_mb: float = 3000.0) -> tuple[Tuning, list[str]]:
    said: list[str] = []
    return tune(card, threads=2, memory_mb=memory_mb, seconds=seconds, at=AT, say=said.append), said


@pytest.fixture(params=["small-film", "small-volume"])
def card(request: pytest.FixtureRequest, tmp_path: Path) -> Card:
    return read_card(write_models(tmp_path / "models") / str(request.param))


def test_each_way_is_a_row_and_the_choice_is_one_of_them(card: Card) -> None:
    found, said = tuned(card)
    assert found.own.setup == candidates.own(card, 2)
    assert {each.setup for each in found.rows} >= {*candidates.others(card, 2), found.chosen}
    assert len({each.setup for each in found.rows}) == len(found.rows) > 1
    measured = [each for each in found.rows if each.gain is not None]
    assert len(measured) > 1
    assert all((each.per_s or 0) > 0 and (each.alone_ms or 0) > 0 and (each.memory_mb or 0) > 10 for each in measured)
    assert all(each.parity is not None and each.parity.holds for each in measured[1:])
    assert len(said) == len(found.rows)
    assert Tuning.from_json(found.to_json()) == found


def test_the_time_ends_it_and_what_was_not_measured_says_so(card: Card) -> None:
    found, _ = tuned(card, seconds=0.1)
    assert found.chosen == found.own.setup
    assert {each.why for each in found.rows[1:]} == {"not measured: the time was over (--seconds)"}


def test_a_way_that_cannot_be_loaded_or_ends_its_process_is_a_row(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Setup("no-such-engine", "f32", 1, 1)
    monkeypatch.setattr(candidates, "others", lambda *_: [unknown])
    monkeypatch.setattr(candidates, "variants", lambda *_: iter(()))
    found, said = tuned(card)
    assert [each.setup for each in found.rows] == [found.own.setup, unknown]
    assert "KeyError" in found.rows[1].why
    assert found.chosen == found.own.setup
    assert "KeyError" in said[-1]


def test_too_little_memory_for_a_way_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = read_card(write_models(tmp_path / "models") / "small-volume")
    huge = replace(candidates.own(card, 2), batch=1 << 22)
    monkeypatch.setattr(candidates, "others", lambda *_: [huge])
    monkeypatch.setattr(candidates, "variants", lambda *_: iter(()))
    assert tuned(card)[0].rows[1].why == "it needs more memory than a worker has (--worker-memory-mb)"


def test_what_fails_parity_is_shown_with_its_figure_and_never_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of another card's network stands for an engine that computes otherwise."""
    models = write_models(tmp_path / "models")
    card, other = read_card(models / "small-film"), read_card(write_other(tmp_path / "other"))
    setup = Setup("onnx", "f32", 2, 1)
    monkeypatch.setattr(candidates, "others", lambda *_: [setup])
    monkeypatch.setattr(candidates, "variants", lambda *_: iter(()))
    monkeypatch.setattr(tuner, "ConfinedAnalyser", analyser_of(other, setup))
    monkeypatch.setattr(tuner, "Confined", lambda _, **limits: Confined([card, other], **limits))
    monkeypatch.setattr(candidates, "reference", lambda *_: Setup("onnx", "f32", 1, 1))
    monkeypatch.setattr(tuner._Tuner, "_of_reference", ("another", "f32"))
    found, said = tuned(card)
    row = found.rows[1]
    assert row.parity is not None
    assert not row.parity.holds
    assert (row.parity.difference or 0.0) > 0.1
    assert row.gain is None
    assert found.chosen == found.own.setup
    assert "failed parity: probabilities within 0." in said[-1]


def analyser_of(other: Card, for_setup: Setup) -> Any:
    def made(confined: Confined, card: Card, setup: Setup) -> ConfinedAnalyser:
        return ConfinedAnalyser(confined, other if setup == for_setup else card, setup=setup)

    return made


def write_other(folder: Path) -> Path:
    """The film model with another answer: 0 where its own is 1."""
    model = write_models(folder) / "small-film"
    made = onnx.load(model / "model.onnx")
    made.graph.initializer.append(numpy_helper.from_array(np.array(0.0, np.float32), "nothing"))
    made.graph.node[0].input[1] = "nothing"
    onnx.save(made, model / "model.onnx")
    text = (model / "card.toml").read_text()
    before = next(each for each in text.splitlines() if each.startswith("sha256"))
    after = f'sha256 = "{hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()}"'
    (model / "card.toml").write_text(text.replace(before, after))
    return model


def test_a_card_that_cannot_be_run_as_it_says_is_told(tmp_path: Path) -> None:
    model = write_models(tmp_path / "models") / "small-film"
    card = read_card(model)
    (model / "model.onnx").write_bytes(b"another")
    with pytest.raises(CannotTune, match=r"small-film cannot be run as its card says: model\.onnx has changed"):
        tuned(card)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "home").mkdir()
    made = Ledger(tmp_path / "home")
    migrate.migrate(made)
    made.begin_boot()
    yield made
    made.close()


def keep(home: Path, card: Card, setup: Setup) -> None:
    """A tuning of this home that chose a setup."""
    found = replace(tuned(card, 0.1)[0], chosen=setup)
    row = replace(found.rows[0], setup=setup, gain=2.0)
    tuning.write(home, card, replace(found, rows=[found.rows[0], row]))


@pytest.mark.parametrize("batch", [3, 9])
def test_a_worker_runs_a_model_as_it_was_tuned(tmp_path: Path, ledger: Ledger, batch: int) -> None:
    home, models = tmp_path / "home", write_models(tmp_path / "models")
    keep(home, read_card(models / "small-film"), Setup("onnx", "f32", 1, batch))
    worker = worker_of(home, ledger, models)
    try:
        worker.serving.warm()
        assert worker.max_batch("small-film") == batch
        assert worker.serving.batches()["small-film"] == max(4, batch)
        assert worker.max_batch("small-volume") == 1
        came = {name: each.of_nothing(IMAGE).provenance for name, each in films(worker).items()}
        assert {name: each["tuned"] for name, each in came.items()} == {"small-film": True}
    finally:
        worker.close()


def test_a_model_whose_tuned_way_cannot_be_run_is_served_as_its_card_says(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    home, models = tmp_path / "home", write_models(tmp_path / "models")
    keep(home, read_card(models / "small-film"), Setup("no-such-engine", "f32", 1, 1))
    worker = worker_of(home, ledger, models)
    try:
        worker.serving.warm()
        assert registry.models(ledger)["small-film"] == ""
        assert worker.serving.analysers["small-film"].of_nothing(IMAGE).state is State.ANALYSED
        assert "tuning_not_used model=small-film" in caplog.text
    finally:
        worker.close()


def test_a_tuning_that_holds_no_longer_is_said_and_not_used(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    home, models = tmp_path / "home", write_models(tmp_path / "models")
    card = read_card(models / "small-film")
    keep(home, card, Setup("onnx", "f32", 1, 3))
    found = tuning.read(home, card)
    assert found is not None
    tuning.write(home, card, replace(found, made_with={**found.made_with, "processor": "of another machine"}))
    worker = worker_of(home, ledger, models)
    try:
        worker.serving.warm()
        assert worker.max_batch("small-film") == 1
        assert "tuning_not_used model=small-film" in caplog.text
    finally:
        worker.close()


def films(worker: Worker) -> dict[str, ConfinedAnalyser]:
    return {name: each for name, each in worker.serving.analysers.items() if each.card.lane is Lane.FILMS}


def worker_of(home: Path, ledger: Ledger, models: Path) -> Worker:
    config = WorkerConfig("worker-0", str(home), "", [str(models)], [], 3000.0, 2, "en")
    return Worker(ledger, config, begin(config))
