"""The boxes of JP2 and JPEG XL files (ISO/IEC 15444-1 annex I, 18181-2): length, type, content, one after the other.

Decoders walk them to the codestream; so do we, and hand the codestream alone to a decoder. What merely looks like one
inside another box counts for nothing.
"""

from collections.abc import Iterator
from typing import Final

MAX_BOXES: Final = 1000


def contents(frame: bytes, wanted: bytes) -> Iterator[bytes]:
    """The contents of the boxes of a type, such as b"jp2c", in their order; ends where boxes lead nowhere."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(frame):
            return
        kind, start, end = _box(frame, at)
        if end < start or end > len(frame):
            return
        if kind == wanted:
            yield frame[start:end]
        at = end


def _box(frame: bytes, at: int) -> tuple[bytes, int, int]:
    """Its type, and where its content begins and ends."""
    length, kind = int.from_bytes(frame[at : at + 4], "big"), frame[at + 4 : at + 8]
    if length == 0:  # up to the end
        return kind, at + 8, len(frame)
    if length == 1:
        return kind, at + 16, at + int.from_bytes(frame[at + 8 : at + 16], "big")
    return kind, at + 8, at + length
