"""Which time it is, of two clocks: the wall clock, which may be set, and ticks, which never step.

The time of a home is what the wall clock said when `imaging serve` started, carried on by ticks (CLOCK_BOOTTIME). So
receipts, due times and the order of the list follow what happened, not a clock that jumped in between.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

STEP: Final = timedelta(seconds=60)
"""Clocks that differ by more have been set; slewing (NTP) moves both alike."""


@dataclass(frozen=True)
class Anchor:
    """Where the time of a home is counted from: `at` was at `tick` of `boot`.

    `is_doubtful`: the wall clock could not be believed then, since it lay before what had been received, or before
    this version was built.
    """

    at: datetime
    tick: float
    boot: str
    is_doubtful: bool = False

    def to_json(self) -> str:
        """As it is stored in the ledger."""
        return json.dumps(asdict(self) | {"at": self.at.isoformat()})

    @classmethod
    def from_json(cls, text: str) -> "Anchor":
        """The anchor that `to_json` wrote."""
        values = json.loads(text)
        return cls(**(values | {"at": datetime.fromisoformat(values["at"])}))


def anchored(wall: datetime, tick: float, boot: str, newest: datetime | None, built: datetime) -> Anchor:
    """Where to count from, at a start. `newest`: the latest receipt, which nothing that comes now may precede."""
    is_behind = newest is not None and wall < newest - STEP
    return Anchor(max(wall, newest or wall), tick, boot, is_behind or wall < built)


def steady(anchor: Anchor | None, wall: datetime, tick: float, boot: str, built: datetime) -> datetime:
    """The time now. A wall clock that could not be believed is believed again once it lies ahead and may be right."""
    if anchor is None or anchor.boot != boot:  # nothing has been served since this machine started
        return wall
    counted = anchor.at + timedelta(seconds=tick - anchor.tick)
    return wall if anchor.is_doubtful and wall >= max(counted, built) else counted


@dataclass(frozen=True)
class ClockFacts:
    """What tells whether the wall clock can be right. `counted`: the time of the home; `newest`: the latest receipt."""

    wall: datetime
    counted: datetime
    newest: datetime | None
    built: datetime

    @property
    def is_impossible(self) -> bool:
        """Whether it lies before this version was built."""
        return self.wall < self.built

    @property
    def is_behind(self) -> bool:
        """Whether it lies before what has been received."""
        return self.newest is not None and self.wall < self.newest - STEP

    @property
    def step(self) -> timedelta:
        """By how much it jumped since the start; nothing where it is within what slewing explains."""
        found = self.wall - self.counted
        return found if abs(found) > STEP else timedelta()
