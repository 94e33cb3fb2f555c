"""Which other files an ONNX file takes weights from: read from its own bytes, so that nothing but the engine parses
a network.

ONNX is protobuf. Only what can hold a tensor is walked: graphs, nodes, their attributes, functions, training graphs.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from imaging.models.protobuf import LENGTH, VARINT, NotProtobuf, fields

_HOLDS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Of onnx.proto: by message, the numbers of its fields in which a tensor may lie, and what they are."""
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1


def locations(path: Path) -> tuple[str, ...]:
    """The files that an ONNX file takes weights from, as it names them (from its own folder), each once, sorted.

    Of what is no ONNX file, or a damaged one: none. That is the engine's to say, which finds nothing beside its file
    that was not found here. Raises OSError.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return ()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return tuple(sorted(set(_locations(data))))
            except NotProtobuf:
                return ()


def _locations(data: mmap.mmap) -> Iterator[str]:
    waiting = [("model", 0, len(data))]
    while waiting:
        kind, at, end = waiting.pop()
        if kind == "tensor":
            yield from _location(data, at, end)
            continue
        for number, wire, first, last in fields(data, at, end):
            if wire == LENGTH and number in _HOLDS[kind]:
                waiting.append((_HOLDS[kind][number], first, last))


def _location(data: mmap.mmap, at: int, end: int) -> Iterator[str]:
    """Where a tensor's data lies, if outside; a location that is noted beside data of its own does not count."""
    named, is_external = list[str](), False
    for number, wire, first, last in fields(data, at, end):
        if (number, wire) == (_DATA_LOCATION, VARINT):
            is_external = first == _EXTERNAL
        elif (number, wire) == (_EXTERNAL_DATA, LENGTH):
            entry = {field: data[a:b] for field, kind, a, b in fields(data, first, last) if kind == LENGTH}
            if entry.get(1) == b"location":
                named.append(entry.get(2, b"").decode("utf-8", "surrogateescape"))
    if is_external:
        yield from named
