"""Acknowledged means durable, one UID has one content, and a disk that refuses is answered by name."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from films import encoded
from peers import Node, command_in_process, eventually, imaging_json, program
from pydicom import Dataset
from small_models import write_models
from sqlalchemy import text

from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address
from imaging.domain.settling import CompletenessTimeouts
from imaging.domain.worklist import ListingQuery, Row
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import Announced, StoreRequest, part_10_head, split_part_10
from imaging.intake.storing import Status, Storing
from imaging.ledger import migrate, tables
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist
from imaging.phantoms.study import film_study
from imaging.spool import FolderSpool

KEPT = "kept"
DRAWN_AT = datetime.now(UTC)
"""One moment for all, since two drawings of one image are to differ in nothing else."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ["--models", str(write_models(tmp_path_factory.mktemp("models")))]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, models: list[str]) -> Iterator[Node]:
    served = Node(tmp_path_factory.mktemp("durability") / "home", models)
    yield served
    served.stop()


def an_image(run: str, **elements: Any) -> Dataset:
    """A film of a new study, with these elements changed."""
    (image,) = film_study(2, frozenset(), DRAWN_AT, run=run, rows=256, columns=256).instances
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def with_other_pixels(run: str) -> Dataset:
    """The same film with other pixels."""
    image = an_image(run)
    image.PixelData = bytes(reversed(image.PixelData))
    return image


def send(node: Node, *images: Dataset) -> list[str]:
    """Sends on one association; what each was answered with: "kept", or why not."""
    sender = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "MODALITY")
    answers = [sender.send(encoded(image)) for image in images]
    sender.close()
    return [getattr(answer, "why", KEPT) for answer in answers]


def row(node: Node, image: Dataset, look: Callable[[Row], bool]) -> Row:
    """The worklist's row of a study, once it looks so."""
    ledger = Ledger(node.home)

    def found() -> Row | None:
        listed = LedgerWorklist(ledger).listing(ListingQuery()).rows
        return next((each for each in listed if each.study_uid == image.StudyInstanceUID and look(each)), None)

    try:
        return eventually(found, what="the study's row")
    finally:
        ledger.close()


def is_answered(known: Row) -> bool:
    return any(each.model for each in known.results)


def story(node: Node, image: Dataset) -> dict[str, Any]:
    (found,) = node.status("--study", str(image.StudyInstanceUID))["studies"]
    return dict(found)


def conflicts(node: Node, image: Dataset) -> list[dict[str, Any]]:
    found = imaging_json("conflicts", "list", "--json", "--home", str(node.home))["conflicts"]
    return [each for each in found if each["study_instance_uid"] == image.StudyInstanceUID]


def files(home: Path) -> list[Path]:
    """The objects that were received."""
    return sorted(file for file in (home / "spool").rglob("*.dcm") if file.parent.name != "out")


# Law 1 ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A system call that returned well; `text` as strace wrote it, its strings in hex."""

    name: str
    text: str

    def is_sync_of(self, pattern: str) -> bool:
        """Whether it syncs the file whose path matches."""
        return self.name in ("fsync", "fdatasync") and re.search(rf"<[^>]*{pattern}>", self.text) is not None

    @property
    def is_success(self) -> bool:
        """Whether it sends a C-STORE response with status 0x0000: a P-DATA PDU with command 0x8001."""
        if self.name not in ("sendto", "write") or "<socket:" not in self.text:
            return False
        sent = re.search(r'"((?:\\x[0-9a-f]{2})*)"', self.text)
        data = bytes.fromhex(sent[1].replace("\\x", "")) if sent else b""
        is_response = b"\0\0\0\1\2\0\0\0\1\x80" in data  # (0000,0100) Command Field
        return data[:1] == b"\4" and is_response and b"\0\0\0\x09\2\0\0\0\0\0" in data  # (0000,0900) Status


def calls(trace: Path) -> list[Call]:
    """In order: what sends, by its beginning; all else by its end, where another thread cut in."""
    begun: dict[str, str] = {}
    found = []
    for line in trace.read_text().splitlines():
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            if not text.startswith(("sendto", "write")):
                continue
            text = begun.pop(thread) + ") = 0"
        elif text.startswith("<... "):
            if thread not in begun:
                continue
            text = begun.pop(thread) + text.partition("resumed>")[2]
        if re.search(r"\) += -1 ", text) is None and "(" in text:
            name = text.partition("(")[0]
            hexed = _NAMES if name.startswith(("rename", "link", "unlink")) else _PATHS
            found.append(Call(name, re.sub(hexed, _readable, text)))
    return found


_PATHS = r"(?<=<)(\\x[0-9a-f]{2})+(?=>)"
_NAMES = r'(?<=["<])(\\x[0-9a-f]{2})+(?=[">])'


