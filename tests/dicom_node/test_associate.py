"""A-ASSOCIATE PDUs as bytes: whatever comes is read or is one error, and what is written is to the letter."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from raw_store import CT, EXPLICIT_LITTLE, ONE_CONTEXT, USER, context, item, request, user

from imaging.dicom_node import associate
from imaging.dicom_node.associate import (
    ASSOCIATE_RQ,
    MAX_PDU,
    Answered,
    FirstPdu,
    Malformed,
    NoAssociate,
    read_acceptance,
    read_request,
)
from imaging.dicom_node.negotiation import decided
from imaging.domain.uids import is_usable

PLAIN = associate.Request(bytes(68), (), 0)
BUDGET = settings(max_examples=400, derandomize=True, deadline=None, database=None)
ECHO, SR = b"1.2.840.10008.1.1", b"1.2.840.10008.5.1.4.1.1.88.33"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"CT1".ljust(16), "CT1"),
        (b"  CT1".ljust(16), "CT1"),
        (b"CT1".ljust(16, b"\0"), "CT1"),
        (b"CT1\0 what was there", "CT1"),
        (b"ct1 room 2".ljust(16), "ct1 room 2"),
        (b" " * 16, ""),
        (bytes(16), ""),
        (bytes.fromhex("C0B36049FC7F").ljust(16), "\\xc0\\xb3`I\\xfc\\x7f"),
        (b"CT\\1".ljust(16), "CT\\1"),
    ],
)
def test_a_title_is_read_without_padding_and_its_odd_bytes_can_be_shown(raw: bytes, read: str) -> None:
    assert read_request(request(calling=raw[:16])).titles == (read, "IMAGING")


def test_what_is_not_needed_is_passed_over() -> None:
    odd = user(
        item(0x53, bytes(4)),
        item(0x58, b"\x09\1\0\4user\0\0"),
        item(0x55, b"A_VERSION_NAME_OF_26_CHARS"),
        item(0x5F, b"private"),
        maximum=16384,
    )
    found = read_request(request(item(0x60, b"?") + ONE_CONTEXT, odd + item(0xA0, b"x"), application=b""))
    assert (found.contexts, found.maximum_length) == (((1, CT.decode(), (EXPLICIT_LITTLE.decode(),)),), 16384)


@pytest.mark.parametrize(
    ("information", "maximum"),
    [
        (b"", 0),
        (item(0x50, b""), 0),
        (user(maximum=0), 0),
        (user(maximum=64), 64),
        (user(maximum=7), 0),
        (user(maximum=0xFFFFFFFF), 0xFFFFFFFF),
        (item(0x50, item(0x51, b"\1\0")), 0),
        (struct.pack(">BxH", 0x50, 900) + item(0x51, struct.pack(">I", 4096)) + b"\x55", 4096),
    ],
)
def test_a_maximum_length_that_is_not_said_or_holds_no_value_is_none(information: bytes, maximum: int) -> None:
    assert read_request(request(ONE_CONTEXT, information)).maximum_length == maximum


UNREADABLE = {
    "an end in the fixed part": (request()[:30], "it ends after 30 of the 68 bytes before its items"),
    "no context": (request(b""), "no presentation context item"),
    "a context without a number": (request(item(0x20, b"")), "no presentation context item with a number"),
    "a context that ends behind its PDU": (
        request(ONE_CONTEXT, b"")[:-5],
        f"the presentation context item at byte 99 has {len(ONE_CONTEXT) - 9} of {len(ONE_CONTEXT) - 4} bytes",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_request_that_cannot_be_read_names_what_is_at_fault(name: str) -> None:
    body, why = UNREADABLE[name]
    with pytest.raises(Malformed, match=why):
        read_request(body)


def test_titles_are_read_as_far_as_they_came() -> None:
    body = request(called=b"IMAGING".ljust(16), calling=b"CT1".ljust(16))
    assert [associate.titles(body[:size]) for size in (0, 11, 22, 60)] == [
        ("", ""),
        ("", "IMAGING"),
        ("CT", "IMAGING"),
        ("CT1", "IMAGING"),
    ]


CONTEXTS = {
    "even and zero": (context(2, CT, EXPLICIT_LITTLE) + context(0, ECHO, EXPLICIT_LITTLE), {2: 0, 0: 0}),
    "one number twice": (ONE_CONTEXT + context(1, ECHO, EXPLICIT_LITTLE), {1: 0}),
    "no transfer syntax": (context(3, SR) + ONE_CONTEXT, {3: 4, 1: 0}),
    "an empty transfer syntax": (context(3, SR, b"") + ONE_CONTEXT, {3: 4, 1: 0}),
    "a word for a transfer syntax": (context(3, SR, b"unknown", EXPLICIT_LITTLE), {3: 0}),
    "a padded transfer syntax": (context(3, SR, EXPLICIT_LITTLE + b"\0"), {3: 0}),
    "an empty abstract syntax": (context(3, b"", EXPLICIT_LITTLE) + ONE_CONTEXT, {3: 3, 1: 0}),
    "an overlong abstract syntax": (context(3, b"1." + b"2" * 70, EXPLICIT_LITTLE) + ONE_CONTEXT, {3: 3, 1: 0}),
    "an item that ends behind its context": (item(0x20, b"\3\0\0\0\x30\0\1\0") + ONE_CONTEXT, {3: 3, 1: 0}),
    "a transfer syntax that ends behind its context": (
        item(0x20, b"\3\0\0\0" + item(0x30, CT) + b"\x40\0\0\x20" + EXPLICIT_LITTLE) + ONE_CONTEXT,
        {3: 4, 1: 0},
    ),
    "another service": (context(3, b"1.2.840.10008.5.1.4.1.2.2.1", EXPLICIT_LITTLE) + ONE_CONTEXT, {3: 3, 1: 0}),
    "a private class": (context(3, b"1.2.840.113619.4.26", EXPLICIT_LITTLE), {3: 0}),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_that_cannot_be_agreed_on_is_refused_and_the_others_live(name: str) -> None:
    contexts, results = CONTEXTS[name]
    found = decided(read_request(request(contexts)))
    assert {each.id: each.result for each in found if each.result >= 0} == results


def test_of_two_contexts_of_one_number_the_first_stands_and_the_second_is_told() -> None:
    first, second = decided(read_request(request(ONE_CONTEXT + context(1, ECHO, EXPLICIT_LITTLE))))
    assert (first.abstract_syntax, first.is_accepted) == (CT.decode(), True)
    assert (second.is_accepted, second.why) == (False, "its number is used by another context")


@pytest.mark.parametrize(
    ("scu", "scp", "is_confirmed"), [(1, 1, True), (1, 0, True), (2, 1, True), (0, 0, False), (0, 1, False)]
)
def test_a_peer_that_would_send_is_confirmed_as_sender_and_nothing_else_is_said_of_roles(
    scu: int, scp: int, is_confirmed: bool
) -> None:
    role = item(0x54, struct.pack(">H", len(CT)) + CT + bytes((scu, scp)))
    assert read_request(request(ONE_CONTEXT, user(role))).senders == ((CT.decode(),) if is_confirmed else ())


def test_what_we_ask_is_what_another_reads() -> None:
    body = associate.request("PACS", "IMAGING", {1: (SR.decode(), EXPLICIT_LITTLE.decode())})
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(struct.pack(">BxI", 1, len(body)) + body)
    (request,) = pdu.to_primitive().presentation_context_definition_list
    assert (pdu.called_ae_title, pdu.calling_ae_title) == ("PACS", "IMAGING")
    assert (request.context_id, request.abstract_syntax, request.transfer_syntax) == (
        1,
        SR.decode(),
        [EXPLICIT_LITTLE.decode()],
    )
    assert pdu.user_information.maximum_length == MAX_PDU


def test_what_we_answer_is_what_another_reads_and_repeats_the_titles_as_they_came() -> None:
    requested = read_request(request(calling=b"CT1".ljust(16)))
    body = associate.acceptance(
        requested, [Answered(1, 0, EXPLICIT_LITTLE.decode()), Answered(3, 4, "")], [CT.decode()]
    )
    pdu = A_ASSOCIATE_AC()
    pdu.decode(struct.pack(">BxI", 2, len(body)) + body)
    answers = pdu.to_primitive().presentation_context_definition_results_list
    assert [(each.context_id, each.result) for each in answers] == [(1, 0), (3, 4)]
    assert body[4:68] == request(calling=b"CT1".ljust(16))[4:68]
    assert pdu.user_information.role_selection[CT.decode()].scu_role == 1


@pytest.mark.parametrize("title", ["", "A_TITLE_OF_SEVENTEEN", "PÄCS", "A\\B"])
def test_a_title_that_is_none_is_never_said(title: str) -> None:
    with pytest.raises(ValueError, match="is not an AE title"):
        associate.request(title, "IMAGING", {})


# Fuzzing ---------------------------------------------------------------------------------------------------

SYNTAXES = st.one_of(
    st.sampled_from([CT, SR, ECHO, EXPLICIT_LITTLE, b"", b"unknown", b"1.2\0"]), st.binary(max_size=80)
)
PARTS = st.builds(item, st.sampled_from([0x30, 0x40, 0x51, 0x54, 0x58]) | st.integers(0, 255), SYNTAXES)
ITEMS = st.builds(
    lambda kind, head, parts: item(kind, head + b"".join(parts)),
    st.sampled_from([0x10, 0x20, 0x21, 0x50]) | st.integers(0, 255),
    st.binary(max_size=6),
    st.lists(PARTS, max_size=4),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A request with odd items, some of its bytes changed, and cut."""
    body = bytearray(
        request(draw(st.sampled_from([b"", ONE_CONTEXT])) + b"".join(draw(st.lists(ITEMS, max_size=5))), USER)
    )
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), max_size=4)):
        body[at] = byte
    return bytes(body[: draw(st.sampled_from([len(body), len(body), draw(st.integers(0, len(body)))]))])


