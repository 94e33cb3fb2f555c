"""What becomes of a delivery that its peer did not accept: one rule for every kind of destination."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

FIRST_WAIT: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Accepted:
    """The peer has it. `note` holds its warning, if it gave one."""

    note: str = ""


@dataclass(frozen=True)
class Passing:
    """It may be accepted later: the peer is away, full, or does not know us yet."""

    why: str


@dataclass(frozen=True)
class Permanent:
    """It would be refused tomorrow as well."""

    why: str


Answer = Accepted | Passing | Permanent


@dataclass(frozen=True)
class RetryIn:
    wait: timedelta
    why: str


@dataclass(frozen=True)
class Dead:
    why: str


def after_fault(attempt: int, fault: Passing | Permanent, jitter: float) -> RetryIn | Dead:
    """When to try again, or that there is no use. `attempt` counts from 0; `jitter` is in 0..1.

    A passing fault is retried for ever, however long the peer is away: waits double to five minutes and are cut by up
    to a half, so that many deliveries do not return together.
    """
    if isinstance(fault, Permanent):
        return Dead(fault.why)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 20))
    return RetryIn(wait * (1 - jitter / 2), fault.why)


def judged(status: int) -> Answer:
    """What a C-STORE response status means for a delivery (PS3.4 B.2.3, PS3.7 C)."""
    if status == 0x0000:
        return Accepted()
    if status & 0xF000 == 0xB000 or status == 0x0111:  # a warning, or a duplicate of what we sent before
        return Accepted(f"status 0x{status:04X}")
    why = f"C-STORE answered with status 0x{status:04X}"
    if status & 0xFF00 == 0xA700 or status in (0x0110, 0x0124, 0xFE00):
        return Passing(why)
    return Permanent(why)
