"""When a study is whole, decided from what was seen of it. Times are seconds on one clock that does not step."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from imaging.domain.header import Header
from imaging.domain.image_kind import is_localizer

VOLUME_MODALITIES: Final = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose images belong together by position; all others settle as films do."""

CONFLICT_SETTLED: Final = "conflict settled"
CORRECTED: Final = "correction"
READABLE: Final = "readable copy"
CONTRADICTED: Final = "conflict found"
JUDGED: Final = frozenset({CORRECTED, READABLE, CONTRADICTED})
"""Why a study is looked at again after one of its copies was judged (`domain.same_image`)."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for more images, in seconds (docs/configuration.md)."""

    film_s: float = 2.0
    volume_s: float = 2.0
    volume_with_gap_s: float = 10.0
    volume_open_s: float = 60.0
    longest_s: float = 900.0
    between_revisions_s: float = 60.0


@dataclass(frozen=True)
class Signals:
    """What is known of a study that is being received.

    `first_tick`, `last_tick`: its first and last instance since it was last settled. `ended_tick`: the end of the last
    association that sent of it, None while one is open. `revised_tick`: when its last revision settled.
    `is_decided`: it is looked at again since a person settled a conflict. `judged`: one of `JUDGED` where it is looked
    at again for that alone; `has_unjudged`: other copies of its images are still to be compared.
    """

    first_tick: float
    last_tick: float
    ended_tick: float | None
    revised_tick: float | None
    is_volume: bool
    has_gap: bool
    is_decided: bool = False
    judged: str = ""
    has_unjudged: bool = False


@dataclass(frozen=True)
class Whole:
    """The study is taken as whole; `signal` says what told so."""

    signal: str


@dataclass(frozen=True)
class LookAgain:
    """Not yet: look again at `at`, unless something happens before; `why` is shown."""

    at: float
    why: str


def whole(signals: Signals, patience: Patience, now: float) -> Whole | LookAgain:
    """Whether the study is whole by now.

    When in doubt a study is analysed early and revised: no signal is waited for longer than `patience.longest_s`.
    """
    longest = signals.first_tick + patience.longest_s
    at, signal = min(_quiet(signals, patience), (longest, "longest wait"))
    if signals.has_unjudged and signals.judged in (CORRECTED, CONTRADICTED):
        at = longest  # copies come in numbers: one new answer for all of them
    earliest = -float("inf") if signals.revised_tick is None else signals.revised_tick + patience.between_revisions_s
    if at < earliest:
        at, signal = earliest, "one revision a minute"
    if signals.is_decided or signals.judged:
        signal = signals.judged or CONFLICT_SETTLED
    return Whole(signal) if now >= at else LookAgain(at, signal)


def _quiet(signals: Signals, patience: Patience) -> tuple[float, str]:
    """When the study is whole by its own signals, and by which."""
    if signals.judged:
        return signals.last_tick + (patience.volume_s if signals.is_volume else patience.film_s), signals.judged
    if not signals.is_volume:
        quiet = signals.last_tick + patience.film_s, "quiet time of films"
        return quiet if signals.ended_tick is None else min(quiet, (signals.ended_tick, "end of the association"))
    if signals.ended_tick is None:
        return signals.last_tick + patience.volume_open_s, "association open, but silent"
    wait = patience.volume_with_gap_s if signals.has_gap else patience.volume_s
    return signals.ended_tick + wait, "quiet after the association, with a gap" if signals.has_gap else "quiet time"


def is_volume(headers: Iterable[Header]) -> bool:
    """Whether any image of the study belongs to a volume."""
    return any(each.modality in VOLUME_MODALITIES and each.has_pixels for each in headers)


def has_gap(headers: Sequence[Header]) -> bool:
    """Whether in any series with positions a slice seems to be missing: a step over one and a half times the median.

    A series of which the first image came alone is taken as having a gap: more will follow.
    """
    series: dict[str, list[float]] = {}
    for each in headers:
        if each.image_position and each.image_orientation and not is_localizer(each) and each.number_of_frames == 1:
            along = _along_normal(each.image_position, each.image_orientation)
            series.setdefault(each.series_instance_uid, []).append(along)
    return any(_uneven(sorted(positions)) for positions in series.values())


def _along_normal(position: Sequence[float], orientation: Sequence[float]) -> float:
    """The position's length along row x column, in mm."""
    a, b = orientation[:3], orientation[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return sum(p * n for p, n in zip(position, normal, strict=True))


def _uneven(positions: Sequence[float]) -> bool:
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(positions) if later - earlier > 0.01)
    return not steps or steps[-1] > 1.5 * steps[len(steps) // 2]
