"""What an answer covers: each of a study's images was used, is missing, adds nothing, or is not what the card takes.

An image is one with pixels; a frame of a multi-frame object counts as one. The four kinds are those of docs/models.md,
"What an answer covers". Only *missing* images weigh: nothing may be called absent where some are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from imaging.domain.reasons import Reason


@dataclass(frozen=True)
class Coverage:
    """Counts of images: `used`, and by a reason's code those `missing`, `redundant` and `out_of_scope`."""

    used: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    redundant: Mapping[str, int] = field(default_factory=dict)
    out_of_scope: Mapping[str, int] = field(default_factory=dict)

    @property
    def considered(self) -> int:
        """All of the study's images."""
        return self.used + self.in_scope_unused + sum(self.out_of_scope.values())

    @property
    def in_scope_unused(self) -> int:
        """Those that the card takes, and that were not looked at."""
        return sum(self.missing.values()) + sum(self.redundant.values())

    @property
    def missed(self) -> int:
        """How many images the answer ought to have seen and did not."""
        return sum(self.missing.values())

    def given_up(self, reason: Reason) -> Self:
        """The same images where the work ended after all for this reason: what was used is missing."""
        missing = dict(self.missing)
        if self.used:
            missing[reason.code] = missing.get(reason.code, 0) + self.used
        return replace(self, used=0, missing=missing)

    def to_json(self) -> dict[str, Any]:
        """The `images` of an answer, as commands print it."""
        return {
            "considered": self.considered,
            "used": self.used,
            "missing": dict(self.missing),
            "redundant": dict(self.redundant),
            "out_of_scope": dict(self.out_of_scope),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The coverage that `to_json` wrote."""
        return cls(data["used"], data["missing"], data["redundant"], data["out_of_scope"])

    @property
    def facts(self) -> dict[str, str]:
        """The same for a report, by name: `{"images_missing": "15: orientation-mixed 12, positions 3", ...}`."""
        counts = {"missing": self.missing, "redundant": self.redundant, "out_of_scope": self.out_of_scope}
        facts_by_name = {"images_considered": str(self.considered), "images_used": str(self.used)}
        return facts_by_name | {f"images_{name}": _in_words(by_reason) for name, by_reason in counts.items()}

    @property
    def sentence(self) -> str:
        """What was not analysed, in English: "15 of 40 images not analysed: orientation-mixed"; empty for nothing."""
        if not self.missed:
            return ""
        of = self.used + self.missed
        return f"{self.missed} of {of} images not analysed: {', '.join(sorted(self.missing))}"


def _in_words(by_reason: Mapping[str, int]) -> str:
    each = ", ".join(f"{reason} {count}" for reason, count in by_reason.items())
    return f"{sum(by_reason.values())}: {each}" if each else "0"


def counted(reasons: Iterable[tuple[Reason, int]]) -> dict[str, int]:
    """Each reason's code, and of how many images: a header may claim any number of frames. Most first, then by name."""
    counts = Counter[str]()
    for reason, images in reasons:
        counts[reason.code] += images
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
