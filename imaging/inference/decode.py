"""A network's outputs as findings: measured, calibrated where the card says how, with their place in the patient; and
the flag they raise.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Calibration, Card, FindingSpec, TriageRule
from imaging.domain.codes import Code
from imaging.domain.faults import Told
from imaging.domain.findings import Finding, Measurement, TriageClass
from imaging.inference.prepare import PreparedVolume
from imaging.inference.volume import Volume

Tensor = NDArray[np.float32]
Mask = NDArray[np.bool_]

KEY_SLICES: Final = 3
"""Of a volume a finding names so many: a report of hundreds of images takes seconds, and shows a reader no more."""
DIRECTIONS: Final = 512
"""Along which a mask's width is taken; its largest diameter is then exact among the points found furthest out."""
MEASURES: Final[Mapping[str, tuple[Code, str, int]]] = {
    "volume_ml": (Code("SCT", "118565006", "Volume"), "ml", 2),
    "max_diameter_mm": (Code("SCT", "81827009", "Diameter"), "mm", 1),
    "mean_hu": (Code("DCM", "112031", "Attenuation Coefficient"), "[hnsf'U]", 1),
}
"""Code, UCUM unit and decimals of each measurement. `centroid` is the finding's place, not a measurement."""


OUTSIDE: Final = 1e-4
"""By how much a share of 1 may miss 0..1: what arithmetic leaves, and not a network's own scale."""


def hold_values(card: Card, outputs: Tensor) -> None:
    """What cannot be an answer is never shown as one. `outputs`: before activation, channels first. Raises Told."""
    name = card.engine.output
    if not np.isfinite(outputs).all():
        raise Told(f"the network's output {name} has values that are no numbers (NaN or infinite)")
    for spec in card.findings:
        values = outputs[spec.channel]
        if spec.activation == "none" and (values.min() < -OUTSIDE or values.max() > 1 + OUTSIDE):
            raise Told(
                f"channel {spec.channel} of the network's output {name} has values outside 0..1, where the card says "
                'activation = "none": are they logits, for sigmoid or softmax?'
            )


def activated(outputs: Tensor, activation: str) -> Tensor:
    """Outputs as shares of 1. The channel axis comes first."""
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(outputs, -80, 80))), np.float32)
    if activation == "softmax":
        powers = np.exp(outputs - outputs.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), np.float32)
    return np.clip(outputs, 0, 1)


def calibrated(score: float, calibration: Calibration | None) -> float:
    """Platt: sigmoid(a * logit + b); the score itself without."""
    if calibration is None:
        return score
    inner = min(max(score, 1e-7), 1 - 1e-7)
    return 1 / (1 + math.exp(-(calibration.a * math.log(inner / (1 - inner)) + calibration.b)))


def labels(card: Card, outputs: Tensor, sop_instance_uids: Sequence[str]) -> tuple[Finding, ...]:
    """The findings of a study's films. `outputs`: (films, channels). A finding's probability is its films' largest.

    A finding that is present names the films that reach the threshold by themselves.
    """
    hold_values(card, outputs.T)
    found = []
    for spec in card.findings:
        scores = activated(outputs.T, spec.activation)[spec.channel]
        chances = [round(calibrated(float(score), spec.calibration), 6) for score in scores]
        seen = tuple(u for u, chance in zip(sop_instance_uids, chances, strict=True) if chance >= spec.threshold)
        found.append(
            Finding(
                code=spec.code,
                present=bool(seen),
                probability=max(chances),
                threshold=spec.threshold,
                score=round(float(scores[chances.index(max(chances))]), 6),
                sop_instance_uids=seen,
                **_said_of(spec, card),
            )
        )
    return tuple(found)


def _said_of(spec: FindingSpec, card: Card) -> dict[str, Any]:
    """What the card says of a finding, whatever the images show."""
    is_calibrated = spec.calibration is not None
    return {"site": spec.site, "is_calibrated": is_calibrated, "is_near_chance": card.is_near_chance(spec)}


# Segments ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stacked:
    """One stack as the network takes it."""

    volume: Volume
    prepared: PreparedVolume


def segments(
    card: Card, outputs: Sequence[Sequence[Tensor]], acquisitions: Sequence[Sequence[Stacked]]
) -> tuple[Finding, ...]:
    """The findings of a study's volumes. `outputs`: of each stack of each acquisition, (channels, *grid.shape), before
    activation.

    Stacks of one acquisition are one whole, in which each place of the patient counts once. Of several acquisitions
    a finding is present if it is in any; its measurements are those of the one where it is largest.
    """
    for each_stack in (output for stacks in outputs for output in stacks):
        hold_values(card, each_stack)
    found = []
    for spec in card.findings:
        each = [_joined(spec, of, stacks) for of, stacks in zip(outputs, acquisitions, strict=True)]
        found.append(replace(max(each, key=_weight), **_said_of(spec, card)))
    return tuple(found)


