"""What the worklist shows: a row per study, its one AI state, and the health line above the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from imaging.domain.findings import ModelResult, State, TriageClass
from imaging.domain.states import JobState


class PageState(StrEnum):
    """The seven states of a study on the page, the most pressing first."""

    FLAGGED = "flagged"
    FAILED = "failed"
    NOT_ANALYSED = "not_analysed"
    ANALYSING = "analysing"
    WAITING = "waiting"
    RECEIVING = "receiving"
    CLEAR = "clear"


def page_state(
    is_receiving: bool, open_jobs: Sequence[JobState], results: Sequence[ModelResult], conflicts: int
) -> PageState:
    """The state that a row shows: a flag before all, then what is still under way, then the most pressing answer.

    `open_jobs`: the jobs that are not ended; `results`: the latest answer of each model.
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
    if State.NOT_ANALYSED in states or conflicts or not results:
        return PageState.NOT_ANALYSED
    return PageState.CLEAR


@dataclass(frozen=True)
class Row:
    """A study on the worklist. `number` is our own row number, the only name of a study that logs may hold.

    `reason` is the text of the first `Reason` for which the study or one model's answer is not findings, whatever the
    state; None where there is none. `band` 0 is an ordered STAT.
    `is_changed`: images came after the answer that is shown.
    """

    number: int
    study_uid: str
    patient_name: str
    patient_id: str
    issuer: str
    sex: str
    age: str
    modality: str
    body_part: str
    description: str
    accession_number: str
    institution: str
    study_date: str
    received_at: datetime
    due_at: datetime
    band: int
    state: PageState
    reason: str | None
    flag: TriageClass | None
    results: tuple[ModelResult, ...]
    instances: int
    conflicts: int
    is_changed: bool


@dataclass(frozen=True)
class RoleHealth:
    """A role as the page's head shows it: "up", "down", "crashing" or "stopped"; with its last error, or none."""

    name: str
    state: str
    error: str = ""


class Worklist(Protocol):
    """What the page needs of the ledger."""

    def rows(self, limit: int) -> list[Row]:
        """The first `limit` studies by `imaging.domain.priority.ORDER`, then by their UID."""

    def numbered(self, number: int) -> Row | None:
        """The row with our own number, or None where there is none."""

    def count(self) -> int:
        """How many studies there are."""

    def health(self) -> list[RoleHealth]:
        """The roles."""
