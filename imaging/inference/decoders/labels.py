"""A number for each item and channel is how probable a finding is on it."""

from collections.abc import Sequence

import numpy as np

from imaging.domain.card import LabelSpec
from imaging.domain.findings import Finding
from imaging.inference.decoders.values import activated, calibrated
from imaging.inference.prepared import Item, StackItem
from imaging.preparation.array import Tensor


def decode(spec: LabelSpec, outputs: Sequence[Tensor], items: Sequence[Item]) -> Finding:
    """As `Decoder` says. A study's probability is its items' largest.

    A finding that is present names the films that reach the threshold by themselves; of a volume none of its slices.
    """
    scores = activated(np.stack(outputs).T, spec.activation)[spec.channel]
    probabilities = [round(calibrated(float(score), spec.calibration), 6) for score in scores]
    seen = [item for item, probability in zip(items, probabilities, strict=True) if probability >= spec.threshold]
    films = [item for item in seen if not isinstance(item, StackItem)]
    return Finding(
        code=spec.code,
        present=bool(seen),
        probability=max(probabilities),
        threshold=spec.threshold,
        score=round(float(scores[probabilities.index(max(probabilities))]), 6),
        sop_instance_uids=tuple(image.sop_instance_uid for item in films for image in item.images),
    )