def _weight(finding: Finding) -> tuple[bool, float, float]:
    """Of one finding in several acquisitions, which is told: where it is present, then largest, then most probable."""
    return bool(finding.present), volume_ml(finding) or 0.0, finding.probability or 0.0


def volume_ml(finding: Finding) -> float | None:
    """What was measured of it; None where its card does not ask for its volume."""
    return next((each.value for each in finding.measurements if each.code == MEASURES["volume_ml"][0]), None)


def _joined(spec: FindingSpec, outputs: Sequence[Tensor], stacks: Sequence[Stacked]) -> Finding:
    """One finding of the stacks of one acquisition."""
    parts: list[tuple[Segment, Volume]] = []
    for output, stacked in zip(outputs, stacks, strict=True):
        segment = _segment(spec, activated(output, spec.activation)[spec.channel], stacked.prepared, stacked.volume)
        if segment is not None:
            parts.append((_counted_once(segment, stacked.volume, parts), stacked.volume))
    if not parts:
        chance = 0.0 if spec.probability else None
        return Finding(spec.code, False, chance, spec.threshold, score=chance)
    measured = dict(_measured({*spec.measure, *spec.present}, parts))
    score = max(segment.score for segment, _ in parts)
    chance = round(calibrated(score, spec.calibration), 6) if spec.probability else None
    is_present = all(measured[name] >= least for name, least in spec.present.items()) and (
        chance is None or chance >= spec.threshold
    )
    return Finding(
        code=spec.code,
        present=is_present,
        probability=chance,
        threshold=spec.threshold,
        measurements=tuple(_measurement(each, measured[each]) for each in spec.measure if each in measured),
        score=round(score, 6) if spec.probability else None,
        sop_instance_uids=_key_images(parts) if is_present else (),
        centre_mm=_centre(_largest_whole(parts)) if "centroid" in spec.measure else None,
    )


def _counted_once(segment: "Segment", volume: Volume, before: Sequence[tuple["Segment", Volume]]) -> "Segment":
    """Without the voxels whose place an earlier stack's mask holds already."""
    if not before:
        return segment
    voxels = np.argwhere(segment.mask)
    places = volume.to_patient(voxels)
    again = np.zeros(len(voxels), np.bool_)
    for other, earlier in before:
        again |= earlier.holds(other.mask, places)
    labels = segment.labels.copy()
    labels[tuple(voxels[again].T)] = 0
    return replace(segment, labels=labels)


def _largest_ml(part: "tuple[Segment, Volume]") -> float:
    segment, volume = part
    return float(segment.component(segment.largest).sum(axis=(1, 2)) @ volume.voxel_ml)


def _largest_whole(parts: "Sequence[tuple[Segment, Volume]]") -> "list[tuple[Mask, Volume]]":
    """The largest component, with those of other stacks that touch it: what lies across two stacks is one."""
    segment, volume = max(parts, key=_largest_ml)
    largest = segment.component(segment.largest)
    whole = [(largest, volume)]
    for other, its in parts:
        for label in () if its is volume else np.unique(other.labels[other.labels > 0]):
            component = other.component(int(label))
            if _touches(component, its, largest, volume):
                whole.append((component, its))
    return whole


def _touches(component: Mask, volume: Volume, largest: Mask, its: Volume) -> bool:
    """Whether a component lies within one slice spacing of the largest one, of another stack."""
    places = volume.to_patient(np.argwhere(component))
    gap = max(float(each.laid.gaps_mm.max()) for each in (volume, its))
    return any(its.holds(largest, places + shift * its.laid.normal).any() for shift in (0.0, gap, -gap))


@dataclass(frozen=True)
class Segment:
    """What a finding's mask is on the study's own voxels.

    `labels`: by component, 0 where there is none. `largest`: which is the largest one. `score`: the mean over it on the
    network's grid, the card's `max-component-mean`.
    """

    labels: NDArray[np.integer[Any]]
    largest: int
    score: float

    @property
    def mask(self) -> Mask:
        mask: Mask = self.labels > 0
        return mask

    def component(self, label: int) -> Mask:
        component: Mask = self.labels == label
        return component


def _segment(spec: FindingSpec, chance: Tensor, prepared: PreparedVolume, volume: Volume) -> Segment | None:
    """The components (26 neighbours) of at least `min_ml`; None where none is left."""
    mask = chance >= spec.mask_at
    if not mask.any():
        return None
    import SimpleITK  # only now: a film never needs it, and a clean volume neither

    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    parts = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    kept = np.bincount(parts.reshape(-1)) * prepared.grid.voxel_ml >= spec.min_ml
    kept[0] = False
    back = volume.mask_of(np.where(kept[parts], parts, 0), prepared.grid)
    own = np.bincount(back.reshape(-1), minlength=len(kept))
    own[0] = 0
    if not own.any():
        return None
    largest = int(own.argmax())
    score = float(chance[parts == largest].mean(dtype=np.float64))
    return Segment(back, largest, score)


