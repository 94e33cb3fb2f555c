"""Addresses that nobody named are heard a few times a minute."""

from imaging.domain.rate_limit import RateLimit


def test_five_of_an_address_are_heard_and_the_sixth_a_minute_after_the_first() -> None:
    allowance = RateLimit()
    assert [allowance.admits("10.0.0.9", float(now)) for now in range(0, 70, 5)] == [True] * 5 + [False] * 7 + [
        True
    ] * 2


def test_what_one_address_does_is_not_held_against_another() -> None:
    allowance = RateLimit()
    assert [allowance.admits("10.0.0.9", 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert allowance.admits("10.0.0.10", 0.0)


def test_of_endlessly_many_addresses_no_more_are_kept_in_mind_than_a_minute_brings() -> None:
    allowance = RateLimit()
    assert sum(allowance.admits(f"2001:db8::{number:x}", 0.0) for number in range(10_000)) == 256
    assert allowance.admits("2001:db9::1", 61.0)
