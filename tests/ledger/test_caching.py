"""What takes long to find takes no more than a tenth of the time, however often the ledger changes; nobody waits."""

from collections.abc import Callable

import pytest

from imaging.ledger.caching import ALWAYS_FRESH_S, MAX_TIME_FRACTION, CachedValue


class Computation:
    """Something that takes so many seconds to find, of a ledger that changes. What is dear is found in `work`."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s, self.now, self.revision, self.spent, self.is_away = takes_s, 0.0, 0, 0.0, False
        self.begun: list[Callable[[], None]] = []
        self.spared = CachedValue(self.compute, lambda: self.revision, lambda: self.now, self.begun.append)

    def compute(self) -> int:
        found = self.revision
        self.now += self.takes_s
        self.spent += self.takes_s
        if self.is_away:
            raise OSError("no database")
        return found

    def work(self) -> None:
        """The thread, if one was begun, comes to its end."""
        while self.begun:
            self.begun.pop()()


def test_what_is_cheap_is_always_of_the_present_revision() -> None:
    finding = Computation(ALWAYS_FRESH_S / 2)
    for finding.revision in range(50):
        assert finding.spared.value() == finding.revision
    assert not finding.begun


def test_what_is_dear_takes_its_share_and_is_never_older_than_that_makes_it() -> None:
    finding = Computation(0.5)
    began = finding.now
    for finding.revision in range(1000):
        finding.now += 0.1
        assert finding.spared.value() >= finding.revision - round(0.5 / MAX_TIME_FRACTION / 0.1) - 1
        finding.work()
    assert finding.spent <= MAX_TIME_FRACTION * (finding.now - began) + 0.5


def test_nobody_waits_while_it_is_found_anew_and_it_is_begun_once() -> None:
    finding = Computation(0.5)
    assert finding.spared.value() == 0
    finding.revision, finding.now = 1, 100.0
    spent = finding.spent
    assert [finding.spared.value() for _ in range(3)] == [0, 0, 0]
    assert (len(finding.begun), finding.spent) == (1, spent)
    finding.work()
    assert finding.spared.value() == 1


def test_its_mark_changes_once_it_was_found_anew_and_asking_for_it_is_enough() -> None:
    finding = Computation(0.5)
    mark = finding.spared.mark()
    finding.revision = 1
    assert finding.spared.mark() == mark
    finding.now += 0.5 / MAX_TIME_FRACTION
    assert finding.spared.mark() == mark
    finding.work()
    assert finding.spared.mark() != mark
    assert finding.spared.value() == 1


def test_without_a_change_nothing_is_found_again() -> None:
    finding = Computation(0.5)
    finding.spared.value()
    finding.now += 1000
    finding.spared.value()
    assert not finding.begun


def test_where_finding_it_fails_the_last_value_stays_and_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    finding = Computation(0.5)
    finding.spared.value()
    finding.revision, finding.now, finding.is_away = 1, 100.0, True
    assert finding.spared.value() == 0
    finding.work()
    assert "not_counted_anew error=OSError" in caplog.text
    finding.is_away = False
    assert finding.spared.value() == 0
    finding.work()
    assert finding.spared.value() == 1
