"""Just enough of protobuf's wire format to read what an ONNX file says, so that no package more is needed."""

import mmap
from collections.abc import Iterator

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5


class NotProtobuf(ValueError):
    """The bytes are no protobuf message."""


def fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, first, last) of each field: where its content lies, or for a varint its value, twice.

    Raises NotProtobuf.
    """
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(data, at, end)
            yield number, wire, value, value
            continue
        if wire == LENGTH:
            length, at = _varint(data, at, end)
        elif wire in (FIXED_64, FIXED_32):
            length = 8 if wire == FIXED_64 else 4
        else:
            raise NotProtobuf
        if at + length > end:
            raise NotProtobuf
        yield number, wire, at, at + length
        at += length


def varints(data: mmap.mmap, at: int, end: int) -> Iterator[int]:
    """The numbers of a packed field. Raises NotProtobuf."""
    while at < end:
        value, at = _varint(data, at, end)
        yield value


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, the least first; and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise NotProtobuf
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise NotProtobuf
