"""What models say of a study, and the one JSON shape in which command line, ledger, status and web speak of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from imaging.domain.codes import Code
from imaging.domain.coverage import Coverage
from imaging.domain.modes import Mode
from imaging.domain.places import Place
from imaging.domain.reasons import Reason


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
    """A number with its UCUM unit: `Measurement(Code("SCT", "118565006", "Volume"), 3.1, "ml")`.

    `sop_instance_uids`: the images that it alone was taken of; empty: those of its finding.
    """

    code: Code
    value: float
    unit: str
    sop_instance_uids: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As commands print it."""
        return {
            "code": self.code.value,
            "scheme": self.code.scheme,
            "meaning": self.code.meaning,
            "value": self.value,
            "unit": self.unit,
            "sop_instance_uids": list(self.sop_instance_uids),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The measurement that `to_json` wrote."""
        code = Code(data["scheme"], data["code"], data["meaning"])
        return cls(code, data["value"], data["unit"], tuple(data.get("sop_instance_uids", ())))


@dataclass(frozen=True)
class Finding:
    """One thing a model looked for. `present` is None where it could not tell, or was not asked (`is_measured_only`).

    `probability` is the calibrated one where `is_calibrated`, `score` the network's own output; both in 0..1.
    `sop_instance_uids` are the images it was seen on; empty: all that the model was given.
    `centre_mm` is the place in the patient, LPS, in the Frame of Reference of the source series. `places`: the boxes
    around what was found, the most probable or the largest first, also boxes that do not reach the threshold.
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
    is_calibrated: bool = False
    is_near_chance: bool = False
    places: tuple[Place, ...] = ()
    is_measured_only: bool = False

    @property
    def found(self) -> tuple[Place, ...]:
        """The places that a reader is shown: of boxes those that reach the threshold, of a mask all unless it is
        absent.
        """
        if self.threshold is None or self.present is False:
            return ()
        return tuple(each for each in self.places if each.score is None or each.score >= self.threshold)

    @property
    def verdict(self) -> str:
        """Whether it is present, in a word."""
        if self.is_measured_only:
            return "measured"
        return {True: "present", False: "absent", None: "undetermined"}[self.present]

    def to_json(self) -> dict[str, Any]:
        """As commands print it and the ledger keeps it."""
        return {
            "code": self.code.value,
            "scheme": self.code.scheme,
            "meaning": self.code.meaning,
            "present": self.present,
            "probability": self.probability,
            "threshold": self.threshold,
            "measurements": [each.to_json() for each in self.measurements],
            "score": self.score,
            "sop_instance_uids": list(self.sop_instance_uids),
            "centre_mm": list(self.centre_mm) if self.centre_mm else None,
            "site": list(vars(self.site).values()) if self.site else None,
            "calibrated": self.is_calibrated,
            "near_chance": self.is_near_chance,
            "places": [each.to_json() for each in self.places],
            "measured_only": self.is_measured_only,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The finding that `to_json` wrote."""
        return cls(
            Code(data["scheme"], data["code"], data["meaning"]),
            data["present"],
            data["probability"],
            data["threshold"],
            tuple(Measurement.from_json(each) for each in data["measurements"]),
            data["score"],
            tuple(data["sop_instance_uids"]),
            tuple(data["centre_mm"]) if data["centre_mm"] else None,
            Code(*data["site"]) if data["site"] else None,
            data.get("calibrated", False),
            data.get("near_chance", False),
            tuple(Place.from_json(each) for each in data.get("places", ())),
            data.get("measured_only", False),
        )


@dataclass(frozen=True)
class ImageRef:
    """A SOP Instance as a result refers to it (PS3.3 10.8)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


NO_GOLDEN_CASE: Final = "no-golden-case"
GOLDEN_CASE_FAILED: Final = "golden-case-failed"
WHY_UNPROVEN: Final[Mapping[str, str]] = {
    NO_GOLDEN_CASE: "unproven: its card has no golden case",
    GOLDEN_CASE_FAILED: "unproven: its golden case fails",
}
"""What is said of a model that answers without having shown that it gives a known answer on this machine."""
NO_EVIDENCE: Final = "evidence"
"""Why an answer raises no flag although a rule of its card is met: the finding's evidence does not carry one. The other
reason is the mode: "mode-findings", "mode-shadow"."""
SCHEMA: Final = 2
"""Of an answer's JSON; a reader that meets another number does not know how to read it."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a study: the one type from the engine to report, ledger, page and command line.

    `model` is None where no model fits. `reason` says why it was not analysed, `fault` why it failed: a fingerprint
    without patient data. `triage` is what the card's rules propose. `images` are the instances that were looked
    at, and `coverage` counts all of the study's. `facts` go into the report as "key=value" parameters (PS3.16 TID
    4019), sorted by key. `sr`: where its report is: a file's absolute path, or from a ledger its SOP Instance UID.
    `is_synthetic`: the model was measured on drawn images alone; a page says so, told by who reads the cards.
    `conflicts`: how many of the images have a second, different version that is not decided on yet.
    `provenance`: what computed it, in full, for the ledger alone: it is no part of a report, and differs by machine.
    `unproven`: why the model had not shown that it gives a known answer here: a key of `WHY_UNPROVEN`; "" where it had.
    `mode`: that of the model when it answered. `no_flag`: why `triage` is none although a rule of the card is met.
    """

    state: State
    findings: tuple[Finding, ...] = ()
    reason: Reason | None = None
    fault: str | None = None
    triage: TriageClass | None = None
    images: tuple[ImageRef, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    facts: Mapping[str, str] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None
    version: str | None = None
    sr: str | None = None
    is_synthetic: bool = False
    conflicts: int = 0
    unproven: str = ""
    mode: Mode = Mode.LIVE
    no_flag: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def why(self) -> str | None:
        """The text of the reason or the fault, as JSON and the ledger have it under "reason"."""
        return str(self.reason) if self.reason else self.fault

    @property
    def flag(self) -> TriageClass | None:
        """The proposed class where it is one that asks for earlier reading than a study gets anyway."""
        return self.triage if self.triage is not None and self.triage.is_flag else None

    @property
    def is_in_part(self) -> bool:
        """Whether the study was analysed, but for images that the model ought to have seen, or their second content."""
        return self.state is State.ANALYSED and (self.coverage.missed > 0 or self.conflicts > 0)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Why the study was analysed in part, in English."""
        images = "1 image has" if self.conflicts == 1 else f"{self.conflicts} images have"
        doubt = f"{images} a second, different version that is not decided on yet" if self.conflicts else ""
        return tuple(each for each in (self.coverage.sentence, doubt) if each) if self.is_in_part else ()

    def doubted(self, conflicts: int) -> Self:
        """The same where so many of its images have a second content: what was not found is undetermined."""
        if self.state is not State.ANALYSED or conflicts == self.conflicts or not conflicts:
            return self
        return replace(self, findings=seen_in_part(self.findings), conflicts=conflicts)

    def doubted_for(self, sop_instance_uids: Collection[str]) -> Self:
        """The same where the images under these UIDs, as far as it looked at them, have a second content."""
        return self.doubted(len({each.sop_instance_uid for each in self.images}.intersection(sop_instance_uids)))

    def in_mode(self, mode: Mode) -> Self:
        """The same as a model gives it that is in this mode: unless that is live, no class is proposed, and a report
        says that a rule which is met raises no flag.
        """
        made = replace(self, mode=mode)
        if mode is Mode.LIVE or self.triage in (None, TriageClass.NONE):
            return made
        facts = dict(self.facts) | {"triage": f"{self.facts.get('triage', self.triage)}; raises no flag: mode {mode}"}
        return replace(made, triage=TriageClass.NONE, no_flag=f"mode-{mode}", facts=facts)

    def to_json(self) -> dict[str, Any]:
        """As commands print it and the ledger keeps it, with the number of its schema."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "version": self.version,
            "state": str(self.state),
            "in_part": self.is_in_part,
            "reason": self.why,
            "flag": str(self.flag) if self.flag else None,
            "triage": str(self.triage) if self.triage else None,
            "findings": [each.to_json() for each in self.findings],
            "images": self.coverage.to_json(),
            "analysed": [list(vars(each).values()) for each in self.images],
            "facts": dict(self.facts),
            "timings_ms": dict(self.timings_ms),
            "sr": self.sr,
            "conflicts": self.conflicts,
            "unproven": self.unproven or None,
            "mode": str(self.mode),
            "no_flag": self.no_flag or None,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises ValueError for another schema."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"an answer of schema {data['schema']}; this version reads {SCHEMA}")
        state = State(data["state"])
        reason, fault = why_of(state, data["reason"])
        return cls(
            state,
            tuple(Finding.from_json(each) for each in data["findings"]),
            reason,
            fault,
            TriageClass(data["triage"]) if data["triage"] else None,
            tuple(ImageRef(*each) for each in data["analysed"]),
            Coverage.from_json(data["images"]),
            data["facts"],
            data["timings_ms"],
            data["model"],
            data["version"],
            data["sr"],
            conflicts=data.get("conflicts", 0),
            unproven=data.get("unproven") or "",
            mode=Mode(data.get("mode") or Mode.LIVE),
            no_flag=data.get("no_flag") or "",
            provenance=data.get("provenance") or {},
        )


def why_of(state: State, text: str | None) -> tuple[Reason | None, str | None]:
    """The reason and the fault that `Answer.why` gave as one text. Raises ValueError for a reason off the list."""
    if state is State.FAILED:
        return None, text
    return Reason.parse(text) if text else None, None


def seen_in_part(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of a study of which images are missing: what was not found is undetermined, what was found stays."""
    return tuple(each if each.present else replace(each, present=None) for each in findings)


@dataclass(frozen=True)
class StudyResults:
    """All answers for one study. `files`: those that its objects were found in."""

    study_uid: str
    results: tuple[Answer, ...]
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `analyse --json` prints it."""
        results = [each.to_json() for each in self.results]
        return {"study_uid": self.study_uid, "files": list(self.files), "results": results}


def document(studies: Sequence[StudyResults]) -> dict[str, Any]:
    """The JSON document that `imaging analyse --json` prints."""
    return {"studies": [each.to_json() for each in studies]}
