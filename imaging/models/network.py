"""What an ONNX file says of its inputs and outputs, held against its card: a network that cannot be fed or read as the
card says is found when the card is read, before anything is run.

Read from the file's own bytes. What it leaves open (names for sizes, no shape at all) is the engine's to find out.
"""

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imaging.domain.boxes import FORMATS
from imaging.domain.card import BoxesSpec, Card, FindingSpec, Input
from imaging.domain.outputs import WHOLE, fed_type_fault, type_fault
from imaging.models.protobuf import LENGTH, VARINT, NotProtobuf, fields, varints
from imaging.preparation.ranges import Range, entering
from imaging.preparation.registry import STEPS, channels, sizes
from imaging.preparation.repeat_channels import MAX_CHANNELS

Fault = tuple[str, object, str, str]
"""Key, value, the rule that they break, and its name."""
Span = tuple[int, int]
Shape = tuple[int | None, ...]

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_OPERATOR = 4
_TENSOR_SIZES, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8
"""Of onnx.proto: numbers of fields of ModelProto, GraphProto, NodeProto and TensorProto."""
_FLOAT: Final = "float32"
_ELEMENTS: Final[Mapping[int, str]] = {
    1: _FLOAT, 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
_TENSOR: Final = 1
_OTHERS: Final[Mapping[int, str]] = {4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "optional"}
"""By number: TensorProto.DataType, and what TypeProto has beside a tensor."""
NO_TENSORS: Final = frozenset(_OTHERS.values())
"""Kinds of ports that are no tensors."""
_MOST: Final = 1 << 62
"""Elements of a tensor: whoever states more of them states nothing."""
PRECISIONS: Final = ("f32", "f16", "bf16", "f64", "int8")
"""What an ONNX file may be of."""
_OF_TYPES: Final[Mapping[int, str]] = {1: "f32", 10: "f16", 16: "bf16", 11: "f64"}
_QUANTIZED: Final = frozenset({
    "QLinearConv", "QLinearMatMul", "QLinearAdd", "QGemm", "ConvInteger", "MatMulInteger", "QAttention",
})  # fmt: skip
"""Operators of quantized networks, beside those that quantize."""
_MAX_SIZE: Final = 1 << 31
"""Of a size; what is greater is a negative number, which some exporters write for "any"."""


@dataclass(frozen=True)
class Port:
    """An input or output. `kind`: its element type, or what it is if no tensor; empty where that is not stated.
    `shape`: None where it is not stated; a size of None is open.
    """

    name: str
    kind: str
    shape: Shape | None

    def __str__(self) -> str:
        if self.shape is None:
            return self.name
        return f"{self.name} ({', '.join('any' if size is None else str(size) for size in self.shape)})"


@dataclass(frozen=True)
class Signature:
    """What goes into a network and what comes out, as its file says. `precision`: `int8` where it is quantized, else
    what most of its weights are.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    precision: str = "f32"


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
    inputs = tuple(each for each in given if each.name not in weights)
    return Signature(inputs, tuple(made), _precision(data, graph, inputs))


def _precision(data: mmap.mmap, graph: Span, inputs: Iterable[Port]) -> str:
    if any("uantize" in each or each in _QUANTIZED for each in _operators(data, graph)):
        return "int8"
    held = dict.fromkeys(PRECISIONS, 0)
    for tensor in _messages(data, graph, _INITIALIZER):
        kind, count = _weights(data, tensor)
        if kind in _OF_TYPES:
            held[_OF_TYPES[kind]] += count
    if not any(held.values()) and any(each.kind == "float16" for each in inputs):
        return "f16"
    return max(held, key=held.__getitem__)  # of none, the first


def _operators(data: mmap.mmap, graph: Span) -> Iterator[str]:
    return (_text(data, each, _OPERATOR) for each in _messages(data, graph, _NODE))


def _weights(data: mmap.mmap, tensor: Span) -> tuple[int, int]:
    """A tensor's element type by its number, and how many elements it has."""
    kind, count = 0, 1
    for number, wire, first, last in fields(data, *tensor):
        if (number, wire) == (_TENSOR_TYPE, VARINT):
            kind = first
        elif number == _TENSOR_SIZES and wire in (VARINT, LENGTH):
            for size in (first,) if wire == VARINT else varints(data, first, last):
                count = min(count * size, _MOST)
    return kind, count


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
    given = {name: _named(network.inputs, name) for name in card.engine.roles}
    for name, port in given.items():
        if port is None:
            yield _key_of(card, name), name, _not_there("input", network.inputs, card), "input-unknown"
        else:
            yield from _input_faults(card, port)
    if None not in given.values() and (unfed := [each for each in network.inputs if each.name not in given]):
        rule = f"also takes {' and '.join(map(str, unfed))}: give each an [[input]], and its name under [engine] inputs"
        yield "engine.file", card.engine.file, rule, "input-count"
    for name in card.engine.outputs:
        made = _named(network.outputs, name)
        if made is None:
            yield _output_key(card, name), name, _not_there("output", network.outputs, card), "output-unknown"
        else:
            yield from _output_faults(card, made, next(iter(given.values())))


def _named(ports: tuple[Port, ...], name: str) -> Port | None:
    return next((each for each in ports if each.name == name), None)


def _not_there(what: str, ports: tuple[Port, ...], card: Card) -> str:
    return f"{card.engine.file} has the {what} {' and '.join(map(str, ports)) or '(none)'}"


def _key_of(card: Card, name: str) -> str:
    """Where the card names an input of the network."""
    return "engine.input" if len(card.engine.roles) == 1 else f"engine.inputs.{card.engine.roles[name][0]}"


def _output_key(card: Card, name: str) -> str:
    at = next((at for at, each in enumerate(card.findings) if each.output == name), None)
    return "engine.output" if at is None else f"finding[{at}].output"


def _wanted(card: Card, card_input: Input) -> str:
    """What the network's input must be, in words."""
    films = "films, " if card_input.is_together else ""
    is_film, is_last = card_input.axes == 2, card.engine.is_channels_last
    places = "rows, columns" if is_film else "three sizes" if is_last else "and three sizes"
    return f"(batch, {films}{places}, channels)" if is_last else f"(batch, {films}channels, {places})"


def _channels_first(card: Card, shape: Shape, leading: int) -> Shape:
    """A shape of an image as arrays have it here; `leading`: its axes before those of the image."""
    return (*shape[:leading], shape[-1], *shape[leading:-1]) if card.engine.is_channels_last else shape


def _input_faults(card: Card, given: Port) -> Iterator[Fault]:
    key, roles = _key_of(card, given.name), card.engine.roles[given.name]
    card_input = card.input(roles[0])
    if given.kind and (wanted_types := fed_type_fault(given.kind)):
        yield key, given.name, f"is {given.kind} in {card.engine.file}; {wanted_types}", "input-type"
    for role in roles:
        yield from _range_faults(card, card.input(role), given)
    if given.shape is None:
        return
    wanted, leading = _wanted(card, card_input), 2 if card_input.is_together else 1
    if len(given.shape) != leading + 1 + card_input.axes:
        mend = ': for one film at a time, images = "each"' if card_input.is_together else ""
        yield key, given.name, f"{card.engine.file} has {given}, expected {wanted}{mend}", "input-shape"
        return
    shape = _channels_first(card, given.shape, leading)
    wants, prepared = shape[leading], channels(card, len(roles))
    if _is_turned(card, given.shape, leading):
        is_last, axes = card.engine.is_channels_last, card_input.axes
        rule = f"{card.engine.file} has {given}, with the channels {'first' if is_last else 'last'}; expected {wanted}"
        layout = (LAYOUTS_FIRST if is_last else LAYOUTS_LAST)[axes]
        yield key, given.name, f'{rule}: layout = "{layout}"', "input-shape"
        return
    if card_input.is_together and shape[1] is not None:
        rule = f"{card.engine.file} has {given}, for a fixed number of films; studies have as many as they have"
        yield key, given.name, f"{rule}: give each film a role of its own", "input-films"
    if wants is not None and wants != prepared:
        rule = f"the network's input {given} expects {_counted(wants)}, but the steps produce {prepared}"
        repeat = f': add do = "repeat-channels", count = {wants}' if prepared == 1 and wants <= MAX_CHANNELS else ""
        yield "prepare", [each.do for each in card.prepare], rule + repeat, "input-channels"
    yield from _size_faults(card, card_input, given, shape[leading + 1 :])


def _is_turned(card: Card, shape: Shape, leading: int) -> bool:
    """Whether the channels are plainly where the card does not have them."""
    ends = shape[leading], shape[-1]
    own, other = reversed(ends) if card.engine.is_channels_last else ends
    return own is not None and other is not None and other <= MAX_CHANNELS < own


LAYOUTS_FIRST: Final = {2: "NCHW", 3: "NCDHW"}
LAYOUTS_LAST: Final = {2: "NHWC", 3: "NDHWC"}
"""By an input's axes, how a network with the channels first, and last, is called."""


def _range_faults(card: Card, card_input: Input, given: Port) -> Iterator[Fault]:
    """Of values from 0 to 1, whole numbers leave black and white."""
    if given.kind not in WHOLE:
        return
    for values in dict.fromkeys(entering(card_input)):
        left: Range | None = values
        for step in (each for each in card.prepare if each.is_of(card_input.role)):
            left = STEPS[step.do].range(left, step.options)[1] if left is not None else None
        if left is not None and left.width <= 1:
            produced = f"the steps produce {left.low:g} to {left.high:g}"
            rule = f"the network's input {given.name} is {given.kind}, and {produced}"
            mend = 'add do = "scale", factor = 255 where it was trained on 0..255'
            yield "prepare", [each.do for each in card.prepare], f"{rule}: {mend}", "input-range"


def _counted(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _size_faults(card: Card, card_input: Input, given: Port, wanted: Shape) -> Iterator[Fault]:
    """Sizes that the file fixes must be those that the steps make of every study."""
    made = sizes(card)
    if not any(wanted):
        return
    if made is None or any(size is not None and size != own for size, own in zip(wanted, made, strict=True)):
        wanted_sizes = " x ".join("any" if size is None else str(size) for size in wanted)
        rule = f"the network's input {given} expects {wanted_sizes}"
        key = "prepare" if made is None or card.engine.window is None else "engine.window.roi"
        yield key, list(made) if made else None, rule + ("" if made else f": {_mended(card, card_input)}"), "input-size"


def _mended(card: Card, card_input: Input) -> str:
    """What mends that a network wants one size."""
    if card_input.axes == 2:
        return 'films have sizes of their own: add do = "resize"'
    if all(each.is_map for each in card.findings):
        return "volumes have sizes of their own: add [engine.window] with its roi"
    return 'volumes have sizes of their own: add do = "crop-centre", and then do = "pad-centre" of the same shape'


def _output_faults(card: Card, made: Port, given: Port | None) -> Iterator[Fault]:
    """`given`: the first input, whose grid a map has."""
    key = _output_key(card, made.name)
    if made.kind and (wanted := type_fault(card, made.name, made.kind)):
        yield key, made.name, f"is {made.kind} in {card.engine.file}: {wanted}", "output-type"
    if made.shape is None:
        return
    findings = [(at, each) for at, each in enumerate(card.findings) if made.name in card.outputs_of(each)]
    if any(isinstance(each, BoxesSpec) for _, each in findings):
        yield from _boxes_faults(card, made, [(at, each) for at, each in findings if isinstance(each, BoxesSpec)])
        return
    is_map = any(each.is_map for _, each in findings)
    wanted = _wanted_map(card) if is_map else "(batch, channels)"
    if len(made.shape) != 2 + (card.inputs[0].axes if is_map else 0):
        rule = f"{card.engine.file} has {made}, expected {wanted}"
        yield key, made.name, rule, "output-shape"
        return
    shape = _channels_first(card, made.shape, 1) if is_map else made.shape
    yield from _channel_faults(findings, made, shape[1])
    if is_map and given is not None and given.shape is not None:
        grid, came = _channels_first(card, given.shape, 1)[2:], shape[2:]
        if None not in (*grid, *came) and len(grid) == len(came) and grid != came:
            what = "pixel" if card.inputs[0].axes == 2 else "voxel"
            rule = f"{card.engine.file} gives {made} for {given}; expected a value for each {what}"
            yield key, made.name, rule, "output-size"


def _wanted_map(card: Card) -> str:
    sizes = f"the input's {'two' if card.inputs[0].axes == 2 else 'three'} sizes"
    return f"(batch, {sizes}, channels)" if card.engine.is_channels_last else f"(batch, channels, and {sizes})"


def _channel_faults(findings: Iterable[tuple[int, FindingSpec]], made: Port, count: int | None) -> Iterator[Fault]:
    """The output's channels must be those that findings are read of."""
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
                wanted = f'(boxes, {rows}) for "{finding.format}", or with a batch'
                rule = f"{card.engine.file} has {made}, expected {wanted}"
                yield f"finding[{at}].outputs.boxes", made.name, rule, "output-shape"
        elif made.name == finding.labels:
            if len(shape) not in (1, 2):
                rule = f"{card.engine.file} has {made}, expected (boxes), or with a batch"
                yield f"finding[{at}].outputs.labels", made.name, rule, "output-shape"
        elif len(shape) not in (1, 2, 3):
            rule = f"{card.engine.file} has {made}, expected (boxes), or with channels, or with a batch"
            yield f"finding[{at}].outputs.scores", made.name, rule, "output-shape"
        elif len(shape) == 3 and not finding.labels:
            yield from _channel_faults([(at, finding)], made, shape[-1])
