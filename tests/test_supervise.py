"""The supervisor: what it does where a role cannot be started, never gets ready, or dies with it."""

import io
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_cases import lease_one, queued, rows
from peers import Node, eventually
from small_models import write_models

from imaging import supervise
from imaging.ledger import migrate, tables
from imaging.ledger.store import Ledger
from imaging.models.folders import ModelsFolder
from imaging.roles.owner import owner
from imaging.roles.watchdog import forget, running_jobs
from imaging.settings import Settings
from imaging.supervise import CannotServe


@pytest.fixture
def handlers() -> Any:
    """`serve` sets them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_role_that_never_gets_ready_is_ended_and_serve_gives_up_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "models" / "stuck"
    model.mkdir(parents=True)
    os.mkfifo(model / "card.toml")  # nobody ever writes into it
    monkeypatch.setattr(supervise, "READY_S", 0.5)
    settings = Settings(home=tmp_path / "home", role="worker", models=(ModelsFolder(model),))
    with pytest.raises(CannotServe, match=r"the role worker-0 does not start: it was not ready within 0\.5 s"):
        supervise.serve(settings, io.StringIO())


def test_a_role_that_the_machine_cannot_start_again_is_tried_again_and_the_others_go_on(
    serve: Callable[..., Node], tmp_path: Path
) -> None:
    node = serve("--role", "all", "--models", str(write_models(tmp_path / "models")))
    before = node.children()
    soft, hard = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (3, hard))  # no pipe can be made
    os.kill(before["deliver"], signal.SIGKILL)
    eventually(lambda: "it cannot be started: Too many open files" in errors(node), what="what is said of it")
    assert node.process.poll() is None
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    eventually(lambda: node.children().get("deliver", before["deliver"]) != before["deliver"], what="another one")
    assert node.children()["node"] == before["node"]
    assert node.stop() == 0


def errors(node: Node) -> str:
    return json.dumps(node.status()["roles"])


def test_what_was_under_way_when_all_died_together_counts_against_the_job(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    ledger = Ledger(home)
    migrate.migrate(ledger)
    queued(ledger, "1.2.1")
    queued(ledger, "1.2.2")
    held = [lease_one(ledger, owner(home, "worker-0")) for _ in range(2)]
    (home / "run" / "worker-0.working").write_text(f"{held[1].id}")
    supervisor = supervise._Supervisor(ledger, Settings(home=home, role="worker"), home)
    supervisor._return_claims(have_died=True)
    assert [(each["state"], each["attempts"]) for each in rows(ledger, tables.job)] == [("queued", 0), ("queued", 1)]
    supervisor._return_claims(have_died=True)  # a death counts once
    assert [each["attempts"] for each in rows(ledger, tables.job)] == [0, 1]
    lease_one(ledger, owner(home, "worker-0"))
    (home / "run" / "worker-0.working").write_text("1")
    supervisor._return_claims(have_died=False)  # it was killed since it took too long to end
    assert [each["attempts"] for each in rows(ledger, tables.job)] == [0, 1]
    ledger.close()


def test_a_note_of_what_was_under_way_that_was_cut_off_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "worker-0.working").write_bytes(b"12 \x00\x00")
    assert running_jobs(tmp_path, "worker-0") == set()
    forget(tmp_path, "worker-0")
    forget(tmp_path, "worker-0")
    assert list(tmp_path.iterdir()) == []
