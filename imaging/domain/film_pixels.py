"""How large a pixel of a film is, as far as its header says where."""

from typing import Final

from imaging.domain.header import Header

LEAST_MM: Final = 1e-3
MOST_MM: Final = 10.0
"""What the distance of two pixels of a detector can be."""


def pixel_mm(header: Header) -> tuple[float, float] | None:
    """The size of a pixel at the detector (Imager Pixel Spacing), (between rows, between columns) in mm.

    None where nothing says it: Pixel Spacing alone does not tell whether it is of the detector or was corrected to some
    depth in the patient, and by what (PS3.3 10.7.1.3). What lies before the detector is magnified on it.
    """
    spacing = header.imager_pixel_spacing
    if spacing is None or not all(LEAST_MM <= each <= MOST_MM for each in spacing):
        return None
    return spacing
