"""A kill between any two steps of a study's way: nothing is lost, and no report comes twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest
from films import a_film, doubled, encoded, reports, send_until_acknowledged
from peers import Node, Orthanc, eventually, program
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage
from small_models import write_models
from sqlalchemy import select
from storage_peer import StoragePeer

from imaging import crash
from imaging.ledger import migrate, retention, tables
from imaging.ledger.store import Ledger

POINTS = {
    "node": [
        "spool-data-synced",
        "spool-name-synced",
        "record-not-committed",
        "recorded",
        "linked",
        "final-names-synced",
        "association-end-not-committed",
        "association-ended",
        "settle-not-committed",
        "settled",
    ],
    "worker": [
        "lease-not-committed",
        "leased",
        "result-data-synced",
        "result-kept",
        "conclusion-not-committed",
        "concluded",
    ],
    "deliver": ["claimed", "peer-answered", "answer-not-committed"],
}
"""The points that a process passes with each study, in this order."""
FALL_BACK = "fall-back-not-committed"
PURGING = ("removal-not-committed", "removed", "files-deleted")
COMPARING = ("judgement-not-committed", "judged")


class Site(NamedTuple):
    node: Node
    pacs: Orthanc
    armed: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("crash")
    armed = folder / "armed"
    armed.mkdir()
    pacs = Orthanc(program("/usr/sbin/Orthanc"), folder / "orthanc")
    options = ["--models", str(write_models(folder / "models")), "--deliver-to", f"PACS={pacs.address}"]
    options += ["--revision-interval-s", "0.1"]
    node = Node(folder / "home", options, {crash.VARIABLE: str(armed)})
    yield Site(node, pacs, armed)
    node.stop()
    pacs.stop()


@pytest.mark.parametrize(("role", "point"), [(role, point) for role, points in POINTS.items() for point in points])
def test_a_kill_there_loses_nothing_and_doubles_nothing(site: Site, role: str, point: str) -> None:
    pid = site.node.children()[role]
    (site.armed / point).touch()
    study_uid, film = a_film(2, point)
    send_until_acknowledged(lambda: site.node.dicom_port, film)

    def is_reported() -> bool:
        return study_uid in reports(site.pacs)

    eventually(is_reported, 30.0, "the report in the PACS")
    eventually(lambda: site.node.children().get(role, pid) != pid, 10.0, f"another {role}")
    assert not (site.armed / point).exists()
    assert doubled(reports(site.pacs)[study_uid]) == 0


def test_after_all_those_kills_nothing_waits(site: Site) -> None:
    eventually(site.node.at_rest, what="an end of the work")
    assert all(doubled(found) == 0 for found in reports(site.pacs).values())
    assert list((site.node.home / "spool" / "incoming").iterdir()) == []


def test_results_that_kills_left_without_a_row_are_gone_after_the_next_start(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.mkdir()
    options = ["--models", str(write_models(tmp_path / "models"))]
    node = Node(tmp_path / "home", options, {crash.VARIABLE: str(armed)})
    out = node.home / "spool" / "out"
    points = ("result-data-synced", "result-kept", "conclusion-not-committed")
    try:
        for number, point in enumerate(points, 1):
            (armed / point).touch()
            send_until_acknowledged(lambda: node.dicom_port, a_film(2, point)[1])
            eventually(node.at_rest, what="an end of the work")
            assert len(list(out.iterdir())) == 2 * number, point
    finally:
        node.stop()
    node = Node(tmp_path / "home", options)
    try:
        ledger = Ledger(node.home)
        assert {f"out/{each.name}" for each in out.iterdir()} == retention.result_keys(ledger)
        assert len(retention.result_keys(ledger)) == len(points)
        ledger.close()
    finally:
        node.stop()


def test_a_kill_while_a_delivery_falls_back_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / FALL_BACK).touch()
    peer = StoragePeer(sop_classes=[str(ComprehensiveSRStorage)]).start()
    options = ["--models", str(write_models(tmp_path / "models")), "--deliver-to", f"PACS={peer.address}"]
    node = Node(tmp_path / "home", options, {crash.VARIABLE: str(armed)})
    try:
        pid = node.children()["deliver"]
        _, film = a_film(2, FALL_BACK)
        send_until_acknowledged(lambda: node.dicom_port, film)
        eventually(lambda: peer.stored, 30.0, "the report in the PACS")
        eventually(node.at_rest, what="an end of the work")
        assert node.children()["deliver"] != pid
        assert len(set(peer.uids())) == 1
    finally:
        node.stop()
        peer.stop(wait=False)


@pytest.mark.parametrize("point", COMPARING)
def test_a_kill_while_a_copy_is_judged_leaves_one_judgement_and_one_newer_answer(site: Site, point: str) -> None:
    pid = site.node.children()["worker"]
    study_uid, film = a_film(2, point)
    send_until_acknowledged(lambda: site.node.dicom_port, film)
    eventually(site.node.at_rest, what="the first answer")
    (site.armed / point).touch()
    send_until_acknowledged(lambda: site.node.dicom_port, mended(film))
    eventually(lambda: site.node.children().get("worker", pid) != pid, 30.0, "another worker")
    eventually(site.node.at_rest, what="the second answer")
    (story,) = site.node.status("--study", study_uid)["studies"]
    assert [(each["state"], each["why"]) for each in story["copies"]] == [
        ("used", "correction"),
        ("noted", "replaced"),
    ]
    assert (story["corrections"], len(story["results"])) == (1, 2)


@pytest.mark.parametrize("point", PURGING)
def test_a_kill_inside_a_purge_leaves_files_to_delete_and_none_of_what_comes_again_is_deleted(
    tmp_path: Path, point: str
) -> None:
    armed = tmp_path / "armed"
    armed.mkdir()
    options = ["--models", str(write_models(tmp_path / "models"))]
    node = Node(tmp_path / "home", options)
    try:
        film = a_film(2, point)[1]
        send_until_acknowledged(lambda: node.dicom_port, film)
        eventually(node.at_rest, what="an end of the work")
        (armed / point).touch()
        purge = [sys.executable, "-m", "imaging", "purge", "--home", str(node.home), "--older-than", "0m"]
        killed = subprocess.run(purge, env=os.environ | {crash.VARIABLE: str(armed)}, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        send_until_acknowledged(lambda: node.dicom_port, film)
        eventually(node.at_rest, what="an end of the work")
    finally:
        node.stop()
    Node(tmp_path / "home", options).stop()
    ledger = Ledger(node.home)
    with ledger.read() as connection:
        named = set(connection.scalars(select(tables.instance.c.key))) | retention.result_keys(ledger)
        assert connection.scalars(select(tables.discarded.c.key)).all() == []
    ledger.close()
    spool = node.home / "spool"
    assert {str(each.relative_to(spool)) for each in spool.rglob("*") if each.is_file()} == named
    assert len(named) == 2


def mended(film: bytes) -> bytes:
    """The same film with another accession number."""
    image = dcmread(BytesIO(film))
    image.AccessionNumber = "MENDED"
    return encoded(image)


def test_points_that_no_test_names_are_none() -> None:
    """Each point of the code is passed by a test above, or below for migrations."""
    root = Path(crash.__file__).parent
    named = {
        line.split('"')[1]
        for file in root.rglob("*.py")
        for line in file.read_text().splitlines()
        if line.strip().startswith("crash.point(")
    }
    passed = {point for points in POINTS.values() for point in points}
    assert named == passed | {FALL_BACK, "migration-not-committed", *COMPARING, *PURGING}


def test_a_kill_inside_a_migration_leaves_an_empty_ledger_that_can_be_migrated(tmp_path: Path) -> None:
    home, armed = tmp_path / "home", tmp_path / "armed"
    home.mkdir()
    armed.mkdir()
    (armed / "migration-not-committed").touch()
    command = [sys.executable, "-m", "imaging", "migrate", "--home", str(home)]
    environment = os.environ | {crash.VARIABLE: str(armed)}
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert schema(home) is None
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    assert schema(home) == migrate.HEAD


KILLED_AT_A_STATEMENT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from imaging.ledger import migrate, retention
from imaging.ledger.store import Ledger

left = int(sys.argv[2])

def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

ledger = Ledger(Path(sys.argv[1]))
migrate.version(ledger)
event.listen(ledger.engine, "after_cursor_execute", count)
migrate.migrate(ledger)
"""


@pytest.mark.parametrize("statement", [3, 11, 30])
def test_a_kill_after_any_statement_of_a_migration_leaves_an_empty_ledger(tmp_path: Path, statement: int) -> None:
    command = [sys.executable, "-c", KILLED_AT_A_STATEMENT, str(tmp_path), str(statement)]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert schema(tmp_path) is None
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    ledger.close()
    assert schema(tmp_path) == migrate.HEAD


def schema(home: Path) -> str | None:
    ledger = Ledger(home)
    found = migrate.version(ledger)
    ledger.close()
    return found
