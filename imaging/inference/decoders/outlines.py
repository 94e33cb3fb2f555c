"""A number for each pixel of a film and channel is how probable a finding is there: measured on the image as it is
stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import SegmentSpec
from imaging.domain.findings import Finding, Measurement
from imaging.domain.measures import MEASURES, PIXELS
from imaging.domain.places import Place
from imaging.inference.decoders.segment import largest_component, picked
from imaging.inference.decoders.values import calibrated, values_of
from imaging.inference.prepared import FilmItem
from imaging.inference.volume import held
from imaging.preparation.array import Tensor

Labels = NDArray[np.integer[Any]]

PLACES: Final = 20
"""Of a film, as many components are placed, the largest first."""


@dataclass(frozen=True)
class Outline:
    """What a finding's mask is on a film.

    `labels`: by component, 0 where there is none, on a box of its pixels as they are stored, of which `first` is the
    first (row, column). `score`: the mean over the largest component on the network's grid.
    """

    item: FilmItem
    labels: Labels
    first: tuple[int, int]
    score: float

    def pixels(self) -> int:
        """How many there are."""
        return int((self.labels > 0).sum())

    def share(self) -> float:
        """Of the whole film."""
        rows, columns = self.item.size
        return self.pixels() / (rows * columns)

    def places(self) -> Iterator[Place]:
        """The components, the largest first."""
        sizes = np.bincount(self.labels.reshape(-1))
        sizes[0] = 0
        image = (self.item.images[0].sop_instance_uid, 1)
        for label in np.argsort(-sizes, kind="stable")[:PLACES]:
            if sizes[label]:
                places = zip(np.nonzero(self.labels == label), self.first, strict=True)
                rows, columns = (each + start for each, start in places)
                box = (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
                left, top, right, bottom = map(float, box)
                centre = (round(float(columns.mean()), 2), round(float(rows.mean()), 2))
                yield Place(image, (left, top, right, bottom), centre, (image,))

    def measured(self, name: str) -> Measurement:
        """In mm or mm2 at the detector; in pixels where their size is not known."""
        measure, pixel = MEASURES[name], self.item.pixel_mm
        down, across = pixel or (1.0, 1.0)
        value = self.pixels() * down * across if name == "area_mm2" else self._diameter(down, across)
        return Measurement(measure.code, round(value, measure.decimals), measure.unit if pixel else PIXELS)

    def _diameter(self, down: float, across: float) -> float:
        """The largest distance of two pixel centres of the largest component: of those at the ends of its rows."""
        sizes = np.bincount(self.labels.reshape(-1))
        sizes[0] = 0
        mask = self.labels == int(sizes.argmax())
        rows = np.flatnonzero(mask.any(axis=1))
        first, last = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
        ends = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]) * (down, across)
        return float(max(np.sqrt(((ends - each) ** 2).sum(axis=1)).max() for each in ends))


def decode(spec: SegmentSpec, outputs: Sequence[Tensor], items: Sequence[FilmItem]) -> Finding:
    """As `Decoder` says. Present if it is on any film; measured on the one where it is largest."""
    outlines = [each for each in map(_outline_of, [spec] * len(items), outputs, items) if each is not None]
    if not outlines:
        probability = 0.0 if spec.probability else None
        return Finding(spec.code, False, probability, spec.threshold, score=probability)
    found = [(_is_present(spec, each), each) for each in outlines]
    seen = [each for present, each in found if present]
    told = max(seen or outlines, key=Outline.share)
    score = max(each.score for each in outlines)
    present = True if seen else None if any(is_present is None for is_present, _ in found) else False
    return Finding(
        code=spec.code,
        present=present,
        probability=_probability(spec, score),
        threshold=spec.threshold,
        measurements=tuple(told.measured(each) for each in spec.measure if each in MEASURES),
        score=round(score, 6) if spec.probability else None,
        sop_instance_uids=tuple(each.item.images[0].sop_instance_uid for each in seen),
        places=tuple(place for each in sorted(seen or outlines, key=Outline.share)[::-1] for place in each.places()),
    )


def _probability(spec: SegmentSpec, score: float) -> float | None:
    return round(calibrated(score, spec.calibration), 6) if spec.probability else None


def _is_present(spec: SegmentSpec, outline: Outline) -> bool | None:
    """None where it is asked for by a size in mm of pixels whose size is not known."""
    probability = _probability(spec, outline.score)
    if probability is not None and probability < spec.threshold:
        return False
    measured = {name: outline.measured(name) for name in spec.present}
    if any(each.unit == PIXELS for each in measured.values()):
        return None
    return all(measured[name].value >= minimum for name, minimum in spec.present.items())


def _outline_of(spec: SegmentSpec, output: Tensor, item: FilmItem) -> Outline | None:
    """The finding's components (8 neighbours); None where there are none on the film."""
    values = values_of(spec, output)
    mask = picked(spec, values)
    if not mask.any():
        return None
    labels = _components(mask)
    largest = largest_component(labels)
    score = float(values[spec.channel][labels == largest].mean(dtype=np.float64))
    if spec.keep == "largest":
        labels = np.where(labels == largest, labels, 0)
    return _stored(labels, item, score)


def _components(mask: NDArray[np.bool_]) -> Labels:
    import SimpleITK  # only now: a film without a mask never needs it

    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    labels: Labels = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    return labels


def _stored(labels: Labels, item: FilmItem, score: float) -> Outline | None:
    """Components on the network's grid, back on the film's own pixels, by the nearest."""
    rows, columns = item.size
    row, column, is_transposed = item.grid.nearest(np.arange(rows), np.arange(columns))
    turned = labels.T if is_transposed else labels
    down, across = (
        held(_any(turned, axis)[np.clip(at, 0, size - 1)] & (at >= 0) & (at < size))
        for axis, at, size in zip((1, 0), (row, column), turned.shape, strict=True)
    )
    if not down.stop or not across.stop:
        return None
    box = turned[np.ix_(np.clip(row[down], 0, turned.shape[0] - 1), np.clip(column[across], 0, turned.shape[1] - 1))]
    return Outline(item, box, (down.start, across.start), score) if box.any() else None


def _any(labels: Labels, axis: int) -> NDArray[np.bool_]:
    return np.asarray(labels.any(axis=axis))
