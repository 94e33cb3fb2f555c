"""What becomes of a delivery that was not accepted."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.retry import (
    FIRST_WAIT,
    MAX_WAIT,
    Accepted,
    Dead,
    Duplicate,
    Permanent,
    RetryIn,
    SopClassRefused,
    Transient,
    after_fault,
    judged,
    known_there,
)

ATTEMPTS = st.integers(0, 10_000)
JITTER = st.floats(0, 1)


def wait(attempt: int, jitter: float) -> timedelta:
    found = after_fault(attempt, Transient("away"), jitter)
    assert isinstance(found, RetryIn)
    return found.wait


@given(ATTEMPTS, JITTER)
def test_a_passing_fault_is_retried_for_ever_within_the_longest_wait(attempt: int, jitter: float) -> None:
    assert FIRST_WAIT / 2 <= wait(attempt, jitter) <= MAX_WAIT


@given(ATTEMPTS, JITTER)
def test_waits_never_shorten_while_the_peer_stays_away(attempt: int, jitter: float) -> None:
    assert wait(attempt, jitter) <= wait(attempt + 1, jitter)


@given(ATTEMPTS, JITTER)
def test_jitter_cuts_a_wait_by_at_most_a_half(attempt: int, jitter: float) -> None:
    assert wait(attempt, 0) / 2 <= wait(attempt, jitter) <= wait(attempt, 0)


@given(ATTEMPTS, JITTER)
def test_a_permanent_fault_is_dead_at_once_with_its_reason(attempt: int, jitter: float) -> None:
    assert after_fault(attempt, Permanent("SOP class not supported"), jitter) == Dead("SOP class not supported")


def test_an_hour_of_outage_costs_few_attempts() -> None:
    passed, attempt = timedelta(), 0
    while passed < timedelta(hours=1):
        passed += wait(attempt, 0.5)
        attempt += 1
    assert 15 <= attempt <= 25


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0107, 0x0116])
def test_success_and_warnings_are_accepted(status: int) -> None:
    assert isinstance(judged(status), Accepted)


def test_a_duplicate_is_success_only_where_this_object_may_have_come_before() -> None:
    duplicate = judged(0x0111)
    assert isinstance(duplicate, Duplicate)
    assert known_there(duplicate, was_sent=True) == Accepted(
        "status 0x0111: it had been received in an earlier attempt"
    )
    dead = known_there(duplicate, was_sent=False)
    assert isinstance(dead, Permanent)
    assert "0x0111, duplicate SOP Instance" in dead.why
    assert "was not sent there before" in dead.why


def test_after_any_other_refusal_the_object_may_be_there_unless_its_class_is_not_taken() -> None:
    data = {status: getattr(judged(status), "was_sent", None) for status in (0xA700, 0x0110, 0xA900, 0x0111, 0x0122)}
    assert data == {0xA700: True, 0x0110: True, 0xA900: True, 0x0111: False, 0x0122: False}
    assert isinstance(judged(0x0122), SopClassRefused)


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0124])
def test_what_the_peer_lacks_for_now_is_passing(status: int) -> None:
    assert isinstance(judged(status), Transient)


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0122, 0x0112, 0x0117])
def test_what_the_peer_will_not_take_tomorrow_either_is_permanent(status: int) -> None:
    assert isinstance(judged(status), Permanent)


@given(st.integers(0, 0xFFFF))
def test_every_status_is_judged_and_quoted(status: int) -> None:
    answer = judged(status)
    text = answer.note if isinstance(answer, Accepted) else answer.why
    assert status == 0 or f"0x{status:04X}" in text
