"""What an ONNX file says of its inputs and outputs, held against its card: a network that cannot be fed or read as the
card says is found when the card is read, before anything is run.

Read from the file's own bytes. What it leaves open (names for sizes, no shape at all) is the engine's to find out.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imaging.domain.boxes import FORMATS
from imaging.domain.card import BoxesSpec, Card, FindingSpec, Input
from imaging.domain.outputs import type_fault
from imaging.models.protobuf import LENGTH, VARINT, NotProtobuf, fields
from imaging.preparation.registry import channels, sizes
from imaging.preparation.repeat_channels import MAX_CHANNELS

Fault = tuple[str, object, str, str]
"""Key, value, the rule that they break, and its name."""
Span = tuple[int, int]

_GRAPH = 7
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_TENSOR_NAME = 8
"""Of onnx.proto: numbers of fields of ModelProto, GraphProto and TensorProto."""
_FLOAT: Final = "float32"
_ELEMENTS: Final[Mapping[int, str]] = {
    1: _FLOAT, 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
_TENSOR: Final = 1
_OTHERS: Final[Mapping[int, str]] = {4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "optional"}
"""By number: TensorProto.DataType, and what TypeProto has beside a tensor."""
_MAX_SIZE: Final = 1 << 31
"""Of a size; what is greater is a negative number, which some exporters write for "any"."""


@dataclass(frozen=True)
class Port:
    """An input or output. `kind`: its element type, or what it is if no tensor; empty where that is not stated.
    `shape`: None where it is not stated; a size of None is open.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return self.name
        return f"{self.name} ({', '.join('any' if size is None else str(size) for size in self.shape)})"


@dataclass(frozen=True)
class Signature:
    """What goes into a network and what comes out, as its file says."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def signature(path: Path) -> Signature | None:
    """Of an ONNX file; None of what is none, which is the engine's to say. Raises OSError."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _signature(data)
            except NotProtobuf:
                return None


def _signature(data: mmap.mmap) -> Signature | None:
    graph = _only(data, (0, len(data)), _GRAPH)
    if graph is None:
        return None
    weights = {_text(data, each, _TENSOR_NAME) for each in _messages(data, graph, _INITIALIZER)}
    given = [_port(data, each) for each in _messages(data, graph, _INPUT)]
    made = [_port(data, each) for each in _messages(data, graph, _OUTPUT)]
    return Signature(tuple(each for each in given if each.name not in weights), tuple(made))


def _port(data: mmap.mmap, at: Span) -> Port:
    # ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor; Tensor: 1 element type, 2 shape; TensorShapeProto: 1 sizes
    name = _text(data, at, 1)
    kind_of = _only(data, at, 2)
    tensor = _only(data, kind_of, _TENSOR) if kind_of else None
    if tensor is None:
        numbers = [number for number, *_ in fields(data, *kind_of)] if kind_of else []
        return Port(name, next((_OTHERS[each] for each in numbers if each in _OTHERS), ""), None)
    value = next((first for number, wire, first, _ in fields(data, *tensor) if (number, wire) == (1, VARINT)), 0)
    shape = _only(data, tensor, 2)
    kind = _ELEMENTS.get(value, f"type {value}") if value else ""
    return Port(name, kind, None if shape is None else tuple(_size(data, each) for each in _messages(data, shape, 1)))


def _size(data: mmap.mmap, at: Span) -> int | None:
    value = next((first for number, wire, first, _ in fields(data, *at) if (number, wire) == (1, VARINT)), None)
    return value if value is not None and 0 < value < _MAX_SIZE else None


def _messages(data: mmap.mmap, at: Span, wanted: int) -> Iterator[Span]:
    return ((first, last) for number, wire, first, last in fields(data, *at) if (number, wire) == (wanted, LENGTH))


def _only(data: mmap.mmap, at: Span, wanted: int) -> Span | None:
    return next(_messages(data, at, wanted), None)


def _text(data: mmap.mmap, at: Span, wanted: int) -> str:
    span = _only(data, at, wanted)
    return data[slice(*span)].decode("utf-8", "replace") if span else ""


# Against the card --------------------------------------------------------------------------------------------


def network_faults(card: Card, network: Signature) -> Iterator[Fault]:
    """All in which the network cannot be what the card says."""
    if len(network.inputs) > len(card.engine.inputs):
        names = ", ".join(each.name for each in network.inputs)
        rule = f"takes {len(network.inputs)} inputs ({names}); only one is supported"
        yield "engine.file", card.engine.file, rule, "input-count"
    given = {role: _named(network.inputs, name) for role, name in card.engine.inputs.items()}
    for role, port in given.items():
        if port is None:
            name = card.engine.inputs[role]
            yield "engine.input", name, _not_there("input", network.inputs, card), "input-unknown"
        else:
            yield from _input_faults(card, card.input(role), port)
    for name in card.engine.outputs:
        made = _named(network.outputs, name)
        if made is None:
            yield "engine.output", name, _not_there("output", network.outputs, card), "output-unknown"
        else:
            yield from _output_faults(card, made, next(iter(given.values())))


def _named(ports: tuple[Port, ...], name: str) -> Port | None:
    return next((each for each in ports if each.name == name), None)


def _not_there(what: str, ports: tuple[Port, ...], card: Card) -> str:
    return f"{card.engine.file} has the {what} {' and '.join(map(str, ports)) or '(none)'}"


_WANTED: Final = {2: "(batch, channels, rows, columns)", 3: "(batch, channels, and three sizes)"}
"""By an input's axes, what the network's must be."""


