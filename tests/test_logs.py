"""Law 9: a patient's data is in the spool, the ledger and what is sent; never in a log, a metric or an error.

A marked patient goes through a whole node, and through everything that can go wrong there; then all that an operator
or a log collector sees is searched for the marks.
"""

import hashlib
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pytest
from films import encoded
from onnx import helper
from peers import Node, eventually, free_port, imaging
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage
from small_models import write_models

from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.ledger.store import Ledger
from imaging.phantoms.study import film_study

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of texts that are wrong on purpose

ROOT = "1.2.826.0.1.3680043.8.77431977"
MARK = "QWZMARK"
BIRTH_DATE = "19411207"
MARKS = (MARK, "77431977", BIRTH_DATE, "1941-12-07", "2.25.")
"""What stands in every text, every UID and the birth date of the patient; and how each UID of our own begins."""
STUDIES = ("clean", "other bytes", "second patient", "no pixels", "failing model", "overlong id", "unknown text")


class Peer:
    """A PACS that answers as it is told to, and repeats the patient's name in its comment."""

    def __init__(self, status: int) -> None:
        self.received: list[Dataset] = []
        entity = AE(ae_title="PEER")
        entity.add_supported_context(Comprehensive3DSRStorage)

        def store(event: Any) -> Dataset:
            self.received.append(event.dataset)
            answer = Dataset()
            answer.Status = status
            answer.ErrorComment = f"cannot take {event.dataset.PatientName}"[:64]
            return answer

        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        self.address = f"PEER@127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()


class Modality:
    """Makes the marked patient's objects and sends them."""

    def __init__(self, port: int) -> None:
        self._peer = Address("IMAGING", "127.0.0.1", port)

    def send(self, *objects: bytes) -> list[str]:
        """What each was answered with, as text."""
        sender = Sender(self._peer, "MODALITY")
        texts = [str(sender.send(each)) for each in objects]
        sender.close()
        return texts


def film(study: int, instance: int = 1, **values: Any) -> Dataset:
    """A film of which every text, every UID and the birth date bear the mark."""
    (image,) = film_study(2 * study, frozenset(), datetime.now(UTC), run="logs", rows=128, columns=128).instances
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.{study}.1.{instance}"
    image.PatientName, image.PatientID, image.PatientBirthDate = f"{MARK}^Văn", f"{MARK}-1", BIRTH_DATE
    image.IssuerOfPatientID = f"{MARK}-ISSUER"
    image.AccessionNumber, image.StudyID = f"{MARK}-A{study}", f"{MARK}{study}"
    for keyword in ("StudyDescription", "SeriesDescription", "InstitutionName", "ReferringPhysicianName"):
        setattr(image, keyword, f"{MARK} {keyword}")
    image.PatientComments = f"{MARK} comments"
    for keyword, value in values.items():
        setattr(image, keyword, value)
    return image


def without_pixels(image: Dataset) -> Dataset:
    """Its pixels are no JPEG 2000, though it says so."""
    image.PixelData = encapsulate([MARK.encode() * 20])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return image


def other_command(data: bytes, uid: str) -> bytes:
    """The object under a command (which takes it from the file's head) that says another UID."""
    return data.replace(uid.encode(), uid[:-1].encode() + b"8", 1)


def write_failing_model(folder: Path) -> None:
    """A model whose network gives no number, beside the ones that work."""
    source, made = folder / "small-film", folder / "failing-film"
    made.mkdir()
    network = onnx.load(source / "model.onnx")
    network.graph.node.extend(
        [helper.make_node("Sub", ["y", "y"], ["none"]), helper.make_node("Div", ["none", "none"], ["nan"])]
    )
    network.graph.output[0].name = "nan"
    weights = network.SerializeToString()
    (made / "model.onnx").write_bytes(weights)
    card = (source / "card.toml").read_text()
    card = card.replace("small-film", "failing-film").replace('output = "y"', 'output = "nan"')
    old = hashlib.sha256((source / "model.onnx").read_bytes()).hexdigest()
    (made / "card.toml").write_text(card.replace(old, hashlib.sha256(weights).hexdigest()))


