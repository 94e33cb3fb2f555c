"""What becomes of a delivery that its peer did not accept: one rule for every kind of destination."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

FIRST_WAIT: Final = timedelta(seconds=2)
MAX_WAIT: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Accepted:
    """The peer has it. `note` holds its warning, if it gave one."""

    note: str = ""


@dataclass(frozen=True)
class Transient:
    """It may be accepted later: the peer is away, full, or does not know us yet.

    `was_sent`: the object may have arrived all the same, here and below.
    """

    why: str
    was_sent: bool = False


@dataclass(frozen=True)
class Permanent:
    """It would be refused tomorrow as well."""

    why: str
    was_sent: bool = False


@dataclass(frozen=True)
class SopClassRefused(Permanent):
    """The peer takes no object of this SOP class."""


@dataclass(frozen=True)
class Duplicate(Permanent):
    """The peer has an object under this SOP Instance UID already."""


Answer = Accepted | Transient | Permanent


@dataclass(frozen=True)
class RetryIn:
    """Try again after `wait`."""

    wait: timedelta
    why: str


@dataclass(frozen=True)
class Dead:
    """Never try again by itself: a dead letter."""

    why: str


def after_fault(attempt: int, fault: Transient | Permanent, jitter: float) -> RetryIn | Dead:
    """When to try again, or that there is no use. `attempt` counts from 0; `jitter` is in 0..1.

    A passing fault is retried for ever, however long the peer is away: waits double to five minutes and are cut by up
    to a half, so that many deliveries do not return together.
    """
    if isinstance(fault, Permanent):
        return Dead(fault.why)
    wait = min(MAX_WAIT, FIRST_WAIT * 2 ** min(attempt, 20))
    return RetryIn(wait * (1 - jitter / 2), fault.why)


_STATUS_NAMES: Final = {
    (0x0110, 0xFFFF): "processing failure",
    (0x0111, 0xFFFF): "duplicate SOP Instance: the peer already has an object under this UID",
    (0x0122, 0xFFFF): "SOP class not supported",
    (0x0124, 0xFFFF): "not authorised",
    (0xA700, 0xFF00): "out of resources",
    (0xA900, 0xFF00): "data set does not match the SOP class",
    (0xC000, 0xF000): "cannot understand",
}
"""By status and the bits of it that count."""


_DUPLICATE: Final = 0x0111
_CLASS_NOT_SUPPORTED: Final = 0x0122


def judged(status: int) -> Answer:
    """What a C-STORE response status means for a delivery (PS3.4 B.2.3, PS3.7 C)."""
    if status == 0x0000:
        return Accepted()
    if status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116):  # warnings
        return Accepted(f"status 0x{status:04X}")
    named = next((name for code, name in _STATUS_NAMES.items() if status & code[1] == code[0]), "")
    why = f"C-STORE answered with status 0x{status:04X}" + (f", {named}" if named else "")
    if status & 0xFF00 == 0xA700 or status in (0x0110, 0x0124, 0xFE00):
        return Transient(why, was_sent=True)
    if status == _DUPLICATE:
        return Duplicate(why)
    return SopClassRefused(why) if status == _CLASS_NOT_SUPPORTED else Permanent(why, was_sent=True)


def known_there(answer: Duplicate, *, was_sent: bool) -> Answer:
    """What a duplicate means. `was_sent`: an earlier attempt may have brought this very object to this peer."""
    if was_sent:
        return Accepted(f"status 0x{_DUPLICATE:04X}: it had been received in an earlier attempt")
    return Permanent(f"{answer.why}, and this object was not sent there before")
