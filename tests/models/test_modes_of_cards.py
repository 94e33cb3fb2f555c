"""A card's mode: as it says, or as the settings say of it."""

from pathlib import Path

import pytest
from card_cases import CHEST, HEAD, faults, written

from imaging.domain.modes import Mode
from imaging.models.catalogue import load_models
from imaging.models.folders import ids_in
from imaging.models.reading import read_card

STATUS = 'status = "demonstration"'


@pytest.mark.parametrize("mode", Mode)
def test_a_card_says_its_mode(tmp_path: Path, mode: Mode) -> None:
    said = CHEST.replace(STATUS, f'{STATUS}\nmode = "{mode}"')
    assert read_card(written(tmp_path / "chest-film", said)).mode is mode


def test_a_card_that_says_none_is_live(tmp_path: Path) -> None:
    assert read_card(written(tmp_path / "chest-film", CHEST)).mode is Mode.LIVE


def test_a_mode_off_the_list_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path / "chest-film", CHEST.replace(STATUS, f'{STATUS}\nmode = "loud"'))
    assert fault == "mode = 'loud': must be one of live, findings, shadow (mode-unknown)"


def test_the_settings_go_before_the_card_and_leave_other_cards_alone(tmp_path: Path) -> None:
    written(tmp_path / "chest-film", CHEST.replace(STATUS, f'{STATUS}\nmode = "findings"'))
    written(tmp_path / "head", HEAD)

    def modes(*settings: str) -> list[Mode]:
        return [each.mode for each in load_models([tmp_path], model_mode=settings).models]

    assert modes() == [Mode.FINDINGS, Mode.LIVE]
    assert modes("chest-film=shadow") == [Mode.SHADOW, Mode.LIVE]


def test_a_folder_s_ids_are_those_its_cards_say_whether_they_can_be_served_or_not(tmp_path: Path) -> None:
    written(tmp_path / "a", CHEST)
    written(tmp_path / "b", HEAD.replace("card = 1", "card = 2"))
    written(tmp_path / "c", "not TOML")
    assert ids_in([tmp_path]) == ["chest-film", read_id(HEAD), "c"]


def read_id(card: str) -> str:
    return next(line for line in card.splitlines() if line.startswith("id = ")).split('"')[1]
