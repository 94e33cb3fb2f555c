"""Answers out of the confined process are those of its models, and its end is nobody's hang."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confined_cases import HOSTILE, ROOT, attack, hostile
from peers import eventually
from small_models import write_models

from imaging.confined import analyser as confined_analyser
from imaging.confined import messages
from imaging.confined.analyser import ConfinedAnalyser, Prepared, check, compare
from imaging.confined.client import Confined, Ended
from imaging.domain.card import UNPROVEN, Card
from imaging.domain.faults import PublicError
from imaging.domain.findings import Answer, State
from imaging.domain.header import Header
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.compare import compare as compare_here
from imaging.models.catalogue import load_models
from imaging.phantoms.study import PhantomStudy, brain_study, film_study, head_study
from imaging.roles.analysis import collect

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Card]:
    return {card.id: card for card in load_models([write_models(tmp_path_factory.mktemp("models"))]).models}


@pytest.fixture(scope="module")
def process(cards: dict[str, Card]) -> Iterator[Confined]:
    with Confined(cards.values(), threads=2, memory_mb=4000) as started:
        yield started


def written(folder: Path, study: PhantomStudy) -> list[Source]:
    folder.mkdir(exist_ok=True)
    for number, instance in enumerate(study.instances):
        instance.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
    (sources,) = collect([folder]).studies.values()
    return sources


def untimed(answer: Answer) -> Answer:
    return replace(answer, timings_ms={})


STUDIES: dict[str, tuple[str, Callable[[], PhantomStudy]]] = {
    "a digital film": ("small-film", lambda: film_study(2, frozenset({"effusion"}), NOW, rows=512, columns=400)),
    "a computed film": ("small-film", lambda: film_study(1, frozenset(), NOW, rows=300, columns=300)),
    "a head CT of 300 slices": ("small-volume", lambda: head_study(3, True, NOW, slices=300, size=64)),
    "an MR of the brain": ("small-volume", lambda: brain_study(4, True, NOW, slices=24, size=96)),
    "a film that a model of volumes is asked about": ("small-volume", lambda: film_study(2, frozenset(), NOW, rows=64)),
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_answer_is_that_of_the_model(name: str, process: Confined, cards: dict[str, Card], tmp_path: Path) -> None:
    model, draw = STUDIES[name]
    sources = written(tmp_path / "study", draw())
    here = Analyser(cards[model], 2).analyse(sources)
    there = ConfinedAnalyser(process, cards[model]).analyse(sources)
    assert untimed(there) == untimed(here)
    assert (there.state is State.ANALYSED) == ("is asked about" not in name)
    assert list(there.facts) == list(here.facts)


def test_several_are_prepared_and_run_at_once_and_each_gets_its_own(
    process: Confined, cards: dict[str, Card], tmp_path: Path
) -> None:
    known = ConfinedAnalyser(process, cards["small-film"])
    films = [written(tmp_path / str(seed), film_study(seed, frozenset(), NOW, str(seed), 64, 64)) for seed in range(8)]
    answers: dict[int, Answer] = {}

    def analyse(at: int) -> None:
        answers[at] = known.analyse(films[at])

    threads = [threading.Thread(target=analyse, args=(at,)) for at in range(len(films))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [answers[at].images for at in range(8)] == [(film[0].ref,) for film in films]
    combined = [known.prepared(film) for film in films[:4]]
    ran = known.run([each for each in combined if isinstance(each, Prepared)])
    assert [untimed(each) for each in ran] == [untimed(answers[at]) for at in range(4)]


def test_two_copies_are_judged_as_they_are_outside(process: Confined, tmp_path: Path) -> None:
    (first,) = written(tmp_path / "one", film_study(2, frozenset(), NOW, rows=64, columns=64))
    other = film_study(2, frozenset(), NOW, rows=64, columns=64)
    other.instances[0].AccessionNumber = "NEW"
    (second,) = written(tmp_path / "two", other)
    assert compare(process, first, second) == compare_here(first, second)
    second.path.unlink()
    with pytest.raises(FileNotFoundError):
        compare(process, first, second)


def test_a_file_that_is_gone_is_a_failure_of_its_study_alone(
    process: Confined, cards: dict[str, Card], tmp_path: Path
) -> None:
    known = ConfinedAnalyser(process, cards["small-film"])
    (film,) = written(tmp_path / "film", film_study(2, frozenset(), NOW, rows=64, columns=64))
    film.path.unlink()
    ended = known.prepared([film])
    assert isinstance(ended, Answer)
    assert (ended.state, ended.images) == (State.FAILED, (film.ref,))
    assert str(ended.fault).startswith("FileNotFoundError at confined/")


def test_what_is_not_known_is_said_and_the_next_is_answered(process: Confined, cards: dict[str, Card]) -> None:
    for request in ("format the disk", "__init__", "answer"):
        with pytest.raises(PublicError, match="KeyError at confined/requests"):
            process.ask(request)
    known = ConfinedAnalyser(process, cards["small-film"])
    assert known.run([]) == []
    (answer,) = known.run([Prepared(10**9, ())])  # of a number that was never given
    assert (answer.state, answer.fault is not None) == (State.FAILED, True)


def test_a_card_that_changed_since_it_was_read_is_not_taken_in(process: Confined, cards: dict[str, Card]) -> None:
    with pytest.raises(PublicError, match="changed while it was loaded"):
        ConfinedAnalyser(process, replace(cards["small-film"], digest="0" * 64)).warm()


# Its end -------------------------------------------------------------------------------------------------------


def test_who_asks_when_it_is_killed_hears_how_it_ended_and_it_can_be_started_anew(tmp_path: Path) -> None:
    ended: list[str] = []
    with hostile(tmp_path, on_end=ended.append) as process:
        assert attack(process, "read", __file__) in ("done", "PermissionError")
        with pytest.raises(Ended, match="was killed by signal 6"):
            attack(process, "die")
        assert ended == ["the process that decodes pixels and runs networks was killed by signal 6"]
        first = process.pid
        process.restart_if_ended()
        process.restart_if_ended()
        assert attack(process, "tell all", 3) == "xxx"
        assert process.pid != first
    assert len(ended) == 1  # an end that is asked for is none


def test_who_begins_to_listen_after_its_end_hears_of_it_at_once(tmp_path: Path) -> None:
    ended: list[str] = []
    with hostile(tmp_path) as process:
        with pytest.raises(Ended):
            attack(process, "die")
        process.call_at_end(ended.append)
        assert ended == ["the process that decodes pixels and runs networks was killed by signal 6"]


@pytest.mark.parametrize("kind", ["hang", "hold the interpreter"])
def test_what_takes_longer_than_it_may_is_ended(kind: str, tmp_path: Path) -> None:
    with hostile(tmp_path) as process:
        with pytest.raises(Ended, match=r"took longer than 0\.5 s"):
            process.ask(kind, {"of": ""}, seconds=0.5)
        assert not Path(f"/proc/{process.pid}").exists()


PARENT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from confined_cases import hostile
from pathlib import Path
process = hostile(Path({kept!r}))
process.confinement
print(process.pid, flush=True)
process.ask({kind!r}, {{"of": ""}})
"""


