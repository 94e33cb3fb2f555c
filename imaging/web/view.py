"""The pages as values, ready to be drawn: pure functions of rows, time and language."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from imaging.domain.alarms import Alarm, Health, Kind, RoleHealth
from imaging.domain.findings import Answer, Finding, TriageClass
from imaging.domain.folding import fold
from imaging.domain.worklist import Listing, PageState, Row, Word
from imaging.web import phrases
from imaging.web.languages import Language, zone
from imaging.web.phrases import Line

HEALTH_STATES: Final = ("up", "down", "crashing")
TROUBLED: Final = {
    Kind.DISK: ("node", "refusing"),
    Kind.INODES: ("node", "refusing"),
    Kind.DESTINATION: ("deliver", "unreachable"),
}
"""Alarms under which a role that runs cannot do what it is there for: its light tells so."""


@dataclass(frozen=True)
class Chip:
    """A small word on a row, in a place of its own: `tone` names its look, `text` is "" where it does not hold."""

    tone: str
    text: str


@dataclass(frozen=True)
class Caution:
    """What limits an answer, or a finding, in a word or two, and in a sentence; both "" where nothing does."""

    text: str
    why: str


@dataclass(frozen=True)
class RowView:
    """A row as it is drawn. `kept` says that a filter does not match it, and why it stands there all the same.

    `caution` says that a model which answered was measured on drawn images alone, or is unproven: it stands below the
    class that the model asks for.
    """

    number: int
    class_key: str
    class_word: str
    kept: str
    caution: Caution
    due: str
    is_late: bool
    wait: str
    name: str
    who: str
    identity: str
    modality: str
    region: str
    description: str
    place: str
    state: PageState
    state_word: str
    lines: tuple[Line, ...]
    answers: str
    images: str
    chips: tuple[Chip, ...]
    viewer_url: str


@dataclass(frozen=True)
class StateCount:
    """A state with its word and the count in the head of the page."""

    state: PageState
    word: str
    n: str


@dataclass(frozen=True)
class RoleView:
    """A process with its light, in the health strip."""

    word: str
    state: str
    state_word: str


@dataclass(frozen=True)
class PagerView:
    """The pages of the list. `where`: which of how many this is, "" where there is one; others are numbers or 0."""

    where: str
    first: int
    previous: int
    next: int
    last: int


@dataclass(frozen=True)
class ListView:
    """The list page. `news` says what a refresh would bring; "" where the order on the screen is the present one.

    `first_flagged`: the number of the first flagged row, 0 where there is none. `newest`: the highest number known.
    """

    rows: tuple[RowView, ...]
    counts: tuple[StateCount, ...]
    studies: str
    hidden: str
    page: int
    pager: PagerView
    first_flagged: int
    newest: int
    news: str
    has_stat_news: bool
    roles: tuple[RoleView, ...]
    alarms: tuple[str, ...]
    query: str
    at: str
    zone: str
    mark: str


@dataclass(frozen=True)
class FindingView:
    """`caution`: that it is near chance, that its model is unproven. `places`: where it lies, a line each."""

    meaning: str
    caution: Caution
    tone: str
    result: str
    probability: str
    threshold: str
    measurements: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class AnswerView:
    """One model's answer on the page of a study. `triage` is "" where the model was not to say; `no_flag` says why it
    proposes no class though a rule of its card is met.

    `probability_note`: whose estimate the probabilities are, and whether calibrated; "" where there are none.
    """

    model: str
    lines: tuple[Line, ...]
    findings: tuple[FindingView, ...]
    probability_note: str
    triage: str
    no_flag: str
    mend: str
    sr: str


@dataclass(frozen=True)
class StudyView:
    """What the page of a study shows."""

    row: RowView
    answers: tuple[AnswerView, ...]
    received: str
    accession: str
    institution: str
    study_date: str


def list_view(
    listing: Listing,
    others: Sequence[Row],
    health: Health,
    query: str,
    shown: Sequence[int],
    viewer_url: str,
    mark: str,
    now: datetime,
    language: Language,
) -> ListView:
    """A page of the list.

    `query`: the text filter; `shown`: the rows on the reader's screen in their order there, empty for a new page.
    Those alone are then drawn again; `others` are the ones among them that do not belong on the page any more.
    """
    known = frozenset(shown)
    drawn = [*(row for row in listing.rows if row.number in known), *others] if shown else listing.rows
    return ListView(
        rows=tuple(row_view(row, viewer_url, now, language) for row in drawn),
        counts=state_counts(listing, language),
        studies=language.count("counts.studies", listing.total),
        hidden=language.count("counts.hidden", listing.hidden) if listing.hidden else "",
        page=listing.page,
        pager=pager(listing, language),
        first_flagged=next((row.number for row in listing.rows if row.state is PageState.FLAGGED), 0),
        newest=listing.newest,
        news=news(listing, bool(others), shown, language) if shown else "",
        has_stat_news=bool(shown) and any(row.flag is TriageClass.STAT for row in unseen(listing.rows, shown)),
        roles=tuple(role_view(role, health.alarms, language) for role in health.roles),
        alarms=tuple(alarm_text(each, language) for each in health.alarms),
        query=query,
        at=now.astimezone().strftime("%H:%M:%S"),
        zone=zone(now.astimezone()),
        mark=mark,
    )


def pager(listing: Listing, language: Language) -> PagerView:
    """The links to the pages around this one."""
    page, pages = listing.page, listing.pages
    where = language.say("pages.where", page=language.number(page), pages=language.number(pages))
    return PagerView(
        where=where if pages > 1 else "",
        first=1 if page > 2 else 0,
        previous=page - 1,
        next=page + 1 if page < pages else 0,
        last=pages if page < pages - 1 else 0,
    )


def row_view(row: Row, viewer_url: str, now: datetime, language: Language) -> RowView:
    """What a row shows at this time."""
    class_key = phrases.triage_class(row)
    left = row.due_at - now
    is_late = row.due_at < now
    return RowView(
        number=row.number,
        class_key=class_key,
        class_word=language.say(f"class.{class_key}"),
        kept="" if row.passes else language.say("chip.kept"),
        caution=caution(of_models(row.results), language),
        due=language.say("due.late" if is_late else "due.in", time=language.span(abs(left))),
        is_late=is_late,
        wait=language.span(max(now, row.received_at) - row.received_at),
        name=phrases.native_name(row.patient_name) or language.say("patient.unnamed"),
        who=joined(phrases.sex(row.sex, language), phrases.age(row.age, language)),
        identity=identity(row, language),
        modality=row.modality,
        region=phrases.region(row.body_part, language),
        description=row.description,
        place=" · ".join(part for part in (phrases.study_day(row.study_date, language), row.institution) if part),
        state=row.state,
        state_word=language.say(f"state.{row.state}"),
        lines=tuple(phrases.row_lines(row, language)),
        answers=who_answered(row.results, language),
        images=language.number(row.instances),
        chips=chips(row, language),
        viewer_url=viewer_link(viewer_url, row),
    )


def who_answered(results: Sequence[Answer], language: Language) -> str:
    """The model and its version where one answered, else how many did."""
    names = [phrases.bare_name(result) for result in results]
    if len(names) > 1:
        return language.count("counts.answers", len(names))
    return "".join(names) or language.say("viewer.details")


def joined(*parts: str) -> str:
    """The parts that are not empty, with commas."""
    return ", ".join(part for part in parts if part)


def identity(row: Row, language: Language) -> str:
    """The patient's identifier and its issuer."""
    patient_id = row.patient_id or language.say("patient.no_id")
    return f"{patient_id} @ {row.issuer}" if row.issuer else patient_id


