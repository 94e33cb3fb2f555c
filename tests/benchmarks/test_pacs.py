"""The small PACS, and the wire that measuring speaks."""

from collections.abc import Iterator

import pytest
from peers import free_port
from pydicom import Dataset
from pynetdicom.dsutils import encode

from benchmarks.pacs import Pacs
from benchmarks.wire import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION, Association, WireError
from imaging.domain.peers import Address
from imaging.encoding.part10 import StoreRequest

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
CONTEXTS = [(BASIC_TEXT_SR, EXPLICIT_LITTLE), (VERIFICATION, IMPLICIT_LITTLE)]


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    small = Pacs()
    yield small
    small.close()


def report(
    uid: str, series: str = "1.2.2", study: str = "1.2.1", predecessor: str = "", length: int = 0
) -> StoreRequest:
    """A report of which only what the PACS looks at is there; `length`: of a text in it."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = BASIC_TEXT_SR, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.TextValue = "a" * length
    if predecessor:
        before = Dataset()
        before.StudyInstanceUID = study
        data.PredecessorDocumentsSequence = [before]
    encoded = encode(data, is_implicit_vr=False, is_little_endian=True)
    assert encoded is not None
    return StoreRequest(BASIC_TEXT_SR, uid, EXPLICIT_LITTLE, encoded)


def send(pacs: Pacs, *requests: StoreRequest) -> None:
    with Association(Address.parse(pacs.address), CONTEXTS) as association:
        assert [association.store(each) for each in requests] == [0] * len(requests)


@pytest.mark.parametrize("length", [0, 3_000_000])
def test_a_report_of_any_length_is_taken_and_known_by_its_study(pacs: Pacs, length: int) -> None:
    send(pacs, report("1.2.3", length=length))
    assert pacs.wait(lambda: "1.2.1" in pacs.reports, 5)
    (arrival,) = pacs.reports["1.2.1"]
    assert (arrival.series_instance_uid, arrival.sop_instance_uid) == ("1.2.2", "1.2.3")


@pytest.mark.parametrize(
    ("second", "duplicates"),
    [
        (report("1.2.3"), 1),
        (report("1.2.4"), 1),
        (report("1.2.4", predecessor="1.2.3"), 0),
        (report("1.2.4", series="1.2.22"), 0),
        (report("1.2.4", study="1.2.11"), 0),
    ],
    ids=["again", "another answer", "its successor", "another model's", "another study's"],
)
def test_what_answers_twice_without_naming_what_it_replaces_is_a_duplicate(
    pacs: Pacs, second: StoreRequest, duplicates: int
) -> None:
    send(pacs, report("1.2.3"), second)
    assert pacs.wait(lambda: sum(map(len, pacs.reports.values())) == 2, 5)
    assert pacs.duplicates == duplicates


def test_it_answers_c_echo(pacs: Pacs) -> None:
    with Association(Address.parse(pacs.address), CONTEXTS) as association:
        assert association.echo() == 0


def test_where_nobody_listens_the_address_is_told() -> None:
    address = Address("NOBODY", "127.0.0.1", free_port())
    with pytest.raises(WireError, match=f"no connection to {address}"):
        Association(address, CONTEXTS)


def test_a_context_that_was_not_proposed_is_told_before_anything_is_sent(pacs: Pacs) -> None:
    with (
        Association(Address.parse(pacs.address), CONTEXTS[1:]) as association,
        pytest.raises(WireError, match="did not accept"),
    ):
        association.store(report("1.2.3"))
    assert pacs.reports == {}
