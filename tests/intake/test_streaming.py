"""An object goes to the disk as it comes: its size costs no memory, and what is too large is refused by name."""

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from peers import Node, eventually, imaging_json
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from raw_store import CT, RawAssociation, command

from imaging.dicom_node.upper_layer import MAX_PIECE, Ended
from imaging.domain.settling import CompletenessTimeouts
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from imaging.encoding.part10 import Announced, part_10_head, split_part_10
from imaging.intake.batching import Batcher
from imaging.intake.storing import Storing
from imaging.ledger import migrate, tables
from imaging.ledger.store import Ledger
from imaging.spool import FolderSpool

MIB = 1 << 20
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += bytes(len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def a_ct(uid: str, pixels: int) -> bytes:
    """A data set that says of itself what has to be said, with so many bytes of pixels."""
    names = {0x00080016: CT, 0x00080018: uid.encode(), 0x0020000D: b"1.2.7", 0x0020000E: b"1.2.7.1"}
    head = b"".join(element(tag, b"UI", value) for tag, value in sorted(names.items()))
    return head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, pixels) + bytes(range(256)) * (pixels // 256)


def in_pieces(data: bytes) -> Iterator[memoryview]:
    for at in range(0, len(data), MAX_PIECE):
        yield memoryview(data)[at : at + MAX_PIECE]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    migrate.migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def storing(ledger: Ledger, tmp_path: Path) -> Iterator[Storing]:
    opened = Storing(ledger, FolderSpool(tmp_path / "spool", 0), CompletenessTimeouts(), largest=4 * MIB)
    yield opened
    opened.close()


def kept(folder: Path) -> list[Path]:
    return [each for each in (folder / "spool").rglob("*") if each.is_file()]


def stored(ledger: Ledger) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        return [dict(each) for each in connection.execute(tables.instance.select()).mappings()]


@pytest.mark.parametrize("size", [0, MAX_PIECE, MAX_PIECE + 256, 3 * MAX_PIECE])
def test_an_object_is_kept_byte_for_byte_whatever_pieces_it_comes_in(
    storing: Storing, ledger: Ledger, tmp_path: Path, size: int
) -> None:
    data = a_ct("1.2.3", size)
    assert storing.receive(Announced(CT.decode(), "1.2.3", EXPLICIT_LITTLE, "CT1"), in_pieces(data), None).code == 0
    storing.close()
    (file,) = kept(tmp_path)
    request = split_part_10(file.read_bytes())
    assert (bytes(request.data) == data, request.sop_instance_uid, request.sender) == (True, "1.2.3", "CT1")
    (row,) = stored(ledger)
    assert (row["size"], row["header"]["has_pixels"]) == (file.stat().st_size, True)


def test_the_same_object_whole_and_in_pieces_has_one_digest(storing: Storing, ledger: Ledger) -> None:
    data = a_ct("1.2.3", 2 * MAX_PIECE)
    what = Announced(CT.decode(), "1.2.3", EXPLICIT_LITTLE)
    assert storing.receive(what, in_pieces(data), None).code == 0
    assert storing.receive(what, [memoryview(data)], None).code == 0
    assert len(stored(ledger)) == 1
    with ledger.read() as connection:
        assert connection.execute(tables.conflict.select()).all() == []


def test_what_disagrees_or_is_too_large_leaves_nothing_behind(storing: Storing, ledger: Ledger, tmp_path: Path) -> None:
    what = Announced(CT.decode(), "1.2.3", EXPLICIT_LITTLE)
    answers = [
        storing.receive(what, in_pieces(a_ct("1.2.4", 2 * MIB)), None),
        storing.receive(what, in_pieces(bytes(2 * MIB)), None),
        storing.receive(what, in_pieces(a_ct("1.2.3", 5 * MIB)), None),
    ]
    assert [f"{each.code:04X}" for each in answers] == ["A900", "C000", "A700"]
    assert answers[2].comment == "the object has more than 4 MiB (max_object_mb)"
    assert (kept(tmp_path), stored(ledger)) == ([], [])


def test_a_sender_that_goes_in_the_middle_leaves_nothing_behind(
    storing: Storing, ledger: Ledger, tmp_path: Path
) -> None:
    def cut() -> Iterator[memoryview]:
        yield from list(in_pieces(a_ct("1.2.3", 4 * MIB)))[:2]
        raise Ended("connection lost")

    with pytest.raises(Ended):
        storing.receive(Announced(CT.decode(), "1.2.3", EXPLICIT_LITTLE), cut(), None)
    assert (kept(tmp_path), stored(ledger)) == ([], [])


def peak_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


def test_a_large_object_costs_the_node_no_memory_and_one_that_is_too_large_is_read_to_its_end(
    serve: Callable[..., Node],
) -> None:
    node = serve("--role", "node", "--max-object-mb", "150", "--disk-reserve-mb", "0")
    with RawAssociation(node.dicom_port, 60) as association:
        assert association.store(command(CT, b"1.2.2"), a_ct("1.2.2", MIB // 2)) == 0
        before = peak_kib(node.children()["node"])
        assert association.store(command(CT, b"1.2.3"), a_ct("1.2.3", 140 * MIB)) == 0
        assert association.store(command(CT, b"1.2.4"), a_ct("1.2.4", 160 * MIB)) == 0xA700
        assert association.store(command(CT, b"1.2.5"), a_ct("1.2.5", MIB // 2)) == 0
        assert peak_kib(node.children()["node"]) - before < 30 << 10
        association.release()
    with RawAssociation(node.dicom_port, 60) as association, pytest.raises((AssertionError, OSError)):
        association.store(command(CT, b"1.2.6"), a_ct("1.2.6", 310 * MIB))
    ended = eventually(lambda: _ended(node), what="the end of the association")
    assert ended["ended_how"] == "aborted by us: a data set of more than 300 MiB"
    assert "object_refused_for_size why=the object has more than 150 MiB" in node.log.read_text()


def _ended(node: Node) -> dict[str, Any] | None:
    last: dict[str, Any] = imaging_json("associations", "--last", "1", "--json", "--home", str(node.home))[
        "associations"
    ][0]
    return last if last["ended_at"] else None


@pytest.mark.parametrize("sender", ["", "CT1", "CT12"])
@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_the_file_meta_information_is_what_pydicom_writes(uid: str, sender: str) -> None:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT.decode(), uid
    meta.TransferSyntaxUID = EXPLICIT_LITTLE
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    if sender:
        meta.SendingApplicationEntityTitle = sender
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    assert part_10_head(Announced(CT.decode(), uid, EXPLICIT_LITTLE, sender)) == buffer.getvalue()


# Groups --------------------------------------------------------------------------------------------------------------


def test_what_comes_while_work_is_done_is_done_together_and_each_gets_its_own() -> None:
    groups: list[list[int]] = []
    is_begun, may_end = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int | Exception]:
        groups.append(list(items))
        if len(groups) == 1:
            is_begun.set()
            may_end.wait(10)
        return [ValueError(str(each)) if each == 3 else each * each for each in items]

    grouped = Batcher(work, 3)
    results: dict[int, object] = {}

    def ask(item: int) -> None:
        try:
            results[item] = grouped(item)
        except ValueError as error:
            results[item] = str(error)

    threads = [threading.Thread(target=ask, args=(each,)) for each in range(6)]
    threads[0].start()
    assert is_begun.wait(10)
    for each in threads[1:]:
        each.start()
    eventually(lambda: len(grouped._waiting) == 5, what="five that wait")
    may_end.set()
    for each in threads:
        each.join()
    assert results == {0: 0, 1: 1, 2: 4, 3: "3", 4: 16, 5: 25}
    assert [len(each) for each in groups] == [1, 3, 2]


def test_what_the_work_raises_all_of_its_group_get_and_the_next_one_goes_on() -> None:
    def work(items: Sequence[int]) -> list[int | Exception]:
        if 1 in items:
            raise OSError("no room")
        return list(items)

    grouped = Batcher(work, 8)
    with pytest.raises(OSError, match="no room"):
        grouped(1)
    assert grouped(2) == 2