def chips(row: Row, language: Language) -> tuple[Chip, ...]:
    """One place for what is odd about the images: conflicts, corrections, and UIDs that another study's images have."""
    conflicts = language.count("counts.conflicts", row.conflicts) if row.conflicts else ""
    corrections = language.count("counts.corrections", row.corrections) if row.corrections else ""
    shared = language.count("counts.shared", row.shared) if row.shared else ""
    tone = "shared" if shared and not conflicts else "corrected" if corrections and not conflicts else "conflict"
    return (
        Chip(tone, joined(conflicts, shared, corrections)),
        Chip("changed", language.say("chip.changed") if row.is_changed else ""),
    )


def viewer_link(template: str, row: Row) -> str:
    """The address of a study in the site's viewer; each value is percent-encoded whole."""
    for name in ("study_uid", "accession_number", "patient_id"):
        template = template.replace(f"{{{name}}}", quote(getattr(row, name), safe=""))
    return template


def words(query: str, language: Language) -> tuple[Word, ...]:
    """The words of a filter, each with the states, regions and findings whose names in this language hold it."""
    names = language.names
    return tuple(
        Word(
            text,
            frozenset(state for state in PageState if text in names[f"state.{state}"]),
            frozenset(key for key in named("body_part.", names) if text in names[f"body_part.{key}"]),
            frozenset(key for key in named("finding.", names) if text in names[f"finding.{key}"]),
        )
        for text in fold(query).split()
    )


def named(prefix: str, names: Iterable[str]) -> list[str]:
    """The rest of the names that begin so."""
    return [key.removeprefix(prefix) for key in names if key.startswith(prefix)]


def state_counts(listing: Listing, language: Language) -> tuple[StateCount, ...]:
    """How many studies are in each of the seven states; zeros too, so that the line keeps its place."""
    return tuple(
        StateCount(state, language.say(f"state.{state}"), language.number(listing.counts.get(state, 0)))
        for state in PageState
    )


def unseen(rows: Sequence[Row], shown: Sequence[int]) -> list[Row]:
    """The rows whose numbers are not among those shown."""
    known = frozenset(shown)
    return [row for row in rows if row.number not in known]


