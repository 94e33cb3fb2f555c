"""A modality that dies in the middle of a CT and sends it all again gets one answer, over all slices."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_cases import rows, states
from peers import Node, eventually, program

from imaging.ledger import tables
from imaging.ledger.store import Ledger
from imaging.phantoms.study import head_study

SLICES = 40


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A CT, a file per slice."""
    folder = tmp_path_factory.mktemp("ct")
    study = head_study(5, True, datetime(2026, 11, 24, tzinfo=UTC), slices=SLICES, size=64)
    for number, instance in enumerate(study.instances):
        instance.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


@pytest.fixture
def node(serve: Callable[..., Node]) -> Node:
    return serve("--role", "node", "--volume-quiet-s", "0.2", "--volume-gap-s", "0.5")


@pytest.fixture
def ledger(node: Node) -> Iterator[Ledger]:
    """The node's."""
    ledger = Ledger(node.home)
    yield ledger
    ledger.close()


def storescu(node: Node, files: list[Path]) -> subprocess.Popen[bytes]:
    command = [program("/usr/bin/storescu"), "-aet", "CT1", "127.0.0.1", str(node.dicom_port), *map(str, files)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_sender_that_is_killed_and_sends_all_again_makes_one_revision(
    node: Node, ledger: Ledger, files: list[Path]
) -> None:
    sender = storescu(node, files)
    eventually(lambda: len(rows(ledger, tables.instance)) >= SLICES // 3, what="a third of the study")
    sender.kill()
    sender.wait()
    (study,) = eventually(
        lambda: [each for each in rows(ledger, tables.study) if each["settle_why"] == "sender cut off, and not back"],
        what="the wait for the sender",
    )
    assert 0 < study["instances"] < SLICES
    assert storescu(node, files).wait(60) == 0
    eventually(lambda: states(ledger, tables.study) == ["settled"], 20.0, "the usual quiet time")
    assert [each["instances"] for each in rows(ledger, tables.study)] == [SLICES]
    # One head model fits it, so that a revision has one job.
    assert [each["number"] for each in rows(ledger, tables.revision)] == [1]
    assert [len(each["instances"]) for each in rows(ledger, tables.job)] == [SLICES]
