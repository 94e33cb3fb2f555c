"""Triage never lowers a priority and never hides a study (law 6)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.findings import TriageClass
from imaging.domain.priority import (
    ORDER,
    REST_BAND,
    STAT_BAND,
    TARGETS,
    URGENCY,
    due_after_flag,
    first_due,
    most_urgent,
)

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
FLAGS = st.sampled_from([*TriageClass, None])


def place(band: int, due: datetime, received: datetime) -> tuple[object, ...]:
    """Where a study stands: the smaller first."""
    study = {"band": band, "due_at": due, "received_at": received}
    return tuple(study[name] for name in ORDER)


@given(MOMENTS, st.lists(FLAGS), st.lists(FLAGS))
def test_more_findings_never_lower_a_rank(
    received: datetime, before: list[TriageClass], more: list[TriageClass]
) -> None:
    def rank(flags: list[TriageClass]) -> tuple[object, ...]:
        due = first_due(received)
        for flag in flags:
            due = due_after_flag(due, received, flag)
        return place(REST_BAND, due, received)

    assert rank([*before, *more]) <= rank(before)
    assert rank([*more, *before]) == rank([*before, *more])


@given(MOMENTS, MOMENTS, st.sampled_from(TriageClass), st.sampled_from(TriageClass))
def test_a_worse_finding_never_ranks_after_a_lesser(
    received: datetime, due: datetime, one: TriageClass, other: TriageClass
) -> None:
    worse, lesser = sorted((one, other), key=URGENCY.index)
    assert due_after_flag(due, received, worse) <= due_after_flag(due, received, lesser) <= due


@given(MOMENTS, MOMENTS, MOMENTS)
def test_an_ordered_stat_stays_above_everything(received: datetime, due: datetime, other: datetime) -> None:
    assert place(STAT_BAND, due, received) < place(REST_BAND, other, other)


@given(st.lists(FLAGS))
def test_the_most_urgent_flag_is_one_of_those_raised_in_any_order(flags: list[TriageClass | None]) -> None:
    found = most_urgent(*flags)
    assert found == most_urgent(*reversed(flags))
    raised = [flag for flag in flags if flag in (TriageClass.STAT, TriageClass.URGENT)]
    assert (found is None) == (not raised)
    assert all(found is not None and URGENCY.index(found) <= URGENCY.index(each) for each in raised)


def test_targets_grow_as_urgency_falls() -> None:
    assert [TARGETS[each] for each in URGENCY] == sorted(TARGETS[each] for each in URGENCY)
    assert TARGETS[TriageClass.STAT] == timedelta(minutes=30)
