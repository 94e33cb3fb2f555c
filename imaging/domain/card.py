"""A model's card: how it is fed, gated and read. `imaging.models` reads it from `card.toml` (docs/models.md)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from imaging.domain.codes import Code
from imaging.domain.findings import NO_GOLDEN_CASE, WHY_UNPROVEN, TriageClass
from imaging.domain.site_words import NONE, SiteWords

Absent = Literal["pass", "refuse", "doubt"]


@dataclass(frozen=True)
class Gate:
    """A condition on a header value: one of `any`, or a number of at least `min` and at most `max`.

    `absent` says what a missing value means. `doubt` is decided by a check on the pixels where the package ships
    one, and refuses elsewhere.
    """

    tag: str
    any: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    absent: Absent = "refuse"


@dataclass(frozen=True)
class Input:
    """One role that a model's input plays, and which series may play it. `slices`, `extent_mm`: (min, max).

    `site`: what the words of this site's headers mean; it comes from the settings, not from the card.
    """

    role: str
    modality: tuple[str, ...]
    sop_class_uids: tuple[str, ...] = ()
    images: Literal["each", "best", "all"] = "all"
    gates: tuple[Gate, ...] = ()
    slices: tuple[int, int] | None = None
    extent_mm: tuple[float, float] | None = None
    max_gap_mm: float | None = None
    missing: Literal["refuse", "interpolate"] = "refuse"
    contrast: Literal["yes", "no", "any"] = "any"
    weighting: str = ""
    derived: bool = False
    prefer: tuple[str, ...] = ()
    site: SiteWords = NONE


@dataclass(frozen=True)
class Step:
    """One step of preparation out of the closed set; `options` are the card's other keys."""

    do: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """How a volume is cut into patches: `roi` in voxels, in the array's order, `overlap` as a share of it."""

    roi: tuple[int, int, int]
    overlap: float = 0.25
    blend: Literal["gaussian", "constant"] = "gaussian"
    batch: int = 1


