"""Coded concepts (PS3.3 8) and the codes that decisions need."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Code:
    """A coded concept: value, scheme and meaning as PS3.3 Table 8.8-1 writes them."""

    scheme: str
    value: str
    meaning: str


PRIVATE_SCHEME = "99IMAGING"
"""Codes of our own: at most 16 characters, never re-used for another meaning."""
