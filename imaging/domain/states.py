"""The transition tables: what a study, a job and a delivery can become, and by what.

Every change of these three is here. The ledger applies a transition in one guarded UPDATE; check constraints,
the diagrams in docs/states.md and tests come from here. An event that a table lacks is a fault of ours.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class StudyState(StrEnum):
    """Where a study is; docs/states.md draws the transitions."""

    RECEIVING = "receiving"
    SETTLED = "settled"


class StudyEvent(StrEnum):
    """What changes the state of a study."""

    COMPLETE = "complete"
    LATE_INSTANCE = "late instance"
    CONFLICT_SETTLED = "conflict settled"
    COPY_JUDGED = "copy judged"


class JobState(StrEnum):
    """Where a job is: one model's answer for one study."""

    QUEUED = "queued"
    LEASED = "leased"
    ANALYSED = "analysed"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


class JobEvent(StrEnum):
    """What changes the state of a job."""

    LEASED = "leased"
    FINDINGS = "findings"
    REASON = "reason"
    FAULT = "fault"
    LEASE_ENDED = "lease ended"
    SUPERSEDED = "superseded"
    REPLAYED = "replayed"


class DeliveryState(StrEnum):
    """Where a delivery is: one object for one destination."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryEvent(StrEnum):
    """What changes the state of a delivery."""

    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    FAILED_FOR_NOW = "failed for now"
    REFUSED = "refused"
    FELL_BACK = "fell back to another SOP class"
    LEASE_ENDED = "lease ended"
    DESTINATION_GONE = "destination gone"
    REPLAYED = "replayed"


class ApartState(StrEnum):
    """What becomes of an object that is kept apart; no table, since a person may take decisions back.

    UNJUDGED: a worker is still to compare it with what has its UID. OPEN: a person is to decide. NOTED: the same image,
    or the content that a newer one took the place of. SHARED is no object of its own: its UID stands for one of another
    study as well. USED, DROPPED: decided so.
    """

    UNJUDGED = "unjudged"
    OPEN = "open"
    NOTED = "noted"
    SHARED = "shared"
    USED = "used"
    DROPPED = "dropped"


STUDY: Final[Mapping[tuple[StudyState, StudyEvent], StudyState]] = {
    (StudyState.RECEIVING, StudyEvent.COMPLETE): StudyState.SETTLED,
    (StudyState.SETTLED, StudyEvent.LATE_INSTANCE): StudyState.RECEIVING,
    (StudyState.RECEIVING, StudyEvent.CONFLICT_SETTLED): StudyState.RECEIVING,
    (StudyState.SETTLED, StudyEvent.CONFLICT_SETTLED): StudyState.RECEIVING,
    (StudyState.RECEIVING, StudyEvent.COPY_JUDGED): StudyState.RECEIVING,
    (StudyState.SETTLED, StudyEvent.COPY_JUDGED): StudyState.RECEIVING,
}

JOB: Final[Mapping[tuple[JobState, JobEvent], JobState]] = {
    (JobState.QUEUED, JobEvent.LEASED): JobState.LEASED,
    (JobState.QUEUED, JobEvent.SUPERSEDED): JobState.NOT_ANALYSED,
    (JobState.LEASED, JobEvent.FINDINGS): JobState.ANALYSED,
    (JobState.LEASED, JobEvent.REASON): JobState.NOT_ANALYSED,
    (JobState.LEASED, JobEvent.FAULT): JobState.FAILED,
    (JobState.LEASED, JobEvent.LEASE_ENDED): JobState.QUEUED,
    (JobState.NOT_ANALYSED, JobEvent.REPLAYED): JobState.QUEUED,
    (JobState.FAILED, JobEvent.REPLAYED): JobState.QUEUED,
}

DELIVERY: Final[Mapping[tuple[DeliveryState, DeliveryEvent], DeliveryState]] = {
    (DeliveryState.WAITING, DeliveryEvent.CLAIMED): DeliveryState.SENDING,
    (DeliveryState.WAITING, DeliveryEvent.DESTINATION_GONE): DeliveryState.DEAD,
    (DeliveryState.SENDING, DeliveryEvent.ACCEPTED): DeliveryState.DELIVERED,
    (DeliveryState.SENDING, DeliveryEvent.FAILED_FOR_NOW): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.REFUSED): DeliveryState.DEAD,
    (DeliveryState.SENDING, DeliveryEvent.FELL_BACK): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.LEASE_ENDED): DeliveryState.WAITING,
    (DeliveryState.DEAD, DeliveryEvent.REPLAYED): DeliveryState.WAITING,
}

ENDED: Final = frozenset({JobState.ANALYSED, JobState.NOT_ANALYSED, JobState.FAILED})
"""Job states that are an answer."""
UNDONE: Final = frozenset(JobState) - ENDED
"""Job states of which an answer is still to come."""
UNCERTAIN: Final = frozenset({ApartState.UNJUDGED, ApartState.OPEN})
"""States of what is kept apart that still may change what its study is answered with."""
UNSENT: Final = frozenset({DeliveryState.WAITING, DeliveryState.SENDING})
"""Delivery states in which an object is still to be delivered."""