@dataclass(frozen=True)
class WeightsFile:
    """A file that the network is made of. `name`: from the model's folder; `sha256`: in hex."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Engine:
    """What runs the weights. `memory_mb` and `seconds`: what one job may take of both.

    `beside`: the files that `file` itself takes weights from (ONNX's external data), as they were when the card was
    read.
    """

    kind: Literal["onnx"]
    file: str
    sha256: str
    input: str
    output: str
    precision: str = "f32"
    batch: int = 1
    memory_mb: int = 1000
    seconds: float = 60.0
    window: Window | None = None
    beside: tuple[WeightsFile, ...] = ()

    @property
    def files(self) -> tuple[WeightsFile, ...]:
        """All that the network is loaded from."""
        return WeightsFile(self.file, self.sha256), *self.beside

    @property
    def digest(self) -> str:
        """SHA-256 of all weights, in hex: the file's own where it has none beside it."""
        return covering(bytes.fromhex(self.sha256), self.beside) if self.beside else self.sha256


def covering(said: bytes, beside: Sequence[WeightsFile]) -> str:
    """SHA-256, in hex, of bytes and of the files that lie beside them: the bytes' own where there are none."""
    digest = hashlib.sha256(said)
    for each in beside:
        digest.update(f"\0{each.name}\0{each.sha256}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True)
class Calibration:
    """Platt: probability = sigmoid(a * logit + b)."""

    kind: Literal["platt"]
    a: float
    b: float
    data: str = ""


@dataclass(frozen=True)
class FindingSpec:
    """How one output channel becomes a finding.

    `label`: the activated channel is the probability; present at `threshold` or more. `segment`: the mask of voxels
    at or above `mask_at`; components under `min_ml` are dropped; present where each measurement that `present` names
    is at least its number there.
    """

    channel: int
    code: Code
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    kind: Literal["label", "segment"] = "label"
    calibration: Calibration | None = None
    threshold: float = 0.5
    chosen: str = ""
    site: Code | None = None
    mask_at: float = 0.5
    min_ml: float = 0.0
    measure: tuple[str, ...] = ()
    present: Mapping[str, float] = field(default_factory=dict)
    probability: str = ""


@dataclass(frozen=True)
class TriageRule:
    """`when` the finding with this code value is present, and as probable and as large as is asked for, the study asks
    for `triage`. Rules only raise. `at_least`, of its probability, and `volume_ml`: None where not asked for.
    """

    finding: str
    at_least: float | None
    triage: TriageClass
    volume_ml: float | None = None

    @property
    def text(self) -> str:
        """As reports state it: "1386000 >= 0.83: stat", "1386000 volume_ml >= 5: stat"."""
        asked = [f">= {self.at_least:g}"] if self.at_least is not None else []
        asked += [f"volume_ml >= {self.volume_ml:g}"] if self.volume_ml is not None else []
        return f"{self.finding} {' and '.join(asked)}: {self.triage}"


@dataclass(frozen=True)
class Golden:
    """An input whose output is known: where a card has one, serving needs it to agree within `tolerance`."""

    input: str
    output: str
    tolerance: float


UNPROVEN: Final = WHY_UNPROVEN[NO_GOLDEN_CASE]
"""What is said of a model that is served without having shown that it gives a known answer on this machine."""


CHANCE: Final = 0.5
"""The area under the curve of who guesses."""


@dataclass(frozen=True)
class Card:
    """A model as its folder describes it.

    `digest`: SHA-256, in hex, of all that makes its answers: of `card.toml`, which names the digest of the weights'
    file, and of what this file takes from others. `kept`: where its weights lie as they were hashed, if they are kept.
    """

    id: str
    version: str
    name: str
    maker: str
    licence: str
    device_uid: str
    status: Literal["demonstration", "research", "validated-here"]
    use: str
    not_for: tuple[str, ...]
    inputs: tuple[Input, ...]
    prepare: tuple[Step, ...]
    engine: Engine
    findings: tuple[FindingSpec, ...]
    triage: tuple[TriageRule, ...]
    evidence: tuple[Mapping[str, Any], ...]
    golden: Golden | None
    folder: Path
    digest: str
    kept: Path | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether all that it was measured on is drawn: each evidence's `data` then begins with "synthetic"."""
        measured_on = [str(each.get("data", "")) for each in self.evidence]
        return bool(measured_on) and all(each.startswith("synthetic") for each in measured_on)

    @property
    def channels(self) -> int:
        """How many channels its steps make of the one that an image has."""
        return next((int(step.options["count"]) for step in self.prepare if step.do == "repeat-channels"), 1)

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """Rows and columns of a prepared film; of a volume, or of its patches, in the array's order. None: its own."""
        if self.engine.window is not None:
            return self.engine.window.roi
        named = [step.options["shape"] for step in self.prepare if step.do in ("resize", "crop-centre")]
        return tuple(map(min, *named)) if len(named) > 1 else tuple(named[0]) if named else None

    def is_near_chance(self, spec: FindingSpec) -> bool:
        """Whether an evidence of this finding does not exclude that the model guesses: the lower bound of its AUC's
        interval (`ci95`; where it names none, the AUC itself) is not above one half.
        """
        measured = (_lower_bound(each) for each in self.evidence if each.get("finding") == spec.code.value)
        return any(bound is not None and bound <= CHANCE for bound in measured)

    @property
    def is_volume(self) -> bool:
        """Whether the model takes a whole series as one volume, rather than single images."""
        return any(each.images != "each" for each in self.inputs)


def _lower_bound(evidence: Mapping[str, Any]) -> float | None:
    """Of an evidence's AUC, as far as its keys, which a card may choose, are read so; None where it says none."""
    said = evidence.get("ci95") or [evidence.get("auc")]
    first = said[0] if isinstance(said, list) else None
    return float(first) if "auc" in evidence and isinstance(first, int | float) else None
