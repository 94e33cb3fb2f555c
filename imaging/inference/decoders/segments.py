"""A number for each voxel and channel is how probable a finding is there: measured on the study's own voxels, with its
place in the patient.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from imaging.domain.card import SegmentSpec
from imaging.domain.findings import Finding
from imaging.domain.measures import CENTROID, MEASURES, VOLUME
from imaging.inference.decoders import outlines
from imaging.inference.decoders.segment import Part, Segment, diameter, largest_whole, segment_of
from imaging.inference.decoders.values import calibrated, values_of
from imaging.inference.prepared import FilmItem, StackItem
from imaging.preparation.array import Tensor

KEY_SLICES: Final = 3
"""Of a volume a finding names so many: a report of hundreds of images takes seconds, and shows a reader no more."""


def decode(spec: SegmentSpec, outputs: Sequence[Tensor], items: Sequence[StackItem | FilmItem]) -> Finding:
    """As `Decoder` says. Of several acquisitions a finding is present if it is in any; its measurements are those of
    the one where it is largest.
    """
    films = [each for each in items if isinstance(each, FilmItem)]
    if films:
        return outlines.decode(spec, outputs, films)
    return _of_volumes(spec, outputs, [each for each in items if isinstance(each, StackItem)])


def _of_volumes(spec: SegmentSpec, outputs: Sequence[Tensor], items: Sequence[StackItem]) -> Finding:
    pairs = groupby(zip(outputs, items, strict=True), key=lambda pair: pair[1].acquisition)
    return max((_joined(spec, list(stacks)) for _, stacks in pairs), key=_weight)


def _weight(finding: Finding) -> tuple[bool, float, float]:
    """Of one finding in several acquisitions, which is told: where it is present, then largest, then most probable."""
    return bool(finding.present), VOLUME.value_in(finding) or 0.0, finding.probability or 0.0


def _joined(spec: SegmentSpec, stacks: Sequence[tuple[Tensor, StackItem]]) -> Finding:
    """One finding of the stacks of one acquisition, in which each place of the patient counts once."""
    segments: list[Segment] = []
    for output, item in stacks:
        segment = segment_of(spec, values_of(spec, output), item)
        if segment is not None:
            segments.append(_counted_once(segment, segments))
    if not segments:
        probability = 0.0 if spec.probability else None
        return Finding(spec.code, False, probability, spec.threshold, score=probability)
    whole = largest_whole(segments)
    measured = dict(_measured({*spec.measure, *spec.present}, segments, whole))
    score = max(segment.score for segment in segments)
    probability = round(calibrated(score, spec.calibration), 6) if spec.probability else None
    is_present = all(measured[name] >= minimum for name, minimum in spec.present.items()) and (
        probability is None or probability >= spec.threshold
    )
    return Finding(
        code=spec.code,
        present=is_present,
        probability=probability,
        threshold=spec.threshold,
        measurements=tuple(MEASURES[each].of(measured[each]) for each in spec.measure if each in measured),
        score=round(score, 6) if spec.probability else None,
        sop_instance_uids=_key_images(segments) if is_present else (),
        centre_mm=_centre(whole) if CENTROID in spec.measure else None,
    )


def _counted_once(segment: Segment, before: Sequence[Segment]) -> Segment:
    """Without the voxels whose place an earlier stack's mask holds already."""
    if not before:
        return segment
    places = segment.part().places()
    return segment.without(np.logical_or.reduce([each.part().holds(places) for each in before]))


def _measured(wanted: set[str], segments: Sequence[Segment], whole: Sequence[Part]) -> Iterator[tuple[str, float]]:
    """What the card measures or asks for, on the study's own voxels and in their own units.

    Volume and mean are of all components, the diameter (and the centroid) of the largest, which is `whole`.
    """
    every = [segment.part() for segment in segments]
    if "volume_ml" in wanted:
        yield "volume_ml", sum(part.ml() for part in every)
    if "max_diameter_mm" in wanted:
        yield "max_diameter_mm", diameter(whole)
    if "mean_hu" in wanted:
        values = np.concatenate([part.values() for part in every])
        yield "mean_hu", float(values.mean(dtype=np.float64)) if values.size else 0.0


def _centre(parts: Sequence[Part]) -> tuple[float, float, float]:
    """The centroid in the patient, LPS, each voxel counted by its volume."""
    places = np.concatenate([part.places() for part in parts])
    weights = np.concatenate([part.weights() for part in parts])
    x, y, z = np.average(places, axis=0, weights=weights).tolist()
    return round(x, 1), round(y, 1), round(z, 1)


def _key_images(segments: Sequence[Segment]) -> tuple[str, ...]:
    """The instances that hold the most of the mask, the fullest first."""
    held: list[tuple[float, str]] = []
    for segment in segments:
        volume = segment.volume
        area = volume.spacing_mm[0] * volume.spacing_mm[1]
        filled = segment.part().counts()
        held += [(-float(count) * area, volume.images[at].sop_instance_uid) for at, count in enumerate(filled) if count]
    fullest = sorted(held, key=lambda each: each[0])[:KEY_SLICES]
    return tuple(dict.fromkeys(uid for _, uid in fullest))