def _readable(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("\\x", "")).decode()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory, models: list[str]) -> list[Call]:
    """What a new home's node asks of the kernel while four films come on two associations."""
    folder = tmp_path_factory.mktemp("strace")
    traced = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,sendto,write,pwrite64"
    command = [program("/usr/bin/strace"), "-f", "-y", "-xx", "-s", "400", "--seccomp-bpf", "-o", str(folder / "trace")]
    command += ["-e", f"trace={traced}", sys.executable, "-m", "imaging", "serve", "--role", "node"]
    command += ["--dicom-port", "0", "--home", str(folder / "home"), *models]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready.startswith("ready "), (folder / "log").read_text()
    port = int(ready.split()[1].rpartition(":")[2])
    for association in range(2):
        sender = Sender(Address("IMAGING", "127.0.0.1", port), "MODALITY")
        for number in range(2):
            sender.send(encoded(an_image(f"strace-{association}-{number}")))
        sender.close()
    eventually(lambda: not list((folder / "home" / "spool" / "incoming").iterdir()), what="the end of first names")
    (supervisor,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(supervisor), signal.SIGTERM)
    process.wait(timeout=30)
    return calls(folder / "trace")


def test_each_success_leaves_after_data_name_and_row_are_synced(trace: list[Call]) -> None:
    answered = [at for at, call in enumerate(trace) if call.is_success]
    assert len(answered) == 4
    steps: list[tuple[str, Callable[[Call], bool]]] = [
        ("data synced", lambda call: call.is_sync_of(r"/incoming/[0-9a-f]{32}\.part")),
        ("renamed", lambda call: call.name.startswith("rename")),
        ("name synced", lambda call: call.is_sync_of("/spool/incoming")),
        ("row written", lambda call: call.name == "pwrite64" and "ledger.sqlite-wal>" in call.text),
        ("row synced", lambda call: call.is_sync_of(r"/ledger\.sqlite-wal")),
    ]
    for begin, end in zip([0, *answered], answered, strict=False):
        at = begin
        for name, is_step in steps:
            at = next((i for i in range(at + 1, end) if is_step(trace[i])), end)
            assert at < end, f"not {name} before its response"


def test_the_folders_of_a_new_home_are_on_disk_before_the_first_success(trace: list[Call]) -> None:
    first = next(at for at, call in enumerate(trace) if call.is_success)
    for folder in ("home/spool", "home", "strace[0-9]*"):
        assert any(call.is_sync_of(f"/{folder}") for call in trace[:first]), folder


def test_a_first_name_goes_only_after_the_final_one_is_synced(trace: list[Call]) -> None:
    linked = [at for at, call in enumerate(trace) if call.name.startswith("link")]
    dropped = [at for at, call in enumerate(trace) if call.name.startswith("unlink") and "/incoming/" in call.text]
    assert (len(linked), len(dropped)) == (4, 4)
    for link, drop in zip(linked, dropped, strict=True):
        between = trace[link:drop]
        assert any(call.is_sync_of(r"/studies/[0-9a-f]{2}/[0-9a-f]{32}/[0-9a-f]{16}") for call in between)
        assert any(call.is_sync_of("/spool/studies") for call in between)


# Law 3 ---------------------------------------------------------------------------------------------------------------


def test_the_same_bytes_again_are_acknowledged_and_change_nothing(node: Node) -> None:
    image = an_image("again")
    assert send(node, image) == [KEPT]
    before = row(node, image, is_answered)
    kept = files(node.home)
    assert send(node, image, image) == [KEPT, KEPT]
    eventually(lambda: files(node.home) == kept, what="nothing more in the spool")
    assert row(node, image, is_answered) == before
    assert len(story(node, image)["revisions"]) == 1


def is_undetermined(known: Row) -> bool:
    return any(
        each.conflicts and all(finding.present is not False for finding in each.findings) for each in known.results
    )


def test_other_pixels_under_a_uid_are_kept_apart_and_the_first_are_analysed_in_doubt(node: Node) -> None:
    image, other = an_image("conflict"), with_other_pixels("conflict")
    assert send(node, image, other) == [KEPT, KEPT]
    known = row(node, image, lambda row: row.conflicts == 1 and is_undetermined(row))
    assert known.reason is None
    (conflict,) = conflicts(node, image)
    assert (conflict["why"], conflict["differs"][:7]) == ("conflict", "pixels:")
    eventually(lambda: story(node, image)["results"][-1]["conflicts"] == 1, what="an answer that says so")
    assert send(node, other) == [KEPT]
    assert len(conflicts(node, image)) == 1

    assert command_in_process("conflicts", "use", str(conflict["id"]), "--home", str(node.home)).status == 0
    row(node, image, lambda row: is_answered(row) and not row.conflicts and not is_undetermined(row))
    assert conflicts(node, image) == []
    assert send(node, other, image) == [KEPT, KEPT]
    assert conflicts(node, image) == []  # a person has decided between these two