def news(listing: Listing, some_left: bool, shown: Sequence[int], language: Language) -> str:
    """What a refresh would bring: studies that came to this page or to any other, an order that differs.

    `some_left`: rows on the screen belong elsewhere now.
    """
    newcomers = unseen(listing.rows, shown)
    new = len(listing.new.union(row.number for row in newcomers).difference(shown))
    stat = sum(row.flag is TriageClass.STAT for row in newcomers)
    texts = [language.count("counts.new", new)] if new else []
    texts += [language.count("counts.new_stat", stat)] if stat else []
    known, present = frozenset(shown), {row.number for row in listing.rows}
    order = [row.number for row in listing.rows if row.number in known]
    if some_left or order != [number for number in shown if number in present]:
        texts.append(language.say("counts.moved"))
    return ", ".join(texts)


def role_view(role: RoleHealth, alarms: Sequence[Alarm], language: Language) -> RoleView:
    """A role's light: whether it runs, and whether it can do what it is there for."""
    state = role.state if role.state in HEALTH_STATES else "down"
    kind = role.name.partition("-")[0]
    troubles = [state for each in alarms for name, state in [TROUBLED.get(each.kind, ("", ""))] if name == kind]
    state = next(iter(troubles), state) if state == "up" else state
    return RoleView(role_name(role.name, language), state, language.say(f"health.{state}"))


def role_name(name: str, language: Language) -> str:
    """ "worker-1" is the second of the role's processes."""
    kind, _, index = name.partition("-")
    return language.say_or(f"role.{kind}", kind) + ("" if index in ("", "0") else f" {int(index) + 1}")


def alarm_text(alarm: Alarm, language: Language) -> str:
    """An alarm in the reader's language; why it is so, as the system says it."""
    name = role_name(alarm.name, language) if alarm.kind is Kind.ROLE else alarm.name
    state = language.say(f"health.{alarm.state if alarm.state in HEALTH_STATES else 'down'}")
    values = {"name": name, "n": language.number(alarm.n), "time": language.span(alarm.time), "state": state}
    text = language.say(f"alarm.{alarm.kind}", **values)
    return f"{text}: {alarm.why}" if alarm.why else text


def study_view(row: Row, viewer_url: str, now: datetime, language: Language) -> StudyView:
    """What the page of a study shows at this time."""
    return StudyView(
        row=row_view(row, viewer_url, now, language),
        answers=tuple(answer_view(result, language) for result in row.results),
        received=language.moment(row.received_at),
        accession=row.accession_number,
        institution=row.institution,
        study_date=phrases.study_day(row.study_date, language),
    )


def answer_view(result: Answer, language: Language) -> AnswerView:
    """What one model's answer shows."""
    return AnswerView(
        model=phrases.model_name(result, language),
        lines=tuple(phrases.answer(result, language)),
        findings=tuple(finding_view(each, result, language) for each in result.findings),
        probability_note=probability_note(result.findings, language),
        triage=language.say(f"study.triage_{result.flag}") if result.flag else "",
        no_flag=phrases.no_flag(result, language),
        mend=phrases.mend(result, language),
        sr=result.sr or "",
    )


def probability_note(findings: Sequence[Finding], language: Language) -> str:
    """Calibrated is said only where the card calibrates."""
    are_calibrated = {each.is_calibrated for each in findings if each.probability is not None}
    notes = {(): "", (True,): "calibrated", (False,): "uncalibrated", (False, True): "calibrated_in_part"}
    kind = notes[tuple(sorted(are_calibrated))]
    return language.say(f"study.probability_{kind}") if kind else ""


def caution(kinds: Sequence[str], language: Language) -> Caution:
    """`kinds`: synthetic, unproven, near_chance, as the catalogues have them under `chip`."""
    return Caution(
        joined(*(language.say(f"chip.{each}") for each in kinds)),
        " ".join(language.say(f"chip.{each}_why") for each in kinds),
    )


def of_models(results: Sequence[Answer]) -> list[str]:
    """What limits the models that answered."""
    is_synthetic, is_unproven = (any(each.is_synthetic for each in results), any(each.unproven for each in results))
    return [*(["synthetic"] if is_synthetic else []), *(["unproven"] if is_unproven else [])]


def finding_view(finding: Finding, result: Answer, language: Language) -> FindingView:
    """What one finding shows, with its tone."""
    word = phrases.tone(finding)
    return FindingView(
        meaning=phrases.meaning(finding.code, language),
        caution=caution(
            [
                *(["near_chance"] if finding.is_near_chance else []),
                *(["unproven"] if result.unproven else []),
            ],
            language,
        ),
        tone=phrases.tone_of(word, result),
        result=language.say(f"study.{word}"),
        probability=percentage(finding.probability, language),
        threshold=percentage(finding.threshold, language),
        measurements="; ".join(phrases.measurement(each, language) for each in finding.measurements),
        places=tuple(phrases.places(finding, language)),
    )


def percentage(value: float | None, language: Language) -> str:
    """A probability as a decimal: "0,94" in Vietnamese and French."""
    return "–" if value is None else language.number(value, "0.00")
