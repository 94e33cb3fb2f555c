"""Why a study was not analysed: the closed list (docs/models.md).

A reason is a code, and for some codes a detail: `slices-missing: 3`. Ledgers hold them, so no code is ever taken away.
Each code has a sentence per language in the web's catalogues; a test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SUPERSEDED: Final = "superseded"
"""Of what a newer revision of the study took the place of: nobody is told."""

REASONS: Final = frozenset(
    {
        "no-model",
        "modality",
        "sop-class",
        "body-part",
        "view",
        "age",
        "localizer",
        "derived",
        "projection",
        "subtraction",
        "map",
        "capture",
        "for-processing",
        "contrast",
        "sequence",
        "input-missing",
        "too-few-slices",
        "too-many-slices",
        "extent",
        "gap",
        "slices-missing",
        "positions",
        "positions-absent",
        "positions-repeated",
        "orientation-mixed",
        "orientation-invalid",
        "frames-irregular",
        "frame-of-reference-differs",
        "pixel-size-absent",
        "pixels-unreadable",
        "pixels-blank",
        "rescale-absent",
        "units-unknown",
        "colour",
        "mixed-patients",
        "memory",
        "model-disabled",
        "timed-out",
        SUPERSEDED,
        "conflict",
        "quality-control",
        "acquisitions",
        "one-film",
    }
)


@dataclass(frozen=True)
class Reason:
    """One code of `REASONS`, with what it is about: `Reason("slices-missing", "3")`."""

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in REASONS:
            raise ValueError(f"reason {self.code!r} is not on the closed list (imaging.domain.reasons)")

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    @classmethod
    def parse(cls, text: str) -> "Reason":
        """The inverse of `str`."""
        code, _, detail = text.partition(": ")
        return cls(code, detail)


class NotAnalysable(Exception):
    """The input's trouble: it cannot be analysed, for a reason of the closed list. Never retried."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.reason = Reason(code, detail)
        super().__init__(str(self.reason))


PROGRESS: Final = (
    "quality-control", "localizer", "capture", "for-processing", "projection", "map", "subtraction", "derived",
    "body-part", "view", "age", "sequence", "contrast", "pixel-size-absent", "rescale-absent", "positions-absent",
    "orientation-invalid", "orientation-mixed", "frames-irregular", "frame-of-reference-differs",
    "positions-repeated", "positions", "too-few-slices", "too-many-slices", "extent", "slices-missing", "gap", "memory",
    "acquisitions", "units-unknown", "pixels-blank", "colour", "pixels-unreadable",
)  # fmt: skip
"""The order in which reasons are found. Of several images or series, the one that came furthest speaks."""


def furthest(reasons: Sequence[Reason]) -> tuple[str, str]:
    """Code and detail of the reason that came last on the way to the engine."""
    last = max(reasons, key=lambda reason: (_progress(reason), reason.detail))
    return last.code, last.detail


def _progress(reason: Reason) -> int:
    return PROGRESS.index(reason.code) if reason.code in PROGRESS else 0
