"""How fast models were in a home, by the timings of their latest answers."""

from dataclasses import dataclass
from statistics import median
from typing import Final

from sqlalchemy import select

from imaging.domain.states import JobState
from imaging.ledger import tables
from imaging.ledger.answers import of_job
from imaging.ledger.store import Ledger

LATEST: Final = 100
"""Answers that are looked at: older ones may be of another machine or setting."""


@dataclass(frozen=True)
class Speed:
    """`infer_ms`: the median of what the engine took for a study; `answers`: of how many."""

    infer_ms: float
    answers: int


def measured(ledger: Ledger, model: str, version: str) -> Speed | None:
    """Of the latest answers with findings of this version; None where there are none."""
    job = tables.job
    query = (
        select(job)
        .where(job.c.model == model, job.c.version == version, job.c.state == JobState.ANALYSED)
        .order_by(job.c.id.desc())
        .limit(LATEST)
    )
    with ledger.read() as connection:
        answers = [of_job(each) for each in connection.execute(query)]
    times = [each.timings_ms["infer"] for each in answers if "infer" in each.timings_ms]
    return Speed(round(median(times), 1), len(times)) if times else None
