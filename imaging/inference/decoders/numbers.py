"""A number for each item and channel is a measurement, in the unit that the card names."""

from collections.abc import Sequence

from imaging.domain.card import NumberSpec
from imaging.domain.faults import PublicError
from imaging.domain.findings import Finding, Measurement
from imaging.inference.prepared import Item, StackItem
from imaging.preparation.array import Tensor


def decode(spec: NumberSpec, outputs: Sequence[Tensor], items: Sequence[Item]) -> Finding:
    """As `Decoder` says. Each item has its value: the finding is present where one of them lies as the card asks.

    Raises PublicError: a value that cannot be.
    """
    values = [round(_value(spec, each), spec.decimals) for each in outputs]
    images = [_images(item) if len(items) > 1 else () for item in items]
    seen = [item for item, value in zip(items, values, strict=True) if spec.holds(value)]
    named = [uid for item in items for uid in _images(item)]
    return Finding(
        code=spec.code,
        present=None if spec.is_measured_only else bool(seen),
        probability=None,
        threshold=None,
        measurements=tuple(
            Measurement(spec.code, value, spec.unit, uids) for value, uids in zip(values, images, strict=True)
        ),
        sop_instance_uids=tuple(named) if not isinstance(items[0], StackItem) or len(items) > 1 else (),
        is_measured_only=spec.is_measured_only,
    )


def _value(spec: NumberSpec, output: Tensor) -> float:
    value = spec.factor * float(output[spec.channel]) + spec.offset
    low, high = spec.range
    if not low <= value <= high:
        raise PublicError(
            f"the network's output {spec.output or 'of numbers'} gives {spec.code.meaning} a value outside "
            f"{low:g}..{high:g} {spec.unit}, the card's range: is the factor or the unit another?"
        )
    return value


def _images(item: Item) -> tuple[str, ...]:
    """What a report names of an item: a film; of a stack the slice in its middle, which tells it from others."""
    if isinstance(item, StackItem):
        return (item.images[len(item.images) // 2].sop_instance_uid,)
    return tuple(each.sop_instance_uid for each in item.images)