def test_an_object_that_is_dropped_leaves_the_first_one_to_be_analysed(node: Node) -> None:
    image = an_image("dropped")
    assert send(node, image, with_other_pixels("dropped")) == [KEPT, KEPT]
    row(node, image, lambda row: row.conflicts == 1 and is_undetermined(row))
    (conflict,) = conflicts(node, image)
    assert command_in_process("conflicts", "drop", str(conflict["id"]), "--home", str(node.home)).status == 0
    row(node, image, lambda row: is_answered(row) and not row.conflicts and not is_undetermined(row))
    assert command_in_process("conflicts", "use", str(conflict["id"]), "--home", str(node.home)).status == 1


def test_an_object_used_in_place_of_an_analysed_one_makes_a_new_answer(node: Node) -> None:
    image = an_image("used")
    assert send(node, image) == [KEPT]
    row(node, image, is_answered)
    assert send(node, with_other_pixels("used")) == [KEPT]
    row(node, image, lambda row: row.conflicts == 1)
    (conflict,) = conflicts(node, image)
    assert command_in_process("conflicts", "use", str(conflict["id"]), "--home", str(node.home)).status == 0
    eventually(lambda: len(story(node, image)["results"]) >= 2, what="the second answer")


def test_a_film_whose_view_was_mended_is_shown_and_analysed_anew(node: Node) -> None:
    image, mended = an_image("mended"), an_image("mended", AccessionNumber="A-MENDED", SeriesInstanceUID="1.2.3.9")
    assert send(node, image) == [KEPT]
    row(node, image, is_answered)
    assert send(node, mended) == [KEPT]
    known = row(node, image, lambda row: row.corrections == 1)
    assert (known.accession_number, known.conflicts) == ("A-MENDED", 0)
    used, replaced = story(node, image)["copies"]
    assert (used["state"], used["judgement"]) == ("used", "changed: accession_number, series_instance_uid")
    assert replaced["state"] == "noted"


def test_a_film_that_cannot_be_read_gives_way_at_once_to_its_copy_that_can(node: Node) -> None:
    image = an_image("cut")
    image.PixelData = image.PixelData[:1000]
    assert send(node, image) == [KEPT]
    row(node, image, lambda row: row.reason is not None and row.reason.code == "pixels-unreadable")
    assert send(node, an_image("cut")) == [KEPT]
    known = row(node, image, lambda row: any(each.findings for each in row.results))
    assert (known.corrections, known.conflicts, known.reason) == (1, 0, None)


def test_two_patients_in_one_study_are_not_analysed(node: Node) -> None:
    image = an_image("mixed", PatientID="")
    named = an_image("mixed", SOPInstanceUID="1.2.3.7.1", PatientID="P1")
    other = an_image("mixed", SOPInstanceUID="1.2.3.7.2", PatientID="P2")
    assert send(node, image, named, other) == [KEPT] * 3
    known = row(node, image, lambda row: bool(row.reason))
    assert (str(known.reason), known.patient_id, is_answered(known)) == ("mixed-patients", "P1", False)
    (conflict,) = conflicts(node, image)
    assert command_in_process("conflicts", "drop", str(conflict["id"]), "--home", str(node.home)).status == 0
    row(node, image, is_answered)


def test_a_re_encoded_image_is_noted_and_the_first_is_used(node: Node) -> None:
    image = an_image("re-encoded")
    other = an_image("re-encoded", StationName="A PACS")
    assert send(node, image, other) == [KEPT, KEPT]
    known = row(node, image, is_answered)
    eventually(lambda: story(node, image)["copies"][0]["state"] == "noted", what="the comparison")
    assert (known.conflicts, known.corrections, is_undetermined(known)) == (0, 0, False)
    assert conflicts(node, image) == []


def test_what_a_crash_left_is_recorded_at_the_start_and_halves_are_removed(
    serve: Callable[..., Node], models: list[str], tmp_path: Path
) -> None:
    image = an_image("left over")
    incoming = tmp_path / "home" / "spool" / "incoming"
    incoming.mkdir(parents=True)
    request = split_part_10(encoded(image))
    head = part_10_head(read_header(request.data, request.transfer_syntax_uid))
    (incoming / f"{1:032x}.dcm").write_bytes(head + bytes(request.data))
    (incoming / f"{2:032x}.part").write_bytes(head)
    node = serve(*models, home=tmp_path / "home")
    row(node, image, is_answered)
    assert list(incoming.iterdir()) == []
    assert "left_over_objects_recorded count=1 halves_removed=1" in node.log.read_text()
    assert len(files(node.home)) == 1


