"""Forty kills at random while films stream in: none is lost, none is answered twice."""

from pathlib import Path

from end_to_end.kills import run
from peers import program


def test_forty_random_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    figures = run(40, tmp_path, program("/usr/sbin/Orthanc"))
    print(figures)
    assert sum(figures["kills"].values()) == 40
    assert set(figures["kills"]) == {"node", "worker", "deliver", "supervisor"}
    assert figures["acknowledged"] > 40
    assert (figures["lost"], figures["duplicates"], figures["dead_letters"], figures["orphans"]) == (0, 0, 0, 0)
