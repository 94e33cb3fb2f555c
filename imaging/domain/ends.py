"""How an association ended, and whether its sender was cut off, so that it will come back with the rest."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class End(StrEnum):
    """How an association ended. Under way is a message from its first byte until it is answered."""

    RELEASED = "released"
    """By A-RELEASE, with nothing under way."""
    CLOSED = "closed"
    """The peer closed the connection after the last response, with nothing under way."""
    ABORTED = "aborted"
    """The peer aborted it (A-ABORT, or a reset of the connection) with nothing under way."""
    CUT = "cut"
    """It ended while a message was under way, or was ended by us: by the stop of the node, a crash, a fault of the
    peer's or its silence."""


HABIT: Final = 5
"""So many associations in a row that all ended by an abort are a sender's way to end them."""


def is_cut(end: End, before: Sequence[End]) -> bool:
    """Whether the sender was cut off. `before`: how its earlier associations ended, at least the last `HABIT`."""
    if end is End.ABORTED:
        return len(before) < HABIT or any(each is not End.ABORTED for each in before[-HABIT:])
    return end is End.CUT
