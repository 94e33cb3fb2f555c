"""What a card asks of stacks of slices: how many, how far apart, how long. How they lie says `geometry`."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from imaging.domain.card import VolumeInput
from imaging.domain.geometry import EVEN_MM, NEAR_MM, Region, Stack
from imaging.domain.reasons import NotAnalysable

JITTER: Final = 1.1
"""Of the widest gap over the median: within it a table that wanders, beyond it how it was scanned."""
MAX_SLICES: Final = 100_000


def check_stack(card_input: VolumeInput, laid: Stack) -> None:
    """The card's conditions on one stack: its gaps, and how many slices it may have at most. Raises NotAnalysable."""
    count, gaps = len(laid.along_mm), laid.gaps_mm
    if count < 2:
        raise NotAnalysable("too-few-slices", str(count))
    if card_input.slices and count > card_input.slices[1]:
        raise NotAnalysable("too-many-slices", str(count))
    if laid.kind == "missing" and card_input.missing == "refuse":
        raise NotAnalysable("slices-missing", str(laid.missing))
    widest = float(gaps.max())
    if card_input.max_gap_mm is None:
        if laid.kind == "uneven" and widest > JITTER * float(np.median(gaps)):
            raise NotAnalysable("gap", f"{widest:.1f} mm")
    elif widest > card_input.max_gap_mm + EVEN_MM:
        raise NotAnalysable("gap", f"{widest:.1f} mm")


def check_joined(card_input: VolumeInput, regions: Sequence[Region]) -> None:
    """The card's conditions on stacks that are one acquisition: count, extent, and no hole between them.

    Raises NotAnalysable.
    """
    minimum, maximum = card_input.slices or (2, MAX_SLICES)
    count = sum(len(each.laid.along_mm) for each in regions)
    if count < max(minimum, 2):
        raise NotAnalysable("too-few-slices", str(count))
    if count > maximum:
        raise NotAnalysable("too-many-slices", str(count))
    spans = sorted(each.span(regions[0].laid.normal) for each in regions)
    reached = spans[0][1]
    for low, high, gap in spans[1:]:
        if low - reached > max(card_input.max_gap_mm or 0.0, gap, NEAR_MM) + EVEN_MM:
            raise NotAnalysable("gap", f"{low - reached:.1f} mm")
        reached = max(reached, high)
    extent = reached - spans[0][0] + spans[0][2]
    if card_input.extent_mm and not card_input.extent_mm[0] <= extent <= card_input.extent_mm[1]:
        raise NotAnalysable("extent", f"{extent:.0f} mm")
