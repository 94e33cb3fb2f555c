"""What a job may do to a worker, and what becomes of it: nobody else's study waits for long."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import a_film
from ledger_cases import NEGATIVE, POSITIVE, REFUSED, queued, rows
from onnx import TensorProto, helper, numpy_helper
from peers import Node, eventually, program
from small_models import FILM, VOLUME, write_beside, write_card, write_models, write_network
from sqlalchemy import event

from imaging.cli import main
from imaging.domain.card import UNPROVEN
from imaging.domain.findings import Answer
from imaging.domain.source import Source
from imaging.ledger import leasing, migrate, stories, tables, wakeups, workers
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.store import Ledger
from imaging.phantoms.study import PhantomStudy, film_study, head_study
from imaging.roles.owner import owner_of
from imaging.roles.pipeline import Task
from imaging.roles.worker import _PAUSES_S, Worker
from imaging.roles.worker_config import WorkerConfig, begin
from imaging.spool import FolderSpool

GOLDEN = '\n[golden]\ninput = "film.dcm"\noutput = "expected.json"\ntolerance = 0.001\n'


def write_endless(folder: Path, seconds: float, kind: str = "film") -> Path:
    """A model whose network never ends, under a card that allows it `seconds`."""
    shape: list[str | int] = ["n", 1, 32, 32] if kind == "film" else ["n", 1, 8, 16, 16]
    out: list[str | int] = ["n", 1] if kind == "film" else ["n", 2, 8, 16, 16]
    begin = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["begun"]),
    ]
    begin = begin if kind == "film" else [helper.make_node("Concat", ["x", "x"], ["begun"], axis=1)]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go"]),
            helper.make_node("Add", ["held", "one"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, out),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, out),
        ],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    nodes = [
        *begin,
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["highest"], keepdims=0),
        # Zeros, by which the worker warms the engine, end at once: only an image turns for ever.
        helper.make_node("Greater", ["highest", "nothing"], ["is_image"]),
        helper.make_node("Loop", ["turns", "is_image", "begun"], ["y"], body=body),
    ]
    weights = [
        numpy_helper.from_array(np.array(1 << 60, np.int64), "turns"),
        numpy_helper.from_array(np.array(0, np.float32), "nothing"),
    ]
    text = (FILM if kind == "film" else VOLUME).replace("seconds = 10", f"seconds = {seconds}")
    path = folder / f"endless-{kind}"
    digest = write_network(path, nodes, weights, shape, out)
    write_card(path, text.replace('modality = ["DX", "CR"]', 'modality = ["CR"]'), 3, digest)
    return folder


def write_golden(model: Path, seed: int, probability: float) -> None:
    """Gives a film model a golden case, a drawn film for which that is expected."""
    card = model / "card.toml"
    card.write_text(card.read_text() + GOLDEN)
    film = film_study(seed, frozenset(), datetime.now(UTC), rows=64, columns=64).instances[0]
    film.save_as(model / "film.dcm", enforce_file_format=True)
    expect(model, probability)


def expect(model: Path, probability: float) -> None:
    """What the golden case of a film model is to give."""
    data = {"findings": [{"code": "abnormal", "probability": probability}]}
    (model / "expected.json").write_text(json.dumps(data))


def config_of(name: str, home: Path, models: Path, language: Any = "en") -> WorkerConfig:
    """What a worker of this process is told that serves a folder of models."""
    return WorkerConfig(name, str(home), "", [str(models)], [], 3000.0, 1, language)


def a_worker(ledger: Ledger, worker_config: WorkerConfig) -> Worker:
    return Worker(ledger, worker_config, begin(worker_config))


def send(node: Node, folder: Path, seed: int) -> str:
    """Sends one drawn film: a DX of an even seed, a CR of an odd one. Returns its Study Instance UID."""
    return send_study(node, folder, film_study(seed, frozenset(), datetime.now(UTC), str(folder), 256, 256))


def send_study(node: Node, folder: Path, study: PhantomStudy) -> str:
    """Sends a drawn study. Returns its Study Instance UID."""
    files = folder / study.study_instance_uid
    files.mkdir(parents=True)
    for number, instance in enumerate(study.instances):
        instance.save_as(files / f"{number}.dcm", enforce_file_format=True)
    command = [program("/usr/bin/dcmsend"), "127.0.0.1", str(node.dicom_port), "+sd", str(files)]
    subprocess.run(command, check=True, capture_output=True)
    return study.study_instance_uid


def results(node: Node, study_uid: str) -> dict[str, Any]:
    """Each model's answer for a study, as the status tells its story."""
    story = node.status("--study", study_uid)["studies"][0]
    return {each["model"]: each for each in story["results"]}


