"""What the end of an association means: whether its sender had said all, or was cut off."""

import select
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from raw_store import CT, RawAssociation, command, encoded, value
from receiver_in_memory import MemoryReceiver

from imaging.dicom_node.acceptor import Acceptor
from imaging.domain.ends import End
from imaging.encoding.part10 import Announced
from imaging.intake.storing import Status

COMMAND = encoded(command(CT, b"1.2.3"))


@pytest.fixture
def kept() -> MemoryReceiver:
    return MemoryReceiver()


@pytest.fixture
def association(kept: MemoryReceiver) -> Iterator[RawAssociation]:
    """One that has stored an object already."""
    acceptor = Acceptor([], kept)
    with RawAssociation(acceptor.listen("127.0.0.1", 0)) as association:
        assert association.store(command(CT, b"1.2.3"), b"data") == 0
        yield association
    acceptor.close(0)


def meaning(kept: MemoryReceiver) -> End:
    kept.end()
    return kept.meanings[-1]


def reset(association: RawAssociation) -> None:
    association._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    association._socket.close()


def begin_a_message(association: RawAssociation) -> None:
    association._send(4, value(3, COMMAND) + value(0, b"half"))


def leave_the_answer_unread(association: RawAssociation) -> None:
    association._send(4, value(3, COMMAND) + value(2, b"whole"))
    assert select.select([association._socket], [], [], 10)[0]
    association._socket.close()


def abort(association: RawAssociation) -> None:
    association._send(7, bytes(4))


def close(association: RawAssociation) -> None:
    association._socket.close()


def close_inside_a_head(association: RawAssociation) -> None:
    association._socket.sendall(b"\4\0\0")
    association._socket.close()


def close_behind_a_head(association: RawAssociation) -> None:
    association._socket.sendall(b"\4\0\0\0\0\x20")
    association._socket.close()


def release(association: RawAssociation) -> None:
    association._send(5, bytes(4))


def release_and_go(association: RawAssociation) -> None:
    release(association)
    association._socket.close()


AT_REST: dict[str, tuple[Callable[[RawAssociation], None], End]] = {
    "a release": (RawAssociation.release, End.RELEASED),
    "a release whose answer is not waited for": (release_and_go, End.RELEASED),
    "a close": (close, End.CLOSED),
    "an abort": (abort, End.ABORTED),
    "a reset": (reset, End.ABORTED),
    "a close with the answer unread, as of a process that was killed": (leave_the_answer_unread, End.ABORTED),
    "a close inside the head of a PDU": (close_inside_a_head, End.CUT),
    "a close behind the head of a PDU": (close_behind_a_head, End.CUT),
    "what is no protocol": (lambda association: association._send(0x55, b""), End.CUT),
}


@pytest.mark.parametrize("name", AT_REST)
def test_with_nothing_under_way_only_an_abort_or_a_reset_leaves_a_doubt(
    association: RawAssociation, kept: MemoryReceiver, name: str
) -> None:
    act, means = AT_REST[name]
    act(association)
    assert meaning(kept) == means


@pytest.mark.parametrize("act", [release, close, abort, reset])
def test_while_a_message_is_under_way_every_end_is_a_cut(
    association: RawAssociation, kept: MemoryReceiver, act: Callable[[RawAssociation], None]
) -> None:
    begin_a_message(association)
    act(association)
    assert meaning(kept) == End.CUT


def test_our_own_stop_is_a_cut(kept: MemoryReceiver) -> None:
    acceptor = Acceptor([], kept)
    with RawAssociation(acceptor.listen("127.0.0.1", 0)) as association:
        assert association.store(command(CT, b"1.2.3"), b"data") == 0
        acceptor.close(0)
        assert meaning(kept) == End.CUT


class Failing(MemoryReceiver):
    """A receiver of which a store raises what nobody expects."""

    def store(self, association: int, what: Announced, pieces: Iterator[memoryview]) -> Status:
        raise MemoryError


def test_an_association_that_an_error_of_ours_ended_was_cut() -> None:
    kept = Failing()
    acceptor = Acceptor([], kept)
    with RawAssociation(acceptor.listen("127.0.0.1", 0)) as association, pytest.raises(AssertionError):
        association.store(command(CT, b"1.2.3"), b"data")
    assert meaning(kept) == End.CUT
    acceptor.close(0)
