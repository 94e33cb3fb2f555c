"""When a study is whole follows from what came of it, not from the order or the number of looks."""

import itertools
import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.domain.header import Header
from imaging.domain.settling import (
    Complete,
    CompletenessTimeouts,
    Incomplete,
    Pace,
    Signals,
    completeness,
    has_gap,
    is_short,
    is_volume,
)

TIMEOUTS = CompletenessTimeouts()
ticks = st.floats(0, 1e6, allow_nan=False)
waits = st.floats(0, 2000, allow_nan=False)
timeouts = st.builds(CompletenessTimeouts, waits, waits, waits, waits, waits, waits, waits)


@st.composite
def signals(draw: st.DrawFn) -> Signals:
    first = draw(ticks)
    last = first + draw(waits)
    ended = draw(st.none() | waits.map(lambda wait: last + wait))
    revised = draw(st.none() | waits.map(lambda wait: first - wait))
    cut = draw(st.none() | waits.map(lambda wait: first + wait))
    pace = Pace(draw(st.none() | st.just(last)), draw(waits), draw(st.booleans()))
    is_volume, has_gap = draw(st.booleans()), draw(st.booleans())
    return Signals(first, last, ended, revised, is_volume, has_gap, cut_tick=cut, paces=(pace,))


def slices(*positions: float, modality: str = "CT", series: str = "1.2", **facts: Any) -> list[Header]:
    return [
        Header(
            "1.2.840.10008.5.1.4.1.1.2",
            f"1.2.3.{at}",
            "1.2.3",
            series,
            "1.2.840.10008.1.2.1",
            modality=modality,
            image_position=(0.0, 0.0, position),
            image_orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            has_pixels=True,
            **facts,
        )
        for at, position in enumerate(positions)
    ]


def film(**value: float | None) -> Signals:
    return Signals(0.0, value.get("last") or 0.0, value.get("ended"), value.get("revised"), False, False)


def volume(has_gap: bool, **value: float | None) -> Signals:
    return Signals(0.0, value.get("last") or 0.0, value.get("ended"), value.get("revised"), True, has_gap)


def test_a_study_that_a_person_decided_upon_is_whole_by_that() -> None:
    decided = replace(film(ended=1.0), is_decided=True)
    assert completeness(decided, CompletenessTimeouts(), 1.0) == Complete("conflict settled")


@given(signals(), timeouts, ticks)
def test_a_study_is_whole_or_looked_at_later(known: Signals, timeouts: CompletenessTimeouts, now: float) -> None:
    verdict = completeness(known, timeouts, now)
    assert isinstance(verdict, Complete) or (verdict.at > now and verdict.why)


@given(signals(), timeouts, ticks)
def test_the_next_look_finds_it_whole_unless_something_came(
    known: Signals, timeouts: CompletenessTimeouts, now: float
) -> None:
    verdict = completeness(known, timeouts, now)
    if isinstance(verdict, Incomplete):
        assert isinstance(completeness(known, timeouts, verdict.at), Complete)


@given(signals(), timeouts)
def test_no_study_waits_longer_than_the_caps(known: Signals, timeouts: CompletenessTimeouts) -> None:
    longest = known.first_tick + timeouts.longest_s
    if known.revised_tick is not None:
        longest = max(longest, known.revised_tick + timeouts.between_revisions_s)
    assert isinstance(completeness(known, timeouts, longest), Complete)


@given(signals(), timeouts, ticks, waits)
def test_what_is_whole_stays_so(known: Signals, timeouts: CompletenessTimeouts, now: float, later: float) -> None:
    if isinstance(completeness(known, timeouts, now), Complete):
        assert isinstance(completeness(known, timeouts, now + later), Complete)


@given(signals(), timeouts, ticks)
def test_two_revisions_are_never_closer_than_they_may_be(
    known: Signals, timeouts: CompletenessTimeouts, now: float
) -> None:
    if known.revised_tick is not None and now < known.revised_tick + timeouts.between_revisions_s:
        assert isinstance(completeness(known, timeouts, now), Incomplete)


def test_a_film_is_whole_at_the_end_of_its_association() -> None:
    assert completeness(film(ended=0.5), TIMEOUTS, 0.5) == Complete("end of the association")