@dataclass(frozen=True)
class WorkerSetup:
    """A worker of this process, one film's job that it has leased, and the ledger where it ends."""

    home: Path
    ledger: Ledger
    worker: Worker
    task: Task

    def end(self, outcome: Answer) -> dict[str, Any]:
        """Ends the job so; the answer as the study's story tells it."""
        self.worker._conclude(self.task, outcome)
        (story,) = stories.named(self.ledger, "1.2.3")
        (result,) = story["results"]
        return dict(result)

    def reports(self) -> list[bytes]:
        return [(self.home / "spool" / each["key"]).read_bytes() for each in rows(self.ledger, tables.object_)]


@pytest.fixture
def worker_setup(tmp_path: Path, models: Path) -> Iterator[Callable[..., WorkerSetup]]:
    """A desk for a film whose header has these facts; `language` is that of its reports."""
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    ledger.begin_boot()
    begun: list[Worker] = []

    def make(language: Any = "en", **facts: Any) -> WorkerSetup:
        queued(ledger, models=["small-film"], **facts)
        worker = a_worker(ledger, config_of("worker-0", tmp_path, models, language))
        begun.append(worker)
        (job,) = leasing.lease(ledger, worker._owner, LeaseRequest({"small-film"}))
        sources = tuple(Source(tmp_path / key, header) for key, header in job.instances)
        card = worker.serving.catalogue.model("small-film")
        return WorkerSetup(tmp_path, ledger, worker, Task(job, card, sources, is_alone=True))

    yield make
    for each in begun:
        each.close()
    ledger.close()


def test_a_report_that_must_not_be_sent_makes_a_failure_that_says_so_in_its_own(
    worker_setup: Callable[..., WorkerSetup],
) -> None:
    known = worker_setup()
    result = known.end(POSITIVE)  # of a label that is not on the card
    assert (result["state"], result["no_report"]) == ("failed", None)
    assert " at results/" in result["reason"]
    (report,) = known.reports()
    assert b"Processing failed" in report


def test_where_not_even_the_failure_can_be_reported_the_job_ends_and_says_why(
    worker_setup: Callable[..., WorkerSetup],
) -> None:
    known = worker_setup(language="none of ours")
    result = known.end(NEGATIVE)
    assert (result["state"], known.reports()) == ("failed", [])
    assert result["no_report"].startswith("KeyError at results/")


