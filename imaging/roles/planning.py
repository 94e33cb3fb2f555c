"""Which models are asked about a study: those that fit it and have not answered for its images as they are."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from imaging.domain.card import Card
from imaging.domain.fitting import fits, in_scope
from imaging.domain.orientation import with_trusted_orientation
from imaging.ledger.settling import Candidate, NewJob


@dataclass(frozen=True)
class PlannedJob:
    """A model that fits. `covers`: the row numbers of the images that its answer is about."""

    job: NewJob
    covers: frozenset[int]


def planned_jobs(
    candidate: Candidate, cards: Sequence[Card], untrusted_senders: Collection[str]
) -> Iterator[PlannedJob]:
    """One for each card that fits, asked before or not.

    `untrusted_senders`: AE titles of senders whose Patient Orientation counts for nothing.
    """
    headers = [with_trusted_orientation(header, untrusted_senders) for header in candidate.instances.values()]
    numbers = {header.sop_instance_uid: number for number, header in candidate.instances.items()}
    images = frozenset(number for number, header in candidate.instances.items() if header.has_pixels)
    for card in cards:
        if fits(card, headers):
            speaks_of = frozenset(numbers[uid] for uid in in_scope(card, headers))
            doubtful = candidate.doubtful & speaks_of
            yield PlannedJob(NewJob(card.id, card.version, images, doubtful, mode=card.mode), speaks_of)


def new_jobs(
    candidate: Candidate, cards: Sequence[Card], untrusted_senders: Collection[str]
) -> tuple[list[NewJob], str]:
    """The jobs of models whose input is new, and why there is none at all that counts for the study."""
    if candidate.doubt:
        return [], candidate.doubt
    fitting = list(planned_jobs(candidate, cards, untrusted_senders))
    jobs = [each.job for each in fitting if not _is_answered(candidate, each, each.job.version)]
    return jobs, "" if any(each.job.is_shown for each in fitting) else "no-model"


def unanswered_jobs(candidate: Candidate, cards: Sequence[Card], untrusted_senders: Collection[str]) -> list[NewJob]:
    """The jobs of models of which no version was asked about the images as they are: an upgrade alone asks nothing."""
    if candidate.doubt:
        return []
    versions: dict[str, list[str]] = {}
    for model, version in candidate.inputs:
        versions.setdefault(model, []).append(version)
    return [
        each.job
        for each in planned_jobs(candidate, cards, untrusted_senders)
        if not any(_is_answered(candidate, each, version) for version in versions.get(each.job.model, ()))
    ]


def _is_answered(candidate: Candidate, planned: PlannedJob, version: str) -> bool:
    """Whether this version's last input is what it would be now.

    What the model never takes makes no new answer; its count is that of when it answered. What it answered in shadow
    is no answer once it is not.
    """
    which = (planned.job.model, version)
    if planned.job.is_shown and which in candidate.shadowed:
        return False
    before = candidate.inputs.get(which)
    return (
        before is not None
        and planned.covers <= before <= candidate.instances.keys()
        and planned.job.doubtful == candidate.doubts.get(which, frozenset())
    )
