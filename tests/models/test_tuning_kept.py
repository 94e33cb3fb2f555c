"""What was measured for a model, as a home keeps it."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_models import write_models

from imaging.domain.card import Card
from imaging.domain.tuning import Measured, Parity, Setup, Tuning
from imaging.models import tuning
from imaging.models.reading import read_card

CHOSEN = Setup("openvino", "bf16", 1, 4)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return read_card(write_models(tmp_path / "models") / "small-film")


def measured(card: Card) -> Tuning:
    rows = [
        Measured(Setup("onnx", "f32", 1, 1), 20.0, 50.0, 1.0, 90.0),
        Measured(CHOSEN, 60.0, 20.0, 3.0, 180.0, Parity(0.002, 0, None, True)),
        Measured(Setup("openvino", "f32", 2, 1), why="it was killed by signal 9"),
    ]
    return Tuning(card.id, card.version, "2026-11-30T18:00:00+00:00", 2, tuning.made_with(card), rows, CHOSEN)


def test_what_is_written_is_read_again_and_a_home_that_was_never_served_is_made(card: Card, tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    assert tuning.read(home, card) is None
    path = tuning.write(home, card, measured(card))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert tuning.read(home, card) == measured(card)
    assert not tuning.is_outdated(home, card)


def test_the_card_is_run_as_chosen_and_stays_the_same_card(card: Card, tmp_path: Path) -> None:
    assert tuning.as_tuned(tmp_path, card) is card
    tuning.write(tmp_path, card, measured(card))
    made = tuning.as_tuned(tmp_path, card)
    assert (made.engine.kind, made.engine.precision, made.engine.threads, made.engine.at_once) == (
        "openvino", "bf16", 1, 4,
    )  # fmt: skip
    assert (made.digest, made.engine.digest) == (card.digest, card.engine.digest)


def test_of_a_volume_the_patches_of_a_run_are_what_is_chosen(tmp_path: Path) -> None:
    card = read_card(write_models(tmp_path / "models") / "small-volume")
    made = Setup("onnx", "f32", 2, 8).applied_to(card)
    assert made.engine.window == replace(card.engine.window, batch=8)  # type: ignore[type-var]
    assert made.engine.at_once == 1


@pytest.mark.parametrize("key", ["card", "weights", "processor", "onnxruntime"])
def test_it_holds_no_longer_where_what_it_was_made_with_is_another(card: Card, tmp_path: Path, key: str) -> None:
    made = measured(card)
    assert key in made.made_with
    tuning.write(tmp_path, card, replace(made, made_with={**made.made_with, key: "another"}))
    assert tuning.read(tmp_path, card) is None
    assert tuning.is_outdated(tmp_path, card)
    assert tuning.as_tuned(tmp_path, card) is card


def test_it_holds_no_longer_where_a_library_is_gone_and_still_where_one_came(card: Card, tmp_path: Path) -> None:
    made = measured(card)
    tuning.write(tmp_path, card, replace(made, made_with={**made.made_with, "gone": "1.0"}))
    assert tuning.read(tmp_path, card) is None
    fewer = {name: value for name, value in made.made_with.items() if name != "onnxruntime"}
    tuning.write(tmp_path, card, replace(made, made_with=fewer))
    assert tuning.read(tmp_path, card) is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"rows": 3}', '{"rows": [{"setup": {}}]}', '{"made_with": []}', "\0"]
)
def test_a_file_that_is_none_counts_as_none(card: Card, tmp_path: Path, text: str) -> None:
    tuning.write(tmp_path, card, measured(card)).write_text(text)
    assert tuning.read(tmp_path, card) is None


def test_a_choice_that_does_not_give_the_cards_own_answers_is_not_used(card: Card, tmp_path: Path) -> None:
    made = measured(card)
    rows = [made.rows[0], replace(made.rows[1], parity=Parity(0.5, 0, None, True))]
    tuning.write(tmp_path, card, replace(made, rows=rows))
    assert tuning.read(tmp_path, card) is None
