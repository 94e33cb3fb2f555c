"""How associations begin: no ordinary peer is turned away, in either role, and no stranger disturbs."""

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from peers import eventually, free_port, program
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, build_role
from raw_store import CT, EXPLICIT_LITTLE, ONE_CONTEXT, RawAssociation, command, context, item, request, results, user
from receiver_in_memory import MemoryReceiver
from scripted_peer import playing, read_pdu

from imaging.dicom_node import connections
from imaging.dicom_node.acceptor import Acceptor
from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address, Caller, Times
from imaging.domain.retry import Accepted

IMPLICIT, JPEG_LOSSLESS, JPIP = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.94"
SR_3D, SR = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33"
STRANGER = "127.0.0.2"
ECHO = "1.2.840.10008.1.1"


@pytest.fixture
def kept() -> MemoryReceiver:
    return MemoryReceiver()


@pytest.fixture
def listen(kept: MemoryReceiver) -> Iterator[Callable[..., int]]:
    """Starts an acceptor; returns its port."""
    with ExitStack() as open_:

        def start(*accept: Caller, connections_per_address: int = 64) -> int:
            acceptor = Acceptor(accept, kept, connections_per_address)
            open_.callback(acceptor.close, 0)
            return acceptor.listen("127.0.0.1", 0)

        yield start


def connected(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (address, 0))


def answer_to(port: int, body: bytes, address: str = "127.0.0.1") -> int:
    """The type of the PDU that a request is answered with; 0: the connection is closed instead."""
    with connected(port, address) as peer:
        try:
            peer.sendall(struct.pack(">BxI", 1, len(body)) + body)
            return (peer.recv(1) or b"\0")[0]
        except ConnectionError:
            return 0


