"""What an ONNX file's network is fed and gives, in its own element types and layout, whichever library runs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.outputs import fed_type_fault, type_fault
from imaging.preparation.array import Tensor


def held_types(card: Card, given: Mapping[str, str], made: Mapping[str, str]) -> dict[str, np.dtype[Any]]:
    """By name, the element types of the inputs that the card feeds. `given`, `made`: by name, those of all of the
    network's inputs and outputs, by numpy's names. Raises PublicError where it cannot be fed or read as the card says.
    """
    engine, wanted = card.engine, list(card.engine.roles)
    if not {*wanted} <= {*given} or not {*engine.outputs} <= {*made}:
        has = f"{engine.file} has the input {', '.join(given)} and the output {', '.join(made)}"
        wants = f"the card expects input {', '.join(wanted)} and output {', '.join(engine.outputs)}"
        raise PublicError(f"{has}; {wants}")
    for name in wanted:
        if text := fed_type_fault(given[name]):
            raise PublicError(f"the network's input {name} is {given[name]}; {text}")
    for name in engine.outputs:
        if text := type_fault(card, name, made[name]):
            raise PublicError(f"the network's output {name} is {made[name]}: {text}")
    if unfed := [name for name in given if name not in wanted]:
        raise PublicError(f"{engine.file} also takes {', '.join(unfed)}, which the card does not feed")
    return {name: np.dtype(given[name]) for name in wanted}


def fed(card: Card, name: str, values: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    """An input in the network's element type and layout. Raises PublicError where its values do not fit into that."""
    if card.engine.is_channels_last:
        values = np.moveaxis(values, -1 - card.input(card.engine.roles[name][0]).axes, -1)
    return np.ascontiguousarray(_cast(name, values, kind))


def channels_first(card: Card, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """An output as it is read: a map of a network with the channels last has them first."""
    is_map = any(each.is_map for each in card.read_of(name))
    is_last = card.engine.is_channels_last and is_map and values.ndim > 1
    return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if is_last else values


def _cast(name: str, values: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    """Values in another element type: whole ones by the nearest. Raises PublicError where they do not fit into it."""
    if kind in (np.float32, np.float64):
        return values.astype(kind, copy=False)
    if kind.kind == "f":
        low, high = -float(np.finfo(np.float16).max), float(np.finfo(np.float16).max)
    else:
        low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
        values = np.rint(values)
    if values.size and not (values.min() >= low and values.max() <= high):
        rule = f"it holds {low:g} to {high:g}: prepare them for it, by window and scale"
        raise PublicError(f"the values prepared for the network's input {name} do not fit into {kind}: {rule}")
    return values.astype(kind)