@BUDGET
@given(bodies() | st.binary(max_size=400))
def test_whatever_comes_as_a_request_is_one_or_is_malformed_and_can_be_answered(body: bytes) -> None:
    assert all(title.isascii() and title.isprintable() for title in associate.titles(body))
    try:
        request = read_request(body)
    except Malformed:
        return
    contexts = decided(request)
    answers = [Answered(each.id, each.result, each.transfer_syntax) for each in contexts if each.result >= 0]
    texts = read_acceptance(associate.acceptance(request, answers, request.senders)).contexts
    assert [each.id for each in texts] == list({each.id: None for each in request.contexts})
    assert all(is_usable(each.transfer_syntax) for each in texts)


@BUDGET
@given(bodies() | st.binary(max_size=400))
def test_whatever_comes_as_an_acceptance_is_one_or_is_malformed(body: bytes) -> None:
    try:
        found = read_acceptance(body)
    except Malformed:
        return
    assert found.contexts
    assert found.maximum_length == 0 or found.maximum_length >= 8


@BUDGET
@given(st.binary(max_size=60), st.booleans(), st.lists(st.integers(1, 9)))
def test_a_pdu_is_the_same_in_however_many_pieces_it_comes(raw: bytes, has_head: bool, sizes: list[int]) -> None:
    stream = struct.pack(">BxI", ASSOCIATE_RQ, len(raw)) + raw if has_head else raw
    pdu, at = FirstPdu(ASSOCIATE_RQ), 0
    try:
        for size in [*sizes, *[MAX_PDU] * len(stream)]:
            piece = stream[at : at + min(size, pdu.missing)]
            if piece:
                pdu.feed(piece)
                at += len(piece)
    except NoAssociate:
        assert stream[0] != ASSOCIATE_RQ
    except Malformed:
        assert int.from_bytes(stream[2:6]) > MAX_PDU
    else:
        assert pdu.body == stream[6:at]
        assert not has_head or (pdu.missing, pdu.body) == (0, raw)
