"""Rows of boxes and their scores are where a finding is: each brought back to the images, and of those that overlap the
most probable kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.boxes import FORMATS, kept
from imaging.domain.card import BoxesSpec
from imaging.domain.faults import PublicError
from imaging.domain.findings import Finding
from imaging.domain.measures import COUNT
from imaging.domain.places import Place
from imaging.inference.decoders.placing import place_of
from imaging.inference.decoders.values import OUTSIDE, activated
from imaging.inference.prepared import FilmItem, Item, StackItem
from imaging.preparation.array import Tensor

Vector = NDArray[np.float64]

FAR: Final = 1.0
"""By how many times the input's own size a box may reach beyond it. Nets reach a little beyond what they see; boxes in
mm, or of another input, far."""
KEY_IMAGES: Final = 3
"""Of a volume a finding names so many, as a segment does."""


@dataclass(frozen=True)
class Boxes:
    """(n, axes) each, on the arrays' axes, in their voxels, the centre of the first at 0; and (n,)."""

    low: Vector
    high: Vector
    scores: Vector

    def of(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Boxes":
        """Some of them."""
        return Boxes(self.low[which], self.high[which], self.scores[which])


def decode(spec: BoxesSpec, outputs: Sequence[tuple[Tensor, ...]], items: Sequence[Item]) -> Finding:
    """As `Decoder` says. Of several acquisitions the finding is that of the one with the most probable box; films are
    each by itself. Raises PublicError.
    """
    found = [_boxes_of(spec, each, item) for each, item in zip(outputs, items, strict=True)]
    pairs = list(zip(found, items, strict=True))
    if not isinstance(items[0], StackItem):
        return _finding(spec, [place for boxes, item in pairs for place in _placed(boxes, item)])
    acquired = groupby(pairs, key=lambda pair: pair[1].acquisition if isinstance(pair[1], StackItem) else 0)
    findings = [_finding(spec, list(_of_acquisition(list(stacks)))) for _, stacks in acquired]
    return max(findings, key=lambda each: (each.probability or 0.0, len(each.places)))


def _finding(spec: BoxesSpec, places: Sequence[Place]) -> Finding:
    told = sorted(places, key=lambda each: -(each.score or 0.0))[: spec.top]
    probability = told[0].score if told else 0.0
    seen = [each for each in told if (each.score or 0.0) >= spec.threshold]
    return Finding(
        code=spec.code,
        present=bool(seen),
        probability=probability,
        threshold=spec.threshold,
        measurements=(COUNT.of(len(seen)),),
        score=probability,
        sop_instance_uids=_key_images(seen),
        centre_mm=seen[0].centre_mm if seen else None,
        places=tuple(told),
    )


def _key_images(seen: Sequence[Place]) -> tuple[str, ...]:
    """The images that show the boxes best: each film, of a volume those of the most probable."""
    uids = list(dict.fromkeys(each.image[0] for each in seen))
    return tuple(uids[:KEY_IMAGES] if seen and seen[0].corners_mm else uids)


def _placed(boxes: Boxes, item: Item) -> Iterator[Place]:
    for low, high, score in zip(boxes.low, boxes.high, boxes.scores, strict=True):
        place = place_of(item, low, high, round(float(score), 6))
        if place is not None:
            yield place


def _of_acquisition(stacks: Sequence[tuple[Boxes, Item]]) -> Iterator[Place]:
    """The places of an acquisition's stacks. Each stack is seen with the others around it, so that several may find one
    box: the first tells it whose slices hold its middle.
    """
    before: list[StackItem] = []
    for boxes, item in stacks:
        assert isinstance(item, StackItem)
        middles = item.grid.to_patient((boxes.low + boxes.high) / 2)
        others = [each for _, each in stacks if isinstance(each, StackItem) and each is not item]
        own = ~_held(before, middles) & (_held([item], middles) | ~_held(others, middles))
        yield from _placed(boxes.of(own), item)
        before.append(item)


def _held(items: Sequence[StackItem], places: Vector) -> NDArray[np.bool_]:
    held = np.zeros(len(places), np.bool_)
    for item in items:
        held |= item.volume.nearest(places)[1]
    return held


# What the network gave ---------------------------------------------------------------------------------------------


def _boxes_of(spec: BoxesSpec, outputs: tuple[Tensor, ...], item: Item) -> Boxes:
    """The boxes of an item that are believed, the most probable first. Raises PublicError."""
    shape = next(iter(item.arrays.values())).shape[1:]
    scores = _scores(spec, outputs)
    wanted = scores >= spec.score_min
    low, high = FORMATS[spec.format].ends(outputs[0][wanted].astype(np.float64))
    if spec.zero == "edge":
        low, high = low - 0.5, high - 0.5
    assert isinstance(item, FilmItem | StackItem)
    order = [spec.axes.index(letter) for letter in item.axes]
    boxes = _checked(spec, Boxes(low[:, order], high[:, order], scores[wanted]), np.array(shape, np.float64))
    return boxes.of(kept(boxes.low, boxes.high, boxes.scores, spec.nms, spec.top))


def _scores(spec: BoxesSpec, outputs: tuple[Tensor, ...]) -> Vector:
    """Of each row, how probable it is this finding: -1 where it is another one. Raises PublicError."""
    rows, raw = len(outputs[0]), outputs[1]
    if len(raw) != rows or any(each.shape != (rows,) for each in outputs[2:]):
        gave = ", ".join(str(len(each)) for each in outputs)
        raise PublicError(
            f"the network gave {gave} rows of boxes, scores and labels: expected one of each for each box"
        )
    columns = raw[:, None] if raw.ndim == 1 else raw
    channel = spec.channel if columns.shape[1] > 1 else 0
    if spec.activation == "none" and columns.size:
        least, most = float(columns[:, channel].min()), float(columns[:, channel].max())
        if least < -OUTSIDE or most > 1 + OUTSIDE:
            raise PublicError(
                f"the network's output {spec.scores} has values outside 0..1, but the card has "
                'score = "none": are they logits, for sigmoid or softmax?'
            )
    scores = activated(columns.T, spec.activation)[channel].astype(np.float64) if rows else np.zeros(0)
    return np.where(outputs[2] == spec.channel, scores, -1.0) if len(outputs) > 2 else scores


def _checked(spec: BoxesSpec, boxes: Boxes, size: Vector) -> Boxes:
    """The boxes cut to the array, without those of which nothing is left. Raises PublicError: one that cannot be."""
    if (boxes.high < boxes.low).any():
        raise PublicError(
            f"the network's output {spec.output or 'of boxes'} has a box of a negative size, read as "
            f'"{spec.format}": is this its format?'
        )
    if (boxes.low < -FAR * size - 0.5).any() or (boxes.high > (1 + FAR) * size - 0.5).any():
        sizes = " x ".join(f"{each:g}" for each in size)
        raise PublicError(
            f"the network's output {spec.output or 'of boxes'} has a box that reaches further beyond the input "
            f"({sizes}) than this is long: are the boxes in its pixels, and on the axes of the card?"
        )
    low, high = np.maximum(boxes.low, -0.5), np.minimum(boxes.high, size - 0.5)
    return Boxes(low, high, boxes.scores).of(np.flatnonzero((high > low).all(axis=1)))
