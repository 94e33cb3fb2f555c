"""A peer that plays a part: our own line's acceptor, told what to say and when (PS3.8 9.3)."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from imaging.dicom_node import negotiation
from imaging.dicom_node.associate import read_request
from imaging.dicom_node.upper_layer import Association
from imaging.domain.peers import Address

RELEASE_RQ, RELEASE_RP = 5, 6


@contextmanager
def playing(*plays: Callable[[socket.socket], None]) -> Iterator[Address]:
    """Where a peer listens that plays each part with the next connection, all of them until the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            for each in plays:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(20)
                    each(connection)

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        yield Address("PACS", "127.0.0.1", listener.getsockname()[1])
        thread.join(20)
        assert not thread.is_alive()


def accepted(connection: socket.socket, largest_pdu: int | None = None) -> Association:
    """Takes the association as it is asked for."""
    association = Association(connection)
    request = read_request(read_pdu(connection)[1])
    answers: list[tuple[int, bytes]] = []
    with mock.patch.object(association, "send_pdu", lambda kind, body: answers.append((kind, body))):
        negotiation.accept(association, request)
    ((kind, body),) = answers
    if largest_pdu is not None:
        body = body.replace(struct.pack(">BxHI", 0x51, 4, 1 << 20), struct.pack(">BxHI", 0x51, 4, largest_pdu))
    association.send_pdu(kind, body)
    return association


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    with connection.makefile("rb", buffering=0) as raw:

        def read(size: int) -> bytes:
            found = b""
            while len(found) < size:
                found += raw.read(size - len(found)) or b""
            return found

        kind, length = struct.unpack(">BxI", read(6))
        return kind, read(length)
