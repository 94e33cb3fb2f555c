"""When a study is whole, decided from what was seen of it. Times are seconds on one clock that does not step."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

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

PAUSES: Final = 3.0
MAX_PACE_S: Final = 30.0
"""A series is quiet once so many of its sender's longest pause went by without an image, at most so many seconds."""


@dataclass(frozen=True)
class CompletenessTimeouts:
    """How long to wait for more images, in seconds (docs/configuration.md)."""

    film_s: float = 2.0
    volume_s: float = 2.0
    volume_with_gap_s: float = 10.0
    volume_open_s: float = 60.0
    longest_s: float = 900.0
    between_revisions_s: float = 60.0
    volume_cut_s: float = 60.0


@dataclass(frozen=True)
class Pace:
    """How the images of one series came in.

    `last_tick`: the last one's; None where the next begins anew, as at first and after a cut. `longest_pause_s`: the
    longest so far between two of them. `is_split`: it went on after all associations that sent of its study had ended,
    so that the end of one means little.
    """

    last_tick: float | None = None
    longest_pause_s: float = 0.0
    is_split: bool = False

    def after(self, ticks: Sequence[float], first_tick: float, ended_tick: float | None) -> Self:
        """Once images came at these ticks, in order, at least one.

        `first_tick`, `ended_tick`: the study's, with the first and before the first of them. What was before
        `first_tick` is over: no pause counts that began then.
        """
        went_on = self.last_tick is not None and self.last_tick >= first_tick
        known = ([self.last_tick] if self.last_tick is not None and went_on else []) + [*ticks]
        longest = max((later - earlier for earlier, later in itertools.pairwise(known)), default=0.0)
        return replace(
            self,
            last_tick=known[-1],
            longest_pause_s=max(self.longest_pause_s, longest),
            is_split=self.is_split or (went_on and ended_tick is not None),
        )

    def quiet_at(self, timeouts: CompletenessTimeouts) -> float:
        """When the series counts as quiet at its sender's pace."""
        if self.last_tick is None:
            return -float("inf")
        wait = min(PAUSES * self.longest_pause_s, MAX_PACE_S)
        return self.last_tick + max(wait, timeouts.volume_with_gap_s if self.is_split else 0.0)


@dataclass(frozen=True)
class Signals:
    """What is known of a study that is being received.

    `first_tick`, `last_tick`: its first and last instance since it was last settled. `ended_tick`: the end of the last
    association that sent of it, None while one is open. `revised_tick`: when its last revision settled. `has_gap`: an
    image seems to be missing. `is_decided`: it is looked at again since a person settled a conflict. `judged`: one of
    `JUDGED` where it is looked at again for that alone; `has_unjudged`: other copies of its images are still to be
    compared. `cut_tick`: when a sender of it was cut off that has not come back since. `paces`: of its series.
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
    cut_tick: float | None = None
    paces: tuple[Pace, ...] = ()


@dataclass(frozen=True)
class Complete:
    """The study is taken as whole; `signal` says what told so."""

    signal: str


@dataclass(frozen=True)
class Incomplete:
    """Not yet: look again at `at`, unless something happens before; `why` is shown."""

    at: float
    why: str


def completeness(signals: Signals, timeouts: CompletenessTimeouts, now: float) -> Complete | Incomplete:
    """Whether the study is whole by now.

    When in doubt a study is analysed early and revised: no signal is waited for longer than `timeouts.longest_s`.
    """
    longest = signals.first_tick + timeouts.longest_s
    at, signal = min(_quiet(signals, timeouts), (longest, "longest wait"))
    if signals.has_unjudged and signals.judged in (CORRECTED, CONTRADICTED):
        at = longest  # copies come in numbers: one new answer for all of them
    earliest = -float("inf") if signals.revised_tick is None else signals.revised_tick + timeouts.between_revisions_s
    if at < earliest:
        at, signal = earliest, "one revision a minute"
    if signals.is_decided or signals.judged:
        signal = signals.judged or CONFLICT_SETTLED
    return Complete(signal) if now >= at else Incomplete(at, signal)


def _quiet(signals: Signals, timeouts: CompletenessTimeouts) -> tuple[float, str]:
    """When the study is whole by its own signals, and by which."""
    if signals.judged:
        return signals.last_tick + (timeouts.volume_s if signals.is_volume else timeouts.film_s), signals.judged
    if not signals.is_volume:
        quiet = signals.last_tick + timeouts.film_s, "quiet time of films"
        return quiet if signals.ended_tick is None else min(quiet, (signals.ended_tick, "end of the association"))
    return max(_waits_of_volume(signals, timeouts), key=lambda each: each[0])


def _waits_of_volume(signals: Signals, timeouts: CompletenessTimeouts) -> Iterator[tuple[float, str]]:
    """Until when it waits, and for what: all of it has to be over."""
    if signals.ended_tick is None:
        yield signals.last_tick + timeouts.volume_open_s, "association open, but silent"
    elif signals.has_gap:
        yield signals.ended_tick + timeouts.volume_with_gap_s, "quiet after the association, with a gap"
    else:
        yield signals.ended_tick + timeouts.volume_s, "quiet time"
    for each in signals.paces:
        yield each.quiet_at(timeouts), "quiet at the sender's pace"
    if signals.cut_tick is not None:
        yield signals.cut_tick + timeouts.volume_cut_s, "sender cut off, and not back"


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


def is_short(headers: Iterable[Header]) -> bool:
    """Whether fewer images came than these announce: of an acquisition (Images in Acquisition), a series, the study."""
    came: Counter[tuple[object, ...]] = Counter()
    announced: Counter[tuple[object, ...]] = Counter()
    for each in headers:
        series = each.series_instance_uid
        for group, of_it, count in (
            ((series, each.acquisition_number), each.number_of_frames * each.has_pixels, each.images_in_acquisition),
            ((series,), 1, each.images_in_series),
            ((), 1, each.images_in_study),
        ):
            came[group] += of_it
            announced[group] = max(announced[group], count or 0)
    return any(came[group] < count for group, count in announced.items())


def _along_normal(position: Sequence[float], orientation: Sequence[float]) -> float:
    """The position's length along row x column, in mm."""
    a, b = orientation[:3], orientation[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return sum(p * n for p, n in zip(position, normal, strict=True))


def _uneven(positions: Sequence[float]) -> bool:
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(positions) if later - earlier > 0.01)
    return not steps or steps[-1] > 1.5 * steps[len(steps) // 2]
