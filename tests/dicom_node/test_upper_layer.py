"""The acceptor's upper layer: messages however a peer cuts them up, and what it breaks ends its association alone."""

import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from peers import eventually
from raw_store import CT, RawAssociation, command

from imaging.dicom_node.acceptor import Acceptor, Opened, Tally
from imaging.dicom_node.files import StoreRequest
from imaging.dicom_node.storing import Status
from imaging.domain.ends import End

INSTANCE = b"1.2.3"
DATA = bytes(range(256)) * 40_000
"""Ten megabytes, more than is read at once."""


@dataclass
class Kept:
    """A receiver that keeps what it is given in memory."""

    stored: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    began: list[Opened] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    ends: list[tuple[str, Tally]] = field(default_factory=list)
    meanings: list[End] = field(default_factory=list)
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def opened(self, who: Opened) -> int:
        self.began.append(who)
        return len(self.began)

    def rejected(self, who: Opened, why: str) -> None:
        self.refused.append(why)

    def store(self, association: int, request: StoreRequest) -> Status:
        uids = request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid
        self.stored.append((*uids, bytes(request.data)))
        return Status(0)

    def closed(self, association: int, end: End, how: str, tally: Tally) -> None:
        self.meanings.append(end)
        self.ends.append((how, tally))
        self.ended.release()

    def end(self) -> str:
        """How the next association to end ended."""
        assert self.ended.acquire(timeout=10)
        return self.ends[-1][0]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def port(kept: Kept) -> Iterator[int]:
    acceptor = Acceptor([], kept)
    yield acceptor.listen("127.0.0.1", 0)
    acceptor.close(0)


def value(flags: int, fragment: bytes, context: int = 1) -> bytes:
    """A presentation data value (PS3.8 9.3.5.1)."""
    return struct.pack(">IBB", len(fragment) + 2, context, flags) + fragment


def encoded(elements: dict[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HHI", 0, tag, len(raw)) + raw for tag, raw in sorted(elements.items()))


COMMAND = encoded(command(CT, INSTANCE))


def test_many_fragments_of_command_and_data_set_make_one_object(port: int, kept: Kept) -> None:
    with RawAssociation(port) as association:
        pieces = [DATA[at : at + 300_000] for at in range(0, len(DATA), 300_000)]
        for body in (value(1, COMMAND[:5]), value(1, b""), value(3, COMMAND[5:]), *(value(0, each) for each in pieces)):
            association._send(4, body)
        association._send(4, value(2, b""))
        assert association._read_pdu()[0] == 4
        association.release()
    assert kept.stored == [(CT.decode(), INSTANCE.decode(), "1.2.840.10008.1.2.1", DATA)]
    assert kept.end() == "released"
    assert kept.ends[0][1].stored == 1


def test_values_that_share_a_pdu_are_kept_apart_even_of_two_messages(port: int, kept: Kept) -> None:
    with RawAssociation(port) as association:
        association._send(4, value(3, COMMAND) + value(0, b"one, ") + value(2, b"two ") + value(3, COMMAND))
        assert association._read_pdu()[0] == 4
        association._send(4, value(2, b"three "))
        assert association._read_pdu()[0] == 4
        association.release()
    assert [each[3] for each in kept.stored] == [b"one, two ", b"three "]


def test_an_object_smaller_than_the_one_before_has_its_own_bytes_only(port: int, kept: Kept) -> None:
    with RawAssociation(port) as association:
        for data in (b"a" * 100_000, b"b" * 10, b"c" * 200_000):
            assert association.store(command(CT, INSTANCE), data) == 0
        association.release()
    assert [each[3] for each in kept.stored] == [b"a" * 100_000, b"b" * 10, b"c" * 200_000]


BROKEN = {
    "a PDU of an unknown type": (0x55, b""),
    "a second request for an association": (0x01, bytes(68)),
    "a context that was not accepted": (4, value(3, COMMAND, context=3)),
    "a data set without a command": (4, value(2, b"x")),
    "a command after a command": (4, value(3, COMMAND) + value(3, COMMAND)),
    "a value longer than its PDU": (4, struct.pack(">IBB", 1000, 1, 3) + b"x"),
    "a value without a flag": (4, struct.pack(">IB", 1, 1)),
    "a command that ends inside an element": (4, value(3, COMMAND[:-1])),
    "a C-FIND": (4, value(3, encoded(command(CT, INSTANCE, has_data_set=False) | {0x0100: b"\x20\0"}))),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_protocol_is_aborted_and_the_end_says_why(port: int, kept: Kept, name: str) -> None:
    kind, body = BROKEN[name]
    with RawAssociation(port) as association:
        association._send(kind, body)
        assert association._read_pdu()[0] == 7
    assert kept.end().startswith("aborted by us: ")
    assert kept.stored == []


def test_an_abort_and_a_lost_connection_are_told_apart(port: int, kept: Kept) -> None:
    with RawAssociation(port) as association:
        association._send(7, bytes(4))
        assert kept.end() == "aborted"
    with RawAssociation(port) as association:
        association._send(4, value(3, COMMAND) + value(0, b"half"))
    assert kept.end() == "connection lost"
    assert kept.stored == []


def test_a_first_pdu_that_is_no_request_is_aborted_and_makes_no_row(port: int, kept: Kept) -> None:
    for first in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">BxI", 1, 4) + b"\0\1\0\0", struct.pack(">BxI", 1, 1 << 31)):
        with socket.create_connection(("127.0.0.1", port), 10) as stranger:
            stranger.sendall(first)
            assert stranger.recv(100)[:1] == b"\x07"
    assert kept.began == []


def test_no_more_than_two_hundred_associations_are_open_at_a_time(port: int, kept: Kept) -> None:
    with_room = [RawAssociation(port) for _ in range(200)]
    with pytest.raises(AssertionError, match="PDU type 3"):
        RawAssociation(port)
    eventually(lambda: kept.refused == ["Local limit exceeded"], 10.0, "the rejection")
    for each in with_room:
        each.release()
        each.__exit__(None, None, None)

    def opens() -> bool:
        try:
            RawAssociation(port).release()
        except AssertionError:
            return False
        return True

    eventually(opens, 10.0, "room for another")


def test_who_is_still_connected_at_the_end_is_aborted(kept: Kept) -> None:
    acceptor = Acceptor([], kept)
    port = acceptor.listen("127.0.0.1", 0)
    with RawAssociation(port) as association:
        acceptor.close(0.1)
        assert association._read_pdu()[0] == 7
        assert kept.end() == "connection lost"
        with pytest.raises(ConnectionRefusedError):
            RawAssociation(port)
