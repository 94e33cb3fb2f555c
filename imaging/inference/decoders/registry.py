"""The decoders by the kind of finding that each reads, and all findings of a card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from imaging.domain.card import BoxesSpec, Card, LabelSpec, NumberSpec, SegmentSpec
from imaging.domain.findings import Finding
from imaging.inference.decoders import boxes, labels, numbers, segments
from imaging.inference.decoders.values import check_values
from imaging.inference.prepared import Item
from imaging.preparation.array import Tensor


class Decoder(Protocol):
    """Reads one finding out of what a network gave for a study."""

    def __call__(self, spec: Any, outputs: Sequence[Any], items: Sequence[Any]) -> Finding:
        """`spec`: of the decoder's kind. `outputs`: before activation, channels first, one for each item; of a kind
        that reads several outputs a tuple of them. Raises PublicError.
        """


DECODERS: Final[Mapping[str, Decoder]] = {
    LabelSpec.kind: labels.decode,
    SegmentSpec.kind: segments.decode,
    BoxesSpec.kind: boxes.decode,
    NumberSpec.kind: numbers.decode,
}


def decode(card: Card, outputs: Sequence[Mapping[str, Tensor]], items: Sequence[Item]) -> tuple[Finding, ...]:
    """The findings of a study, in the card's order. `outputs`: by name, one mapping for each item. Raises
    PublicError.
    """
    by_name = {name: [each[name] for each in outputs] for name in card.engine.outputs}
    for name, values in by_name.items():
        check_values(card, name, values)
    found = []
    for spec in card.findings:
        named = [by_name[each] for each in card.outputs_of(spec)]
        finding = DECODERS[spec.kind](spec, list(zip(*named, strict=True)) if len(named) > 1 else named[0], items)
        is_calibrated, is_near_chance = spec.calibration is not None, card.is_near_chance(spec)
        completed = replace(finding, site=spec.site, is_calibrated=is_calibrated, is_near_chance=is_near_chance)
        found.append(completed)
    return tuple(found)