def _input_faults(card: Card, card_input: Input, given: Port) -> Iterator[Fault]:
    if given.kind not in ("", _FLOAT):
        rule = f"is {given.kind} in {card.engine.file}; expected {_FLOAT}"
        yield "engine.input", given.name, rule, "input-type"
    if given.shape is None:
        return
    wanted = _WANTED[card_input.axes]
    if len(given.shape) != 2 + card_input.axes:
        yield "engine.input", given.name, f"{card.engine.file} has {given}, expected {wanted}", "input-shape"
        return
    wants, prepared, last = given.shape[1], channels(card), given.shape[-1]
    if wants is not None and last is not None and last <= MAX_CHANNELS < wants:
        rule = f"{card.engine.file} has {given}, with the channels last; expected {wanted}"
        yield "engine.input", given.name, rule, "input-shape"
        return
    if wants is not None and wants != prepared:
        rule = f"the network's input {given} expects {_counted(wants)}, but the steps produce {prepared}"
        repeat = f': add do = "repeat-channels", count = {wants}' if prepared == 1 and wants <= MAX_CHANNELS else ""
        yield "prepare", [each.do for each in card.prepare], rule + repeat, "input-channels"
    yield from _size_faults(card, card_input, given, given.shape[2:])


def _counted(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _size_faults(card: Card, card_input: Input, given: Port, wanted: tuple[int | None, ...]) -> Iterator[Fault]:
    """Sizes that the file fixes must be those that the steps make of every study."""
    made = sizes(card)
    if not any(wanted):
        return
    if made is None or any(size is not None and size != own for size, own in zip(wanted, made, strict=True)):
        wanted_sizes = " x ".join("any" if size is None else str(size) for size in wanted)
        rule = f"the network's input {given} expects {wanted_sizes}"
        key = "prepare" if made is None or card.engine.window is None else "engine.window.roi"
        yield key, list(made) if made else None, rule + ("" if made else f": {_VARY[card_input.axes]}"), "input-size"


_VARY: Final = {
    2: 'films have sizes of their own: add do = "resize"',
    3: "volumes have sizes of their own: add [engine.window] with its roi",
}
"""By an input's axes, what mends that a network wants one size."""


def _output_faults(card: Card, made: Port, given: Port | None) -> Iterator[Fault]:
    """`given`: the first input, whose grid a map has."""
    if made.kind and (wanted := type_fault(card, made.name, made.kind)):
        yield "engine.output", made.name, f"is {made.kind} in {card.engine.file}: {wanted}", "output-type"
    if made.shape is None:
        return
    findings = [(at, each) for at, each in enumerate(card.findings) if made.name in card.outputs_of(each)]
    if any(isinstance(each, BoxesSpec) for _, each in findings):
        yield from _boxes_faults(card, made, [(at, each) for at, each in findings if isinstance(each, BoxesSpec)])
        return
    is_map = any(each.is_map for _, each in findings)
    axes = card.inputs[0].axes
    sizes = _GRIDS[axes] if is_map else ""
    if len(made.shape) != 2 + (axes if is_map else 0):
        rule = f"{card.engine.file} has {made}, expected (batch, channels{sizes})"
        yield "engine.output", made.name, rule, "output-shape"
        return
    yield from _channel_faults(made, made.shape[1], findings)
    if is_map and given is not None and given.shape is not None:
        yield from _grid_faults(card, made, given)


_GRIDS: Final = {2: ", and the input's two sizes", 3: ", and the input's three sizes"}


def _channel_faults(made: Port, count: int | None, findings: Sequence[tuple[int, FindingSpec]]) -> Iterator[Fault]:
    """`count`: of the output's channels; None where the file leaves it open."""
    for at, finding in findings if count is not None else ():
        if count is not None and finding.channel >= count:
            rule = f"the network's output {made} has {_counted(count)}, counted from 0"
            yield f"finding[{at}].channel", finding.channel, rule, "channel-absent"
        elif count == 1 and finding.activation == "softmax":
            rule = f"the network's output {made} has one channel, with nothing to choose from"
            yield f"finding[{at}].activation", "softmax", rule, "channel-absent"


def _boxes_faults(card: Card, made: Port, findings: Sequence[tuple[int, BoxesSpec]]) -> Iterator[Fault]:
    """Of an output of boxes, scores or labels, with a batch or without."""
    shape = made.shape or ()
    for at, finding in findings:
        rows = 2 * FORMATS[finding.format].axes
        if made.name == card.output_of(finding):
            if len(shape) not in (2, 3) or shape[-1] not in (None, rows):
                rule = (
                    f'{card.engine.file} has {made}, expected (boxes, {rows}) for "{finding.format}", or with a batch'
                )
                yield f"finding[{at}].outputs.boxes", made.name, rule, "output-shape"
        elif made.name == finding.labels:
            if len(shape) not in (1, 2):
                rule = f"{card.engine.file} has {made}, expected (boxes), or with a batch"
                yield f"finding[{at}].outputs.labels", made.name, rule, "output-shape"
        elif len(shape) not in (1, 2, 3):
            rule = f"{card.engine.file} has {made}, expected (boxes), or with channels, or with a batch"
            yield f"finding[{at}].outputs.scores", made.name, rule, "output-shape"
        elif len(shape) == 3 and not finding.labels:
            yield from _channel_faults(made, shape[-1], [(at, finding)])


def _grid_faults(card: Card, made: Port, given: Port) -> Iterator[Fault]:
    grid, came = (each.shape[2:] if each.shape is not None else () for each in (given, made))
    if None not in (*grid, *came) and len(grid) == len(came) and grid != came:
        rule = f"{card.engine.file} gives {made} for {given}; expected a value for each voxel"
        yield "engine.output", made.name, rule, "output-size"
