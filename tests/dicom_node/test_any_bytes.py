"""A fuzzer on the PDU reader: whatever bytes come in an association, it ends in one of its own ways."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_store import CT, command

from imaging.dicom_node import commands
from imaging.dicom_node.upper_layer import Association, Ended

BUDGET = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

ELEMENTS = command(CT, b"1.2.3")
COMMAND = b"".join(struct.pack("<HHI", 0, tag, len(raw)) + raw for tag, raw in sorted(ELEMENTS.items()))
FRAGMENTS = st.sampled_from([COMMAND, COMMAND[:20], b""]) | st.binary(max_size=200)
VALUES = st.builds(
    lambda size, context, flags, fragment: struct.pack(">IBB", len(fragment) + 2 + size, context, flags) + fragment,
    st.sampled_from([0, 0, 0, 0, -1, 1, 1 << 20]),
    st.sampled_from([1, 1, 1, 3, 5]),
    st.sampled_from([0, 1, 2, 3, 255]),
    FRAGMENTS,
)
PDUS = st.builds(
    lambda kind, size, values: struct.pack(">BxI", kind, max(0, len(b"".join(values)) + size)) + b"".join(values),
    st.sampled_from([4, 4, 4, 4, 5, 7, 1, 0x55]),
    st.sampled_from([0, 0, 0, 0, -1, 1, 1 << 30]),
    st.lists(VALUES, max_size=4),
)


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@BUDGET
@given(pdus=st.lists(PDUS | st.binary(max_size=30), max_size=6))
def test_what_comes_in_an_association_is_messages_and_then_its_end(listener: socket.socket, pdus: list[bytes]) -> None:
    with socket.create_connection(listener.getsockname()) as peer:
        association = Association(listener.accept()[0])
        association.set_timeout(5)
        association.contexts = frozenset({1, 3})
        peer.sendall(b"".join(pdus))
        peer.shutdown(socket.SHUT_WR)
        with suppress(Ended):
            for message in association.messages():
                assert message.context_id in association.contexts
                assert message.command is not None
    association.close()


@settings(BUDGET)
@given(st.binary(max_size=200) | st.builds(lambda cut: COMMAND[:cut] + COMMAND, st.integers(0, 40)))
def test_a_command_is_elements_or_one_error(raw: bytes) -> None:
    try:
        found = commands.decoded(bytearray(raw))
        commands.has_data_set(found)
    except ValueError:
        return
    assert commands.Message(1, found, iter([memoryview(b"")])).command is not None
