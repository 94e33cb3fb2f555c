"""What the pages say, in each language: catalogues/*.toml, read and held against each other at start.

TOML rather than gettext: a catalogue is read as it is written, needs no compiling, and a missing sentence is an error
at start instead of English in the middle of a Vietnamese page.
"""

import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_decimal
from babel.units import format_unit

from imaging.domain.alarms import Kind
from imaging.domain.findings import State, TriageClass
from imaging.domain.folding import fold
from imaging.domain.languages import LANGUAGES
from imaging.domain.reasons import REASONS
from imaging.domain.worklist import PageState

CATALOGUES: Final = Path(__file__).parent / "catalogues"
LOCALES: Final[Mapping[str, str]] = {"vi": "vi_VN", "fr": "fr_FR", "en": "en"}

Text = str | Mapping[str, str]
"""A sentence, or its forms by the language's plural rule, of which "other" always stands."""

SHORT: Final = timedelta(hours=2)
LONG: Final = timedelta(days=2)


class CatalogueError(Exception):
    """The catalogues do not say the same things. Ours to mend: the message names each key."""


@dataclass(frozen=True)
class Language:
    """One language: its tag (RFC 5646), and its sentences by dotted key."""

    tag: str
    locale: Locale
    texts: Mapping[str, Text]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What states, regions and findings are called, as a search sees it."""
        kinds = ("state.", "body_part.", "finding.")
        return {key: fold(text) for key, text in self.texts.items() if isinstance(text, str) and key.startswith(kinds)}

    def say(self, key: str, **values: object) -> str:
        """The sentence of `key`, with its placeholders filled."""
        text = self.texts[key]
        if not isinstance(text, str):
            raise CatalogueError(f"{self.tag}: {key} is a plural; use count()")
        return text.format(**values) if values else text

    def say_or(self, key: str, otherwise: str, **values: object) -> str:
        """The sentence of `key`, or `otherwise` where the catalogue has none: for open lists, such as codes."""
        return self.say(key, **values) if key in self.texts else otherwise

    def count(self, key: str, n: int) -> str:
        """The form of `key` for `n` things."""
        forms = self.texts[key]
        if isinstance(forms, str):
            raise CatalogueError(f"{self.tag}: {key} is not a plural; use say()")
        return forms.get(self.locale.plural_form(n), forms["other"]).format(n=self.number(n))

    def number(self, value: float, pattern: str | None = None) -> str:
        """A number as the language writes it."""
        return _number(self.locale, value, pattern)

    def day(self, value: date) -> str:
        """A date as the language writes it."""
        return _day(self.locale, value, self.say("format.date"))

    def moment(self, value: datetime) -> str:
        """Day, hour and minute, in the server's own zone, which it names: "24 Nov 2026 09:30 (UTC+07:00)"."""
        here = value.astimezone()
        clock = format_time(here.time(), self.say("format.clock"), locale=self.locale)
        return f"{self.day(here.date())} {clock} ({zone(here)})"

    def span(self, length: timedelta) -> str:
        """A time as a reader counts it: minutes below two hours, hours and minutes below two days, then days."""
        minutes = int(length.total_seconds() // 60)
        if length < SHORT:
            return self._unit(minutes, "minute")
        if length < LONG:
            hours = self._unit(minutes // 60, "hour")
            return f"{hours} {self._unit(minutes % 60, 'minute')}" if minutes % 60 else hours
        return self._unit(minutes // 1440, "day")

    def _unit(self, n: int, unit: str) -> str:
        return _unit(self.locale, n, unit)


def zone(here: datetime) -> str:
    """The zone of an aware time: "UTC+07:00"."""
    return f"UTC{here.isoformat()[-6:]}"


# Babel takes its time, and a long page says the same numbers, days and times again and again.


@lru_cache(maxsize=4096)
def _number(locale: Locale, value: float, pattern: str | None) -> str:
    return format_decimal(value, format=pattern, locale=locale)


@lru_cache(maxsize=1024)
def _day(locale: Locale, value: date, pattern: str) -> str:
    return format_date(value, pattern, locale=locale)


@lru_cache(maxsize=1024)
def _unit(locale: Locale, n: int, unit: str) -> str:
    return format_unit(n, unit, length="short", locale=locale)


def load_languages(folder: Path = CATALOGUES) -> Mapping[str, Language]:
    """All languages. Raises CatalogueError, naming every fault at once, where one lacks what another says."""
    languages: dict[str, Language] = {tag: load(tag, folder) for tag in LANGUAGES}
    faults = [fault for language in languages.values() for fault in faults_of(language, languages["en"])]
    if faults:
        raise CatalogueError("; ".join(faults))
    return languages


def load(tag: str, folder: Path) -> Language:
    """The catalogue of a tag in a folder."""
    with (folder / f"{tag}.toml").open("rb") as file:
        return Language(tag, Locale.parse(LOCALES[tag]), dict(flat(tomllib.load(file))))


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Text]]:
    """The entries of nested tables by dotted key; a table with "other" is one plural."""
    for name, value in table.items():
        if isinstance(value, str) or "other" in value:
            yield prefix + name, value
        else:
            yield from flat(value, f"{prefix}{name}.")


def faults_of(language: Language, model: Language) -> list[str]:
    """What a catalogue lacks of what pages need and `model` has, or has too much, or fills in otherwise."""
    needed, present = needed_keys() | model.texts.keys(), language.texts.keys()
    faults = [f"{language.tag}: {key} is missing" for key in sorted(needed - present)]
    faults += [f"{language.tag}: {key} is in no other language" for key in sorted(present - needed)]
    for key in sorted(present & model.texts.keys()):
        if placeholders(language.texts[key]) != placeholders(model.texts[key]):
            faults.append(f"{language.tag}: {key} does not have the placeholders of en")
    return faults


def needed_keys() -> set[str]:
    """A sentence for each member of the closed lists of the domain."""
    keys = {f"state.{state}" for state in PageState} | {f"study.triage_{each}" for each in TriageClass if each.is_flag}
    keys |= {f"alarm.{kind}" for kind in Kind}
    for code in REASONS:
        keys |= {f"reason.{code}", f"mend.{code}"}
    return keys | {f"answer.{state}" for state in State if state is not State.ANALYSED}


def placeholders(text: Text) -> frozenset[str]:
    """The names in braces that a text fills in, in any of its forms."""
    forms = [text] if isinstance(text, str) else list(text.values())
    return frozenset(name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name)
