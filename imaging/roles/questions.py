"""Which models are asked about a study: those that fit it and have not answered for its images as they are."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from imaging.domain.card import Card
from imaging.domain.fitting import fits, in_scope
from imaging.domain.turning import believed
from imaging.ledger.settling import Candidate, NewJob


@dataclass(frozen=True)
class Question:
    """A model that fits. `speaks_of`: the row numbers of the images that its answer is about."""

    job: NewJob
    speaks_of: frozenset[int]


def questions(candidate: Candidate, cards: Sequence[Card], disbelieved: Collection[str]) -> Iterator[Question]:
    """One for each card that fits, asked before or not.

    `disbelieved`: AE titles of senders whose Patient Orientation counts for nothing.
    """
    headers = [believed(header, disbelieved) for header in candidate.instances.values()]
    numbers = {header.sop_instance_uid: number for number, header in candidate.instances.items()}
    images = frozenset(number for number, header in candidate.instances.items() if header.has_pixels)
    for card in cards:
        if fits(card, headers):
            speaks_of = frozenset(numbers[uid] for uid in in_scope(card, headers))
            yield Question(NewJob(card.id, card.version, images, candidate.doubtful & speaks_of), speaks_of)


def new_jobs(candidate: Candidate, cards: Sequence[Card], disbelieved: Collection[str]) -> tuple[list[NewJob], str]:
    """The jobs of models whose input is new, and why there is none at all."""
    if candidate.doubt:
        return [], candidate.doubt
    fitting = list(questions(candidate, cards, disbelieved))
    jobs = [each.job for each in fitting if not _is_asked(candidate, each, each.job.version)]
    return jobs, "" if fitting else "no-model"


def unasked_jobs(candidate: Candidate, cards: Sequence[Card], disbelieved: Collection[str]) -> list[NewJob]:
    """The jobs of models of which no version was asked about the images as they are: an upgrade alone asks nothing."""
    if candidate.doubt:
        return []
    versions: dict[str, list[str]] = {}
    for model, version in candidate.inputs:
        versions.setdefault(model, []).append(version)
    return [
        each.job
        for each in questions(candidate, cards, disbelieved)
        if not any(_is_asked(candidate, each, version) for version in versions.get(each.job.model, ()))
    ]


def _is_asked(candidate: Candidate, question: Question, version: str) -> bool:
    """Whether this version's last input is what it would be now.

    What the model never takes makes no new answer; its count is that of when it answered.
    """
    which = (question.job.model, version)
    before = candidate.inputs.get(which)
    return (
        before is not None
        and question.speaks_of <= before <= candidate.instances.keys()
        and question.job.doubtful == candidate.doubts.get(which, frozenset())
    )
