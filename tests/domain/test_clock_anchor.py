"""Which time it is when the wall clock is set: the decision, without any clock."""

from datetime import UTC, datetime, timedelta

import pytest

from imaging.domain.clock_anchor import Anchor, ClockFacts, anchored, steady

BUILT = datetime(2026, 11, 1, tzinfo=UTC)
START = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def later(anchor: Anchor, seconds: float, wall: datetime) -> datetime:
    return steady(anchor, wall, anchor.tick + seconds, anchor.boot, BUILT)


@pytest.mark.parametrize("step", [-HOUR, HOUR, timedelta(days=-3650), timedelta(days=3650), timedelta()])
def test_a_clock_that_is_set_while_serving_moves_no_time(step: timedelta) -> None:
    anchor = anchored(START, 1000.0, "boot", None, BUILT)
    assert later(anchor, 60, START + timedelta(seconds=60) + step) == START + timedelta(seconds=60)


def test_at_a_start_the_wall_clock_is_believed_but_never_before_what_was_received() -> None:
    assert anchored(START, 5.0, "boot", START - HOUR, BUILT) == Anchor(START, 5.0, "boot")
    assert anchored(START - HOUR, 5.0, "boot", START, BUILT) == Anchor(START, 5.0, "boot", is_doubtful=True)


def test_a_clock_that_could_not_be_right_is_believed_once_it_is_set() -> None:
    anchor = anchored(datetime(1970, 1, 1, tzinfo=UTC), 5.0, "boot", START, BUILT)
    assert anchor.is_doubtful
    assert later(anchor, 60, datetime(1970, 1, 1, 0, 1, tzinfo=UTC)) == START + timedelta(seconds=60)
    assert later(anchor, 120, START + HOUR) == START + HOUR
    fresh = anchored(datetime(1970, 1, 1, tzinfo=UTC), 5.0, "boot", None, BUILT)
    assert later(fresh, 60, START) == START


def test_ticks_of_another_boot_count_nothing() -> None:
    anchor = anchored(START, 1000.0, "boot", None, BUILT)
    assert steady(anchor, START + HOUR, 5.0, "another boot", BUILT) == START + HOUR
    assert steady(None, START, 5.0, "boot", BUILT) == START


def test_an_anchor_is_read_as_it_was_written() -> None:
    anchor = Anchor(START, 12.5, "boot", is_doubtful=True)
    assert Anchor.from_json(anchor.to_json()) == anchor


def test_slewing_is_no_step_and_setting_is() -> None:
    assert not ClockFacts(START + timedelta(seconds=59), START, START, BUILT).step
    assert ClockFacts(START + HOUR, START, START, BUILT).step == HOUR
    behind = ClockFacts(START - HOUR, START, START, BUILT)
    assert (behind.step, behind.is_behind, behind.is_impossible) == (-HOUR, True, False)
    assert ClockFacts(BUILT - HOUR, BUILT - HOUR, None, BUILT).is_impossible
