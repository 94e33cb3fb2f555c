"""Why a study was not analysed: the closed list (docs/models.md).

A reason is a code, and for some codes a detail: `slices-missing: 3`. Ledgers hold them, so no code is ever taken away.
Each code has a sentence per language in the web's catalogues; a test holds the two together.
"""

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
