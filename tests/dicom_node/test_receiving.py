"""Whatever a stranger sends is kept and answered for, or refused with a named status; and the node outlives it all."""

import csv
import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from films import a_film, encoded
from peers import Node, eventually, imaging, imaging_json
from raw_store import COMMAND_FIELD, CT, DATA_SET_TYPE, MESSAGE_ID, PRIORITY, RawAssociation, command
from small_models import write_models

from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address
from imaging.domain.worklist import ListingQuery, Row
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import StoreRequest, split_part_10
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist
from imaging.phantoms.study import head_study

Send = Callable[[str, int, bytes], str]
KEPT = "0000"
RANGES = {
    "kept": KEPT,
    "kept-with-reason": KEPT,
    "refused-cannot-understand": "c",
    "refused-mismatch": "a9",
    "refused-resources": "a7",
}
"""How a status begins that an expectation of INDEX.csv allows."""


@dataclass(frozen=True)
class Sent:
    """An object of the shared data and what it was answered with."""

    file: str
    group: str
    expected: str
    status: str

    @property
    def is_as_expected(self) -> bool:
        return any(self.status.startswith(RANGES[each]) for each in self.expected.split("|"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("receiving")
    models = write_models(folder / "models")
    served = Node(folder / "home", ["--models", str(models), "--worker-memory-mb", "3000", "--volume-gap-s", "2"])
    yield served
    served.stop()


@pytest.fixture(scope="module")
def send(shared: Path) -> Send:
    """`send.py` of the shared data: the bytes of a file, unchanged and unchecked."""
    spec = importlib.util.spec_from_file_location("send", shared / "malformed" / "send.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Send = module.send
    return found


@pytest.fixture(scope="module")
def before(node: Node, send: Send) -> Row:
    """Somebody's film, answered before the strangers come."""
    data = a_film(2, "receiving")[1]
    assert send("127.0.0.1", node.dicom_port, data) == KEPT
    return answered(node, data)


@pytest.fixture(scope="module")
def sent(node: Node, send: Send, shared: Path, before: Row) -> list[Sent]:
    """Everything that can be sent, in order of name within a group, the groups side by side."""
    groups: dict[str, list[tuple[Path, str]]] = {}
    for folder in ("malformed", "charsets", "transfer_syntaxes"):
        with (shared / folder / "INDEX.csv").open() as index:
            for row in csv.DictReader(index):
                if row.get("sendable", "dimse") == "dimse":
                    group = row.get("group", folder)
                    groups.setdefault(group, []).append((shared / folder / row["file"], row.get("expected", "kept")))

    def send_group(name: str) -> list[Sent]:
        return [
            Sent(file.name, name, expected, send("127.0.0.1", node.dicom_port, file.read_bytes()))
            for file, expected in sorted(groups[name])
        ]

    with ThreadPoolExecutor(4) as senders:
        return [each for group in senders.map(send_group, groups) for each in group]


@pytest.fixture(scope="module")
def control() -> StoreRequest:
    """A drawn slice of a head with nothing wrong in it."""
    image = head_study(1, bleed=False, now=datetime.now(UTC), run="receiving", slices=1, size=64).instances[0]
    return split_part_10(encoded(image))


def rows(node: Node) -> list[Row]:
    ledger = Ledger(node.home)
    found = list(LedgerWorklist(ledger).listing(ListingQuery()).rows)
    ledger.close()
    return found


def answered(node: Node, film: bytes) -> Row:
    """The worklist's row of a film, once it has its result."""
    uid = film_uid(film)

    def look() -> Row | None:
        return next((row for row in rows(node) if row.study_uid == uid and row.results), None)

    return eventually(look, what="the film's result")


def film_uid(film: bytes) -> str:
    request = split_part_10(film)
    return read_header(request.data, request.transfer_syntax_uid).study_instance_uid


def test_every_object_is_answered_as_its_index_allows(sent: list[Sent]) -> None:
    assert len(sent) > 300
    assert [each for each in sent if not each.is_as_expected] == []


def test_every_kept_study_ends_with_a_result_or_a_reason(node: Node, sent: list[Sent]) -> None:
    value = eventually(node.at_rest, what="an end of the work")
    assert value["jobs"]["failed"] == 0
    assert [row.study_uid for row in rows(node) if not row.results and not row.reason] == []


def test_the_processes_outlive_all_objects(node: Node, sent: list[Sent]) -> None:
    """A worker may be ended by its limits, and is back within five seconds."""
    eventually(lambda: set(node.children()) == {"node", "worker", "deliver", "web"}, 5.0, "four roles")
    assert {role["state"] for role in node.status()["roles"]} == {"up"}
    log = node.log.read_text()
    assert "role_ended name=node" not in log
    assert "Traceback" not in log


def test_controls_and_a_new_film_are_taken_after_all_that(
    node: Node, send: Send, sent: list[Sent], shared: Path
) -> None:
    for control in sorted((shared / "malformed" / "control").iterdir()):
        assert send("127.0.0.1", node.dicom_port, control.read_bytes()) == KEPT
    film = a_film(4, "receiving")[1]
    assert send("127.0.0.1", node.dicom_port, film) == KEPT
    assert answered(node, film).results[0].state == "analysed"


def test_nobody_elses_study_is_disturbed(node: Node, before: Row, sent: list[Sent]) -> None:
    (after,) = [row for row in rows(node) if row.study_uid == before.study_uid]
    assert after == before


def test_no_patient_data_is_in_the_log(node: Node, sent: list[Sent]) -> None:
    log = node.log.read_text()
    for mark in ("etc/passwd", "Testname", "PatientName", "Nguy", "2.25."):
        assert mark not in log


UIDS = {
    "absent": None,
    "empty": b"",
    "65 characters": b"1." + b"2" * 63,
    "300 characters": b"1." + b"2" * 298,
    "not ASCII": b"\xff\xfe\x00\x01",
    "text": b"../../etc/passwd",
    "another": b"1.2.3.4.5",
}


@pytest.mark.parametrize("name", UIDS)
@pytest.mark.parametrize("which", ["class", "instance", "both"])
def test_a_request_whose_uids_are_none_is_answered_and_the_association_goes_on(
    node: Node, control: StoreRequest, name: str, which: str
) -> None:
    right = CT, control.sop_instance_uid.encode()
    uid = UIDS[name]
    wrong = (uid if which != "instance" else right[0], uid if which != "class" else right[1])
    with RawAssociation(node.dicom_port) as association:
        assert association.store(command(*wrong), bytes(control.data)) == 0xA900
        assert association.store(command(*right), bytes(control.data)) == 0x0000
        association.release()


@pytest.mark.parametrize("uid", [None, b"", b"1.2.3.4.5"])
@pytest.mark.parametrize("has_data_set", [True, False])
def test_a_request_without_a_data_set_is_answered(node: Node, uid: bytes | None, has_data_set: bool) -> None:
    with RawAssociation(node.dicom_port) as association:
        data_set = b"" if has_data_set else None
        status = association.store(command(uid and CT, uid, has_data_set=has_data_set), data_set)
        assert status & 0xF000 == 0xC000
        association.release()


@pytest.mark.parametrize("priority", [None, 3, 0xFFFF])
def test_a_request_with_an_unknown_priority_is_kept(node: Node, control: StoreRequest, priority: int | None) -> None:
    with RawAssociation(node.dicom_port) as association:
        data = command(CT, control.sop_instance_uid.encode(), priority=priority)
        assert association.store(data, bytes(control.data)) == 0x0000
        association.release()


ODD: dict[str, dict[int, bytes | None]] = {
    "no Message ID": {MESSAGE_ID: None},
    "a Message ID of four bytes": {MESSAGE_ID: b"\1\0\0\0"},
    "a Priority of text": {PRIORITY: b"abcdef"},
    "an empty Command Data Set Type": {DATA_SET_TYPE: b""},
    "an unknown element": {0x9999: b"zz"},
    "an overlong Move Originator": {0x1030: b"X" * 40, 0x1031: b"abc"},
}


@pytest.mark.parametrize("name", ODD)
def test_a_request_with_an_odd_command_is_answered(node: Node, control: StoreRequest, name: str) -> None:
    data = command(CT, control.sop_instance_uid.encode()) | ODD[name]
    with RawAssociation(node.dicom_port) as association:
        odd = {tag: value for tag, value in data.items() if value is not None}
        assert association.store(odd, bytes(control.data)) == 0x0000
        association.release()


UNREADABLE: dict[str, dict[int, bytes | None]] = {
    "no Command Field": {COMMAND_FIELD: None},
    "an unknown Command Field": {COMMAND_FIELD: b"\x99\x99"},
    "no Command Data Set Type": {DATA_SET_TYPE: None},
}
"""What is no request at all: the association ends."""


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_command_that_cannot_be_read_ends_its_own_association_alone(
    node: Node, control: StoreRequest, name: str
) -> None:
    right = command(CT, control.sop_instance_uid.encode())
    data = {tag: value for tag, value in (right | UNREADABLE[name]).items() if value is not None}
    with RawAssociation(node.dicom_port) as other:
        with RawAssociation(node.dicom_port) as association, pytest.raises((AssertionError, ConnectionError)):
            association.store(data, bytes(control.data))
        assert other.store(right, bytes(control.data)) == 0x0000
        other.release()
    eventually(lambda: all(each["ended_at"] for each in associations(node, 2)), 10.0, "the end of both associations")


def associations(node: Node, last: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = imaging_json("associations", "--last", str(last), "--json", "--home", str(node.home))[
        "associations"
    ]
    return found


def test_a_stranger_is_rejected_and_stands_among_the_associations(serve: Callable[..., Node]) -> None:
    node = serve("--role", "node", "--accept", "CT1@127.0.0.1")
    stranger = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "STRANGER")
    with pytest.raises(Unreachable, match="Calling AE title not recognised"):
        stranger.echo()
    (row,) = eventually(lambda: associations(node, 9), what="the association's row")
    assert (row["calling_ae_title"], row["called_ae_title"], row["address"]) == ("STRANGER", "IMAGING", "127.0.0.1")
    assert row["ended_how"] == "rejected: Calling AE title not recognised"
    assert row["ended_at"] >= row["started_at"]


def test_a_context_that_is_refused_is_told_with_its_reason(node: Node) -> None:
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    modality = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "FINDER")
    modality.propose([(find, "1.2.840.10008.1.2.1"), (CT.decode(), "1.2.840.10008.1.2.4.50")])
    modality.close()

    def last() -> list[dict[str, Any]]:
        return [each for each in associations(node, 1) if each["calling_ae_title"] == "FINDER"]

    (row,) = eventually(last, what="the association's row")
    values = {(each["abstract_syntax"], each["result"], each.get("why")) for each in row["contexts"]}
    assert values == {(find, "refused", "abstract syntax not supported"), (CT.decode(), "accepted", None)}
    result = imaging("associations", "--last", "1", "--home", str(node.home))
    assert f"context refused: {find}: abstract syntax not supported" in result.stdout
