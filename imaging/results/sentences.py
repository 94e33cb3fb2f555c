"""What a report says in words of its own, in its language; codes of reasons stay as docs/models.md lists them."""

from collections.abc import Mapping
from typing import Final

IN_PART: Final[Mapping[str, str]] = {
    "en": "{missing} of {images} images not analysed ({reasons}). What is not called present is undetermined.",
    "vi": "{missing} trên {images} ảnh chưa được phân tích ({reasons}). Điều không ghi là có thì chưa xác định.",
    "fr": "{missing} images sur {images} non analysées ({reasons}). Ce qui n'est pas dit présent est indéterminé.",
}
"""By language: that an answer does not speak for the whole study (docs/models.md, "What an answer covers")."""


def in_part(missing: Mapping[str, int], used: int, language: str) -> str:
    """The sentence of an answer that looked at `used` images and missed these, by reason."""
    missed = sum(missing.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in missing.items())
    return IN_PART[language].format(missing=missed, images=used + missed, reasons=reasons)
