"""Models that look at the same images share what was decoded of a study; others hold nothing."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_models import write_models

from imaging.confined.requests import Requests
from imaging.domain.card import Card
from imaging.domain.source import Source
from imaging.inference.decoded import DECODED
from imaging.models.catalogue import load_models
from imaging.models.reading import read_card
from imaging.phantoms.study import head_study
from imaging.roles.analysis import collect

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _held() -> Iterator[None]:
    yield
    DECODED.hold(0)


@pytest.fixture
def cards(tmp_path: Path) -> dict[str, Card]:
    folder = write_models(tmp_path / "models")
    shutil.copytree(folder / "small-volume", folder / "other-volume")
    text = (folder / "other-volume" / "card.toml").read_text()
    (folder / "other-volume" / "card.toml").write_text(text.replace('id = "small-volume"', 'id = "other-volume"'))
    return {card.id: card for card in load_models([folder]).models}


@pytest.fixture
def study(tmp_path: Path) -> list[Source]:
    return drawn(tmp_path / "study", slices=20, size=32)


def drawn(folder: Path, slices: int, size: int) -> list[Source]:
    folder.mkdir()
    for number, instance in enumerate(head_study(3, True, NOW, slices=slices, size=size).instances):
        instance.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
    (sources,) = collect([folder]).studies.values()
    return sources


def opened(requests: Requests, card: Card) -> str:
    request = {"do": "open", "model": card.id, "folder": str(card.folder), "digest": card.digest, "setup": None}
    assert requests.answer({**request, "kept": str(card.folder), "site_words": []}, []) == {"value": None}
    return card.id


def prepared(requests: Requests, model: str, sources: list[Source]) -> None:
    assert "prepared" in asked(requests, model, sources)


def asked(requests: Requests, model: str, sources: list[Source]) -> Any:
    fds = [os.open(each.path, os.O_RDONLY) for each in sources]
    headers = [each.header.to_json() for each in sources]
    request = {"do": "prepare", "model": model, "headers": headers, "is_chosen": False, "pictures": None}
    try:
        return requests.answer(request, fds)["value"]
    finally:
        for fd in fds:
            os.close(fd)


def test_what_is_decoded_is_held_only_where_models_share_images_and_until_there_is_rest(
    cards: dict[str, Card], study: list[Source]
) -> None:
    requests = Requests(1)
    film, volume = (opened(requests, cards[each]) for each in ("small-film", "small-volume"))
    prepared(requests, volume, study)
    assert (film, DECODED.bytes) == ("small-film", 0)
    other = opened(requests, cards["other-volume"])
    prepared(requests, volume, study)
    held = DECODED.bytes
    assert held == 20 * 32 * 32 * 2
    prepared(requests, other, study)
    assert DECODED.bytes == held
    requests.answer({"do": "rest"}, [])
    assert DECODED.bytes == 0


def test_no_more_is_held_than_an_eighth_of_what_the_process_may_take(
    cards: dict[str, Card], study: list[Source]
) -> None:
    requests = Requests(1, memory_mb=0.3)
    for each in ("small-volume", "other-volume"):
        prepared(requests, opened(requests, cards[each]), study)
    assert DECODED.bytes == 0


def test_where_memory_is_short_nothing_stays_held(cards: dict[str, Card], study: list[Source]) -> None:
    requests = Requests(1)
    text = (cards["other-volume"].folder / "card.toml").read_text().replace("memory_mb = 400", "memory_mb = 1")
    (cards["other-volume"].folder / "card.toml").write_text(text)
    small = read_card(cards["other-volume"].folder)
    prepared(requests, opened(requests, cards["small-volume"]), study)
    opened(requests, small)
    prepared(requests, cards["small-volume"].id, study)
    assert DECODED.bytes > 0
    large = drawn(study[0].path.parent.parent / "large", slices=40, size=128)
    assert asked(requests, small.id, large)["answer"]["reason"] == "memory"
    assert DECODED.bytes == 0
