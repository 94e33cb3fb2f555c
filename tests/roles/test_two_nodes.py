"""One study at two nodes, and at a home that was lost and started anew: each result has a UID of its own."""

import shutil
from pathlib import Path

import pytest
from ledger_cases import REFUSED, TurnedClock, queued, rows
from small_models import write_models

from imaging.domain.source import Source
from imaging.ledger import jobs, leasing, migrate, tables
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.store import Ledger
from imaging.roles.pipeline import Task
from imaging.roles.worker import Worker
from imaging.roles.worker_config import WorkerConfig, begin

MODEL = "small-film"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


class Home:
    """A home that is served; every one's clock stands at the same time."""

    def __init__(self, home: Path, models: Path) -> None:
        home.mkdir()
        self.path, self.ledger = home, Ledger(home, clock=TurnedClock())
        migrate.migrate(self.ledger)
        self.ledger.begin_boot()
        worker_config = WorkerConfig("worker-0", str(home), "", [str(models)], [], 3000.0, 1, "en")
        self._worker = Worker(self.ledger, worker_config, begin(worker_config))

    def answer(self) -> str:
        """Answers what is queued; the SOP Instance UID of the report."""
        (job,) = leasing.lease(self.ledger, self._worker._owner, LeaseRequest({MODEL}))
        sources = tuple(Source(self.path / key, header) for key, header in job.instances)
        card = self._worker.serving.catalogue.model(MODEL)
        self._worker._conclude(Task(job, card, sources, is_alone=True), REFUSED)
        return str(rows(self.ledger, tables.object_)[-1]["sop_instance_uid"])

    def receive(self) -> None:
        queued(self.ledger, models=[MODEL])

    def replay(self) -> None:
        assert jobs.replay(self.ledger, ["1.2.3"]) == 1


def test_two_nodes_give_one_study_different_uids_though_they_answer_the_same(tmp_path: Path, models: Path) -> None:
    one, other = (Home(tmp_path / name, models) for name in ("one", "other"))
    one.receive()
    other.receive()
    assert one.answer() != other.answer()


def test_a_home_that_was_lost_and_started_anew_gives_another_uid(tmp_path: Path, models: Path) -> None:
    first = Home(tmp_path / "home", models)
    first.receive()
    before = first.answer()
    first.ledger.close()
    shutil.rmtree(tmp_path / "home")
    second = Home(tmp_path / "home", models)
    second.receive()
    assert second.answer() != before


def test_a_replayed_job_is_answered_under_a_uid_of_its_own(tmp_path: Path, models: Path) -> None:
    home = Home(tmp_path / "home", models)
    home.receive()
    first = home.answer()
    home.replay()
    second = home.answer()
    assert first != second
    assert [each["sop_instance_uid"] for each in rows(home.ledger, tables.object_)] == [first, second]


def test_each_start_of_a_home_finds_the_installation_that_the_first_one_drew(tmp_path: Path, models: Path) -> None:
    home = Home(tmp_path / "home", models)
    drawn = home.ledger.installation()
    home.ledger.begin_boot()
    again = Ledger(tmp_path / "home", clock=TurnedClock())
    again.begin_boot()
    assert again.installation() == drawn