def test_a_study_that_may_have_no_report_says_why_beside_its_answer(
    worker_setup: Callable[..., WorkerSetup], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = worker_setup(patient_id="P" * 65)
    result = known.end(REFUSED)
    assert (result["state"], result["reason"], known.reports()) == ("not_analysed", REFUSED.why, [])
    assert "Patient ID" in result["no_report"]
    assert main(["status", "--home", str(tmp_path), "--study", "1.2.3"]) == 0
    assert f"    no report: {result['no_report']}" in capsys.readouterr().out


def full(ledger: Ledger) -> Callable[[], None]:
    """Fills the disk of a SQLite ledger; call it to make room again."""
    with ledger.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    maximum = [pages]

    def hold(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {maximum[0]}")

    def make_room() -> None:
        maximum[0] = 1_000_000

    event.listen(ledger.engine, "checkout", hold)
    return make_room


def test_an_answer_for_which_the_disk_has_no_room_is_written_down_once_it_has(
    worker_setup: Callable[..., WorkerSetup], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = worker_setup()
    make_room = full(known.ledger)
    stop = Pauses(3, make_room)
    monkeypatch.setattr(known.worker, "_stop", stop)
    known.worker.conclude(known.task, replace(REFUSED, facts=BULKY))
    (job,) = rows(known.ledger, tables.job)
    assert (job["state"], len(known.reports()), stop.taken) == ("not_analysed", 1, list(_PAUSES_S[:3]))


def test_a_job_whose_answer_cannot_be_written_down_comes_back_at_once_without_a_death(
    worker_setup: Callable[..., WorkerSetup], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = worker_setup()
    make_room = full(known.ledger)
    stop = Pauses(99, make_room)
    monkeypatch.setattr(known.worker, "_stop", stop)
    known.worker.conclude(known.task, replace(REFUSED, facts=BULKY))
    assert stop.taken == list(_PAUSES_S)
    make_room()
    assert known.worker.heartbeat.beat()
    (job,) = rows(known.ledger, tables.job)
    assert (job["state"], job["attempts"], known.reports()) == ("queued", 0, [])


def test_a_disk_without_room_to_note_what_is_under_way_fails_no_job(worker_setup: Callable[..., WorkerSetup]) -> None:
    known = worker_setup()
    with Path("/dev/full").open("r+b", buffering=0) as nowhere:
        os.dup2(nowhere.fileno(), known.worker._watchdog._file)
    known.worker.conclude(known.task, REFUSED)
    assert [each["state"] for each in rows(known.ledger, tables.job)] == ["not_analysed"]


def test_a_job_whose_answer_the_ledger_never_takes_fails_with_words_and_does_not_come_back(
    worker_setup: Callable[..., WorkerSetup],
) -> None:
    known = worker_setup()
    with known.ledger.write() as connection:
        never = "CREATE TRIGGER never BEFORE INSERT ON object BEGIN SELECT RAISE(ABORT, 'never'); END"
        connection.exec_driver_sql(never)
    known.worker.conclude(known.task, NEGATIVE)
    (job,) = rows(known.ledger, tables.job)
    assert (job["state"], job["attempts"], known.reports()) == ("failed", 0, [])
    assert job["reason"].startswith("IntegrityError at ")


def test_whatever_a_model_does_when_it_reads_a_study_the_job_fails_and_the_feeder_goes_on(
    worker_setup: Callable[..., WorkerSetup], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = worker_setup()
    known.worker.serving.warm()
    analyser = known.worker.serving.analysers["small-film"]
    # Its card, as a fault of ours would leave it: nothing that the analyser looks at is there.
    monkeypatch.setattr(analyser, "card", None)
    task = known.worker.prepare(known.task.job, is_alone=True)
    assert isinstance(task.prepared, Answer)
    assert (task.prepared.state, "AttributeError" in (task.prepared.why or "")) == ("failed", True)


def test_each_worker_does_the_jobs_of_its_own_models_and_one_says_once_that_nobody_serves_a_third(
    tmp_path: Path, models: Path
) -> None:
    """worker-0 could not load the volume's model, worker-1 not the film's: the other's jobs are not theirs to end."""
    home, ledger = tmp_path / "home", Ledger(tmp_path / "home")
    migrate.migrate(ledger)
    ledger.begin_boot()
    workers.expect(ledger, [owner_of(home, name) for name in ("worker-0", "worker-1")])
    _, data = a_film(2, "two workers")
    spool = FolderSpool(home / "spool")
    spool.link(spool.write([data]), "key-")
    study_id = queued(ledger, models=["small-film", "small-volume", "nobodys"])

    def begin(name: str, lacks: str) -> tuple[threading.Event, threading.Thread]:
        its = tmp_path / name
        shutil.copytree(models, its)
        (its / lacks / "model.onnx").write_bytes(b"no network")
        worker = a_worker(ledger, config_of(name, home, its))
        worker.serving.warm()
        stop = threading.Event()
        thread = threading.Thread(target=worker.work, args=(stop,))
        thread.start()
        return stop, thread

    def state(model: str) -> tuple[str, str | None]:
        return next((each["state"], each["reason"]) for each in rows(ledger, tables.job) if each["model"] == model)

    volumes = begin("worker-1", lacks="small-film")
    eventually(lambda: state("small-volume")[0] == "not_analysed", what="the other model's answer")
    assert state("small-volume")[1] != "model-disabled"
    assert (state("small-film"), state("nobodys")) == (("queued", None), ("queued", None))
    films = begin("worker-0", lacks="small-volume")
    eventually(lambda: "queued" not in {each["state"] for each in rows(ledger, tables.job)}, what="every answer")
    for stop, thread in (volumes, films):
        stop.set()
        ledger.wakeups.notify(wakeups.JOB)
        thread.join(30)
    assert (state("small-film"), state("nobodys")) == (("analysed", None), ("not_analysed", "model-disabled"))
    fields = {each["name"]: each for each in rows(ledger, tables.model)}
    assert fields["small-film"]["is_served"]
    assert fields["small-volume"]["is_served"]
    assert fields["small-volume"]["why"].startswith(f"not by {owner_of(home, 'worker-0')[:-1]}: ")
    assert study_id == 1
    ledger.close()


@dataclass
class Pauses:
    """A worker's stop, which is asked to wait and does not; the `room`th time there is room again."""

    room: int
    make_room: Callable[[], None]
    taken: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> bool:
        self.taken.append(seconds)
        if len(self.taken) == self.room:
            self.make_room()
        return False


BULKY = {"bulk": "x" * 200_000}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


@pytest.mark.alone
def test_a_job_that_never_ends_is_timed_out_and_the_worker_is_back_within_five_seconds(
    serve: Callable[..., Node], models: Path, tmp_path: Path
) -> None:
    node = serve("--models", str(write_endless(models, seconds=1.0)))
    before = node.children()["worker"]
    confined = confined_of(before)
    held = send(node, tmp_path / "films", seed=1)

    eventually(
        lambda: results(node, held).get("endless-film", {}).get("state") == "not_analysed", 20, "the end of the job"
    )
    assert results(node, held)["endless-film"]["reason"] == "timed-out"
    eventually(lambda: node.children().get("worker", before) != before, 5, "another worker")
    eventually(lambda: not Path(f"/proc/{confined}").exists(), 5, "the end of what ran the network")

    other = send(node, tmp_path / "films", seed=2)
    eventually(
        lambda: results(node, other).get("small-film", {}).get("state") == "analysed", 20, "another study's answer"
    )
    assert node.stop() == 0


def test_a_film_is_answered_while_a_volume_holds_its_engine_and_others_wait_behind_it(
    serve: Callable[..., Node], models: Path, tmp_path: Path
) -> None:
    node = serve("--models", str(write_endless(models, seconds=100.0, kind="volume")))
    heads = [
        send_study(node, tmp_path / "heads", head_study(seed, False, datetime.now(UTC), slices=12, size=64))
        for seed in range(4)
    ]
    eventually(
        lambda: any(results(node, each).get("endless-volume", {}).get("state") == "leased" for each in heads),
        30,
        "a volume at its engine",
    )
    film = send(node, tmp_path / "films", seed=2)
    eventually(lambda: results(node, film).get("small-film", {}).get("state") == "analysed", 20, "the film's answer")


def confined_of(worker: int) -> int:
    """The process that decodes and runs networks for a worker."""
    (pid,) = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    return int(pid)


@pytest.mark.parametrize("killed", ["the worker", "what runs its networks"])
def test_a_job_that_kills_three_workers_fails_as_poison_and_is_never_tried_again(
    serve: Callable[..., Node], models: Path, tmp_path: Path, killed: str
) -> None:
    node = serve("--models", str(write_endless(models, seconds=100.0)))
    uid = send(node, tmp_path / "films", seed=1)
    for death in range(3):

        def begun(deaths: int = death) -> bool:
            found = results(node, uid).get("endless-film", {})
            return bool(found.get("state") == "leased" and found["deaths"] == deaths and "worker" in node.children())

        eventually(begun, 30, f"try {death + 1}")
        worker = node.children()["worker"]
        confined = confined_of(worker)
        os.kill(worker if killed == "the worker" else confined, signal.SIGKILL)

        def is_gone(pid: int = confined) -> bool:
            return not Path(f"/proc/{pid}").exists()

        eventually(is_gone, 5, "the end of what ran the network")

    if killed != "the worker":

        def is_reported() -> bool:
            data = {each["name"]: each for each in node.status()["roles"]}
            return "was killed by signal 9" in data["worker-0"]["error"]

        eventually(is_reported, what="what is said of the worker")
    eventually(lambda: results(node, uid)["endless-film"]["state"] == "failed", 30, "giving up")
    assert results(node, uid)["endless-film"]["reason"] == "poison"
    assert results(node, uid)["small-film"]["state"] == "analysed"


def test_a_model_whose_golden_case_does_not_hold_is_disabled_visibly_and_the_others_go_on(
    serve: Callable[..., Node], models: Path, tmp_path: Path
) -> None:
    write_golden(models / "small-film", 2, 0.25)
    node = serve("--models", str(models))
    data = {each["name"]: each for each in node.status()["models"]}
    assert data["small-film"]["state"] == "disabled"
    assert "0.25" in data["small-film"]["why"]
    assert (data["small-volume"]["state"], data["small-volume"]["why"]) == ("served", UNPROVEN)

    uid = send(node, tmp_path / "films", seed=2)
    eventually(lambda: results(node, uid).get("small-film", {}).get("state") == "not_analysed", 20, "the reason")
    assert results(node, uid)["small-film"]["reason"] == "model-disabled"


def test_a_model_that_never_ends_when_it_is_tried_is_disabled_with_words_and_the_node_gets_ready(
    serve: Callable[..., Node], models: Path, tmp_path: Path
) -> None:
    write_endless(models, seconds=1.0)
    write_golden(models / "endless-film", 1, 0.25)
    node = serve("--role", "worker", "--models", str(models))
    data = {each["name"]: each for each in node.status()["models"]}
    assert (data["endless-film"]["state"], data["small-film"]["state"]) == ("disabled", "served")
    assert data["endless-film"]["why"].startswith("it took longer than")


def test_weights_that_changed_are_noticed_at_the_next_start_and_never_served_as_proven(tmp_path: Path) -> None:
    home, model = tmp_path / "home", write_beside(tmp_path / "models" / "beside", bias=-3.0)
    write_golden(model, 2, 0.047426)
    ledger = Ledger(home)
    migrate.migrate(ledger)
    ledger.begin_boot()

    def start() -> tuple[str, str]:
        """What a worker says of the model when it starts, and which copies there are then."""
        worker = a_worker(ledger, config_of("worker-0", home, tmp_path / "models"))
        worker.serving.warm()
        worker.close()
        (known,) = rows(ledger, tables.model)
        (copy,) = (each.name for each in (home / "models").iterdir() if each.is_dir())
        assert bool(known["why"]) != known["is_served"]
        return known["why"], copy

    as_made = start()
    assert as_made[0] == ""
    before = (model / "model.bin").read_bytes()
    (model / "model.bin").write_bytes(before[:4] + np.float32(3.0).tobytes())
    why, copy = start()
    assert why.startswith("abnormal: probability is 0.95")
    assert copy != as_made[1]
    (model / "model.bin").write_bytes(before)
    assert start() == as_made
    expect(model, 0.5)
    assert start()[0].startswith("abnormal: probability is 0.047")
    ledger.close()
