"""The wall clock is set while studies come in: their order and their due times are those of their receipt."""

from datetime import UTC, datetime, timedelta

import pytest
from ledger_cases import NEGATIVE, lease_one, queued, rows

from imaging.domain.worklist import ListingQuery
from imaging.ledger import jobs, retention, tables
from imaging.ledger.clock import SystemClock
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist

NOW = datetime(2036, 1, 1, 12, tzinfo=UTC)  # no build is of that day
STEPS = [timedelta(hours=-3), timedelta(hours=3), timedelta(days=-800), timedelta(days=800)]


class SetClock(SystemClock):
    """This machine's clocks, turned by hand; the wall clock can be set as well."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.anchor)
        self._wall, self._ticks = NOW, 100.0

    def wall(self) -> datetime:
        return self._wall

    def tick(self) -> float:
        return self._ticks

    def advance(self, seconds: float, step: timedelta = timedelta()) -> None:
        self._wall += timedelta(seconds=seconds) + step
        self._ticks += seconds


@pytest.fixture
def set_clock(ledger: Ledger) -> SetClock:
    found = ledger.clock = SetClock(ledger)
    ledger.begin_boot()
    return found


def test_what_came_before_the_clock_was_set_is_as_old_as_the_first_purge_after_it_was(
    ledger: Ledger, set_clock: SetClock
) -> None:
    set_clock.advance(0, datetime(1970, 1, 1, 1, tzinfo=UTC) - NOW)
    ledger.begin_boot()
    queued(ledger, "1.2.1")
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    set_clock.advance(60, NOW - set_clock.wall())
    ledger.begin_boot()
    assert set_clock.now() > NOW
    month = timedelta(days=30)
    assert retention.removable(ledger, set_clock.now() - month) == []
    assert not retention.remove(ledger, 1, set_clock.now() - month)
    retention.date_anew(ledger)
    assert retention.removable(ledger, set_clock.now() - month) == []
    set_clock.advance(31 * 24 * 3600)
    assert retention.removable(ledger, set_clock.now() - month) == [1]


@pytest.mark.parametrize("step", STEPS)
def test_the_list_and_the_queue_keep_the_order_of_receipt(ledger: Ledger, set_clock: SetClock, step: timedelta) -> None:
    queued(ledger, "1.2.1")
    set_clock.advance(60, step)
    queued(ledger, "1.2.2")
    set_clock.advance(60, -2 * step)
    queued(ledger, "1.2.3")
    listed = LedgerWorklist(ledger).listing(ListingQuery()).rows
    assert [each.study_uid for each in listed] == ["1.2.1", "1.2.2", "1.2.3"]
    assert [each.due_at - set_clock.now() for each in listed] == [timedelta(minutes=left) for left in (238, 239, 240)]
    assert [lease_one(ledger).study_id for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("step", STEPS)
def test_a_start_after_the_clock_was_set_back_goes_on_behind_what_was_received(
    ledger: Ledger, set_clock: SetClock, step: timedelta
) -> None:
    queued(ledger, "1.2.1")
    set_clock.advance(60, step)
    ledger.begin_boot()
    set_clock.advance(60)
    queued(ledger, "1.2.2")
    first, second = (each["received_at"] for each in rows(ledger, tables.study))
    assert first < second
    assert second == max(first, set_clock.wall() - timedelta(seconds=60)) + timedelta(seconds=60)


def test_each_process_of_a_home_counts_from_the_same_start(ledger: Ledger, set_clock: SetClock) -> None:
    other = SetClock(ledger)
    other.advance(7, timedelta(hours=5))
    assert other.now() == NOW + timedelta(seconds=7)


def test_a_study_is_due_by_the_time_of_its_home(ledger: Ledger, set_clock: SetClock) -> None:
    set_clock.advance(0, timedelta(days=40))
    queued(ledger, "1.2.9")
    (study,) = rows(ledger, tables.study)
    assert (study["received_at"], study["due_at"]) == (NOW, NOW + timedelta(hours=4))
