"""The node: one study that cannot be looked at holds up no other, and a burst's memory is given back."""

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_cases import TurnedClock, film, receive, rows
from peers import Node, eventually, program
from small_models import write_models
from sqlalchemy import update

from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import jobs, migrate, settling, tables
from imaging.ledger.store import Ledger
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study
from imaging.roles.child import LOOK_S
from imaging.roles.node import MAX_TRIES, Settler


def test_a_study_whose_header_cannot_be_read_back_is_put_off_and_the_others_are_settled(tmp_path: Path) -> None:
    clock = TurnedClock()
    ledger = Ledger(tmp_path, clock=clock)
    migrate.migrate(ledger)
    broken, other = (receive(ledger, film(study)).study_id for study in ("1.2.1", "1.2.2"))
    instance = tables.instance
    with ledger.write() as connection:
        of_another_version = update(instance).where(instance.c.study_id == broken).values(header={"shoe_size": 42})
        connection.execute(of_another_version)
    clock.advance(60)
    assert Settler(ledger, [], CompletenessTimeouts()).run_once() == clock.tick() + LOOK_S
    assert {each["id"]: (each["state"], each["settle_why"]) for each in rows(ledger, tables.study)} == {
        broken: ("receiving", "an error in imaging; see the log"),
        other: ("settled", "end of the association"),
    }
    ledger.close()


def test_a_study_that_can_never_be_looked_at_is_answered_as_failed_and_can_be_asked_again(
    tmp_path: Path, models: Path
) -> None:
    clock = TurnedClock()
    ledger = Ledger(tmp_path, clock=clock)
    migrate.migrate(ledger)
    study_id = receive(ledger, film("1.2.1")).study_id
    with ledger.write() as connection:
        connection.execute(update(tables.instance).values(header={"shoe_size": 42}))
    settler = Settler(ledger, load_models([models]).models, CompletenessTimeouts())
    clock.advance(60)
    waits = []
    while (again := settler.run_once()) is not None:
        waits.append(again - clock.tick())
        clock.advance(again - clock.tick())
    assert waits == [LOOK_S * 2**tries for tries in range(MAX_TRIES - 1)]
    (study,), (job,) = rows(ledger, tables.study), rows(ledger, tables.job)
    assert (study["state"], study["settle_tick"], study["reason"]) == ("settled", None, "")
    assert (job["study_id"], job["model"], job["state"]) == (study_id, "small-film", "failed")  # of films no other is
    assert job["reason"].startswith("the study could not be processed: TypeError at domain/header.py")
    assert settling.due_studies(ledger) == ([], None)
    assert jobs.replay(ledger) == 1
    ledger.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


def held_mb(pid: int) -> int:
    """The process's own memory (PSS)."""
    match = re.search(r"Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert match is not None
    return int(match[1]) >> 10


def test_what_a_burst_of_associations_took_is_given_back(serve: Callable[..., Node], tmp_path: Path) -> None:
    node = serve("--role", "node")
    pid = node.children()["node"]
    for seed in range(6):
        study = film_study(seed, frozenset(), datetime.now(UTC), rows=2000, columns=1700)
        study.instances[0].save_as(tmp_path / f"{seed}.dcm", enforce_file_format=True)
    before = held_mb(pid)
    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port)]
    senders = [subprocess.Popen([*command, str(tmp_path / f"{seed}.dcm")]) for seed in range(6)]
    assert [each.wait(60) for each in senders] == [0] * 6
    eventually(lambda: held_mb(pid) < before + 10, 20, "giving back")


def test_a_sites_words_reach_who_settles_and_who_analyses(serve: Callable[..., Node], tmp_path: Path) -> None:
    model = str(shipped_folder() / "chest-film")
    node = serve("--site-words", "CHEST=tp", "--site-words", "HAND=bt", "--models", model)
    files, uids = [], {}
    for seed, part in enumerate(("TP", "BT", "XX")):
        film_of_site = film_study(seed, frozenset(), datetime.now(UTC), rows=64, columns=64).instances[0]
        film_of_site.BodyPartExamined = part
        film_of_site.pop("AnatomicRegionSequence", None)
        files.append(tmp_path / f"{part}.dcm")
        uids[part] = film_of_site.StudyInstanceUID
        film_of_site.save_as(files[-1], enforce_file_format=True)
    subprocess.run([program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), *map(str, files)], check=True)
    eventually(lambda: (value := node.at_rest()) and value["studies"]["settled"] == 3, what="three answers")
    ends = {}
    for part, uid in uids.items():
        results = node.status("--study", uid)["studies"][0]["results"]
        ends[part] = [(each["state"], each["reason"]) for each in results]
    assert [state for state, _ in ends["TP"]] == ["analysed"]
    assert ends["XX"] == [("not_analysed", "body-part")]
    assert not ends["BT"] or ends["BT"][0][1] == "no-model"