def test_a_film_is_whole_two_seconds_after_it_though_the_association_stays_open() -> None:
    assert completeness(film(), TIMEOUTS, 1.9) == Incomplete(2.0, "quiet time of films")
    assert completeness(film(), TIMEOUTS, 2.0) == Complete("quiet time of films")


def test_a_volume_waits_two_seconds_after_its_association_and_ten_with_a_gap() -> None:
    assert completeness(volume(False, last=5.0, ended=6.0), TIMEOUTS, 6.0) == Incomplete(8.0, "quiet time")
    assert isinstance(completeness(volume(False, last=5.0, ended=6.0), TIMEOUTS, 8.0), Complete)
    assert isinstance(completeness(volume(True, last=5.0, ended=6.0), TIMEOUTS, 15.9), Incomplete)
    assert isinstance(completeness(volume(True, last=5.0, ended=6.0), TIMEOUTS, 16.0), Complete)


def test_a_volume_waits_a_minute_while_its_association_is_open_but_silent() -> None:
    assert completeness(volume(False, last=5.0), TIMEOUTS, 6.0) == Incomplete(65.0, "association open, but silent")


def test_a_volume_that_never_ends_is_taken_after_a_quarter_of_an_hour() -> None:
    assert completeness(volume(True, last=899.0), TIMEOUTS, 900.0) == Complete("longest wait")


def test_a_late_image_waits_until_a_minute_after_the_last_revision() -> None:
    assert completeness(film(ended=0.0, revised=-10.0), TIMEOUTS, 1.0) == Incomplete(50.0, "one revision a minute")


@given(st.permutations(slices(*range(0, 60, 5))), st.randoms(use_true_random=False))
def test_gaps_do_not_depend_on_order_or_repetition(order: list[Header], again: random.Random) -> None:
    repeated = [*order, *again.choices(order, k=5)]
    assert has_gap(repeated) == has_gap(order) == has_gap(slices(*range(0, 60, 5))) is False


@given(st.integers(1, 10), st.permutations(slices(*range(0, 60, 5))))
def test_one_missing_slice_is_a_gap_whatever_came_first(missing: int, order: list[Header]) -> None:
    assert has_gap([each for each in order if each.image_position != (0.0, 0.0, 5.0 * missing)])


def test_a_slice_alone_is_a_gap_since_more_will_follow() -> None:
    assert has_gap(slices(10.0))


