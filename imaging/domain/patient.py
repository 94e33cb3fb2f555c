"""Whose object it is: what counts as given of a patient, and when two objects name two patients."""

import functools
import itertools
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imaging.domain.folding import fold
from imaging.domain.free_text import plain_date

Words = frozenset[str]
"""What senders write where they know no patient: the parts of a name, as `_plain` has them, joined by spaces."""

PLACEHOLDERS: Final[Words] = frozenset({"0000", "unknown", "anonymous", "xxx"})
"""Those of every site: neither identifiers nor names."""

_FILLING: Final = re.compile("0{3,}|x{3,}")
"""Zeros and crosses of any length say as little."""


def placeholder_words(texts: Iterable[str]) -> Words:
    """A site's own placeholders, however they are spelt."""
    return frozenset(_joined(plain) for each in texts if (plain := _plain(each)))


class Judgement(StrEnum):
    """What two objects say of each other's patient. `CORRECTION`: one patient, of whom one fact was mended."""

    SAME = "same"
    CORRECTION = "correction"
    OTHER = "other"


@dataclass(frozen=True)
class Person:
    """Who an object says its patient is, in the standard's own values."""

    identifier: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""

    @property
    def given(self) -> "Person":
        """The same, with only what tells somebody: placeholders are empty, and the name is as it is compared."""
        return _given(self)

    @property
    def is_named(self) -> bool:
        """Whether it has an identifier or a name: who has neither may be anybody."""
        given = self.given
        return bool(given.identifier or given.name)


@functools.lru_cache(1024)  # each image of a study names the same, and it is asked for with each
def _given(person: Person) -> Person:
    sex = person.sex.strip().upper()
    return Person(
        "" if is_no_identifier(person.identifier) else person.identifier.strip(),
        person.issuer.strip(),
        "" if is_no_name(person.name) else _joined(_plain(person.name)),
        plain_date(person.birth_date),
        sex if sex in ("M", "F") else "",
    )


@dataclass(frozen=True)
class Seen:
    """Who an object names, and the way that it came by: its association, or the folder that it lies in."""

    person: Person
    way: Hashable


def judge(one: Person, other: Person) -> Judgement:
    """Whether two objects of one study are of one patient; what is not given contradicts nobody.

    A difference in one of birth date, sex and name is a correction where both have the same identifier. A difference in
    two of them, or in any without an identifier, is another patient.
    """
    return _judge(one.given, other.given)


def _judge(a: Person, b: Person) -> Judgement:
    if _differ(a.identifier, b.identifier) or (a.identifier and b.identifier and _differ(a.issuer, b.issuer)):
        return Judgement.OTHER
    facts = ((a.birth_date, b.birth_date), (a.sex, b.sex), (a.name, b.name))
    differences = sum(_differ(*each) for each in facts)
    if not differences:
        return Judgement.SAME
    return Judgement.CORRECTION if differences == 1 and a.identifier and b.identifier else Judgement.OTHER


def is_one_patient(persons: Iterable[Person]) -> bool:
    """Whether no two of these are different patients.

    After a correction an object without identifier may have the old fact or the new one: it has to agree with one of
    the identified, where there are any.
    """
    every = {each.given for each in set(persons)}
    identified = {each for each in every if each.identifier}
    others = every - identified
    pairs = itertools.chain(itertools.combinations(identified, 2), itertools.combinations(others, 2))
    if any(_judge(*pair) is Judgement.OTHER for pair in pairs):
        return False
    return not identified or all(any(_judge(each, known) is Judgement.SAME for known in identified) for each in others)


def are_consistent(seen: Iterable[Seen]) -> bool:
    """Whether all of these are of one patient: no two differ, and who is beside a named one came by the same way.

    Those without identifier and name are one patient with each other, whatever way they came by.
    """
    every = set(seen)
    named = {each.way for each in every if each.person.is_named}
    nameless = {each.way for each in every if not each.person.is_named}
    return is_one_patient(each.person for each in every) and (not named or nameless <= named)


def newest(persons: Iterable[Person]) -> Person:
    """One patient as his objects name him, in the order in which they came: each fact as it was last given anew.

    A value that was given before is no news: a straggler brings no old name back, and another spelling of a name is not
    another name. A fact that is never given is what was last written.
    """
    every = list(dict.fromkeys(persons))
    given = [each.given for each in every]

    def fact(name: str) -> str:
        news: dict[str, str] = {}
        written = ""
        for person, value in zip(every, given, strict=True):
            raw: str = getattr(person, name)
            written = raw if raw.strip() else written
            if getattr(value, name):
                news.setdefault(getattr(value, name), raw)
        return list(news.values())[-1] if news else written

    # An issuer belongs to its identifier: one that is not named later still holds.
    return Person(*map(fact, ("identifier", "issuer", "name", "birth_date", "sex")))


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def is_no_identifier(identifier: str, words: Words = PLACEHOLDERS) -> bool:
    """Whether an identifier says by one of these words that nobody is known; zeros, crosses and signs say so too."""
    plain = _joined(tuple(sorted(fold(identifier).split())))
    letters = "".join(each for each in plain if each.isalnum())
    return not letters.strip("0") or plain in words or bool(_FILLING.fullmatch(plain))


def is_no_name(name: str, words: Words = PLACEHOLDERS) -> bool:
    """Whether a name holds one of these words, or all parts of one of several words."""
    parts = frozenset(_plain(name))
    return any(parts.issuperset(each.split()) for each in words) or any(map(_FILLING.fullmatch, parts))


def _plain(name: str) -> tuple[str, ...]:
    """The parts of a name's first group (PS3.5 6.2.1) as they are compared."""
    first = next((group for group in name.split("=") if group.strip(" ^")), "")
    return tuple(sorted(fold(first).replace("^", " ").split()))


def _joined(plain: tuple[str, ...]) -> str:
    return " ".join(plain)
