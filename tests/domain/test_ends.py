"""Who was cut off follows from how an association ended, and from how its sender ends them."""

import pytest

from imaging.domain.ends import HABIT, End, is_cut

A = End.ABORTED


@pytest.mark.parametrize("before", [[], [A] * HABIT, [End.CUT] * HABIT])
def test_a_release_and_a_close_after_the_last_response_are_no_cut(before: list[End]) -> None:
    assert not is_cut(End.RELEASED, before)
    assert not is_cut(End.CLOSED, before)


@pytest.mark.parametrize("before", [[], [A] * HABIT])
def test_an_end_while_a_message_was_under_way_is_a_cut_whatever_is_usual(before: list[End]) -> None:
    assert is_cut(End.CUT, before)


def test_an_abort_is_a_cut_unless_the_last_five_associations_all_ended_so() -> None:
    assert is_cut(A, [A] * (HABIT - 1))
    assert not is_cut(A, [A] * HABIT)
    assert not is_cut(A, [End.RELEASED] + [A] * HABIT)
    assert is_cut(A, [A, A, End.RELEASED, A, A])
