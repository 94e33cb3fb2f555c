"""What compressed frames tell of themselves: their size, where they begin and where they end (PS3.5 8.2, annex A.4).

Sizes are those of the codestream that a decoder gets: JP2 and JPEG XL boxes are left out, and a stream that tells two
sizes is refused. No decoder is asked, and nothing is allocated. What a sender left behind the end of an image (padding
of any length, a vendor's trailer) is cut off; a stream without an end is not whole, and decoders would make half a
picture of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imaging.inference import boxes
from imaging.inference.jpeg_xl import START, size_of

MAX_TILES: Final = 10_000
END_OF_IMAGE: Final = b"\xff\xd9"
"""How JPEG, JPEG-LS and JPEG 2000 streams end."""

_SCAN_ENDS: Final = re.compile(rb"\xff[\xc4\xd9-\xdd\xe0-\xef\xf8\xfe]")
"""The markers that may follow a scan. Entropy coded data never holds one: there a byte after FF is 00 to 7F."""
_WITHOUT_LENGTH: Final = frozenset([0x00, 0x01, *range(0xD0, 0xD9)])
"""Markers that have no length and no place before a scan; a second start of image is one of them. Decoders differ in
what they make of them, so that none may see them."""
_OTHER_SIZE: Final = b"\x04"
"""Of an LSE segment of JPEG-LS: another size than that of the frame (ISO/IEC 14495-1 C.2.4.1.4)."""
_JPEG2000_START: Final = b"\xff\x4f\xff\x51"
_BOXED_JPEG_XL: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
_STARTS: Final = (b"\xff\xd8\xff", _JPEG2000_START, b"\0\0\0\x0cjP  ", START, _BOXED_JPEG_XL)
"""Of images, whatever their syntax."""
_TILE_PART: Final = b"\xff\x90"
_DATA: Final = b"\xff\x93"


@dataclass(frozen=True)
class Codestream:
    """`data`: what a decoder gets, up to the end of the image."""

    data: bytes
    rows: int
    columns: int
    components: int


def jpeg(frame: bytes) -> Codestream | None:
    """A JPEG or JPEG-LS stream; None where it is none, or not whole, or tells its size more than once."""
    if not frame.startswith(b"\xff\xd8"):
        return None
    size: tuple[int, int, int] | None = None
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        if marker in _WITHOUT_LENGTH or (marker == 0xF8 and frame[at + 4 : at + 5] == _OTHER_SIZE):
            return None
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            if size is not None or at + 9 >= len(frame):
                return None
            size = _big(frame, at + 5, 2), _big(frame, at + 7, 2), frame[at + 9]
        at += 2 + _big(frame, at + 2, 2)
        if marker == 0xDA:
            match = _SCAN_ENDS.search(frame, at)
            at = match.start() if match else len(frame)
    is_whole = frame[at : at + 2] == END_OF_IMAGE
    return Codestream(frame[: at + 2], *size) if size and is_whole else None


def jpeg2000(frame: bytes) -> Codestream | None:
    """A JPEG 2000 or HTJ2K stream, raw or in JP2 boxes, which are left out; None where it is none, not whole, or of
    absurdly many tiles."""
    raw = frame if frame.startswith(_JPEG2000_START) else next(boxes.contents(frame, b"jp2c"), b"")
    if not raw.startswith(_JPEG2000_START) or len(raw) < 42:
        return None
    width, height, left, top, tile_width, tile_height = (_big(raw, 8 + 4 * n, 4) for n in range(6))
    if not tile_width or not tile_height or (width // tile_width + 1) * (height // tile_height + 1) > MAX_TILES:
        return None
    end = _jpeg2000_end(raw, 2)
    return Codestream(raw[:end], height - top, width - left, _big(raw, 40, 2)) if end else None


def jpeg_xl(frame: bytes) -> Codestream | None:
    """A JPEG XL stream, raw or in boxes, which are left out; None where it is none, or holds more than one picture."""
    raw = _unboxed_jpeg_xl(frame) if frame.startswith(_BOXED_JPEG_XL) else frame
    size = size_of(raw)
    return Codestream(raw, *size) if size else None


def _unboxed_jpeg_xl(frame: bytes) -> bytes:
    """The content of its box, or of boxes that hold a part each, behind that part's number."""
    whole = next(boxes.contents(frame, b"jxlc"), None)
    return whole if whole is not None else b"".join(part[4:] for part in boxes.contents(frame, b"jxlp"))


def _jpeg2000_end(frame: bytes, at: int) -> int:
    """Where the stream whose SIZ stands at `at` ends, behind its EOC; 0 where it is cut.

    Segments of the main header tell their length, and so do tile-parts (Psot); 0 there means: up to the end.
    """
    while at + 12 <= len(frame) and frame[at] == 0xFF and frame[at : at + 2] != END_OF_IMAGE:
        if frame[at : at + 2] != _TILE_PART:
            at += 2 + _big(frame, at + 2, 2)
            continue
        length = _big(frame, at + 6, 4)
        if length == 0:
            data = frame.find(_DATA, at + 12)
            return frame.find(END_OF_IMAGE, data) + 2 if data >= 0 and END_OF_IMAGE in frame[data:] else 0
        at += max(length, 12)
    if frame[at : at + 2] == END_OF_IMAGE:
        return at + 2
    return _end_before_zeros(frame) if at <= len(frame) else 0


def _end_before_zeros(frame: bytes) -> int:
    """Where a stream whose own lengths lead nowhere ends: with the frame, or before a few zeros; 0 for nowhere."""
    kept = len(frame) - 64 + len(frame[-64:].rstrip(b"\0")) if len(frame) > 64 else len(frame.rstrip(b"\0"))
    return kept if frame[max(0, kept - 2) : kept] == END_OF_IMAGE else 0


def by_starts(fragments: Sequence[bytes]) -> list[bytes]:
    """Frames of one fragment or more each, by where images begin: for objects whose offset table tells nothing."""
    frames: list[list[bytes]] = []
    for fragment in fragments:
        is_start = fragment.startswith(_STARTS)
        if is_start or not frames:
            frames.append([])
        frames[-1].append(fragment)
    return [b"".join(each) for each in frames]


def unpacked_length(segment: bytes, wanted: int) -> tuple[int, int]:
    """How many bytes of an RLE segment (PackBits, PS3.5 G.3.1) make the `wanted` first ones, and how many these make.

    What follows is padding, of any length and any values.
    """
    at = made = 0
    while made < wanted and at < len(segment):
        count = segment[at]
        if count < 128:
            made, at = made + count + 1, at + count + 2
        elif count > 128:
            made, at = made + 257 - count, at + 2
        else:
            at += 1
    return at, made


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
