"""Which of several series a card likes best: by the wishes of its `prefer`, then by size and number. And which film: by
the view that its gate names first, then the latest.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from imaging.domain.card import FilmInput, VolumeInput
from imaging.domain.gates import view_place
from imaging.domain.header import Header
from imaging.domain.stacks import moment

SOFT_KERNELS: Final = ("STANDARD", "STD", "SOFT", "BRAIN", "HEAD", "FC2", "UA", "UB", "H3", "J3", "B3", "HR3", "HC3")
SHARP_KERNELS: Final = (
    "BONE", "EDGE", "LUNG", "DETAIL", "SHARP", "FC3", "FC8", "YA", "YB", "YC", "H6", "H7", "B6", "B7",
)  # fmt: skip


def _prefers(wish: str, series: Sequence[Header]) -> float:
    """How well a series meets one wish of `prefer`; less is better."""
    kernel = series[0].convolution_kernel.upper()
    if wish == "kernel:soft":
        return 0.0 if kernel.startswith(SOFT_KERNELS) else 2.0 if kernel.startswith(SHARP_KERNELS) else 1.0
    if wish == "kernel:sharp":
        return 0.0 if kernel.startswith(SHARP_KERNELS) else 1.0
    if wish == "original":
        return float("ORIGINAL" not in series[0].image_type[:1])
    if series[0].image_orientation is None or series[0].image_position is None:
        return 1.0
    normal = np.cross(series[0].image_orientation[:3], series[0].image_orientation[3:])
    if wish in PLANES:
        return float(np.argmax(np.abs(normal)) != PLANES[wish])
    along = sorted(float(normal @ np.array(h.image_position)) for h in series if h.image_position)
    gap = (along[-1] - along[0]) / max(len(along) - 1, 1)
    return gap if wish == "thin" else -gap


PLANES: Final = {"sagittal": 0, "coronal": 1, "axial": 2}
PREFERENCES: Final = frozenset({*PLANES, "kernel:soft", "kernel:sharp", "original", "thin", "thick"})
"""What a card's `prefer` may ask for; the first wish counts most."""


def rank(card_input: VolumeInput, series: Sequence[Header]) -> tuple[tuple[float, ...], int, int, str]:
    """Less is better: wishes in their order, more slices, lower series number. The UID comes last."""
    wishes = tuple(round(_prefers(wish, series), 3) for wish in card_input.prefer)
    number = min((header.series_number for header in series if header.series_number is not None), default=1 << 31)
    return wishes, -len(series), number, series[0].series_instance_uid


def rank_film(card_input: FilmInput, header: Header) -> tuple[int, float, int, int, str]:
    """Less is better: the view that the card's gate names first, the latest (a film is repeated because it was bad),
    lower series number, lower instance number. The UID comes last.
    """
    last = 1 << 31
    series, instance = (last if each is None else each for each in (header.series_number, header.instance_number))
    return view_place(card_input, header), -(moment(header) or 0.0), series, instance, header.sop_instance_uid
