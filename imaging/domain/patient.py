"""Whose object it is: what counts as given of a patient, and when two objects name two patients."""

import itertools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PLACEHOLDERS: Final = frozenset({"0000", "unknown", "anonymous", "xxx"})
"""What senders write where they know no patient, as `_plain` has it: neither identifiers nor names."""

_NO_BIRTH_DATE: Final = "19000101"


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
        value, name = self.identifier.strip(), _plain(self.name)
        birth_date = self.birth_date.strip()
        return Person(
            "" if " ".join(_plain(value)) in PLACEHOLDERS or not _plain(value) else value,
            self.issuer.strip(),
            "" if PLACEHOLDERS.intersection(name) else " ".join(name),
            "" if birth_date == _NO_BIRTH_DATE else birth_date,
            self.sex.strip() if self.sex.strip() in ("M", "F") else "",
        )


def judge(one: Person, other: Person) -> Judgement:
    """Whether two objects of one study are of one patient; what is not given contradicts nobody.

    A difference in one of birth date, sex and name is a correction where both have the same identifier. A difference in
    two of them, or in any without an identifier, is another patient.
    """
    a, b = one.given, other.given
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
    every = {each.given for each in persons}
    identified = {each for each in every if each.identifier}
    others = every - identified
    pairs = itertools.chain(itertools.combinations(identified, 2), itertools.combinations(others, 2))
    if any(judge(*pair) is Judgement.OTHER for pair in pairs):
        return False
    return not identified or all(any(judge(each, known) is Judgement.SAME for known in identified) for each in others)


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _plain(name: str) -> tuple[str, ...]:
    """The parts of a name's first group (PS3.5 6.2.1) as they are compared."""
    first = next((group for group in name.split("=") if group.strip(" ^")), "")
    letters = unicodedata.normalize("NFKD", first.casefold().replace("đ", "d"))
    return tuple(
        sorted("".join(" " if each == "^" else each for each in letters if not unicodedata.combining(each)).split())
    )
