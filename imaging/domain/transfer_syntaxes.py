"""Transfer syntaxes (PS3.6 A): those whose grey pixels we decode, and which of those that are proposed is taken."""

from collections.abc import Sequence
from typing import Final

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, BIG_ENDIAN})

UNCOMPRESSED_FRAMES: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_LS: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG: Final = frozenset({f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)} | JPEG_LS)
JPEG2000: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
JPEG_XL: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112))

DECODABLE: Final = NATIVE | JPEG | JPEG2000 | JPEG_XL | {UNCOMPRESSED_FRAMES, DEFLATED_FRAMES, RLE}


def taken(proposed: Sequence[str]) -> str:
    """Of the syntaxes that a context proposes, at least one, the first that can be decoded; if none can, the first."""
    return next((each for each in proposed if each in DECODABLE), proposed[0])
