"""The steps by their names in cards, and a card's steps one after another."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from imaging.domain.card import Card, Step
from imaging.preparation import (
    crop_centre,
    crop_foreground,
    normalize,
    orient,
    pad_centre,
    pad_multiple,
    percentile,
    repeat_channels,
    resample,
    resize,
    scale,
    window,
    zscore,
)
from imaging.preparation.array import Array
from imaging.preparation.step import Sizes, StepKind

STEPS: Final[Mapping[str, StepKind]] = {
    "resize": resize.STEP,
    "zscore": zscore.STEP,
    "window": window.STEP,
    "percentile": percentile.STEP,
    "scale": scale.STEP,
    "normalize": normalize.STEP,
    "repeat-channels": repeat_channels.STEP,
    "orient": orient.STEP,
    "resample": resample.STEP,
    "crop-centre": crop_centre.STEP,
    "pad-centre": pad_centre.STEP,
    "crop-foreground": crop_foreground.STEP,
    "pad-multiple": pad_multiple.STEP,
}


def prepare(array_of: Callable[..., Array], steps: Sequence[Step], roles: Sequence[str] = ()) -> Array:
    """A film or a volume as its network takes it. `array_of` makes the first array, as steps of geometry ask. `roles`:
    of the array's channels, where a card has several.
    """
    kinds = [STEPS[step.do] for step in steps]
    wanted = [kind.asks(step.options) for kind, step in zip(kinds, steps, strict=True) if kind.asks is not None]
    array = array_of(**{key: value for each in wanted for key, value in each.items()})
    for kind, step in zip(kinds, steps, strict=True):
        array = _done(kind, step, array, roles) if kind.run is not None else array
    return array.having(np.ascontiguousarray(array.values))


def axes_of(card: Card) -> str:
    """What each axis of a prepared array is: x, y or z.

    Of a film x runs along a row and y down a column; of a volume after `orient` x from side to side, y from front to
    back, z from head to foot, without it x, y and z along a row, down a column and along the slices, as stored.
    """
    toward = next((str(step.options["to"]) for step in card.prepare if step.do == "orient"), "")
    if toward == orient.COLUMN_FIRST:
        return "xyz"
    named = "".join(_AXES.get(letter, "") for letter in toward)
    return named or "zyx"[-card.inputs[0].axes :]


_AXES: Final[Mapping[str, str]] = {"R": "x", "L": "x", "A": "y", "P": "y", "S": "z", "I": "z"}


def _done(kind: StepKind, step: Step, array: Array, roles: Sequence[str]) -> Array:
    """The array after a step, which may be of some of its channels alone."""
    assert kind.run is not None
    own = [at for at, role in enumerate(roles) if step.is_of(role)]
    if len(own) == len(roles):
        return kind.run(array, **step.options)
    if not own:
        return array
    values = array.values.copy()
    values[own] = kind.run(array.having(values[own]), **step.options).values
    return array.having(values)


def channels(card: Card, roles: int = 1) -> int:
    """How many channels a card's steps make of so many roles that are one input: each image has one."""
    count = roles
    for step in card.prepare:
        after = STEPS[step.do].channels
        count = after(step.options) if after is not None else count
    return count


def sizes(card: Card) -> Sizes | None:
    """Rows and columns of a prepared film; of a volume, or of its patches, in the array's order. None: its own."""
    if card.engine.window is not None:
        return card.engine.window.roi
    left: Sizes | None = None
    for step in card.prepare:
        after = STEPS[step.do].sizes
        left = after(step.options, left) if after is not None else left
    return left
