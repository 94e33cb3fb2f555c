"""A model's card: how it is fed, gated and read. `imaging.models` reads it from `card.toml` (docs/models.md)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

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

    @property
    def is_together(self) -> bool:
        """Whether the network takes all images of a study at once, along an axis of their own before the channels."""
        return False


@dataclass(frozen=True)
class FilmInput(Input):
    """Projection images. `images`: each by itself, so that a study's answer is of any of them; the best one alone; or
    all of a study together, as one input with an axis for them before the channels.
    """

    images: Literal["each", "best", "all"] = "each"

    kind = "film"
    axes = 2
    lane = Lane.FILMS
    findings = ("label", "segment", "boxes", "number")
    is_series = False

    @property
    def is_together(self) -> bool:
        """As `Input` says."""
        return self.images == "all"


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
    findings = ("label", "segment", "boxes", "number")
    is_series = True


@dataclass(frozen=True)
class Step:
    """One step of preparation out of the closed set; `options` are the card's other keys. `roles`: of which inputs;
    empty: of all.
    """

    do: str
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ()

    def is_of(self, role: str) -> bool:
        """Whether it prepares what plays a role."""
        return not self.roles or role in self.roles


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
    """A file that the network is made of. `name`: from the model's folder; `sha256`: in hex. `is_on_card`: whether the
    card states the digest, so that it is refused once it has another.
    """

    name: str
    sha256: str
    is_on_card: bool = False


@dataclass(frozen=True)
class Network:
    """A network that is built by its name, with plain values as its options, and takes its weights from a file."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """What runs the weights. `inputs`: the network's name for what plays each role; roles of one name are the channels
    of one input, in this order. `reference`: the role onto whose grid volumes of the others are brought; empty: the
    first. `outputs`: the names of those that are read, the first for findings that name none. `is_channels_last`: of
    images and maps, behind their sizes. `memory_mb` and `seconds`: what one job may take of both.

    `beside`: the files that answer for the network with `file` (ONNX's external data, a bundle's configuration), as
    they were when the card was read. `network`: where the file holds weights alone.
    """

    kind: Literal["onnx", "torch"]
    file: str
    sha256: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    precision: str = "f32"
    batch: int = 1
    memory_mb: int = 1000
    seconds: float = 60.0
    window: Window | None = None
    beside: tuple[WeightsFile, ...] = ()
    network: Network | None = None
    reference: str = ""
    is_channels_last: bool = False

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """By the network's name of each input, the roles that play it. The first of them stands for all in an item."""
        names = dict.fromkeys(self.inputs.values())
        return {name: tuple(role for role, own in self.inputs.items() if own == name) for name in names}

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

    `output`: which of the network's; empty: the first that the card names.
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
    form: ClassVar[Literal["channels", "map", "boxes"]]
    """What the output has: a value for each channel, one for each voxel of the input as well, or rows of boxes."""
    is_by_probability: ClassVar[bool] = False
    """Whether it is present just where its probability is at least `threshold`."""

    @property
    def is_map(self) -> bool:
        """Whether the output has a value for each voxel of the input, rather than one for all of it."""
        return self.form == "map"

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """Those of the network that it reads beside `output`."""
        return ()


@dataclass(frozen=True)
class LabelSpec(FindingSpec):
    """The activated channel is the probability; present at `threshold` or more."""

    kind = "label"
    form = "channels"
    is_by_probability = True


@dataclass(frozen=True)
class SegmentSpec(FindingSpec):
    """The mask of voxels at or above `mask_at`; components under `min_ml` are dropped; present where each measurement
    that `present` names is at least its number there, and where it has a `probability`, that is at least `threshold`.

    On a film sizes are in pixels of the image as it is stored, and mm2 where these have a size.

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
    form = "map"


@dataclass(frozen=True)
class BoxesSpec(FindingSpec):
    """Boxes with their scores, of which those that overlap by more than `nms` are one. The probability is the highest
    score that is kept; present at `threshold` or more.

    `output`: the boxes, (boxes, 4) of films, (boxes, 6) of volumes. `scores`: (boxes,), or (boxes, channels) of which
    `channel` is this finding's. `labels`: the number of each box's finding, where there is such an output; `channel` is
    this one's. `activation`: what makes shares of 1 of the scores.

    `format`: of `imaging.domain.boxes`. `axes`: which axis each of its x, y and z is: of a film "x" along a row and "y"
    down a column; of a volume after `orient` x from side to side, y from front to back, z from head to foot, without it
    x, y and z along a row, down a column and along the slices. `zero`: where coordinates begin: at the first pixel's
    `centre`, or at its outer `edge`, half a pixel before.
    """

    format: str = "xyxy"
    axes: str = "xy"
    scores: str = "scores"
    labels: str = ""
    zero: Literal["centre", "edge"] = "centre"
    score_min: float = 0.02
    nms: float = 0.22
    top: int = 100

    kind = "boxes"
    form = "boxes"
    is_by_probability = True

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """As `FindingSpec` says."""
        return self.scores, *((self.labels,) if self.labels else ())


@dataclass(frozen=True)
class NumberSpec(FindingSpec):
    """factor * channel + offset is a measurement in `unit` (UCUM), whose name is the finding's code.

    `range`: what it can be; anything else is a fault of the network. `at_least`, `at_most`: present where it lies
    between; None: no bound. Where it has neither, presence is never asked.
    """

    unit: str = "1"
    range: tuple[float, float] = (0.0, 1.0)
    factor: float = 1.0
    offset: float = 0.0
    decimals: int = 2
    at_least: float | None = None
    at_most: float | None = None

    kind = "number"
    form = "channels"

    @property
    def is_measured_only(self) -> bool:
        """Whether presence is never asked."""
        return self.at_least is None and self.at_most is None

    def holds(self, value: float) -> bool:
        """Whether the finding is present at a value."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class TriageRule:
    """`when` the finding with this code value is present, and as probable and as large as is asked for, the study asks
    for `triage`. Rules only raise. `at_least`, of its probability, `volume_ml`, and of a number `value_least` and
    `value_most`: None where not asked for.
    """

    finding: str
    at_least: float | None
    triage: TriageClass
    volume_ml: float | None = None
    value_least: float | None = None
    value_most: float | None = None

    @property
    def text(self) -> str:
        """As reports state it: "1386000 >= 0.83: stat", "1386000 volume_ml >= 5: stat"."""
        conditions = [f">= {self.at_least:g}"] if self.at_least is not None else []
        conditions += [f"volume_ml >= {self.volume_ml:g}"] if self.volume_ml is not None else []
        conditions += [f"value >= {self.value_least:g}"] if self.value_least is not None else []
        conditions += [f"value <= {self.value_most:g}"] if self.value_most is not None else []
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

    def outputs_of(self, spec: FindingSpec) -> tuple[str, ...]:
        """The names of all that it is read of, that one first."""
        return self.output_of(spec), *spec.further_outputs

    def read_of(self, output: str) -> list[FindingSpec]:
        """The findings that are read of one of the network's outputs."""
        return [each for each in self.findings if output in self.outputs_of(each)]

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
