"""What a kind of result object is: how it is built of a report, and as what else it can be sent."""

from collections.abc import Callable
from dataclasses import dataclass

from imaging.domain.artefacts import Artefact
from imaging.results.report import Report


@dataclass(frozen=True)
class Fallback:
    """The same object in another SOP class, for a peer that does not take the first.

    `make` gives the same object for the same one. `note` says so beside a delivery, in English.
    """

    sop_class_uid: str
    note: str
    make: Callable[[Artefact], Artefact]


@dataclass(frozen=True)
class Kind:
    """A kind of result object. `fallbacks`: in the order in which they are tried.

    `build` gives None where this report has no such object. Raises CannotReport or UnsoundReport.
    """

    name: str
    sop_class_uid: str
    build: Callable[[Report], Artefact | None]
    fallbacks: tuple[Fallback, ...] = ()