@dataclass(frozen=True)
class Seen:
    """All that leaves the node beside what is sent, by where it stands; and what shows that the patient came by."""

    home: Path
    texts: dict[str, str]
    answers: Mapping[str, Sequence[str]]
    status: dict[str, Any]
    reports: Sequence[Dataset]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("logs")
    write_failing_model(write_models(folder / "models"))
    taking, refusing, full = Peer(0x0000), Peer(0xC123), Peer(0xA700)
    options = [f"--models={folder / 'models'}", f"--deliver-to=DOWN=DOWN@127.0.0.1:{free_port()}"]
    options.append("--revision-interval-s=1")
    for name, peer in (("TAKES", taking), ("REFUSES", refusing), ("FULL", full)):
        options.append(f"--deliver-to={name}={peer.address}")
    node = Node(folder / "home", options)
    try:
        answers = send_all(node, Modality(node.dicom_port))
        at_rest(node, answered=True)
        ask_pages(node)
        assert node.stop() == 0
        assert node.process.stdout is not None
        first_output = node.process.stdout.read()
        leave_over(node.home)
        node = Node(folder / "home", options)
        at_rest(node, answered=False)
        texts = {"stdout": node.ready_line + first_output, "log": node.log.read_text()} | commands(node)
        status = node.status()
    finally:
        node.stop()
        for peer in (taking, refusing, full):
            peer.stop()
    texts["log"] = node.log.read_text()
    texts |= {str(each): each.read_text() for each in node.home.rglob("*.error")}
    texts |= {f"name {number}": str(each) for number, each in enumerate(node.home.rglob("*"))}
    return Seen(node.home, texts, answers, status, taking.received)


