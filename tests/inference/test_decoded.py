"""What one model has read of a study the next one has without reading it again; and no more is held than may be."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from inference_cases import answer, film_card, volume_card, write_film, write_series

from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.decoded import DECODED, Decoded

READS: list[str] = []


@dataclass(frozen=True)
class Noted(Source):
    """A source whose readings are noted."""

    def read_bytes(self) -> bytes:
        READS.append(self.path.name)
        return super().read_bytes()


@pytest.fixture(autouse=True)
def _held() -> Iterator[None]:
    READS.clear()
    DECODED.hold(1 << 24)
    yield
    DECODED.hold(0)


def noted(sources: list[Source]) -> list[Source]:
    return [Noted(each.path, each.header) for each in sources]


def series(folder: Path, seed: int = 0, slices: int = 8) -> list[Source]:
    values = np.random.default_rng(seed).integers(0, 90, (slices, 24, 24)).astype(float)
    return noted(write_series(folder, values, np.arange(slices) * 3.0))


def test_the_files_of_a_study_are_read_once_for_all_models_and_each_has_its_own_answer(tmp_path: Path) -> None:
    first, second = (Analyser(volume_card(tmp_path / name)) for name in ("first", "second"))
    sources = series(tmp_path / "study")
    answers = [answer(each.analyse(sources)) for each in (first, second)]
    assert len(READS) == 8
    DECODED.drop()
    assert [answer(each.analyse(sources)) for each in (first, second)] == answers
    assert len(READS) == 16


def test_a_film_is_read_once_for_all_models(tmp_path: Path) -> None:
    first, second = (Analyser(film_card(tmp_path / name)) for name in ("first", "second"))
    pixels = np.random.default_rng(1).integers(0, 4096, (64, 64))
    films = noted([write_film(tmp_path / "film.dcm", pixels)])
    assert first.analyse(films).findings == second.analyse(films).findings
    assert READS == ["film.dcm"]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    analyser = Analyser(volume_card(tmp_path / "model"))
    before = analyser.analyse(series(tmp_path / "study"))
    after = analyser.analyse(series(tmp_path / "study", seed=1))
    assert len(READS) == 16
    assert before.findings != after.findings


def test_a_stack_that_could_not_be_read_whole_is_not_held(tmp_path: Path) -> None:
    analyser = Analyser(volume_card(tmp_path / "model"))
    sources = series(tmp_path / "study")
    last = sources[-1].path
    last.write_bytes(last.read_bytes()[:-400])
    made = analyser.analyse(sources)
    assert made.coverage is not None
    assert made.coverage.missing
    assert DECODED.bytes == 0


def test_what_was_longest_unused_goes_first_and_the_bound_holds() -> None:
    held = Decoded()
    made: list[str] = []

    def of(name: str, size: int) -> None:
        def make() -> np.ndarray:
            made.append(name)
            return np.zeros(size, np.uint8)

        held.of(lambda: name, make, lambda array: array)

    of("before it is told", 10)
    assert held.bytes == 0
    held.hold(100)
    for name, size in (("a", 40), ("b", 40), ("a", 40), ("c", 40), ("a", 40), ("b", 40), ("too large", 101)):
        of(name, size)
        assert held.bytes <= 100
    assert made == ["before it is told", "a", "b", "c", "b", "too large"]
    assert held.drop()
    assert (held.bytes, held.drop()) == (0, False)
    of("a", 40)
    held.hold(0)
    assert held.bytes == 0


def test_a_view_counts_for_all_that_it_keeps_in_memory() -> None:
    held = Decoded()
    held.hold(1000)
    whole = np.zeros(600, np.uint8)
    held.of(lambda: "view", lambda: whole[:10], lambda array: array)
    assert held.bytes == 600
    held.of(lambda: "bytes", lambda: np.frombuffer(bytes(300), np.uint8)[:10], lambda array: array)
    assert held.bytes == 900
