"""Who got no association has a row, and what of its address was not even read is counted there."""

from dataclasses import replace

import pytest
from ledger_cases import TurnedClock

from imaging.domain.peers import Refused
from imaging.ledger import associations
from imaging.ledger.refusals import UNREAD, RefusalBook
from imaging.ledger.store import Ledger

NINE = Refused("", "", "10.0.0.9", "closed: too many")
STRANGER = Refused("STRANGER", "IMAGING", "10.0.0.9", "rejected: Calling AE title not recognised")


@pytest.fixture
def book(ledger: Ledger) -> RefusalBook:
    return RefusalBook(ledger)


def test_who_is_refused_is_a_row_that_has_ended(ledger: Ledger, book: RefusalBook) -> None:
    book.write([STRANGER], {})
    (row,) = associations.listed(ledger, 9)
    assert (row["calling_ae_title"], row["address"], row["stored"]) == ("STRANGER", "10.0.0.9", 0)
    assert (row["ended_how"], row["ended_at"]) == (STRANGER.how, row["started_at"])
    assert row["refusals"] == {}


def test_further_connections_are_counted_in_the_newest_row_of_their_address(ledger: Ledger, book: RefusalBook) -> None:
    book.write([STRANGER], {})
    book.write([STRANGER], {NINE: 290})
    book.write([], {NINE: 5})
    newest, older = associations.listed(ledger, 9)
    assert (newest["refusals"], older["refusals"]) == ({UNREAD: 295}, {})


def test_who_never_said_a_word_has_one_row_a_minute(ledger: Ledger, book: RefusalBook, clock: TurnedClock) -> None:
    book.write([], {NINE: 3, replace(NINE, address="10.0.0.8"): 1})
    book.write([], {NINE: 4})
    clock.advance(61.0)
    book.write([], {NINE: 1})
    rows = [
        (each["address"], each["calling_ae_title"], each["refusals"][UNREAD]) for each in associations.listed(ledger, 9)
    ]
    assert rows == [("10.0.0.9", "", 1), ("10.0.0.8", "", 1), ("10.0.0.9", "", 7)]
