"""Whether a model that is run in another way gives the same answers: on its golden case, else on drawn images."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import SegmentSpec
from imaging.domain.faults import PublicError
from imaging.domain.findings import Finding, ImageRef
from imaging.domain.tuning import Parity
from imaging.inference.analyser import Analyser
from imaging.inference.decoders.registry import decode
from imaging.inference.decoders.values import values_of
from imaging.inference.golden import sources_of
from imaging.inference.prepared import Item
from imaging.inference.running import through
from imaging.preparation.array import Tensor

Mask = NDArray[np.bool_]

DRAWN: Final = 8
"""How many images are drawn for a card without a golden case."""
_COARSE: Final = 8
_IMAGE: Final = ImageRef("2.25.1", "2.25.2", "2.25.3")


@dataclass(frozen=True)
class Observed:
    """What a model makes of known images. `findings`: by image and code. `masks`: likewise, on the network's grid."""

    on_golden: bool
    findings: Mapping[str, tuple[float | None, bool | None]]
    masks: Mapping[str, Mask]

    def to_json(self) -> dict[str, Any]:
        """As it is sent to another process."""
        masks = {name: [list(each.shape), _text_of(each)] for name, each in self.masks.items()}
        return {"on_golden": self.on_golden, "findings": {**self.findings}, "masks": masks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Observed":
        """The inverse of `to_json`."""
        findings = {name: (each[0], each[1]) for name, each in data["findings"].items()}
        masks = {name: _mask_of(shape, text) for name, (shape, text) in data["masks"].items()}
        return cls(data["on_golden"], findings, masks)


def observed(analyser: Analyser) -> Observed:
    """Runs the golden case, else drawn images. Raises PublicError, NotAnalysable, MemoryError."""
    card = analyser.card
    if card.golden is None:
        return _observed(
            analyser, {f"drawn {at}": [item] for at, item in enumerate(drawn(analyser, DRAWN))}, on_golden=False
        )
    items = analyser.prepare_chosen(sources_of(card.folder / card.golden.input)).items
    return _observed(analyser, {"golden": items}, on_golden=True)


def _observed(analyser: Analyser, cases: Mapping[str, Sequence[Item]], *, on_golden: bool) -> Observed:
    card = analyser.card
    findings: dict[str, tuple[float | None, bool | None]] = {}
    masks: dict[str, Mask] = {}
    for name, items in cases.items():
        outputs = []
        for ran in through(analyser.engine, card, items):
            if isinstance(ran.outputs, Exception):
                raise ran.outputs
            outputs.append(ran.outputs)
        if on_golden or not any(each.is_map for each in card.findings):  # a drawn volume has no place in a patient
            found: Sequence[Finding] = decode(card, outputs, items)
            findings |= {f"{name}: {each.code.value}": (each.probability, each.present) for each in found}
        for spec in (each for each in card.findings if isinstance(each, SegmentSpec)):
            for at, output in enumerate(outputs):
                masks[f"{name} {at}: {spec.code.value}"] = _mask(spec, output[card.output_of(spec)])
    return Observed(on_golden, findings, masks)


def _mask(spec: SegmentSpec, output: Tensor) -> Mask:
    """Before components are chosen: those of a few voxels would make large differences of small ones."""
    if spec.pick == "argmax":
        return np.asarray(output.argmax(axis=0) == spec.channel)
    return np.asarray(values_of(spec, output)[spec.channel] >= spec.mask_at)


def parity(reference: Observed, other: Observed) -> Parity:
    """How far one is from the other. Raises PublicError where they are not of the same images and findings."""
    if reference.findings.keys() != other.findings.keys() or reference.masks.keys() != other.masks.keys():
        raise PublicError("it does not answer for the same findings")
    pairs = [(each, other.findings[name]) for name, each in reference.findings.items()]
    differences = [abs(a - b) for (a, _), (b, _) in pairs if a is not None and b is not None]
    crossed = sum(a[1] != b[1] or (a[0] is None) != (b[0] is None) for a, b in pairs)
    dices = [dice(each, other.masks[name]) for name, each in reference.masks.items()]
    return Parity(max(differences, default=None), crossed, min(dices, default=None), reference.on_golden)


def dice(a: Mask, b: Mask) -> float:
    """Twice what both have, by what each has; 1 where neither has any, 0 where the grids differ."""
    if a.shape != b.shape:
        return 0.0
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def drawn(analyser: Analyser, count: int, sizes: tuple[int, ...] | None = None) -> list[Item]:
    """Images as the card's steps leave them, of random blots and noise, the same at each call; mean 0, deviation 1.

    `sizes`: of each, without its channels; None: as the card has it.
    """
    random = np.random.default_rng(20)
    made = []
    for _ in range(count):
        arrays = {}
        for role, shape in analyser.shapes.items():
            size = sizes or shape[1:]
            blots = random.normal(size=tuple(-(-each // _COARSE) for each in size))
            for axis, side in enumerate(size):
                blots = np.take(np.repeat(blots, _COARSE, axis), np.arange(side), axis)
            values = blots + 0.5 * random.normal(size=(shape[0], *size))
            arrays[role] = ((values - values.mean()) / values.std()).astype(np.float32)
        made.append(Item(arrays, (_IMAGE,)))
    return made


def _text_of(mask: Mask) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 1)).decode()


def _mask_of(shape: Sequence[int], text: str) -> Mask:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
