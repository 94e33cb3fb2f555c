"""Result objects as they pass from who builds them by spool and ledger to who sends them."""

from dataclasses import dataclass
from typing import Final

REPORT: Final = "sr"
"""The kind of object that states an answer whole: it names the one before as its predecessor, and the page names it."""


@dataclass(frozen=True)
class Artefact:
    """An object that answers for a study. `kind`: of `imaging.results.registry`; `data`: a whole Part 10 file."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    data: bytes


@dataclass(frozen=True)
class StoredArtefact:
    """An artefact whose bytes lie in the spool under `key`, as the ledger knows it. `digest`: SHA-256, in hex."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    key: str
    digest: str
    size: int
