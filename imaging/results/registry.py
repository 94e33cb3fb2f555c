"""The kinds of result objects that there are: the one place that knows them all. A new kind is a module and a line."""

from typing import Final

from imaging.domain.artefacts import Artefact
from imaging.results.kinds import Fallback
from imaging.results.report import Report
from imaging.results.sr import SR

KINDS: Final = (SR,)
"""In the order in which an answer's objects are sent."""
_BY_NAME: Final = {each.name: each for each in KINDS}


def build(report: Report) -> tuple[Artefact, ...]:
    """All objects that answer for a report's study. The same report gives the same bytes.

    Raises CannotReport (the input's trouble) or UnsoundReport (ours).
    """
    built = (each.build(report) for each in KINDS)
    return tuple(each for each in built if each is not None)


def fallbacks(kind: str, sop_class_uid: str) -> tuple[Fallback, ...]:
    """As what else an object of this kind and SOP class can be sent; nothing where it is a fallback already."""
    known = _BY_NAME[kind]
    return known.fallbacks if sop_class_uid == known.sop_class_uid else ()


def note(kind: str, sop_class_uid: str) -> str:
    """What is said of an object that was sent as a fallback; empty where it is the first of its kind."""
    return next((each.note for each in _BY_NAME[kind].fallbacks if each.sop_class_uid == sop_class_uid), "")
