"""Where on the images, and in the patient, a finding lies.

**Pixel coordinates** are those of the image as it is stored: (column, row), zero-based, **the centre of a pixel at
whole numbers**: the first pixel reaches from -0.5 to 0.5. (DICOM's SCOORD counts from the outer corner of the first
pixel, PS3.3 C.18.6.1.2: there each is larger by one half.) Places in the patient are in mm, LPS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

Point = tuple[float, float, float]
OnImage = tuple[str, int]
"""The SOP Instance UID of an image, and the number of its frame, counted from 1."""


@dataclass(frozen=True)
class Place:
    """A box around something that was found.

    `image`: the one that shows it best: of a volume, the slice nearest its middle. `box`: on that image, (left, top,
    right, bottom). `centre`: on that image, (column, row): a box's middle, a mask's centroid. `images`: all that it
    lies on, in the order of the stack. `score`: a box's own, in 0..1; None for a mask's.

    `corners_mm`: the eight corners of a box in a volume, in the Frame of Reference of that UID: the last index changes
    first, as in (low, low, low), (low, low, high), (low, high, low). Empty on a film.
    """

    image: OnImage
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    images: tuple[OnImage, ...]
    score: float | None = None
    corners_mm: tuple[Point, ...] = ()
    frame_of_reference_uid: str = ""

    @property
    def centre_mm(self) -> Point | None:
        """The middle of a box in a volume; None on a film."""
        if not self.corners_mm:
            return None
        x, y, z = (sum(axis) / len(self.corners_mm) for axis in zip(*self.corners_mm, strict=True))
        return round(x, 1), round(y, 1), round(z, 1)

    def to_json(self) -> dict[str, Any]:
        """As commands print it and the ledger keeps it."""
        uid, frame = self.image
        return {
            "score": self.score,
            "sop_instance_uid": uid,
            "frame": frame,
            "box": list(self.box),
            "centre": list(self.centre),
            "images": [list(each) for each in self.images],
            "centre_mm": list(self.centre_mm) if self.centre_mm else None,
            "corners_mm": [list(each) for each in self.corners_mm],
            "frame_of_reference_uid": self.frame_of_reference_uid,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The place that `to_json` wrote."""
        return cls(
            (data["sop_instance_uid"], data["frame"]),
            tuple(data["box"]),
            tuple(data["centre"]),
            tuple((uid, frame) for uid, frame in data["images"]),
            data["score"],
            tuple(tuple(each) for each in data["corners_mm"]),
            data["frame_of_reference_uid"],
        )