def send_all(node: Node, modality: Modality) -> dict[str, list[str]]:
    """The patient in every way that objects are kept, kept apart, refused and not analysed."""
    with closing(sqlite3.connect(node.home / "ledger.sqlite", timeout=10)) as ledger, ledger:
        ledger.execute(
            "CREATE TRIGGER no_row BEFORE INSERT ON instance WHEN NEW.sop_instance_uid LIKE '%.999' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    plain = encoded(film(1))
    no_study, cut = film(20), encoded(film(21))
    del no_study.StudyInstanceUID
    unknown_text = film(7, PatientName=f"{MARK}^X")
    unknown_text.SpecificCharacterSet = "ISO 2022 IR 999"
    return {
        "clean": modality.send(plain, plain),
        "other bytes": modality.send(encoded(film(2)), encoded(film(2, Rows=64, PixelData=bytes(64 * 128 * 2)))),
        "second patient": modality.send(encoded(film(3)), encoded(film(3, 2, PatientID=f"{MARK}-2"))),
        "no pixels": modality.send(encoded(without_pixels(film(4)))),
        "failing model": modality.send(encoded(film(5))),
        "overlong id": modality.send(encoded(film(6, PatientID=MARK * 10))),
        "unknown text": modality.send(encoded(unknown_text)),
        "no study": modality.send(encoded(no_study)),
        "cut": modality.send(cut[: cut.index(MARK.encode()) + 4]),
        "other command": modality.send(other_command(plain, f"{ROOT}.1.1.1")),
        "no row": modality.send(encoded(film(8, 999))),
    }


def at_rest(node: Node, answered: bool) -> None:
    """Waits until nothing is received or analysed, and (`answered`) each destination has been tried."""

    def look() -> bool:
        value = node.at_rest(with_deliveries=False)
        if value is None or not answered:
            return value is not None
        tried = {each["name"] for each in value["peers"]} >= {"DOWN", "FULL"} and value["dead_letters"]
        return bool(tried and value["deliveries"]["delivered"] >= 5)

    eventually(look, what="the end of the work")


def ask_pages(node: Node) -> None:
    """What readers' browsers, and strangers, ask for."""
    for path, body in (
        ("", None),
        ("study/1", None),
        ("study/99999", None),
        ("metrics", None),
        (f"{MARK}/{ROOT}?q={MARK}", None),
        ("", urllib.parse.urlencode({"q": MARK}).encode()),
        ("rows", urllib.parse.urlencode({"q": MARK, "shown": MARK}).encode()),
    ):
        with suppress(urllib.error.HTTPError):  # 404 for what is not there
            urllib.request.urlopen(node.url + path, body, timeout=10).close()


def leave_over(home: Path) -> None:
    """What a crash would have left: an object without its row, half an object, and bytes that are none."""
    incoming = home / "spool" / "incoming"
    data = encoded(film(9))
    (incoming / "a.dcm").write_bytes(data)
    (incoming / "b.dcm").write_bytes(data[: data.index(MARK.encode()) + 4])
    (incoming / "c.dcm").write_bytes(MARK.encode() * 100)
    (incoming / "d.part").write_bytes(data[:5000])


def commands(node: Node) -> dict[str, str]:
    """What an operator's screen shows who asked for no patient."""
    data = {}
    for words in ("status", "status --json", "associations", "associations --json", "doctor --json", "models list"):
        where = [] if words.startswith("models") else ["--home", str(node.home)]
        done = imaging(*words.split(), *where)
        data[words] = done.stdout + done.stderr
    return data


def test_the_marked_patient_went_through_all_of_it(seen: Seen) -> None:
    """Else the search below would find nothing for want of anything to find."""
    kept = {name: texts for name, texts in seen.answers.items() if all(each.startswith("Accepted") for each in texts)}
    assert set(kept) == set(STUDIES)
    assert "0xC000" in seen.answers["no study"][0]
    assert "0xC000" in seen.answers["cut"][0]
    assert "0xA900" in seen.answers["other command"][0]
    assert "0xA700" in seen.answers["no row"][0]
    assert seen.status["conflicts"] == 2
    assert seen.status["jobs"]["analysed"]
    assert seen.status["jobs"]["not_analysed"]
    assert seen.status["jobs"]["failed"]
    assert {each["destination"] for each in seen.status["dead_letters"]} == {"REFUSES"}
    assert {each["name"] for each in seen.status["peers"] if each["state"] == "down"} == {"DOWN", "FULL"}
    for report in seen.reports:
        assert MARK in str(report.PatientName)
        assert report.StudyInstanceUID.startswith(ROOT)


def test_what_goes_wrong_is_in_the_log(seen: Seen) -> None:
    log = seen.texts["log"]
    for event in (
        "association_ended", "study_settled", "job_ended", "object_kept_apart", "object_not_recorded",
        "report_not_built", "delivery_not_accepted", "left_over_object_unreadable", "left_over_objects_recorded",
    ):  # fmt: skip
        assert event in log


def test_no_log_command_error_or_file_name_holds_a_mark(seen: Seen) -> None:
    found = {
        f"{name}: {line.strip()}"
        for name, text in seen.texts.items()
        for line in text.splitlines()
        if any(mark.lower() in line.lower() for mark in MARKS)
    }
    assert found == set()


def test_the_marks_are_where_they_belong(seen: Seen) -> None:
    assert any(MARK.encode() in each.read_bytes() for each in (seen.home / "spool").rglob("*.dcm"))
    ledger = Ledger(seen.home)
    with ledger.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM patient").scalars().all()
    ledger.close()
    assert any(MARK in name for name in names)


RAISING = """
import logging, threading
from imaging.roles.child import quiet_logging
quiet_logging("test")
def inner(said):
    raise ValueError(said)
try:
    try:
        inner("first " + {mark!r})
    except ValueError as first:
        raise KeyError({mark!r}) from first
except KeyError as error:
    {log}
"""


@pytest.mark.parametrize(
    "log",
    [
        "logging.getLogger('imaging.any').exception('it_failed error=%s', type(error).__name__)",
        "logging.exception('role_failed error=%s', type(error).__name__)",
        "logging.getLogger('pydicom').error('a library quotes %s', error)",
        "__import__('warnings').warn('a library quotes ' + str(error))",
        "thread = threading.Thread(target=inner, args=(str(error),)); thread.start(); thread.join()",
        "made = type('Any', (), {{'__del__': lambda self: inner({mark!r})}})(); del made",
    ],
)
def test_an_error_that_quotes_a_patient_is_logged_without_its_text(log: str) -> None:
    """Whoever raises it: libraries put values into their messages."""
    code = RAISING.format(mark=MARK, log=log.format(mark=MARK))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert MARK not in done.stdout + done.stderr
