"""A wake-up that is lost costs seconds, never a study: each waiter looks of itself."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from films import a_film
from peers import Node, Orthanc, eventually
from small_models import write_models

from imaging.domain.artefacts import REPORT, Artefact
from imaging.domain.findings import Answer, State
from imaging.domain.reasons import Reason
from imaging.domain.settling import CompletenessTimeouts
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import part_10_head, split_part_10
from imaging.ledger import jobs, leasing, recording, settling, status
from imaging.ledger.instances import Receipt
from imaging.ledger.jobs import NewObject
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger
from imaging.ledger.wakeups import SocketWakeUps
from imaging.roles.child import LOOK_S
from imaging.roles.outbox import keep
from imaging.spool.folder import FolderSpool, key_of

pytestmark = pytest.mark.alone
SLACK_S = 2.0


class Unheard(SocketWakeUps):
    """Wake-ups that reach nobody."""

    def notify(self, *topics: str) -> None:
        return


@pytest.fixture
def quiet() -> Callable[[Path], Ledger]:
    """The ledger of a home, whose wake-ups reach nobody."""
    return lambda home: Ledger(home, wakeups=Unheard(home / "run"))


def receive(ledger: Ledger, home: Path) -> None:
    """A film in spool and ledger, as a node that was killed before it could say so would leave it."""
    request = split_part_10(a_film(2, "wake-ups")[1])
    header = read_header(request.data, request.transfer_syntax_uid)
    spool = FolderSpool(home / "spool")
    incoming = spool.write([part_10_head(header), request.data])
    receipt = Receipt(header, "digest", incoming.size, None, key_of(header, incoming.name), "")
    recording.record(ledger, [receipt], CompletenessTimeouts())
    spool.link(incoming, receipt.key)


def settle(ledger: Ledger) -> None:
    (due,) = settling.due_studies(ledger)[0]
    candidate = settling.candidate(ledger, due)
    assert settling.settle(ledger, candidate, "test", [NewJob("small-film", "1", frozenset(candidate.instances))], "")


def conclude(ledger: Ledger, home: Path) -> None:
    (job,) = leasing.lease(ledger, "test", LeaseRequest({"small-film"}))
    film = a_film(2, "wake-ups")[1]
    request = split_part_10(film)
    sent = Artefact(REPORT, request.sop_class_uid, request.sop_instance_uid, "1.2.3", film)
    new = [NewObject(each, ("PACS",)) for each in keep(FolderSpool(home / "spool"), [sent])]
    assert jobs.conclude(ledger, job, Answer(State.NOT_ANALYSED, reason=Reason("age")), new)


def seconds_until(look: Callable[[], bool]) -> float:
    began = time.monotonic()
    eventually(look, LOOK_S + SLACK_S)
    return time.monotonic() - began


def test_the_node_settles_a_study_that_nobody_told_it_of(
    serve: Callable[..., Node], quiet: Callable[[Path], Ledger], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    serve("--role", "node", "--models", str(write_models(tmp_path / "models")), home=home)
    ledger = quiet(home)
    receive(ledger, home)
    assert seconds_until(lambda: status.of(ledger)["studies"]["settled"] == 1) < LOOK_S + SLACK_S


def test_the_worker_does_a_job_that_nobody_told_it_of(
    serve: Callable[..., Node], quiet: Callable[[Path], Ledger], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    serve("--role", "worker", "--models", str(write_models(tmp_path / "models")), home=home)
    ledger = quiet(home)
    receive(ledger, home)
    settle(ledger)
    assert seconds_until(lambda: status.of(ledger)["jobs"]["analysed"] == 1) < LOOK_S + SLACK_S


def test_delivery_sends_an_object_that_nobody_told_it_of(
    serve: Callable[..., Node], quiet: Callable[[Path], Ledger], pacs: Orthanc, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    serve("--role", "deliver", "--deliver-to", f"PACS={pacs.address}", home=home)
    ledger = quiet(home)
    receive(ledger, home)
    settle(ledger)
    conclude(ledger, home)
    assert seconds_until(lambda: bool(pacs.instances("DX"))) < LOOK_S + SLACK_S
