"""The acceptor's upper layer: messages however a peer cuts them up, and what it breaks ends its association alone."""

import socket
import struct
from collections.abc import Iterator

import pytest
from peers import eventually
from raw_store import CT, RawAssociation, command, encoded, value
from receiver_in_memory import MemoryReceiver

from imaging.dicom_node.acceptor import Acceptor

INSTANCE = b"1.2.3"
DATA = bytes(range(256)) * 40_000
"""Ten megabytes, more than is read at once."""


@pytest.fixture
def kept() -> MemoryReceiver:
    return MemoryReceiver()


@pytest.fixture
def port(kept: MemoryReceiver) -> Iterator[int]:
    acceptor = Acceptor([], kept)
    yield acceptor.listen("127.0.0.1", 0)
    acceptor.close(0)


COMMAND = encoded(command(CT, INSTANCE))


def test_many_fragments_of_command_and_data_set_make_one_object(port: int, kept: MemoryReceiver) -> None:
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


def test_values_that_share_a_pdu_are_kept_apart_even_of_two_messages(port: int, kept: MemoryReceiver) -> None:
    with RawAssociation(port) as association:
        association._send(4, value(3, COMMAND) + value(0, b"one, ") + value(2, b"two ") + value(3, COMMAND))
        assert association._read_pdu()[0] == 4
        association._send(4, value(2, b"three "))
        assert association._read_pdu()[0] == 4
        association.release()
    assert [each[3] for each in kept.stored] == [b"one, two ", b"three "]


def test_an_object_smaller_than_the_one_before_has_its_own_bytes_only(port: int, kept: MemoryReceiver) -> None:
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
def test_what_is_no_protocol_is_aborted_and_the_end_says_why(port: int, kept: MemoryReceiver, name: str) -> None:
    kind, body = BROKEN[name]
    with RawAssociation(port) as association:
        association._send(kind, body)
        assert association._read_pdu()[0] == 7
    assert kept.end().startswith("aborted by us: ")
    assert kept.stored == []


def test_an_abort_and_a_lost_connection_are_told_apart(port: int, kept: MemoryReceiver) -> None:
    with RawAssociation(port) as association:
        association._send(7, bytes(4))
        assert kept.end() == "aborted"
    with RawAssociation(port) as association:
        association._send(4, value(3, COMMAND) + value(0, b"half"))
    assert kept.end() == "connection lost"
    assert kept.stored == []


def test_a_first_pdu_that_is_no_request_is_aborted_and_makes_no_row(port: int, kept: MemoryReceiver) -> None:
    for first in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">BxI", 2, 4) + bytes(4)):
        with socket.create_connection(("127.0.0.1", port), 10) as stranger:
            stranger.sendall(first)
            assert stranger.recv(100)[:1] == b"\x07"
    assert (kept.began, kept.refused) == ([], [])


def test_no_more_than_two_hundred_associations_are_open_at_a_time(kept: MemoryReceiver) -> None:
    acceptor = Acceptor([], kept, 250)
    port = acceptor.listen("127.0.0.1", 0)
    with_room = [RawAssociation(port) for _ in range(200)]
    with pytest.raises(AssertionError, match="PDU type 3"):
        RawAssociation(port)
    eventually(lambda: [each.how for each in kept.refused] == ["rejected: Local limit exceeded"], 10.0, "the rejection")
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
    acceptor.close(0)


def test_who_is_still_connected_at_the_end_is_aborted(kept: MemoryReceiver) -> None:
    acceptor = Acceptor([], kept)
    port = acceptor.listen("127.0.0.1", 0)
    with RawAssociation(port) as association:
        acceptor.close(0.1)
        assert association._read_pdu()[0] == 7
        assert kept.end() == "connection lost"
        with pytest.raises(ConnectionRefusedError):
            RawAssociation(port)
