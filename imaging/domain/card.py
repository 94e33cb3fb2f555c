"""A model's card: how it is fed, gated and read. `imaging.models` reads it from `card.toml` (docs/models.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from imaging.domain.codes import Code
from imaging.domain.findings import TriageClass
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
class Engine:
    """What runs the weights. `memory_mb` and `seconds`: what one job may take of both."""

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
    """`when` the finding with this code value is that probable, the study asks for `triage`. Rules only raise."""

    finding: str
    at_least: float
    triage: TriageClass


@dataclass(frozen=True)
class Golden:
    """An input whose output is known: where a card has one, serving needs it to agree within `tolerance`."""

    input: str
    output: str
    tolerance: float


UNPROVEN: Final = "unproven: its card has no golden case"
"""What is said of a model that is served without having shown that it gives a known answer on this machine."""


@dataclass(frozen=True)
class Card:
    """A model as its folder describes it. `digest`: SHA-256 of `card.toml`, in hex."""

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

    @property
    def is_synthetic(self) -> bool:
        """Whether all that it was measured on is drawn: each evidence's `data` then begins with "synthetic"."""
        measured_on = [str(each.get("data", "")) for each in self.evidence]
        return bool(measured_on) and all(each.startswith("synthetic") for each in measured_on)

    @property
    def is_volume(self) -> bool:
        """Whether the model takes a whole series as one volume, rather than single images."""
        return any(each.images != "each" for each in self.inputs)
