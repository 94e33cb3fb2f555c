"""The transition tables hold what architecture.md draws."""

from enum import StrEnum

import pytest

from imaging.domain.states import DELIVERY, ENDED, JOB, STUDY, DeliveryState, JobEvent, JobState


@pytest.mark.parametrize("table", [STUDY, JOB, DELIVERY])
def test_every_state_is_reached_and_every_event_is_of_use(table: dict[tuple[StrEnum, StrEnum], StrEnum]) -> None:
    first = next(iter(table))[0]
    reached = {first}
    while more := {after for (before, _), after in table.items() if before in reached} - reached:
        reached |= more
    assert reached == set(type(first))
    events = {event for _, event in table}
    assert events == set(type(next(iter(events))))


def test_an_answer_is_left_only_by_replay() -> None:
    assert {event for (before, event) in JOB if before in ENDED} == {JobEvent.REPLAYED}
    assert (JobState.ANALYSED, JobEvent.REPLAYED) not in JOB


def test_what_was_delivered_stays_so() -> None:
    assert not [before for (before, _) in DELIVERY if before is DeliveryState.DELIVERED]


def test_no_job_ends_that_nobody_holds_but_by_being_superseded() -> None:
    ends = {
        (before, event) for (before, event), after in JOB.items() if after in ENDED and before is not JobState.LEASED
    }
    assert ends == {(JobState.QUEUED, JobEvent.SUPERSEDED)}