def is_closed(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


# Who sends to us -------------------------------------------------------------------------------------------

ODD = {
    "titles of NUL": request(called=bytes(16), calling=bytes(16)),
    "titles of junk": request(called=bytes(range(0xC0, 0xD0)), calling=bytes(range(0xF0, 0x100))),
    "blank titles": request(called=b" " * 16, calling=b" " * 16),
    "a version name of 26 characters": request(information=user(item(0x55, b"A_VERSION_NAME_OF_26_CHARS"))),
    "a version name padded with NUL": request(information=user(item(0x55, b"V1\0"))),
    "an unknown item": request() + item(0x60, b"what"),
    "an unknown item of the user": request(information=user(item(0xA0, b"private"))),
    "user identity of type 9": request(information=user(item(0x58, b"\x09\1\0\4user\0\0"))),
    "roles of nobody": request(information=user(item(0x54, struct.pack(">H", len(CT)) + CT + b"\0\0"))),
    "no user information": request(information=b""),
    "an application context of nothing": request(application=b""),
    "protocol version 2": b"\0\2" + request()[2:],
    "padded syntaxes": request(context(1, CT + b"\0", EXPLICIT_LITTLE + b" ")),
    "another context of that number": request(ONE_CONTEXT + context(1, ECHO.encode(), IMPLICIT)),
    "a context before it without syntaxes": request(context(3, b"") + ONE_CONTEXT),
    "syntaxes that nobody decodes before it": request(context(1, CT, b"1.2.840.113619.5.2", JPIP, EXPLICIT_LITTLE)),
    "less than an item at the end": request() + b"\0\0",
}


@pytest.mark.parametrize("name", ODD)
def test_what_storing_does_not_need_keeps_nobody_from_storing(
    listen: Callable[..., int], kept: MemoryReceiver, name: str
) -> None:
    with RawAssociation(listen(), body=ODD[name]) as modality:
        assert results(modality.answer)[1] == (0, EXPLICIT_LITTLE)
        assert modality.store(command(CT, b"1.2.3"), b"data") == 0
        modality.release()
    assert kept.stored == [(CT.decode(), "1.2.3", EXPLICIT_LITTLE.decode(), b"data")]


@pytest.mark.parametrize("number", [0, 2, 254])
def test_a_context_number_that_ought_to_be_odd_is_taken_as_it_is(
    listen: Callable[..., int], kept: MemoryReceiver, number: int
) -> None:
    with RawAssociation(listen(), body=request(context(number, CT, JPEG_LOSSLESS, EXPLICIT_LITTLE))) as modality:
        assert modality.store(command(CT, b"1.2.3"), b"data", number) == 0
        modality.release()
    assert kept.stored[0][2] == JPEG_LOSSLESS.decode()


def test_dcmtk_that_proposes_what_nobody_decodes_first_is_told_what_can_be(
    listen: Callable[..., int], kept: MemoryReceiver, tmp_path: Path
) -> None:
    profile = tmp_path / "odd.cfg"
    profile.write_text(
        "[[TransferSyntaxes]]\n[odd]\nTransferSyntax1 = 1.2.840.10008.1.2.4.92\n"
        "TransferSyntax2 = LittleEndianExplicit\n"
        "[[PresentationContexts]]\n[all]\nPresentationContext1 = CTImageStorage\\odd\n"
        "PresentationContext2 = VerificationSOPClass\\odd\n[[Profiles]]\n[odd]\nPresentationContexts = all\n"
    )
    file = tmp_path / "ct.dcm"
    file.write_bytes(a_ct())
    command = [program("/usr/bin/storescu"), "-xf", str(profile), "odd", "127.0.0.1", str(listen()), str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    assert [each[2] for each in kept.stored] == [EXPLICIT_LITTLE.decode()]


def a_ct() -> bytes:
    head = FileMetaDataset()
    head.MediaStorageSOPClassUID, head.MediaStorageSOPInstanceUID = CT.decode(), "1.2.3"
    head.TransferSyntaxUID = EXPLICIT_LITTLE.decode()
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, head, enforce_standard=True)
    uids = [(0x16, CT + b"\0"), (0x18, b"1.2.3\0")]
    return bytes(buffer.getvalue()) + b"".join(
        struct.pack("<HH2sH", 8, tag, b"UI", len(uid)) + uid for tag, uid in uids
    )


@pytest.mark.parametrize("maximum", [8, 64, 200, 0, 0xFFFFFFFF])
def test_no_response_is_larger_than_the_modality_takes(listen: Callable[..., int], maximum: int) -> None:
    with RawAssociation(listen(), body=request(information=user(maximum=maximum))) as modality:
        assert modality.store(command(CT, b"1.2.3"), b"data") == 0
        assert modality.largest <= (maximum or 1000)
        modality.release()


def test_who_takes_little_has_its_response_in_one_pdu_where_that_is_possible(listen: Callable[..., int]) -> None:
    with RawAssociation(listen(), body=request(information=user(maximum=64))) as modality:
        modality.store(command(CT, b"1.2.3"), b"data")
        assert modality.largest > 8 + 6
        modality.release()


# Who may call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", [b"ct1".ljust(16), b"CT1".ljust(16, b"\0"), b"  CT1".ljust(16)])
def test_case_and_padding_of_a_title_keep_nobody_out(listen: Callable[..., int], title: bytes) -> None:
    assert answer_to(listen(Caller("CT1", "127.0.0.1")), request(calling=title)) == 2


def test_an_address_may_be_named_for_any_title(listen: Callable[..., int], kept: MemoryReceiver) -> None:
    port = listen(Caller("*", STRANGER), Caller("CT1", "127.0.0.1"))
    assert answer_to(port, request(calling=bytes(16)), STRANGER) == 2
    assert answer_to(port, request(calling=bytes(16))) == 3
    eventually(lambda: kept.refused, 5, "the row")
    assert kept.refused[0].how == "rejected: Calling AE title not recognised"


def test_who_is_rejected_is_logged_with_both_titles(
    listen: Callable[..., int], kept: MemoryReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    port = listen(Caller("CT1", STRANGER))
    assert answer_to(port, request(calling=b"CT1".ljust(16), called=b"AINODE".ljust(16))) == 3
    (row,) = eventually(lambda: kept.refused, 5, "the row")
    assert (row.calling_ae_title, row.called_ae_title, row.address) == ("CT1", "AINODE", "127.0.0.1")
    assert row.how == "rejected: Calling AE title not recognised from this address"
    assert "association_rejected address=127.0.0.1 calling='CT1' called='AINODE'" in caplog.text


UNREADABLE = {
    "an end in a context": (
        request(ONE_CONTEXT, b"")[:-3],
        ("RAW", "IMAGING"),
        "cannot be parsed: the presentation context item at byte 99",
    ),
    "no context": (request(b""), ("RAW", "IMAGING"), "cannot be parsed: it has no presentation context item"),
    "an end in a title": (request()[:22], ("RA", "IMAGING"), "cannot be parsed: it ends after 22 of the 68 bytes"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_request_that_cannot_be_read_has_its_row(listen: Callable[..., int], kept: MemoryReceiver, name: str) -> None:
    body, titles, why = UNREADABLE[name]
    assert answer_to(listen(), body) == 7
    (row,) = eventually(lambda: kept.refused, 5, "the row")
    assert ((row.calling_ae_title, row.called_ae_title), row.address) == (titles, "127.0.0.1")
    assert why in row.how


def test_a_request_of_more_than_is_taken_has_its_row(listen: Callable[..., int], kept: MemoryReceiver) -> None:
    with connected(listen()) as peer:
        peer.sendall(struct.pack(">BxI", 1, 1 << 31))
        assert peer.recv(1) == b"\7"
    (row,) = eventually(lambda: kept.refused, 5, "the row")
    assert "a PDU of 2147483648 bytes came first" in row.how


# Who disturbs ----------------------------------------------------------------------------------------------


def test_a_byte_now_and_then_prolongs_no_request(
    listen: Callable[..., int], kept: MemoryReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.5)
    port, body = listen(), request(calling=b"LORIS".ljust(16))
    began, sent = time.monotonic(), 0
    with connected(port) as peer:
        peer.sendall(struct.pack(">BxI", 1, len(body)) + body[:40])

        def is_left() -> bool:
            nonlocal sent
            if is_closed(peer):
                return True
            peer.send(body[40 + sent : 41 + sent])
            sent += 1
            return False

        eventually(is_left, 5, "the end")
    assert sent > 2
    assert 0.4 < time.monotonic() - began < 3
    (row,) = eventually(lambda: kept.refused, 5, "the row")
    assert (row.calling_ae_title, row.how) == ("LORIS", "aborted by us: the request was not complete after 0.5 s")


def test_a_port_that_is_looked_at_makes_no_row(listen: Callable[..., int], kept: MemoryReceiver) -> None:
    port = listen()
    for _ in range(3):
        connected(port).close()
    assert answer_to(port, request(b"")) == 7
    assert len(eventually(lambda: kept.refused, 5, "the row of the one that asked")) == 1


def test_of_a_stranger_five_requests_a_minute_are_answered_and_the_rest_are_counted(
    listen: Callable[..., int], kept: MemoryReceiver
) -> None:
    port = listen(Caller("CT1", "127.0.0.1"))
    answers = [answer_to(port, request(), STRANGER) for _ in range(12)]
    assert answers == [3] * 5 + [0] * 7
    eventually(lambda: (len(kept.refused), kept.unread) == (5, {STRANGER: 7}), 10, "the rows")
    assert answer_to(port, request(calling=b"CT1".ljust(16))) == 2


def test_three_hundred_silent_strangers_cost_no_thread_and_hardly_a_row(
    listen: Callable[..., int], kept: MemoryReceiver
) -> None:
    port = listen(Caller("CT1", "127.0.0.1"))
    with RawAssociation(port, body=request(calling=b"CT1".ljust(16))) as modality, ExitStack() as held:
        threads = threading.active_count()
        strangers = [held.enter_context(connected(port, f"127.0.1.{number % 100 + 1}")) for number in range(300)]
        eventually(lambda: sum(is_closed(each) for each in strangers) >= 250, 10, "their end")
        assert modality.store(command(CT, b"1.2.3"), b"data") == 0
        assert threading.active_count() <= threads
        modality.release()
    eventually(lambda: sum(kept.unread.values()) >= 250, 10, "their count")
    assert kept.refused == []
    assert kept.writes <= 5


def test_an_address_has_so_many_connections_and_no_more(listen: Callable[..., int], kept: MemoryReceiver) -> None:
    port = listen(connections_per_address=3)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(RawAssociation(port))
        assert answer_to(port, request()) == 0
        assert answer_to(port, request(), STRANGER) == 2
    eventually(lambda: kept.unread == {"127.0.0.1": 1}, 5, "the count")


def test_silent_connections_make_room_for_who_asks_from_the_same_address(listen: Callable[..., int]) -> None:
    port = listen(connections_per_address=3)
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(connected(port))
        for _ in range(3):
            held.enter_context(RawAssociation(port))
        assert answer_to(port, request()) == 0


# Whom we send to -------------------------------------------------------------------------------------------


def acceptance(data: bytes, contexts: dict[int, tuple[int, bytes]], odd: bytes = b"", titles: bytes = b"") -> bytes:
    """An A-ASSOCIATE-AC with head, by hand. `contexts`: result and sub-items."""
    items = b"".join(item(0x21, bytes((number, 0, result, 0)) + rest) for number, (result, rest) in contexts.items())
    fixed = struct.pack(">HH", 1, 0) + (titles or data[4:36]) + bytes(32)
    body = fixed + item(0x10, b"1.2.840.10008.3.1.1.1") + items + odd
    return struct.pack(">BxI", 2, len(body)) + body


def syntax(data: bytes) -> bytes:
    return item(0x40, data)


ACCEPTANCES: dict[str, tuple[dict[str, bytes], bytes, bytes]] = {
    "titles of NUL": ({}, b"PACS".ljust(16, b"\0") + b"IMAGING".ljust(16, b"\0"), user()),
    "titles of junk": ({}, bytes(range(0xC0, 0xE0)), user()),
    "a long version name": ({}, b"", user(item(0x55, b"A_VERSION_NAME_OF_26_CHARS"))),
    "a padded version name": ({}, b"", user(item(0x55, b"PACS_1\0\0"))),
    "unknown items": ({}, b"", item(0x60, b"x") + user(item(0x5F, b"private"))),
    "no user information": ({}, b"", b""),
    "a padded transfer syntax": ({"accepted": syntax(EXPLICIT_LITTLE + b"\0")}, b"", user()),
    "a refusal without transfer syntax": ({"refused": b""}, b"", user()),
    "a refusal with an empty transfer syntax": ({"refused": syntax(b"")}, b"", user()),
    "a refusal with a word for it": ({"refused": syntax(b"unknown")}, b"", user()),
}


@contextmanager
def pacs(answer: Callable[[bytes], bytes]) -> Iterator[Sender]:
    def play(connection: socket.socket) -> None:
        connection.sendall(answer(read_pdu(connection)[1]))
        read_pdu(connection)  # the release

    with playing(play) as address:
        sender = Sender(address, "IMAGING")
        yield sender
        sender.close()


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_an_odd_acceptance_is_one(name: str) -> None:
    fields, titles, information = ACCEPTANCES[name]

    def answer(data: bytes) -> bytes:
        contexts = {
            1: (4, fields.get("refused", syntax(IMPLICIT))),
            3: (0, fields.get("accepted", syntax(EXPLICIT_LITTLE))),
        }
        return acceptance(data, contexts, information, titles)

    with pacs(answer) as sender:
        sender.propose([(SR, EXPLICIT_LITTLE.decode())])
        assert sender.takes(SR, EXPLICIT_LITTLE.decode())
        assert sender._accepted == {(SR, EXPLICIT_LITTLE.decode()): 3}


@pytest.mark.parametrize("payload", [b"", syntax(b""), syntax(b"unknown"), syntax(b"1.2.840.10008.1.2.2")])
def test_an_accepted_context_with_a_transfer_syntax_that_was_not_proposed_counts_as_not_accepted(
    payload: bytes,
) -> None:
    def answer(data: bytes) -> bytes:
        return acceptance(data, {1: (0, syntax(IMPLICIT)), 3: (0, payload)}, user())

    with pacs(answer) as sender:
        sender.propose([(SR, EXPLICIT_LITTLE.decode())])
        assert sender._accepted == {(SR, IMPLICIT.decode()): 1}


def test_an_acceptance_that_comes_byte_by_byte_is_left_in_its_time() -> None:
    def drips(connection: socket.socket) -> None:
        whole = acceptance(read_pdu(connection)[1], {1: (0, syntax(IMPLICIT))}, user())
        pause = threading.Event()
        try:
            for at in range(len(whole)):
                connection.sendall(whole[at : at + 1])
                pause.wait(0.05)
        except ConnectionError:
            pass

    began = time.monotonic()
    with playing(drips) as address, pytest.raises(Unreachable, match="no answer to the request"):
        Sender(address, "IMAGING", Times(accept=0.4)).echo()
    assert time.monotonic() - began < 4


# Others ----------------------------------------------------------------------------------------------------


def test_pynetdicom_proposes_a_role_and_stores(listen: Callable[..., int], kept: MemoryReceiver) -> None:
    entity = AE("ct1")
    entity.add_requested_context(CT.decode(), [JPIP.decode(), EXPLICIT_LITTLE.decode()])
    entity.add_requested_context(ECHO)
    port = listen(Caller("CT1", "127.0.0.1"))
    association = entity.associate("127.0.0.1", port, ext_neg=[build_role(CT.decode(), scu_role=True, scp_role=True)])
    assert association.is_established
    (chosen, _) = sorted(association.accepted_contexts, key=lambda each: each.context_id)
    assert (chosen.transfer_syntax, chosen.as_scu, chosen.as_scp) == ([EXPLICIT_LITTLE.decode()], True, False)
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(dcmread(BytesIO(a_ct()))).Status == 0
    association.release()
    assert len(kept.stored) == 1


def test_dcmtk_takes_what_we_send(tmp_path: Path) -> None:
    port = free_port()
    command = [program("/usr/bin/storescp"), "-pdu", "4096", "-od", str(tmp_path), str(port)]
    with subprocess.Popen(command) as peer:
        sender = Sender(Address("PACS", "127.0.0.1", port), "IMAGING")

        def answer() -> object:
            try:
                return sender.send(a_ct())
            except Unreachable:  # it is not up yet
                return None

        assert eventually(answer, 10, "its start") == Accepted()
        sender.close()
        peer.terminate()
    assert len(list(tmp_path.iterdir())) == 1
