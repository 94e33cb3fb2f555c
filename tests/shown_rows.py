"""What the worklist shows of a study, by its rules in plain Python: the ledger's SQL is held to this."""

from collections.abc import Sequence

from imaging.domain.findings import Answer, State
from imaging.domain.states import JobState
from imaging.domain.worklist import PageState, Row, Word


def page_state(
    is_receiving: bool,
    open_jobs: Sequence[JobState],
    results: Sequence[Answer],
    conflicts: int,
    is_stopped: bool = False,
) -> PageState:
    """The state that a row shows: a flag before all, then what is still under way, then the most pressing answer.

    `open_jobs`: the jobs that are not ended; `results`: the latest answer of each model. `conflicts`: how many are
    open; `is_stopped`: whether one of them is another patient's object.
    """
    if any(result.flag for result in results):
        return PageState.FLAGGED
    if is_receiving:
        return PageState.RECEIVING
    if JobState.LEASED in open_jobs:
        return PageState.ANALYSING
    if open_jobs:
        return PageState.WAITING
    states = {result.state for result in results}
    if State.FAILED in states:
        return PageState.FAILED
    if State.NOT_ANALYSED in states or is_stopped or not results:
        return PageState.NOT_ANALYSED
    if conflicts or any(result.is_in_part for result in results):
        return PageState.IN_PART
    return PageState.CLEAR


def is_in(word: Word, row: Row) -> bool:
    """Whether the row has the word."""
    return (
        word.text in row.search_text
        or row.state in word.states
        or row.body_part.upper() in word.regions
        or any(each.present and word.names(each.code) for result in row.results for each in result.findings)
    )