def test_films_localizers_and_multi_frame_images_have_no_gaps() -> None:
    assert not has_gap(slices(0.0, 5.0, 40.0, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")))
    assert not has_gap(slices(0.0, 5.0, 40.0, number_of_frames=8))
    assert not has_gap([])


def test_gaps_are_looked_for_in_each_series_along_its_own_normal() -> None:
    one, other = slices(0.0, 5.0, 10.0), slices(100.0, 107.0, 114.0, series="1.3")
    assert not has_gap([*one, *other])


def test_a_study_is_a_volume_by_its_images_alone() -> None:
    assert is_volume(slices(0.0))
    assert not is_volume(slices(0.0, modality="DX"))
    assert not is_volume([])


def test_a_volume_waits_a_minute_for_a_sender_that_was_cut_off_and_a_film_never_does() -> None:
    cut = replace(volume(False, last=5.0, ended=6.0), cut_tick=6.0)
    assert completeness(cut, TIMEOUTS, 60.0) == Incomplete(66.0, "sender cut off, and not back")
    assert completeness(cut, TIMEOUTS, 66.0) == Complete("sender cut off, and not back")
    assert completeness(replace(cut, is_volume=False), TIMEOUTS, 7.0) == Complete("end of the association")


def test_a_sender_that_was_cut_off_is_awaited_while_another_one_sends() -> None:
    awaited = replace(volume(False, last=58.0), cut_tick=50.0)
    assert completeness(awaited, replace(TIMEOUTS, volume_open_s=1.0), 60.0) == Incomplete(
        110.0, "sender cut off, and not back"
    )
    assert completeness(awaited, TIMEOUTS, 111.0) == Incomplete(118.0, "association open, but silent")


@given(signals(), timeouts, ticks)
def test_no_film_ever_waits_for_a_sender_or_at_its_pace(
    known: Signals, timeouts: CompletenessTimeouts, now: float
) -> None:
    film = replace(known, is_volume=False)
    assert completeness(film, timeouts, now) == completeness(replace(film, cut_tick=None, paces=()), timeouts, now)


def paced(pauses: list[float], ended: bool = False) -> Pace:
    """Images of one series after these pauses; each in an association of its own, or all in one."""
    pace, tick = Pace(), 0.0
    for pause in [0.0, *pauses]:
        tick += pause
        pace = pace.after([tick], 0.0, tick if ended and pace.last_tick is not None else None)
    return pace


def test_a_series_is_quiet_after_three_times_its_senders_longest_pause_and_thirty_seconds_at_most() -> None:
    assert paced([1.0, 4.0, 1.0]).quiet_at(TIMEOUTS) == 6.0 + 12.0
    assert paced([1.0, 11.0]).quiet_at(TIMEOUTS) == 12.0 + 30.0
    slow = replace(volume(False, last=6.0, ended=6.5), paces=(paced([1.0, 4.0, 1.0]),))
    assert completeness(slow, TIMEOUTS, 17.0) == Incomplete(18.0, "quiet at the sender's pace")
    assert completeness(slow, TIMEOUTS, 18.0) == Complete("quiet at the sender's pace")


def test_a_series_that_went_on_after_its_association_had_ended_waits_as_with_a_gap() -> None:
    assert paced([0.3], ended=True).quiet_at(TIMEOUTS) == 0.3 + TIMEOUTS.volume_with_gap_s
    assert paced([0.3]).quiet_at(TIMEOUTS) < 0.3 + TIMEOUTS.volume_s


def test_a_pause_that_began_before_the_wait_did_does_not_count() -> None:
    assert paced([1.0]).after([500.0], 500.0, 2.0) == Pace(500.0, 1.0, is_split=False)
    assert replace(paced([1.0]), last_tick=None).after([50.0], 0.0, 40.0) == Pace(50.0, 1.0, is_split=False)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.sets(st.integers(1, 19)))
def test_a_pace_does_not_depend_on_how_images_are_grouped(pauses: list[float], cuts: set[int]) -> None:
    arrivals = [0.0]
    for pause in pauses:
        arrivals.append(arrivals[-1] + pause)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(arrivals)), len(arrivals)]
    pace = Pace()
    for begin, end in itertools.pairwise(bounds):
        pace = pace.after(arrivals[begin:end], 0.0, None)
    assert pace == paced(pauses)


@settings(max_examples=10)
@given(st.lists(st.floats(0.3, 3.0), min_size=299, max_size=299), st.floats(0.0, 0.3))
def test_three_hundred_slices_in_three_hundred_associations_are_one_study(pauses: list[float], sending: float) -> None:
    """However they pause between 0.3 and 3 s: none of the pauses is taken for the end."""
    timeouts, pace, tick, ended = replace(TIMEOUTS, longest_s=1e6), Pace(), 0.0, None
    for at, pause in enumerate([0.0, *pauses]):
        tick += pause
        if ended is not None:
            known = Signals(0.0, tick - pause, ended, None, True, at == 1, paces=(pace,))
            assert isinstance(completeness(known, timeouts, tick), Incomplete)
        pace, ended = pace.after([tick], 0.0, ended), tick + sending


def test_images_that_are_announced_and_missing_are_a_gap() -> None:
    assert is_short(slices(0.0, 5.0, acquisition_number=1, images_in_acquisition=3))
    assert is_short(slices(0.0, 5.0, images_in_series=3))
    assert is_short(slices(0.0, 5.0, images_in_study=3))


def test_what_is_there_or_is_counted_in_frames_is_not_missing() -> None:
    assert not is_short(slices(0.0, 5.0, images_in_acquisition=2, images_in_series=2, images_in_study=2))
    assert not is_short(slices(0.0, 5.0, images_in_acquisition=-1))
    assert not is_short(slices(0.0, images_in_acquisition=40, number_of_frames=40))
    assert not is_short(slices(0.0, 5.0))
