"""`crop-centre`: the middle part of at most these sizes."""

from collections.abc import Iterator, Sequence
from typing import Any

from imaging.domain.card import Input
from imaging.domain.tables import Table
from imaging.preparation.array import Array, middle
from imaging.preparation.step import BOTH, Fault, Options, Sizes, StepKind


def shape_of(table: Table) -> dict[str, Any]:
    """Takes `shape`: sizes of a film or of a volume."""
    sizes = table.untaken("shape")
    count = (
        2 if isinstance(sizes, list) and len(sizes) == 2 else 3
    )  # which of them the input has is asked by `shape_faults`
    return {"shape": tuple(int(n) for n in table.numbers("shape", count, 1, whole=True))}


def _run(array: Array, shape: Sequence[int]) -> Array:
    return array.part(middle(array.shape, shape))


def shape_faults(options: Options, card_input: Input, channels: int) -> Iterator[Fault]:
    """Says where `shape` has not as many sizes as the input has axes."""
    if len(options["shape"]) != card_input.axes:
        rule = "must be three sizes, in the array's order" if card_input.axes == 3 else "must be rows and columns"
        yield "shape", list(options["shape"]), rule, "shape-dimensions"


def _sizes(options: Options, before: Sizes | None) -> Sizes:
    return tuple(options["shape"]) if before is None else tuple(map(min, before, options["shape"]))


STEP = StepKind(BOTH, shape_of, _run, faults=shape_faults, sizes=_sizes)
