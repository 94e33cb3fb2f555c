"""What models have answered about a study, from the rows of its jobs."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from imaging.domain.findings import Answer, State, why_of
from imaging.domain.modes import Mode
from imaging.domain.priority import most_urgent
from imaging.domain.reasons import SUPERSEDED
from imaging.domain.states import ENDED, ApartState
from imaging.ledger import tables
from imaging.ledger.quarantine import OTHER_CONTENT


def latest(jobs: Iterable[Any]) -> list[Answer]:
    """The latest answer of each model; a flag once raised stays on it.

    `jobs`: all of a study, in their order, each with `is_answer`.
    """
    found: dict[str, Answer] = {}
    for each in jobs:
        if not each.is_answer:
            continue
        result = of_job(each)
        before = found.get(each.model)
        flag = most_urgent(result.flag, before.flag if before else None)
        found[each.model] = replace(result, triage=flag or result.triage)
    return list(found.values())


def is_answer(job: Any) -> ColumnElement[bool]:
    """Whether a job has ended with an answer; one that was superseded never gave any. `job`: the table, or an alias."""
    return and_(job.c.state.in_(sorted(ENDED)), func.coalesce(job.c.reason, "") != SUPERSEDED)


def is_shown(job: Any) -> ColumnElement[bool]:
    """Whether a job counts for its study: one in shadow does not, whatever becomes of it. `job`: as in `is_answer`."""
    shown: ColumnElement[bool] = job.c.mode != Mode.SHADOW
    return shown


def is_last_answer() -> ColumnElement[bool]:
    """Whether a job holds its model's latest answer for its study, of those that are shown."""
    job, later = tables.job, tables.job.alias()
    newer = exists().where(
        later.c.study_id == job.c.study_id,
        later.c.model == job.c.model,
        later.c.id > job.c.id,
        is_answer(later),
        is_shown(later),
    )
    return and_(is_answer(job), is_shown(job), ~newer)


def of_job(job: Any) -> Answer:
    """The answer of a job that has ended, by its row; JSON may be text still."""
    value = json.loads(job.outcome) if isinstance(job.outcome, str) else job.outcome
    if value is None:
        state = State(job.state)
        reason, fault = why_of(state, job.reason)
        return Answer(state, reason=reason, fault=fault, model=job.model, version=job.version, mode=Mode(job.mode))
    return Answer.from_json(value)


def doubtful(connection: Connection, numbers: Sequence[int]) -> dict[int, frozenset[str]]:
    """By study the SOP Instance UIDs under which there is another content, on which nobody has decided."""
    table, found = tables.conflict, dict[int, set[str]]()
    is_open = (table.c.state == ApartState.OPEN) & (table.c.why == OTHER_CONTENT)
    for some in in_parts(numbers):
        query = select(table.c.study_id, table.c.sop_instance_uid).where(table.c.study_id.in_(some), is_open)
        for each in connection.execute(query):
            found.setdefault(each.study_id, set()).add(each.sop_instance_uid)
    return {number: frozenset(uids) for number, uids in found.items()}


def in_parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many row numbers at a time as a statement takes."""
    for start in range(0, len(numbers), 500):
        yield numbers[start : start + 500]
