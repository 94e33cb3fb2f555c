"""The machine that made an image, for statistics by scanner."""

from pathlib import Path
from typing import Final

from imaging.encoding.elements import read_elements
from imaging.encoding.headers import Unreadable
from imaging.encoding.part10 import split_part_10

_MAKER: Final = 0x00080070
_MODEL: Final = 0x00081090


def scanner_of(file: Path) -> str:
    """Manufacturer and Manufacturer Model Name of a Part 10 file; empty where it tells neither, or cannot be read."""
    try:
        request = split_part_10(file.read_bytes())
    except (OSError, Unreadable):
        return ""
    found = read_elements(request.data, request.transfer_syntax_uid, frozenset({_MAKER, _MODEL}))
    texts = (found.values.get(tag, b"").decode("utf-8", "replace").strip("\0 ") for tag in (_MAKER, _MODEL))
    return " ".join(" ".join(each.split()) for each in texts if each)
