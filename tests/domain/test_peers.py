"""Who may call: by title and address, as sites and devices write them."""

import pytest

from imaging.domain.peers import Address, Caller, is_named, may_call, plain_address

CALLERS = [Caller("CT1", "10.0.0.7"), Caller("*", "10.0.0.8"), Caller("Pacs", "10.0.0.5")]


@pytest.mark.parametrize(
    ("title", "address", "may"),
    [
        ("CT1", "10.0.0.7", True),
        ("ct1", "10.0.0.7", True),
        (" CT1 ", "10.0.0.7", True),
        ("PACS", "10.0.0.5", True),
        ("CT2", "10.0.0.7", False),
        ("", "10.0.0.7", False),
        ("CT1", "10.0.0.9", False),
        ("", "10.0.0.8", True),
        ("whatever", "10.0.0.8", True),
        ("*", "10.0.0.7", False),
    ],
)
def test_a_caller_is_known_by_its_address_and_its_title_without_case_and_padding(
    title: str, address: str, may: bool
) -> None:
    assert may_call(title, address, CALLERS) is may


@pytest.mark.parametrize(
    ("address", "may"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.7", False)]
)
def test_where_nobody_is_named_all_of_loopback_may_call(address: str, may: bool) -> None:
    assert (may_call("", address, []), is_named(address, [])) == (may, may)


def test_once_somebody_is_named_loopback_is_an_address_like_others() -> None:
    assert not is_named("127.0.0.1", CALLERS)


def test_an_address_is_the_same_through_a_socket_of_either_family() -> None:
    assert [plain_address(each) for each in ("::ffff:10.0.0.7", "10.0.0.7", "fe80::1%eth0")] == [
        "10.0.0.7",
        "10.0.0.7",
        "fe80::1",
    ]


@pytest.mark.parametrize("text", ["PÄCS@10.0.0.5:104", " PACS@10.0.0.5:104", "A\\B@10.0.0.5:104"])
def test_a_title_that_no_request_can_say_is_refused_where_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="is not an AE title"):
        Address.parse(text)
