"""Values of the domain in a reader's words: names, findings, reasons, answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final

from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, Measurement, State
from imaging.domain.modes import Mode
from imaging.domain.places import Place
from imaging.domain.priority import STAT_BAND
from imaging.domain.reasons import Reason
from imaging.domain.worklist import PageState, Row
from imaging.web.languages import Language

AGE_UNITS: Final = "YMWD"


@dataclass(frozen=True)
class Line:
    """One thing that one model says. `tone` names how it is drawn: present, noted (present, of a model that raises no
    flag), absent, unsure, measured, not_analysed, failed.
    """

    tone: str
    text: str


def native_name(person_name: str) -> str:
    """A DICOM person name (PS3.5 6.2.1) as its bearer writes it: the ideographic group where there is one.

    The components stay in their order, so that Vietnamese names stay family-first.
    """
    groups = person_name.split("=")
    chosen = next((group for group in [*groups[1:2], *groups[:1]] if group.strip(" ^")), "")
    return " ".join(part for part in chosen.replace("^", " ").split() if part)


def age(value: str, language: Language) -> str:
    """A DICOM age (AS, PS3.5 6.2): `056Y` is "56 y"; anything else is shown as it came."""
    number, unit = value[:-1], value[-1:]
    if number.isdigit() and unit in AGE_UNITS:
        return language.say(f"age.{unit}", n=int(number))
    return value


def sex(value: str, language: Language) -> str:
    """A Patient's Sex in words; an unknown value as it stands."""
    return language.say_or(f"sex.{value}", value)


def study_day(value: str, language: Language) -> str:
    """A DICOM date (DA) as the language writes it; anything else as it came."""
    day = _day(value)
    return language.day(day) if day else value


@lru_cache(maxsize=1024)
def _day(value: str) -> date | None:
    try:
        return datetime.strptime(value, "%Y%m%d").date()
    except ValueError:
        return None


def region(value: str, language: Language) -> str:
    """A Body Part Examined in words; an unknown value as it stands."""
    return language.say_or(f"body_part.{value.upper()}", value)


def meaning(code: Code, language: Language) -> str:
    """A coded concept in the reader's language, else its English meaning."""
    return language.say_or(f"finding.{code.scheme}:{code.value}", code.meaning)


def within_sentence(term: str) -> str:
    """A term without the capital that it has on its own; abbreviations keep theirs."""
    return term[:1].lower() + term[1:] if term[1:2].islower() else term


def on_its_own(term: str) -> str:
    """A term as the beginning of a line."""
    return term[:1].upper() + term[1:]


def list_of(findings: Iterable[Finding], language: Language) -> str:
    """The findings' names, one after another."""
    return ", ".join(named(each, language) for each in findings)


def named(finding: Finding, language: Language) -> str:
    """A finding as a sentence names it: that its model hardly tells it from chance is said before it, so
    that a line that is cut loses no more than both."""
    name = within_sentence(meaning(finding.code, language))
    return language.say("answer.near_chance", finding=name) if finding.is_near_chance else name


def measured(findings: Iterable[Finding], language: Language) -> str:
    """What was measured, with its values, one after another."""
    return ", ".join(measurement(value, language) for each in findings for value in each.measurements)


def bare_name(result: Answer) -> str:
    """The model and its version."""
    return " ".join(part for part in (result.model, result.version) if part)


def model_name(result: Answer, language: Language) -> str:
    """The model as a sentence names it: that it was measured on drawn images alone, or is unproven, is said with it."""
    name = bare_name(result)
    if result.is_synthetic and result.unproven:
        return language.say("answer.synthetic_unproven", model=name)
    kind = "synthetic" if result.is_synthetic else "unproven" if result.unproven else ""
    return language.say(f"answer.{kind}", model=name) if kind else name


def reason(why: Reason | None, language: Language) -> str:
    """The sentence of a reason, with its detail in brackets."""
    if why is None:
        return "?"
    sentence = language.say(f"reason.{why.code}")
    return f"{sentence} ({why.detail})" if why.detail else sentence


def failure(text: str | None, language: Language) -> str:
    """The sentence of a failure; the fingerprint of a fault of ours stands in brackets, for who looks after us."""
    if text == "poison":
        return language.say("failure.poison")
    sentence = language.say("failure.fault")
    return f"{sentence} ({text})" if text else sentence


def no_flag(result: Answer, language: Language) -> str:
    """Why an answer proposes no class though a rule of its card is met; "" where that is not so, or a flag stands."""
    return language.say(f"no_flag.{result.no_flag}") if result.no_flag and not result.flag else ""


def mend(result: Answer, language: Language) -> str:
    """What would mend an answer that is not findings; "" where nothing is to mend."""
    if result.state is State.FAILED:
        return language.say("study.failed_mend")
    return language.say_or(f"mend.{result.reason.code}", "") if result.reason else ""


