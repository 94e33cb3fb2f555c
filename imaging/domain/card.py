"""A model's card: how it is fed, gated and read. `imaging.models` reads it from `card.toml` (docs/models.md)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from imaging.domain.codes import Code
from imaging.domain.findings import NO_GOLDEN_CASE, WHY_UNPROVEN, TriageClass
from imaging.domain.modes import Mode
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


class Lane(StrEnum):
    """Where a worker runs a model's jobs: each lane leases and runs for itself, so that none waits for another."""

    FILMS = "films"
    VOLUMES = "volumes"

    @property
    def is_side_by_side(self) -> bool:
        """Whether jobs run beside each other, each on one core; else one at a time, on all cores."""
        return self is Lane.FILMS


@dataclass(frozen=True)
class Input:
    """One role that a model's input plays, and which images may play it. Each kind of input is a class of its own,
    with a reader under its `kind` in `imaging.inference.readers`.

    `site`: what the words of this site's headers mean; it comes from the settings, not from the card.
    """

    role: str
    modality: tuple[str, ...]
    sop_class_uids: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    contrast: Literal["yes", "no", "any"] = "any"
    weighting: str = ""
    derived: bool = False
    site: SiteWords = NONE

    kind: ClassVar[str]
    axes: ClassVar[int]
    """Of an array as the network takes it, without batch and channels."""
    lane: ClassVar[Lane]
    findings: ClassVar[tuple[str, ...]]
    """Kinds of finding that may be read of it."""
    is_series: ClassVar[bool]
    """Whether images of one series are one input."""


@dataclass(frozen=True)
class FilmInput(Input):
    """Projection images, each by itself. `images`: "each", or what is not yet supported."""

    images: Literal["each", "best", "all"] = "each"

    kind = "film"
    axes = 2
    lane = Lane.FILMS
    findings = ("label",)
    is_series = False


@dataclass(frozen=True)
class VolumeInput(Input):
    """Slices that make a volume. `slices`, `extent_mm`: (min, max)."""

    images: Literal["best", "all"] = "all"
    slices: tuple[int, int] | None = None
    extent_mm: tuple[float, float] | None = None
    max_gap_mm: float | None = None
    missing: Literal["refuse", "interpolate"] = "refuse"
    prefer: tuple[str, ...] = ()

    kind = "volume"
    axes = 3
    lane = Lane.VOLUMES
    findings = ("segment",)
    is_series = True


@dataclass(frozen=True)
class Step:
    """One step of preparation out of the closed set; `options` are the card's other keys."""

    do: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """How a volume is cut into patches: `roi` in voxels, in the array's order, `overlap` as a share of it.

    `padding`: of a volume that is smaller than a patch: at the end of each axis with its `least` value, or at both ends
    with `zero` or by what lies at them (`replicate`). `flat`: the axis along which a patch is one voxel and the network
    sees none, since it takes slices.
    """

    roi: tuple[int, int, int]
    overlap: float = 0.25
    blend: Literal["gaussian", "constant"] = "gaussian"
    batch: int = 1
    padding: Literal["least", "zero", "replicate"] = "least"
    flat: int | None = None


@dataclass(frozen=True)
class WeightsFile:
    """A file that the network is made of. `name`: from the model's folder; `sha256`: in hex."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Network:
    """A network that is built by its name, with plain values as its options, and takes its weights from a file."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


CONTIGUOUS: Final = "contiguous"
CHANNELS_LAST: Final = "channels-last"
"""How torch lays images out in memory."""


@dataclass(frozen=True)
class Engine:
    """What runs the weights. `inputs`: the network's name for what plays each role; `outputs`: the names of those that
    are read. `memory_mb` and `seconds`: what one job may take of both. `batch`: how many jobs are taken together.

    `at_once`: how many of them go through the network in one run; `threads`: of each run, where it is one of several
    beside each other (films), or of all (volumes); None: as the engine has it. `is_tuned`: whether these, the
    kind and the precision were found by tuning. `device`: "cpu" or "cuda:N". `memory_format`: of torch.

    `beside`: the files that answer for the network with `file` (ONNX's external data, a bundle's configuration), as
    they were when the card was read. `network`: where the file holds weights alone.
    """

    kind: Literal["onnx", "torch", "openvino"]
    file: str
    sha256: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    precision: str = "f32"
    batch: int = 1
    at_once: int = 1
    threads: int | None = None
    is_tuned: bool = False
    device: str = "cpu"
    memory_format: str = CONTIGUOUS
    memory_mb: int = 1000
    seconds: float = 60.0
    window: Window | None = None
    beside: tuple[WeightsFile, ...] = ()
    network: Network | None = None

    @property
    def files(self) -> tuple[WeightsFile, ...]:
        """All that the network is loaded from."""
        return WeightsFile(self.file, self.sha256), *self.beside

    @property
    def digest(self) -> str:
        """SHA-256 of all weights, in hex: the file's own where it has none beside it."""
        return covering(bytes.fromhex(self.sha256), self.beside) if self.beside else self.sha256


