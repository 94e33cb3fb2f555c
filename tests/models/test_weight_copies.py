"""What was hashed is what is loaded: weights are copied, hashed on the way, and read-only where a home keeps them."""

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_models import write_beside, write_models

from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.models.catalogue import load_models
from imaging.models.copies import Copies, copied
from imaging.models.reading import read_card


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return read_card(write_beside(tmp_path / "model", location="data/model.bin"))


def read_only(folder: Path) -> bool:
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.rglob("*"))}
    return all(mode == (0o500 if each.is_dir() else 0o400) for each, mode in modes.items())


def copies_in(home: Path) -> set[str]:
    return {each.name for each in home.iterdir() if each.is_dir()}


def test_a_homes_copy_is_whole_and_read_only_and_made_once(tmp_path: Path, card: Card) -> None:
    copies = Copies(tmp_path / "home")
    kept = copies.kept(card).kept
    assert kept == tmp_path / "home" / card.digest
    assert {each.relative_to(kept).as_posix() for each in kept.rglob("*")} == {"model.onnx", "data", "data/model.bin"}
    assert (kept / "data/model.bin").read_bytes() == (card.folder / "data/model.bin").read_bytes()
    assert read_only(kept)
    made = kept.stat().st_ino
    assert copies.kept(card).kept == kept
    assert kept.stat().st_ino == made
    assert copies_in(tmp_path / "home") == {card.digest}


@pytest.mark.parametrize("change", ["other bytes", "a file more", "a file less"])
def test_a_copy_that_was_changed_is_made_anew(tmp_path: Path, card: Card, change: str) -> None:
    copies = Copies(tmp_path / "home")
    kept = copies.kept(card).kept
    assert kept is not None
    kept.chmod(0o700)
    if change == "other bytes":
        (kept / "model.onnx").chmod(0o600)
        (kept / "model.onnx").write_bytes(b"other")
    elif change == "a file more":
        (kept / "more.bin").write_bytes(b"other")
    else:
        (kept / "model.onnx").unlink()
    assert copies.kept(card).kept == kept
    assert read_only(kept)
    assert (kept / "model.onnx").read_bytes() == (card.folder / "model.onnx").read_bytes()
    assert not (kept / "more.bin").exists()


@pytest.mark.parametrize("name", ["model.onnx", "data/model.bin"])
def test_weights_that_changed_since_the_card_was_read_are_not_taken(tmp_path: Path, card: Card, name: str) -> None:
    (card.folder / name).write_bytes(b"other")
    with pytest.raises(PublicError, match=f"^{name} has changed since its card was read"):
        Copies(tmp_path / "home").kept(card)
    assert copies_in(tmp_path / "home") == set()
    with pytest.raises(PublicError, match="has changed"), copied(card):
        pass


def test_what_no_card_has_any_more_goes_at_a_start_with_what_a_kill_left(tmp_path: Path, card: Card) -> None:
    other = read_card(write_models(tmp_path / "models") / "small-film")
    first = Copies(tmp_path / "home")
    first.kept(card)
    first.kept(other)
    first.close()
    (tmp_path / "home" / f"{card.digest}.0123abcd.part").mkdir()
    Copies(tmp_path / "home").begin([other])
    assert copies_in(tmp_path / "home") == {other.digest}


def test_a_sites_own_models_in_the_same_folder_are_let_alone(tmp_path: Path, card: Card) -> None:
    write_models(tmp_path / "home")
    write_beside(tmp_path / "home" / ("0" * 64))
    copies = Copies(tmp_path / "home")
    copies.begin([])
    copies.kept(card)
    assert copies_in(tmp_path / "home") == {"small-film", "small-volume", "0" * 64, card.digest}
    assert [each.id for each in load_models([tmp_path / "home"]).models] == ["small-film", "small-volume"]


def test_nothing_goes_while_another_worker_may_be_about_to_load_it(tmp_path: Path, card: Card) -> None:
    running = Copies(tmp_path / "home")
    running.begin([card])
    running.kept(card)
    Copies(tmp_path / "home").begin([])
    assert copies_in(tmp_path / "home") == {card.digest}


def test_workers_that_start_together_get_one_whole_copy(tmp_path: Path, card: Card) -> None:
    def start(_: int) -> Path | None:
        copies = Copies(tmp_path / "home")
        copies.begin([card])
        return copies.kept(card).kept

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(start, range(8))) == {tmp_path / "home" / card.digest}
    assert copies_in(tmp_path / "home") == {card.digest}


def test_who_has_no_home_loads_from_a_folder_that_is_gone_afterwards(tmp_path: Path, card: Card) -> None:
    with copied(card) as folder:
        assert (folder / "data/model.bin").read_bytes() == (card.folder / "data/model.bin").read_bytes()
    assert not folder.exists()
    kept = Copies(tmp_path / "home").kept(card)
    shutil.rmtree(card.folder)
    with copied(kept) as folder:
        assert folder == kept.kept
    assert folder.exists()


def test_a_home_without_room_is_said(tmp_path: Path, card: Card) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "lock").mkdir()
    with pytest.raises(PublicError, match=r"cannot be copied to .*: Is a directory"):
        Copies(tmp_path / "home").kept(card)
