"""What a JPEG XL codestream tells of itself before it is decoded: its size and its channels (ISO/IEC 18181-1 annex D).

Its header is a row of bits, the lowest of each byte first, without markers.
"""

from typing import Final

START: Final = b"\xff\x0a"
_HEADER_BYTES: Final = 128
"""More than the fields that are read here can take."""
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by their number from 1 on."""
_SIZES: Final = ((9, 1), (13, 1), (18, 1), (30, 1))
_GREY: Final = 1
_TRANSPOSING: Final = 4
"""The first orientation (counted from 0) that makes rows of columns."""


def size_of(stream: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and channels (1 or 3) of the one picture of a codestream; None where there is none, or anything
    beside it: an animation, a preview, further channels."""
    if not stream.startswith(START):
        return None
    bits = _Bits(stream[len(START) : _HEADER_BYTES])
    rows, columns = _size(bits)
    if bits.take(1):  # all default: a coloured image
        return rows, columns, 3
    orientation = 0
    if bits.take(1):
        orientation = bits.take(3)
        if bits.take(1):
            _size(bits)  # as it is meant to be shown
        if bits.take(1) or bits.take(1):  # a preview; an animation
            return None
    _depth(bits)
    bits.take(1)
    if bits.one_of((0, 0), (0, 1), (4, 2), (12, 1)):  # further channels
        return None
    bits.take(1)
    channels = _channels(bits)
    return (columns, rows, channels) if orientation >= _TRANSPOSING else (rows, columns, channels)


class _Bits:
    """Reads the header's fields. Past its end all bits are 0."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value

    def one_of(self, *choices: tuple[int, int]) -> int:
        """A number by two bits that choose how many bits it has, and what is added to them."""
        bits, added = choices[self.take(2)]
        return self.take(bits) + added


def _size(bits: _Bits) -> tuple[int, int]:
    """Rows and columns."""
    is_small = bits.take(1)
    rows = _length(bits, is_small)
    ratio = bits.take(3)
    if not ratio:
        return rows, _length(bits, is_small)
    width, height = _RATIOS[ratio - 1]
    return rows, rows * width // height


def _length(bits: _Bits, is_small: int) -> int:
    return 8 * (bits.take(5) + 1) if is_small else bits.one_of(*_SIZES)


def _depth(bits: _Bits) -> None:
    if bits.take(1):  # floats
        bits.one_of((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
    else:
        bits.one_of((0, 8), (0, 10), (0, 12), (6, 1))


def _channels(bits: _Bits) -> int:
    if bits.take(1):  # all default: sRGB
        return 3
    bits.take(1)  # whether there is an ICC profile
    return 1 if bits.one_of((0, 0), (0, 1), (4, 2), (6, 18)) == _GREY else 3