def covering(card_bytes: bytes, beside: Sequence[WeightsFile]) -> str:
    """SHA-256, in hex, of bytes and of the files that lie beside them: the bytes' own where there are none."""
    digest = hashlib.sha256(card_bytes)
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
    """How one channel of an output becomes a finding. Each kind is a class of its own, which the card names by `as`,
    with a decoder under its `kind` in `imaging.inference.decoders`.

    `output`: which of the network's; empty: the only one.
    """

    channel: int
    code: Code
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    calibration: Calibration | None = None
    threshold: float = 0.5
    chosen: str = ""
    site: Code | None = None
    output: str = ""

    kind: ClassVar[str]
    is_map: ClassVar[bool]
    """Whether the output has a value for each voxel of the input, rather than one for all of it."""


@dataclass(frozen=True)
class LabelSpec(FindingSpec):
    """The activated channel is the probability; present at `threshold` or more."""

    kind = "label"
    is_map = False


@dataclass(frozen=True)
class SegmentSpec(FindingSpec):
    """The mask of voxels at or above `mask_at`; components under `min_ml` are dropped; present where each measurement
    that `present` names is at least its number there, and where it has a `probability`, that is at least `threshold`.

    `pick`: by `threshold`, or by `argmax`: where the channel has the highest value of all. `carried`: what is brought
    from the network's grid to the study's own voxels: the `mask`, by the nearest, or the `values`, linear, of which the
    mask is then taken. `keep`: all components, or the largest alone.
    """

    mask_at: float = 0.5
    min_ml: float = 0.0
    pick: Literal["threshold", "argmax"] = "threshold"
    carried: Literal["mask", "values"] = "mask"
    keep: Literal["all", "largest"] = "all"
    measure: tuple[str, ...] = ()
    present: Mapping[str, float] = field(default_factory=dict)
    probability: str = ""

    kind = "segment"
    is_map = True


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
        conditions = [f">= {self.at_least:g}"] if self.at_least is not None else []
        conditions += [f"volume_ml >= {self.volume_ml:g}"] if self.volume_ml is not None else []
        return f"{self.finding} {' and '.join(conditions)}: {self.triage}"


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
    `mode`: as the card says, unless the settings say another.
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
    mode: Mode = Mode.LIVE

    @property
    def is_synthetic(self) -> bool:
        """Whether all that it was measured on is drawn: each evidence's `data` then begins with "synthetic"."""
        measured_on = [str(each.get("data", "")) for each in self.evidence]
        return bool(measured_on) and all(each.startswith("synthetic") for each in measured_on)

    def input(self, role: str) -> Input:
        """The input that plays a role."""
        return next(each for each in self.inputs if each.role == role)

    @property
    def lane(self) -> Lane:
        """Where its jobs run: with the largest of its inputs."""
        return Lane.VOLUMES if any(each.lane is Lane.VOLUMES for each in self.inputs) else Lane.FILMS

    @property
    def names_each_image(self) -> bool:
        """Whether its reports name all images that were looked at: few films, never the slices of a volume."""
        return not any(each.is_series for each in self.inputs)

    def output_of(self, spec: FindingSpec) -> str:
        """The network's name of the output that a finding is read of."""
        return spec.output or self.engine.outputs[0]

    def read_of(self, output: str) -> list[FindingSpec]:
        """The findings that are read of one of the network's outputs."""
        return [each for each in self.findings if self.output_of(each) == output]

    def is_near_chance(self, spec: FindingSpec) -> bool:
        """Whether an evidence of this finding does not exclude that the model guesses: the lower bound of its AUC's
        interval (`ci95`; where it names none, the AUC itself) is not above one half.
        """
        measured = (_lower_bound(each) for each in self.evidence if each.get("finding") == spec.code.value)
        return any(bound is not None and bound <= CHANCE for bound in measured)


def _lower_bound(evidence: Mapping[str, Any]) -> float | None:
    """Of an evidence's AUC, as far as its keys, which a card may choose, are read so; None where it says none."""
    bounds = evidence.get("ci95") or [evidence.get("auc")]
    first = bounds[0] if isinstance(bounds, list) else None
    return float(first) if "auc" in evidence and isinstance(first, int | float) else None