def _measured(wanted: set[str], parts: "Sequence[tuple[Segment, Volume]]") -> Iterator[tuple[str, float]]:
    """What the card measures or asks for, on the study's own voxels and in their own units.

    Volume and mean are of all components, the diameter (and the centroid) of the largest.
    """
    if "volume_ml" in wanted:
        yield "volume_ml", sum(float(segment.mask.sum(axis=(1, 2)) @ volume.voxel_ml) for segment, volume in parts)
    if "max_diameter_mm" in wanted:
        yield "max_diameter_mm", _diameter(_largest_whole(parts))
    if "mean_hu" in wanted:
        values = np.concatenate([volume.values[segment.mask] for segment, volume in parts])
        yield "mean_hu", float(values.mean(dtype=np.float64)) if values.size else 0.0


def _centre(whole: "Sequence[tuple[Mask, Volume]]") -> tuple[float, float, float]:
    """The centroid in the patient, LPS, each voxel counted by its volume."""
    voxels = [(np.argwhere(mask), volume) for mask, volume in whole]
    places = np.concatenate([volume.to_patient(each) for each, volume in voxels])
    weights = np.concatenate([volume.voxel_ml[each[:, 0]] for each, volume in voxels])
    x, y, z = np.average(places, axis=0, weights=weights).tolist()
    return round(x, 1), round(y, 1), round(z, 1)


def _key_images(parts: "Sequence[tuple[Segment, Volume]]") -> tuple[str, ...]:
    """The instances that hold the most of the mask, the fullest first."""
    held: list[tuple[float, str]] = []
    for segment, volume in parts:
        area = volume.spacing_mm[0] * volume.spacing_mm[1]
        filled = segment.mask.sum(axis=(1, 2))
        held += [(-float(count) * area, volume.images[at].sop_instance_uid) for at, count in enumerate(filled) if count]
    fullest = sorted(held, key=lambda each: each[0])[:KEY_SLICES]
    return tuple(dict.fromkeys(uid for _, uid in fullest))


def _ends(mask: Mask, volume: Volume) -> NDArray[np.float64]:
    """The places of the first and the last voxel of each row, (n, 3) in mm, LPS: one furthest out is among them."""
    rows = np.argwhere(mask.any(axis=2))
    first = mask[rows[:, 0], rows[:, 1]].argmax(axis=1)
    last = mask.shape[2] - 1 - mask[rows[:, 0], rows[:, 1], ::-1].argmax(axis=1)
    return volume.to_patient(np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]))


def _diameter(whole: "Sequence[tuple[Mask, Volume]]") -> float:
    """The largest distance in mm between two voxel centres, by those furthest out in `DIRECTIONS` directions."""
    points = np.concatenate([_ends(mask, volume) for mask, volume in whole])
    turn = np.arange(DIRECTIONS // 2) + 0.5
    height, angle = 1 - turn / (DIRECTIONS // 2), np.pi * (1 + 5**0.5) * turn  # half a Fibonacci sphere
    flat = np.sqrt(1 - height**2)
    along = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1) @ points.T
    far = points[np.unique([along.argmax(axis=1), along.argmin(axis=1)])]
    return float(np.sqrt(((far[:, None] - far[None]) ** 2).sum(axis=2).max()))


def _measurement(name: str, value: float) -> Measurement:
    code, unit, decimals = MEASURES[name]
    return Measurement(code, round(value, decimals), unit)


# Triage ------------------------------------------------------------------------------------------------------


def fired(card: Card, findings: Sequence[Finding]) -> TriageRule | None:
    """The rule that asks the most urgent class for a finding that is present; None where none does.

    Rules only raise: a class of "none" asks for nothing.
    """
    present = {each.code.value: each for each in findings if each.present}
    asking = [
        rule
        for rule in card.triage
        if rule.triage is not TriageClass.NONE and rule.finding in present and _is_asked(rule, present[rule.finding])
    ]
    return min(asking, key=lambda rule: list(TriageClass).index(rule.triage), default=None)


def _is_asked(rule: TriageRule, finding: Finding) -> bool:
    """Whether a finding fulfils a rule, by the numbers that its report says. One that it has not fulfils none."""
    is_probable = rule.at_least is None or (finding.probability is not None and finding.probability >= rule.at_least)
    volume = volume_ml(finding)
    return is_probable and (rule.volume_ml is None or (volume is not None and volume >= rule.volume_ml))
