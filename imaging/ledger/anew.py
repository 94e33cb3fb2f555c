"""What has a study analysed anew: what is queued for it ends, and it is looked at again."""

from typing import Final

from sqlalchemy import Connection, bindparam, update

from imaging.domain.reasons import SUPERSEDED
from imaging.domain.settling import CONFLICT_SETTLED
from imaging.domain.states import JOB, STUDY, JobEvent, JobState, StudyEvent, StudyState
from imaging.ledger import tables
from imaging.ledger.store import Ledger

_DECIDABLE: Final = [state for state, event in STUDY if event is StudyEvent.CONFLICT_SETTLED]
_SUPERSEDE: Final = (
    update(tables.job)
    .where(tables.job.c.state == JobState.QUEUED, tables.job.c.study_id == bindparam("study"))
    .values(state=JOB[JobState.QUEUED, JobEvent.SUPERSEDED], reason=SUPERSEDED)
)
_SUPERSEDE_MODEL: Final = _SUPERSEDE.where(tables.job.c.model == bindparam("asked"))


def supersede(ledger: Ledger, connection: Connection, study_id: int, model: str | None = None) -> None:
    """Ends queued jobs, of one model or of all, whose input is not the study's any more."""
    which = {"study": study_id, "ended_at": ledger.clock.now()}
    if model is None:
        connection.execute(_SUPERSEDE, which)
    else:
        connection.execute(_SUPERSEDE_MODEL, which | {"asked": model})


def look_again(ledger: Ledger, connection: Connection, study_id: int) -> None:
    """Has a study settled anew, at once, after its objects were exchanged or decided about."""
    study, tick = tables.study, ledger.clock.tick()
    values = {
        "state": STUDY[StudyState.SETTLED, StudyEvent.CONFLICT_SETTLED],  # which is the same from receiving
        "first_tick": tick,
        "last_tick": tick,
        "ended_tick": tick,
        "settle_tick": tick,
        "revised_tick": None,
        "settle_why": CONFLICT_SETTLED,
    }
    connection.execute(update(study).where(study.c.id == study_id, study.c.state.in_(_DECIDABLE)).values(values))
