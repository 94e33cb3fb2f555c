"""The Storage SCU's end of an association, against peers that cut up, mix up, break off or say nothing."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from peers import free_port
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian
from scripted_peer import accepted, playing, read_pdu

from imaging.dicom_node import commands
from imaging.dicom_node.commands import decoded
from imaging.dicom_node.sending import NoAssociation, NoConnection, NoResponse, Refused, Sender, Unreachable
from imaging.dicom_node.upper_layer import Association, Ended
from imaging.domain.peers import Address, Times
from imaging.domain.retry import Accepted, Answer, Transient

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
DATA = bytes(range(256)) * 1000


def part_10(data: bytes = DATA) -> bytes:
    head = FileMetaDataset()
    head.MediaStorageSOPClassUID, head.MediaStorageSOPInstanceUID = SR_CLASS, "1.2.3"
    head.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, head, enforce_standard=True)
    return bytes(buffer.getvalue()) + data


@contextmanager
def peer(*plays: Callable[[socket.socket], None], times: Times | None = None) -> Iterator[Sender]:
    """A sender, and a peer that plays each part with the next connection."""
    with playing(*plays) as address:
        sender = Sender(address, "IMAGING", times)
        yield sender
        sender.close()


def takes_all(connection: socket.socket) -> None:
    """A peer that does as it should, until the association ends."""
    association = accepted(connection)
    for message in association.messages():
        association.answer(message, 0)


def sent_by(play: Callable[[socket.socket], None], *more: Callable[[socket.socket], None]) -> Answer:
    with peer(play, *more) as sender:
        return sender.send(part_10())


@pytest.mark.parametrize("largest_pdu", [16384, 16385, 100, 1, 0])
def test_no_pdu_is_larger_than_the_peer_takes_and_the_object_is_whole(largest_pdu: int) -> None:
    sizes, objects = [], []

    def play(connection: socket.socket) -> None:
        association = accepted(connection, largest_pdu)
        read = association._head

        def head() -> tuple[int, int]:
            kind, length = read()
            sizes.append(length)
            return kind, length

        with mock.patch.object(association, "_head", head):
            for message in association.messages():
                objects.append(b"".join(bytes(each) for each in message.pieces))
                association.answer(message, 0)

    assert sent_by(play) == Accepted()
    assert objects == [DATA]
    assert max(sizes) <= {16384: 16384, 16385: 16384, 100: 100, 1: 1 << 18, 0: 1 << 18}[largest_pdu]


def test_an_object_without_a_data_set_is_answered() -> None:
    with peer(takes_all) as sender:
        assert sender.send(part_10(b"")) == Accepted()


def test_an_interrupt_wakes_who_reads_also_where_the_peer_takes_nothing_more() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        deaf, _ = listener.accept()
        association = Association(ours)
    association.set_timeout(0.1)
    with pytest.raises(Ended):
        association.send_pdu(4, bytes(64 << 20))
    association.set_timeout(60)

    def read() -> None:
        with pytest.raises(Ended):
            next(association.messages())
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    with deaf:
        association.interrupt()
        assert ended.wait(10)
    association.close()


def test_a_response_in_many_fragments_is_one_answer() -> None:
    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        messages = association.messages()
        message = next(messages)
        response = message.response(0xA700, "full")
        number = message.context_id
        for at in range(len(response)):
            flags = 3 if at == len(response) - 1 else 1
            association.send_pdu(4, struct.pack(">IBB", 3, number, flags) + response[at : at + 1])
        assert list(messages) == []

    answer = sent_by(play)
    assert isinstance(answer, Transient)
    assert "0xA700" in answer.why


@pytest.mark.parametrize("data_set_type", [None, b"\0\0", b"\2\1"])
def test_a_response_says_nothing_of_a_data_set_that_counts(data_set_type: bytes | None) -> None:
    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        messages = association.messages()
        message = next(messages)
        elements = decoded(bytearray(message.response(0, ""))) | {0x0800: data_set_type}
        data = b"".join(struct.pack("<HHI", 0, tag, len(raw)) + raw for tag, raw in elements.items() if raw is not None)
        association.send(message.context_id, data)
        assert list(messages) == []

    assert sent_by(play) == Accepted()


def test_a_response_to_another_request_is_no_answer_and_the_association_is_aborted() -> None:
    ends = []

    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        messages = association.messages()
        message = next(messages)
        message.elements[0x0110] = b"\x99\0"
        association.answer(message, 0)
        with pytest.raises(Ended) as ended:
            next(messages)
        ends.append(str(ended.value))

    why = "no answer to C-STORE: aborted by us: its response does not belong to any of our requests"
    assert sent_by(play) == Transient(why, was_sent=True)
    assert ends == ["aborted"]


def says(pdu: bytes) -> Callable[[socket.socket], None]:
    """A peer that answers the object with these bytes."""

    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        next(association.messages())
        connection.sendall(pdu)
        while connection.recv(1000):
            pass

    return play


@pytest.mark.parametrize(
    ("pdu", "why"),
    [
        (b"\x07\0\0\0\0\x04\0\0\0\0", "aborted"),
        (b"\x05\0\0\0\0\x04\0\0\0\0", "released by the peer"),
        (b"\x55\0\0\0\0\x00", "aborted by us: PDU type 0x55 in an association"),
        (b"\x04\0\0\0\0\x06" + struct.pack(">IBB", 2, 99, 3), "aborted by us: a message in a presentation context"),
    ],
)
def test_what_the_peer_says_in_place_of_a_response_is_named(pdu: bytes, why: str) -> None:
    answer = sent_by(says(pdu))
    assert isinstance(answer, Transient)
    assert answer.why.startswith(f"no answer to C-STORE: {why}")


def test_a_peer_that_does_not_answer_is_left_in_its_time() -> None:
    with peer(says(b""), times=Times(response=0.2)) as sender:
        assert sender.send(part_10()) == Transient("no answer to C-STORE within 0.2 s", was_sent=True)


def test_a_peer_may_take_longer_to_answer_an_object_than_to_take_the_association() -> None:
    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        message = next(association.messages())
        threading.Event().wait(0.4)
        association.answer(message, 0)

    with peer(play, times=Times(connect=0.2, accept=0.2, response=20)) as sender:
        assert sender.send(part_10()) == Accepted()


_CLASS, _INSTANCE, _RESPONDED, _DATA_SET, _LENGTH = 0x0002, 0x1000, 0x0120, 0x0800, 0x0000
ODD_RESPONSES: dict[str, dict[int, bytes | None]] = {
    "without the UIDs of what was sent": {_CLASS: None, _INSTANCE: None},
    "without Command Data Set Type": {_DATA_SET: None},
    "that claims a data set": {_DATA_SET: b"\0\0"},
    "that claims another data set": {_DATA_SET: b"\x02\x01"},
    "to message 0": {_RESPONDED: b"\0\0"},
    "to no message": {_RESPONDED: None},
    "without group length": {_LENGTH: None},
}


@pytest.mark.parametrize("name", ODD_RESPONSES)
def test_a_response_is_understood_that_is(name: str) -> None:
    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        for message in association.messages():
            elements = commands.decoded(bytearray(message.response(0, ""))) | ODD_RESPONSES[name]
            raw = b"".join(
                struct.pack("<HHI", 0, element, len(value)) + value
                for element, value in sorted(elements.items())
                if value is not None
            )
            association.send_pdu(4, struct.pack(">IBB", len(raw) + 2, message.context_id, 3) + raw)

    with peer(play) as sender:
        assert [sender.send(part_10()) for _ in range(2)] == [Accepted()] * 2


@pytest.mark.parametrize("goodbye", [b"\x05\0\0\0\0\x04\0\0\0\0", b"\x07\0\0\0\0\x04\0\0\0\0", b""])
def test_a_peer_that_ends_an_idle_association_gets_the_next_object_over_another(goodbye: bytes) -> None:
    value = threading.Event()

    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        messages = association.messages()
        association.answer(next(messages), 0)
        connection.sendall(goodbye)
        connection.shutdown(socket.SHUT_WR)
        value.set()
        while connection.recv(1000):
            pass

    with peer(play, takes_all) as sender:
        assert sender.send(part_10()) == Accepted()
        assert value.wait(20)
        assert not sender.is_open
        assert sender.send(part_10()) == Accepted()
        assert sender.is_open


def test_an_end_that_came_with_the_response_is_noticed() -> None:
    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        message = next(association.messages())
        response = message.response(0, "")
        value = struct.pack(">IBB", len(response) + 2, message.context_id, 3) + response
        connection.sendall(struct.pack(">BxI", 4, len(value)) + value + b"\x05\0\0\0\0\x04\0\0\0\0")
        while connection.recv(1000):
            pass

    with peer(play) as sender:
        assert sender.send(part_10()) == Accepted()
        assert not sender.is_open


def test_when_both_release_at_once_both_are_answered() -> None:
    kinds = []

    def play(connection: socket.socket) -> None:
        association = accepted(connection)
        message = next(association.messages())
        for _ in message.pieces:
            pass
        association.answer(message, 0)
        kinds.append(read_pdu(connection)[0])
        connection.sendall(b"\x05\0\0\0\0\x04\0\0\0\0")
        kinds.append(read_pdu(connection)[0])
        connection.sendall(b"\x06\0\0\0\0\x04\0\0\0\0")
        kinds.append(len(connection.recv(1)))

    assert sent_by(play) == Accepted()
    assert kinds == [5, 6, 0]


BEGINNINGS = {
    "a rejection for a reason that the standard has": (b"\x03\0\0\0\0\x04\0\1\1\7", "Called AE title not recognised"),
    "a rejection for another": (b"\x03\0\0\0\0\x04\0\1\1\x63", "association rejected"),
    "a rejection that ends too soon": (b"\x03\0\0\0\0\1\0", "association rejected"),
    "an abort": (b"\x07\0\0\0\0\x04\0\0\0\0", "no answer to the request for an association: aborted"),
    "the end": (b"", "no answer to the request for an association: connection lost"),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "aborted by us: PDU type 0x48 came first"),
    "a request": (b"\x01\0\0\0\0\x04\0\0\0\0", "aborted by us: PDU type 0x01 came first"),
    "an acceptance that is none": (b"\x02\0\0\0\0\x04\0\0\0\0", "cannot be parsed: it ends after 4 of the 68 bytes"),
    "an acceptance of no context": (b"\x02\0\0\0\0\x46\0\1" + bytes(66) + b"\x21\0", "no presentation context item"),
    "an acceptance that ends in an item": (
        b"\x02\0\0\0\0\x4c\0\1" + bytes(66) + b"\x21\0\0\x20\1\0\0\0",
        "the presentation context item at byte 74 has 4 of 32 bytes",
    ),
    "an endless acceptance": (b"\x02\0\xff\xff\xff\xff", "aborted by us: a PDU of 4294967295 bytes came first"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_without_an_association_the_reason_is_said(name: str) -> None:
    pdu, why = BEGINNINGS[name]

    def play(connection: socket.socket) -> None:
        assert read_pdu(connection)[0] == 1
        connection.sendall(pdu)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1000):
            pass

    with peer(play) as sender, pytest.raises(Unreachable) as raised:
        sender.send(part_10())
    assert why in str(raised.value)


def test_who_takes_the_connection_and_says_nothing_is_left_in_its_time() -> None:
    def play(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with peer(play, times=Times(accept=0.2)) as sender, pytest.raises(NoAssociation, match=r"within 0\.2 s"):
        sender.echo()


def test_nobody_there_nothing_said_and_nothing_answered_are_told_apart() -> None:
    with pytest.raises(NoConnection, match="no connection"):
        Sender(Address("PACS", "127.0.0.1", free_port()), "IMAGING").echo()
    with (
        peer(says(b""), times=Times(response=0.2)) as sender,
        pytest.raises(NoResponse, match="accepts the association"),
    ):
        sender.echo()
    rejection = BEGINNINGS["a rejection for another"][0]
    with peer(lambda line: line.sendall(rejection)) as sender, pytest.raises(Refused, match="association rejected"):
        sender.echo()


def test_an_echo_is_answered_and_a_status_that_is_none_of_success_is_said() -> None:
    def refuses(connection: socket.socket) -> None:
        association = accepted(connection)
        for message in association.messages():
            association.answer(message, 0x0122)

    with peer(takes_all, refuses) as sender:
        sender.echo()
        sender.close()
        with pytest.raises(Unreachable, match="status 0x0122"):
            sender.echo()