def measurement(value: Measurement, language: Language) -> str:
    """A measurement with its name and unit."""
    unit = language.say_or(f"unit.{value.unit}", value.unit)
    return f"{meaning(value.code, language)} {language.number(value.value, '#,##0.##')} {unit}".rstrip()


PLACES_SHOWN: Final = 5
"""Of a finding, on the page of a study: the most probable or the largest."""


def places(finding: Finding, language: Language) -> list[str]:
    """Where a finding lies, a line for each of its first places, and how many more there are."""
    shown = [place(each, language) for each in finding.found[:PLACES_SHOWN]]
    more = len(finding.found) - len(shown)
    return [*shown, *([language.say("study.more_places", n=language.number(more))] if more else [])]


def place(where: Place, language: Language) -> str:
    """A place with its score, as far as it has one: columns and rows, and in a volume the middle in the patient."""
    left, top, right, bottom = (language.number(each, "0") for each in where.box)
    text = language.say("study.place", left=left, right=right, top=top, bottom=bottom)
    if where.centre_mm:
        x, y, z = (language.number(each, "0") for each in where.centre_mm)
        text += " " + language.say("study.place_mm", x=x, y=y, z=z, n=language.number(len(where.images)))
    score = language.number(where.score, "0.00") if where.score is not None else ""
    return f"{score}: {text}" if score else text


def tone(finding: Finding) -> str:
    """How a finding is drawn: present, absent, unsure or measured."""
    if finding.is_measured_only:
        return "measured"
    return {True: "present", False: "absent", None: "unsure"}[finding.present]


def triage_class(row: Row) -> str:
    """Which class a row is shown in: an ordered STAT stands above what a model asks for."""
    if row.band == STAT_BAND:
        return "stat"
    return f"ai_{row.flag}" if row.flag else "none"


def answer(result: Answer, language: Language) -> list[Line]:
    """What one model says, the most pressing first.

    It names what was looked for and not found, and never says that a study is normal. A flag that an earlier answer
    raised stands, and is said where the latest one has nothing to show for it.
    """
    lines = plain_answer(result, language)
    if result.flag and not any(line.tone in ("present", "noted") for line in lines):
        lines.insert(0, Line("present", language.say("answer.flag_stands", model=model_name(result, language))))
    return lines


def in_part(result: Answer, language: Language) -> str:
    """What an answer has not seen: "15 of 40 images not analysed", and why."""
    seen, missing = result.coverage, result.coverage.missing
    return language.say(
        "answer.in_part",
        missing=str(seen.missed),
        images=str(seen.used + seen.missed),
        reasons="; ".join(reason(Reason(code), language) for code in missing),
        model=model_name(result, language),
    )


def plain_answer(result: Answer, language: Language) -> list[Line]:
    """An answer's lines, without what its coverage adds."""
    model = model_name(result, language)
    if result.state is State.NOT_ANALYSED:
        key = "answer.not_analysed" if model else "answer.no_model_name"
        return [Line("not_analysed", language.say(key, model=model, reason=reason(result.reason, language)))]
    if result.state is State.FAILED:
        return [Line("failed", language.say("answer.failed", model=model, reason=failure(result.fault, language)))]
    lines = []
    if result.coverage.missed:
        lines.append(Line("unsure", in_part(result, language)))
    if result.conflicts:
        text = language.count("counts.doubtful", result.conflicts)
        lines.append(Line("unsure", language.say("answer.in_conflict", images=text, model=model)))
    for kind in ("present", "unsure", "measured", "absent"):
        findings = [each for each in result.findings if tone(each) == kind]
        if findings:
            named = list_of(findings, language) if kind != "measured" else measured(findings, language)
            text = language.say(f"answer.{kind}", model=model, findings=named)
            lines.append(Line(tone_of(kind, result), on_its_own(text) if kind in ("present", "measured") else text))
    return lines or [Line("unsure", language.say("answer.silent", model=model))]


def tone_of(kind: str, result: Answer) -> str:
    """How a finding of this tone is drawn: a present one has the colour of flags only if its model may raise them."""
    return "noted" if kind == "present" and result.mode is Mode.FINDINGS and not result.flag else kind


def answers(results: Sequence[Answer], language: Language) -> list[Line]:
    """What all models say: what is there first, then what was not or not fully looked at, then what was not found."""
    order = ("present", "noted", "failed", "not_analysed", "unsure", "measured", "absent")
    lines = [line for result in results for line in answer(result, language)]
    return sorted(lines, key=lambda line: order.index(line.tone))


def row_lines(row: Row, language: Language) -> list[Line]:
    """What stands in a row's answer cell: what is under way, and every answer that there is."""
    lines = answers(row.results, language)
    if row.state in (PageState.RECEIVING, PageState.WAITING, PageState.ANALYSING):
        return [*lines, Line("under_way", language.say(f"state_says.{row.state}"))]
    if not lines and row.state is PageState.NOT_ANALYSED:
        return [Line("not_analysed", language.say("answer.no_model_name", reason=reason(row.reason, language)))]
    return lines
