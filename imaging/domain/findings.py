"""What models say of a study, and the one JSON shape in which command line, ledger, status and web speak of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from imaging.domain.codes import Code


class TriageClass(StrEnum):
    """How soon a study should be read. The order of the members is that of urgency."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"
    NONE = "none"

    @property
    def is_flag(self) -> bool:
        """Whether it asks for earlier reading than a study gets anyway."""
        return self in (TriageClass.STAT, TriageClass.URGENT)


class State(StrEnum):
    """How a model's work on a study ended."""

    ANALYSED = "analysed"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


@dataclass(frozen=True)
class Measurement:
    """A number with its UCUM unit: `Measurement(Code("SCT", "118565006", "Volume"), 3.1, "ml")`."""

    code: Code
    value: float
    unit: str

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code.value,
            "scheme": self.code.scheme,
            "meaning": self.code.meaning,
            "value": self.value,
            "unit": self.unit,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        return cls(Code(said["scheme"], said["code"], said["meaning"]), said["value"], said["unit"])


@dataclass(frozen=True)
class Finding:
    """One thing a model looked for. `present` is None where it could not tell.

    `probability` is the calibrated one, `score` the network's own output; both in 0..1.
    `sop_instance_uids` are the images it was seen on; empty: all that the model was given.
    `centre_mm` is the place in the patient, LPS, in the Frame of Reference of the source series.
    """

    code: Code
    present: bool | None
    probability: float | None
    threshold: float | None
    measurements: tuple[Measurement, ...] = ()
    score: float | None = None
    sop_instance_uids: tuple[str, ...] = ()
    centre_mm: tuple[float, float, float] | None = None
    site: Code | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code.value,
            "scheme": self.code.scheme,
            "meaning": self.code.meaning,
            "present": self.present,
            "probability": self.probability,
            "threshold": self.threshold,
            "measurements": [each.to_json() for each in self.measurements],
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        return cls(
            Code(said["scheme"], said["code"], said["meaning"]),
            said["present"],
            said["probability"],
            said["threshold"],
            tuple(Measurement.from_json(each) for each in said["measurements"]),
        )


@dataclass(frozen=True)
class ImageRef:
    """A SOP Instance as a result refers to it (PS3.3 10.8)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Outcome:
    """What a model's run over its input came to.

    `reason` is the text of a `Reason` where not analysed, a fingerprint without patient data where failed.
    `triage` is what the card's rules propose. `images` are the instances that were looked at; `facts` go into the
    report as "key=value" parameters (PS3.16 TID 4019), sorted by key.
    """

    state: State
    findings: tuple[Finding, ...] = ()
    reason: str | None = None
    triage: TriageClass | None = None
    images: tuple[ImageRef, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def flag(self) -> TriageClass | None:
        """The proposed class where it is a flag."""
        return self.triage if self.triage is not None and self.triage.is_flag else None


@dataclass(frozen=True)
class ModelResult:
    """A model's answer for a study, as it is shown and printed. `model` is None where no model fits.

    `flag`: the class that it asks for where that is one which asks for earlier reading, else None.
    `sr`: where its report is: a file's absolute path, or from a ledger its SOP Instance UID; None where there is none.
    `is_synthetic`: the model was measured on drawn images alone; a page says so, told by who reads the cards.
    """

    model: str | None
    version: str | None
    state: State
    reason: str | None
    flag: TriageClass | None
    findings: tuple[Finding, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    sr: str | None = None
    is_synthetic: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "state": str(self.state),
            "reason": self.reason,
            "flag": str(self.flag) if self.flag else None,
            "findings": [each.to_json() for each in self.findings],
            "timings_ms": dict(self.timings_ms),
            "sr": self.sr,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        return cls(
            said["model"],
            said["version"],
            State(said["state"]),
            said["reason"],
            TriageClass(said["flag"]) if said["flag"] else None,
            tuple(Finding.from_json(each) for each in said["findings"]),
            said["timings_ms"],
            said["sr"],
        )


@dataclass(frozen=True)
class StudyResults:
    """All answers for one study."""

    study_uid: str
    results: tuple[ModelResult, ...]

    def to_json(self) -> dict[str, Any]:
        return {"study_uid": self.study_uid, "results": [each.to_json() for each in self.results]}


def document(studies: Sequence[StudyResults]) -> dict[str, Any]:
    """The JSON document that `imaging analyse --json` prints."""
    return {"studies": [each.to_json() for each in studies]}