# Disk ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("the right to mount a tmpfs is missing")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def answer(node: Node, image: Dataset) -> str:
    with contextlib.suppress(Unreachable):
        return send(node, image)[0]
    return "unreachable"


FULL = "0xA700"


def keep(storing: Storing, request: StoreRequest) -> Status:
    names = request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid
    return storing.receive(Announced(*names), [memoryview(request.data)], None)


def test_an_error_of_ours_is_no_lack_of_room(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    storing = Storing(ledger, FolderSpool(tmp_path / "spool", 0), CompletenessTimeouts())
    first, second, third = (split_part_10(encoded(an_image("ours", SOPInstanceUID=f"1.2.{n}"))) for n in range(3))
    assert keep(storing, first).code == 0x0000
    with ledger.write() as connection:
        connection.execute(tables.study.update().values(header={"key_of_another_version": 1}))
    answered = keep(storing, second)
    assert (answered.code, answered.comment.partition(":")[0]) == (0x0110, "TypeError at domain/header.py")
    with ledger.write() as connection:
        connection.execute(text("ALTER TABLE study RENAME TO away"))
    assert f"0x{keep(storing, third).code:04X}" == FULL
    storing.close()
    ledger.close()


def fill(disk: Path) -> Path:
    """Fills a disk to its last byte; the file that takes the room."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 10)):
            pass
    return ballast


@pytest.mark.parametrize("reserve_mb", ["2048", "0"], ids=["below the watermark", "to the last byte"])
def test_a_full_disk_is_answered_out_of_resources_and_recovered_from(
    small_disk: Path, serve: Callable[..., Node], models: list[str], reserve_mb: str
) -> None:
    node = serve("--disk-reserve-mb", reserve_mb, *models, home=small_disk / "home")
    first = an_image("room")
    assert send(node, first) == [KEPT]
    row(node, first, is_answered)
    assert node.status()["disk"]["is_full"] is False
    ballast = fill(small_disk)
    refused = an_image("no room")
    assert FULL in answer(node, refused)
    assert FULL in answer(node, refused)
    value = node.status()["disk"]
    assert (value["free_mb"], value["reserve_mb"], value["is_full"]) == (0, 1, True)
    ballast.unlink()
    assert send(node, refused) == [KEPT]
    row(node, refused, is_answered)
    assert row(node, first, is_answered).study_uid == first.StudyInstanceUID
    assert "role_ended name=node" not in node.log.read_text()


def test_a_full_disk_ends_neither_the_settling_nor_the_supervisor(
    small_disk: Path, serve: Callable[..., Node], models: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"  # beside it is the log, on another disk
    home.symlink_to(small_disk)
    node = serve(*models, home=home)
    image = an_image("pending")
    sender = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "MODALITY")
    sender.send(encoded(image))
    ballast = fill(small_disk)
    eventually(lambda: "study_not_settled" in node.log.read_text(), what="a settling that fails")
    pid = node.children()["worker"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: node.children().get("worker", pid) != pid, what="another worker")
    ballast.unlink()
    row(node, image, is_answered)
    sender.close()
    assert "role_ended name=node" not in node.log.read_text()


def test_a_node_that_starts_on_a_full_disk_says_so_and_recovers(
    small_disk: Path, serve: Callable[..., Node], models: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.symlink_to(small_disk)
    node = serve(*models, home=home)
    sender = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "MODALITY")
    sender.send(encoded(an_image("before")))  # its association is open when the node dies
    ballast = fill(small_disk)
    os.kill(node.children()["node"], signal.SIGKILL)
    image = an_image("full at the start")
    eventually(lambda: FULL in answer(node, image), what="another node's answer")
    assert "lost_associations_not_ended" in node.log.read_text()
    ballast.unlink()
    assert send(node, image) == [KEPT]
    row(node, image, is_answered)


def test_an_object_whose_final_name_cannot_be_had_is_refused_and_has_no_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    spool = FolderSpool(tmp_path / "spool", 0)
    (tmp_path / "spool" / "studies").write_text("a file in the folder's place")
    storing = Storing(ledger, spool, CompletenessTimeouts())
    assert keep(storing, split_part_10(encoded(an_image("nameless")))).code == 0xA700
    storing.close()
    assert LedgerWorklist(ledger).listing(ListingQuery()).rows == ()
    assert list(spool.left_over()) == []
    ledger.close()


def test_a_read_only_spool_is_answered_out_of_resources_and_recovered_from(
    small_disk: Path, serve: Callable[..., Node], models: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "spool").symlink_to(small_disk)
    node = serve(*models, home=home)
    image = an_image("read-only")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert FULL in answer(node, image)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert answer(node, image) == KEPT
    row(node, image, is_answered)
