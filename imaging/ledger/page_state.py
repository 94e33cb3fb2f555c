"""A study's one state on the page, in SQL: from the study's own row, its jobs and what is kept apart of it."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, case, func, select

from imaging.domain.states import JobState, StudyState
from imaging.domain.worklist import PageState
from imaging.ledger import tables
from imaging.ledger.answers import is_last_answer, is_shown
from imaging.ledger.quarantine import is_stopped
from imaging.ledger.store import Ledger


def counted(ledger: Ledger) -> Mapping[PageState, int]:
    """How many studies of the whole ledger are in each state that any is in."""
    state = page_state()
    with ledger.read() as connection:
        found = connection.execute(select(state, func.count()).group_by(state)).all()
    return Counter({PageState(name): count for name, count in found})


def page_state() -> ColumnElement[str]:
    """A study's state on the page: that of its most pressing job, if nothing else holds."""
    study, job = tables.study, tables.job
    is_last = is_last_answer()
    pressing = (
        select(
            func.max(
                case(
                    (job.c.state == JobState.LEASED, 6),
                    (job.c.state == JobState.QUEUED, 5),
                    (and_(job.c.state == JobState.FAILED, is_last), 4),
                    (and_(job.c.state == JobState.NOT_ANALYSED, is_last), 3),
                    (and_(job.c.in_part, is_last), 2),
                    (is_last, 1),
                    else_=0,
                )
            )
        )
        .where(job.c.study_id == study.c.id, is_shown(job))
        .correlate(study)
        .scalar_subquery()
    )
    of_jobs = {
        6: PageState.ANALYSING,
        5: PageState.WAITING,
        4: PageState.FAILED,
        2: PageState.IN_PART,
        1: PageState.CLEAR,
    }
    return case(
        (study.c.flag.is_not(None), PageState.FLAGGED),
        (study.c.state == StudyState.RECEIVING, PageState.RECEIVING),
        (and_(study.c.conflicts > 0, is_stopped(study.c.id), pressing < 4), PageState.NOT_ANALYSED),
        (and_(study.c.conflicts > 0, pressing == 1), PageState.IN_PART),
        else_=case(of_jobs, value=pressing, else_=PageState.NOT_ANALYSED),
    )