@pytest.mark.parametrize("kind", ["hang", "hold the interpreter"])
def test_it_ends_with_its_parent(kind: str, tmp_path: Path) -> None:
    script = PARENT.format(root=str(ROOT), here=str(HOSTILE.parent), kept=str(tmp_path), kind=kind)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 10, "the end of the confined process")


def test_a_model_that_never_ends_is_found_by_the_check_and_the_next_one_is_checked(
    cards: dict[str, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined_analyser, "LOADING_S", -5.0)  # its card allows 5.0001 s
    with Confined(cards.values(), threads=1, memory_mb=None) as process:
        process.confinement  # noqa: B018 (its start is not part of it)
        engine = cards["small-volume"].engine
        endless = replace(cards["small-volume"], engine=replace(engine, seconds=5.0001))
        (fault,) = check(process, endless)
        assert "took longer than" in fault
        monkeypatch.undo()
        assert check(process, cards["small-film"]) == (UNPROVEN,)


# Messages ------------------------------------------------------------------------------------------------------


def exchange(text: str, files: Sequence[Path]) -> tuple[Any, list[str]]:
    """What arrives of a message, and what stands in its files."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=messages.send, args=(ours, {"text": text}, files))
        sender.start()
        with messages.receive(theirs) as message:
            sender.join()
            assert message.files is not None
            return message.content["text"], [os.pread(fd, 100, 0).decode() for fd in message.files]


@pytest.mark.parametrize("count", [0, 1, 253, 254, 600])
def test_a_message_brings_its_text_and_its_open_files_in_order(count: int, tmp_path: Path) -> None:
    files = [tmp_path / str(at) for at in range(count)]
    for each in files:
        each.write_text(each.name)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert exchange("ä" * 3_000_000, files) == ("ä" * 3_000_000, [each.name for each in files])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_more_images_than_files_may_be_open_are_said_and_none_stays_open(tmp_path: Path) -> None:
    files = [tmp_path / str(at) for at in range(300)]
    for each in files:
        each.write_text("x")
    script = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def command(fd: str) -> list[str]:
        return [sys.executable, "-I", "-c", script, str(HOSTILE), str(ROOT), fd]

    with Confined([], threads=1, memory_mb=None, kept=tmp_path, command=command) as process:
        sources = [Source(each, Header("1", "2", "3", "4", "5")) for each in files]
        for _ in range(3):
            with pytest.raises(PublicError, match="more images than files may be open"):
                process.ask("files", files=sources)
        assert process.ask("files", files=sources[:50]) == ["x"] * 50


def test_a_long_answer_arrives_and_one_that_no_honest_process_gives_is_its_end(tmp_path: Path) -> None:
    with hostile(tmp_path) as process:
        assert len(process.ask("tell all", {"of": str(20 << 20)})) == 20 << 20
        with pytest.raises(Ended):
            process.ask("tell all", {"of": str(messages.MAX_TEXT + 1)})


def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from imaging.confined import process\n"
        "def begin(told): raise ImportError('no module of that name')\n"
        "sys.exit(process.run(int(sys.argv[1]), begin))\n"
    )
    with (
        Confined(
            [], threads=1, memory_mb=None, kept=tmp_path, command=lambda fd: [sys.executable, "-I", str(broken), fd]
        ) as process,
        pytest.raises(PublicError, match="cannot start: ImportError: no module of that name"),
    ):
        process.ask("anything")
