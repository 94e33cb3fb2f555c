"""The one state that a row shows."""

from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.findings import Answer, State, TriageClass
from imaging.domain.states import ENDED, JobState
from imaging.domain.worklist import PageState, page_state

STATES = st.sampled_from(State)
RESULTS = st.lists(
    st.builds(
        Answer,
        STATES,
        triage=st.sampled_from([None, TriageClass.URGENT, TriageClass.STAT]),
    ),
    max_size=4,
)
OPEN_JOBS = st.lists(st.sampled_from(sorted(set(JobState) - ENDED)), max_size=3)
RANK = list(PageState)


@given(st.booleans(), OPEN_JOBS, RESULTS, st.integers(0, 3))
def test_a_flag_comes_before_all(receiving: bool, jobs: list[JobState], results: list[Answer], conflicts: int) -> None:
    shown = page_state(receiving, jobs, results, conflicts)
    assert (shown is PageState.FLAGGED) == any(each.flag for each in results)


@given(OPEN_JOBS, RESULTS, st.integers(0, 3))
def test_what_is_under_way_comes_before_what_ended(jobs: list[JobState], results: list[Answer], conflicts: int) -> None:
    results = [each for each in results if not each.flag]
    assert page_state(True, jobs, results, conflicts) is PageState.RECEIVING
    if jobs:
        expected = PageState.ANALYSING if JobState.LEASED in jobs else PageState.WAITING
        assert page_state(False, jobs, results, conflicts) is expected


@given(RESULTS, st.integers(0, 3))
def test_the_most_pressing_answer_is_shown(results: list[Answer], conflicts: int) -> None:
    plain = [each for each in results if not each.flag]
    shown = page_state(False, [], plain, conflicts)
    states = {each.state for each in plain}
    assert (shown is PageState.FAILED) == (State.FAILED in states)
    assert (shown is PageState.CLEAR) == (states == {State.ANALYSED} and not conflicts)


def test_a_second_content_leaves_a_row_in_part_and_a_second_patient_stops_it() -> None:
    negative = [Answer(State.ANALYSED)]
    assert page_state(False, [], negative, 1) is PageState.IN_PART
    assert page_state(False, [], negative, 1, is_stopped=True) is PageState.NOT_ANALYSED


@given(RESULTS, RESULTS, st.integers(0, 3))
def test_one_more_answer_never_makes_a_row_less_pressing(
    results: list[Answer], more: list[Answer], conflicts: int
) -> None:
    before, after = page_state(False, [], results, conflicts), page_state(False, [], [*results, *more], conflicts)
    assert RANK.index(after) <= RANK.index(before) or not results


def test_a_study_without_any_answer_is_not_analysed_rather_than_clear() -> None:
    assert page_state(False, [], [], 0) is PageState.NOT_ANALYSED
