"""The worklist's rows, pages, filter and counts, from the ledger."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, literal, or_, select

from imaging.domain.alarms import Health
from imaging.domain.artefacts import REPORT
from imaging.domain.findings import Answer, State, TriageClass
from imaging.domain.header import Header, age_text
from imaging.domain.priority import ORDER
from imaging.domain.reasons import Reason
from imaging.domain.states import UNDONE, ApartState, StudyState
from imaging.domain.worklist import Listing, ListingQuery, PageState, Row, Word
from imaging.ledger import tables
from imaging.ledger.answers import doubtful, in_parts, is_answer, is_last_answer, is_shown, latest
from imaging.ledger.caching import CachedValue
from imaging.ledger.jobs import found_codes
from imaging.ledger.page_state import counted, page_state
from imaging.ledger.quarantine import MIXED_PATIENTS, is_stopped
from imaging.ledger.revision import Revision
from imaging.ledger.store import Ledger


class LedgerWorklist:
    """The worklist's rows, from the ledger (`imaging.domain.worklist.Worklist`). `health`: how its home is now."""

    def __init__(self, ledger: Ledger, health: Callable[[], Health] = Health) -> None:
        self._ledger, self._health = ledger, health
        self._revision = Revision(ledger)
        self._states = CachedValue(partial(counted, ledger), self._revision.now)

    def listing(self, arguments: ListingQuery) -> Listing:
        """One page of the list, with its counts."""
        states, study = self.states(), tables.study
        with self._ledger.read() as connection:
            passes = _passes(connection, arguments.words)
            total = connection.scalar(select(func.count()).select_from(study)) or 0
            unflagged = total - _count(connection, study.c.flag.is_not(None))
            rest = unflagged if passes is None else _count(connection, study.c.flag.is_(None) & passes)
            pages = max(1, -(-rest // arguments.size))
            page = min(max(1, arguments.page), pages)
            found = _page(connection, passes, arguments.size, (page - 1) * arguments.size)
            rows = sorted(_rows(connection, found), key=_place)
            flagged = sum(row.flag is not None for row in rows)
            return Listing(
                rows=tuple(rows),
                page=page,
                pages=pages,
                hidden=max(0, total - rest - flagged),
                total=total,
                counts=states,
                newest=connection.scalar(select(func.max(study.c.id))) or 0,
                new=_later(connection, arguments.after, passes),
            )

    def states(self) -> Mapping[PageState, int]:
        """How many studies are in each state; where counting takes long, as they were a while ago (`CachedValue`)."""
        return self._states.value()

    def rows(self, numbers: Sequence[int], words: Sequence[Word] = ()) -> list[Row]:
        """The rows of these numbers that match all words."""
        with self._ledger.read() as connection:
            return _rows(connection, _numbered(connection, numbers, _passes(connection, words)))

    def numbered(self, number: int) -> Row | None:
        """The row of our own number, with its reports."""
        with self._ledger.read() as connection:
            row = next(iter(_rows(connection, _numbered(connection, [number]))), None)
            return _with_reports(connection, row) if row else None

    def revision(self) -> object:
        """A value that differs once anything on the page may have changed."""
        return self._revision.now(), self._health().look, self._states.mark()

    def health(self) -> Health:
        """What the head of the page shows."""
        return self._health()


def _passes(connection: Connection, words: Sequence[Word]) -> ColumnElement[bool] | None:
    """Whether a study passes the filter; None where there is none."""
    return and_(*(_has(connection, word) for word in words)) if words else None


def _has(connection: Connection, word: Word) -> ColumnElement[bool]:
    """Whether a study has a word of the filter."""
    study, job = tables.study, tables.job
    ways: list[ColumnElement[bool]] = [study.c.folded.contains(word.text, autoescape=True)]
    if word.states:
        ways.append(page_state().in_(sorted(word.states)))
    if word.regions:
        region = func.upper(study.c.header["body_part_examined"].as_string())
        ways.append(region.in_(sorted(word.regions)))
    known = connection.scalars(select(job.c.found).where(job.c.found != "").distinct())
    meant = [each for each in known if any(word.names(code) for code in found_codes(each))]
    if meant:
        ways.append(study.c.id.in_(select(job.c.study_id).where(job.c.found.in_(meant), is_last_answer())))
    return or_(*ways)


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(tables.study).where(which)) or 0


def _later(connection: Connection, after: int | None, passes: ColumnElement[bool] | None) -> frozenset[int]:
    if after is None:
        return frozenset()
    later = select(tables.study.c.id).where(tables.study.c.id > after)
    return frozenset(connection.scalars(later if passes is None else later.where(passes)))


def _page(connection: Connection, passes: ColumnElement[bool] | None, size: int, offset: int) -> list[Any]:
    """The flagged studies, and a part of the rest, each that passes."""
    study = tables.study
    flagged = _studies(passes).where(study.c.flag.is_not(None))
    rest = _studies().where(study.c.flag.is_(None))
    if passes is not None:
        flagged, rest = flagged.where(or_(study.c.flag == TriageClass.STAT, passes)), rest.where(passes)
    order = (*tables.in_order(study), study.c.study_instance_uid)
    return [*connection.execute(flagged), *connection.execute(rest.order_by(*order).limit(size).offset(offset))]


def _place(row: Row) -> tuple[Any, ...]:
    return (*(getattr(row, name) for name in ORDER), row.study_uid)


def _studies(passes: ColumnElement[bool] | None = None) -> Select[Any]:
    """What a row needs of studies. JSON is left as text: `_row` remembers what it made of the same text.

    `passes`: whether a study passes the filter, where it may not.
    """
    study = tables.study
    names = ("id", "study_instance_uid", "state", "flag", "folded", "received_at", "due_at", "band", "reason")
    return select(
        *(study.c[name] for name in names),
        study.c.conflicts,
        study.c.corrections,
        and_(study.c.conflicts > 0, is_stopped(study.c.id)).label("is_stopped"),
        study.c.instances,
        _shared(),
        page_state().label("page_state"),
        (literal(value=True) if passes is None else passes).label("passes"),
        cast(study.c.header, Text).label("header"),
    )


def _shared() -> ColumnElement[int]:
    """How many of a study's UIDs stand for an object of another study as well."""
    study, conflict = tables.study, tables.conflict
    its = (conflict.c.study_id == study.c.id, conflict.c.state == ApartState.SHARED)
    counted = select(func.count()).select_from(conflict).where(*its).correlate(study)
    return counted.scalar_subquery().label("shared")


def _numbered(connection: Connection, numbers: Sequence[int], passes: ColumnElement[bool] | None = None) -> list[Any]:
    found: list[Any] = []
    for some in in_parts(numbers):
        found += connection.execute(_studies(passes).where(tables.study.c.id.in_(some)))
    return found


def _rows(connection: Connection, studies: Sequence[Any]) -> list[Row]:
    model = tables.model
    synthetic = frozenset(connection.scalars(select(model.c.name).where(model.c.is_synthetic)))
    job = tables.job
    query = select(
        job.c.study_id,
        job.c.model,
        job.c.version,
        job.c.state,
        job.c.reason,
        job.c.mode,
        is_answer(job).label("is_answer"),
        cast(job.c.outcome, Text).label("outcome"),
    )
    jobs: dict[int, list[Any]] = {study.id: [] for study in studies}
    for ids in in_parts([study.id for study in studies]):
        for each in connection.execute(query.where(job.c.study_id.in_(ids), is_shown(job)).order_by(job.c.id)):
            jobs[each.study_id].append(each)
    in_doubt = doubtful(connection, [study.id for study in studies if study.conflicts])
    return [_row(study, tuple(jobs[study.id]), synthetic, in_doubt.get(study.id, frozenset())) for study in studies]


@lru_cache(maxsize=8192)
def _row(study: Any, jobs: tuple[Any, ...], synthetic: frozenset[str], doubtful: frozenset[str]) -> Row:
    """A study's row. A page is read again and again, and few of its rows have changed meanwhile.

    A conflict that is found after an answer puts it in doubt at once; the model is asked anew as well.
    """
    header = Header.from_json(json.loads(study.header))
    results = [each.doubted_for(doubtful) for each in latest(jobs)]
    is_running = any(each.state in UNDONE for each in jobs)
    if study.reason and not results:
        results = [Answer(State.NOT_ANALYSED, reason=Reason.parse(study.reason))]
    is_receiving = study.state == StudyState.RECEIVING
    reasons = [each.reason for each in results if each.state is State.NOT_ANALYSED and each.reason]
    if study.is_stopped:  # it came after the answer
        reasons.insert(0, Reason(MIXED_PATIENTS))
    return Row(
        number=study.id,
        study_uid=study.study_instance_uid,
        patient_name=header.patient_name,
        patient_id=header.patient_id,
        issuer=header.issuer_of_patient_id,
        sex=header.patient_sex,
        age=age_text(header),
        modality=header.modality,
        body_part=header.body_part_examined,
        description=header.study_description,
        accession_number=header.accession_number,
        institution=header.institution_name,
        study_date=header.study_date,
        received_at=study.received_at,
        due_at=study.due_at,
        band=study.band,
        state=PageState(study.page_state),
        reason=Reason.parse(study.reason) if study.reason else next(iter(reasons), None),
        flag=TriageClass(study.flag) if study.flag else None,
        results=tuple(replace(each, is_synthetic=each.model in synthetic) for each in results),
        instances=study.instances,
        conflicts=study.conflicts,
        shared=study.shared,
        is_changed=bool(results) and (is_receiving or is_running),
        search_text=study.folded,
        corrections=study.corrections,
        passes=bool(study.passes),
    )


def _with_reports(connection: Connection, row: Row) -> Row:
    """The row with the SOP Instance UID of each model's last SR."""
    table = tables.object_
    query = select(table.c.model, table.c.sop_instance_uid).where(
        table.c.study_id == row.number, table.c.kind == REPORT, table.c.stands_for_id.is_(None)
    )
    reports = {each.model: each.sop_instance_uid for each in connection.execute(query.order_by(table.c.id))}
    return replace(row, results=tuple(replace(each, sr=reports.get(each.model or "")) for each in row.results))
