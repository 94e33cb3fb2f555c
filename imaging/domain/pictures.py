"""Plain pictures, PNG and JPEG, where a DICOM image may stand: what tells them, and the header that they have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from imaging.domain.card import Card
from imaging.domain.header import Header
from imaging.domain.uids import derived_uid

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff"

Window = tuple[float, float]
"""The values that black and white stand for."""


@dataclass(frozen=True)
class Pictures:
    """How plain pictures are read. `window`: None: the range of their values."""

    window: Window | None = None

    def to_json(self) -> dict[str, Any]:
        """As the confined process is told."""
        return {"window": self.window}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(None if data["window"] is None else (data["window"][0], data["window"][1]))


_PLAIN_SYNTAX: Final = "1.2.840.10008.1.2.1"


def is_picture(begin: bytes) -> bool:
    """Whether a file that begins so is a PNG or a JPEG; at least 8 bytes are asked for."""
    return begin.startswith((PNG, JPEG))


def header_of(card: Card, name: str) -> Header:
    """What is said of a picture that a model is given: that it is what the card's first input takes, and no more.

    `name`: tells it from others.
    """
    first = card.inputs[0]
    return Header(
        sop_class_uid=first.sop_class_uids[0] if first.sop_class_uids else "",
        sop_instance_uid=derived_uid("picture", name, "image"),
        study_instance_uid=derived_uid("picture", name, "study"),
        series_instance_uid=derived_uid("picture", name, "series"),
        transfer_syntax_uid=_PLAIN_SYNTAX,
        modality=first.modality[0] if first.modality else "",
        has_pixels=True,
    )
