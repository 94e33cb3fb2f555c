"""What an ONNX file says of itself beside its inputs and outputs: versions, who wrote it, what its exporter noted, and
how its outputs are made. Read from its own bytes, so that nothing but the engine parses a network.
"""

import ast
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imaging.models.protobuf import LENGTH, VARINT, NotProtobuf, fields

_IR, _PRODUCER, _PRODUCER_VERSION, _MODEL_VERSION, _DOC, _GRAPH, _OPSET, _NOTES = 1, 2, 3, 5, 6, 7, 8, 14
_NODE, _NODE_INPUT, _NODE_OUTPUT, _OPERATOR = 1, 1, 2, 4
"""Of onnx.proto: numbers of fields of ModelProto, GraphProto and NodeProto."""
_PASSING: Final = frozenset({"Identity", "Cast"})
"""Operators that change no value."""
_MAX_TEXT: Final = 20_000
"""Bytes of a text that is read."""
_MAX_NOTES: Final = 100
_NAMES: Final = ("names", "labels", "classes", "class_names", "label_names", "id2label", "pathologies", "targets")
"""Under which exporters note what channels are."""


@dataclass(frozen=True)
class OnnxFacts:
    """`opsets`: by domain, "ai.onnx" for the standard one. `notes`: the exporter's own (metadata_props). `makes`: by
    output, the operator that makes it.
    """

    ir_version: int = 0
    opsets: Mapping[str, int] = field(default_factory=dict)
    producer: str = ""
    model_version: int = 0
    text: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    makes: Mapping[str, str] = field(default_factory=dict)

    def channel_names(self, count: int) -> list[str]:
        """What the exporter calls the channels of an output of that many; none where it does not say."""
        lowered = {key.lower(): value for key, value in self.notes.items()}
        for key in _NAMES:
            names = _names(lowered.get(key, ""))
            if len(names) == count:
                return names
        return []


def facts(path: Path) -> OnnxFacts | None:
    """Of an ONNX file; None of what is none. Raises OSError."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _facts(data)
            except NotProtobuf:
                return None


def _facts(data: mmap.mmap) -> OnnxFacts | None:
    numbers, texts = dict[int, int](), dict[int, str]()
    opsets, notes = dict[str, int](), dict[str, str]()
    graph: tuple[int, int] | None = None
    for number, wire, first, last in fields(data, 0, len(data)):
        if wire == VARINT:
            numbers[number] = first
        elif wire == LENGTH and number == _GRAPH:
            graph = first, last
        elif wire == LENGTH and number == _OPSET:
            domain, version = _pair(data, first, last)
            opsets[domain or "ai.onnx"] = version if isinstance(version, int) else 0
        elif wire == LENGTH and number == _NOTES and len(notes) < _MAX_NOTES:
            key, value = _pair(data, first, last)
            notes[key] = str(value)
        elif wire == LENGTH and number in (_PRODUCER, _PRODUCER_VERSION, _DOC):
            texts[number] = _text(data, first, last)
    if graph is None or not opsets:
        return None
    producer = " ".join(filter(None, (texts.get(_PRODUCER), texts.get(_PRODUCER_VERSION))))
    makes = dict(_makers(data, *graph))
    return OnnxFacts(
        numbers.get(_IR, 0), opsets, producer, numbers.get(_MODEL_VERSION, 0), texts.get(_DOC, ""), notes, makes
    )


def _makers(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[str, str]]:
    """By the name of a value, the operator that makes it; those that change nothing are looked through."""
    passed: dict[str, str] = {}
    for number, wire, first, last in fields(data, at, end):
        if (number, wire) != (_NODE, LENGTH):
            continue
        given, made, operator = "", list[str](), ""
        for each, kind, a, b in fields(data, first, last):
            if kind == LENGTH and each == _NODE_INPUT:
                given = given or _text(data, a, b)
            elif kind == LENGTH and each == _NODE_OUTPUT:
                made.append(_text(data, a, b))
            elif kind == LENGTH and each == _OPERATOR:
                operator = _text(data, a, b)
        operator = passed.get(given, operator) if operator in _PASSING else operator
        passed |= dict.fromkeys(made, operator)
    yield from passed.items()


def _pair(data: mmap.mmap, at: int, end: int) -> tuple[str, str | int]:
    """The first two fields of a message: a text, and a text or number."""
    key, value = "", ""
    for number, wire, first, last in fields(data, at, end):
        if (number, wire) == (2, VARINT):
            return key, first
        if wire == LENGTH and number == 1:
            key = _text(data, first, last)
        elif wire == LENGTH and number == 2:
            value = _text(data, first, last)
    return key, value


def _text(data: mmap.mmap, at: int, end: int) -> str:
    return data[at : min(end, at + _MAX_TEXT)].decode("utf-8", "replace")


def _names(text: str) -> list[str]:
    """Names in their order, of a list or a table of numbers, as JSON or Python write them, or between commas."""
    value: Any = None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            break
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    if isinstance(value, dict):
        by_number = {int(key): each for key, each in value.items() if str(key).isdecimal()}
        value = [by_number[at] for at in sorted(by_number)] if sorted(by_number) == list(range(len(value))) else None
    if value is None and "," in text and not set("[]{}") & set(text):
        value = [each.strip() for each in text.split(",")]
    is_list = isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)
    return [" ".join(each.split())[:64] for each in value] if is_list else []
