"""Which study comes first: one order, of the worklist and of the workers' queue (docs/worklist.md, "Order").

An ordered STAT stays above everything; within a band the earlier due time is first. A flag may only shorten the due
time, and no result ever lengthens it, so nothing is lowered or hidden and nothing waits for ever.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from imaging.domain.findings import TriageClass

TARGETS: Final[Mapping[TriageClass, timedelta]] = {
    TriageClass.STAT: timedelta(minutes=30),
    TriageClass.URGENT: timedelta(minutes=60),
    TriageClass.ROUTINE: timedelta(minutes=240),
    TriageClass.NONE: timedelta(minutes=240),
}
"""Time from receipt until a study should have been opened, by what asks for it."""

URGENCY: Final = tuple(TriageClass)
"""The classes, the most urgent first."""

STAT_BAND: Final = 0
REST_BAND: Final = 1
SHADOW_BAND: Final = 2
"""Of jobs alone: nobody waits for what a model in shadow says, so they stand behind all others in the queue."""

ORDER: Final = ("band", "due_at", "received_at")
"""The columns, of a study and of its jobs, by which the worklist and the queue are ordered: the smaller first. What is
equal in all of them stays in an order of its own: studies by their UID, jobs by their number."""


def first_due(received_at: datetime) -> datetime:
    """When a study of which only its receipt is known should be opened."""
    return received_at + TARGETS[TriageClass.ROUTINE]


def due_after_flag(due_at: datetime, received_at: datetime, flag: TriageClass | None) -> datetime:
    """The due time once a model has said `flag`; never later than it was."""
    return due_at if flag is None or not flag.is_flag else min(due_at, received_at + TARGETS[flag])


def most_urgent(*flags: TriageClass | None) -> TriageClass | None:
    """The most urgent of the flags, or None where there is none."""
    raised = [flag for flag in flags if flag is not None and flag.is_flag]
    return min(raised, key=URGENCY.index, default=None)
