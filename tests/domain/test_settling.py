"""When a study is whole follows from what came of it, not from the order or the number of looks."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.header import Header
from imaging.domain.settling import LookAgain, Patience, Signals, Whole, has_gap, is_volume, whole

PATIENCE = Patience()
ticks = st.floats(0, 1e6, allow_nan=False)
waits = st.floats(0, 2000, allow_nan=False)
patiences = st.builds(Patience, waits, waits, waits, waits, waits, waits)


@st.composite
def signals(draw: st.DrawFn) -> Signals:
    first = draw(ticks)
    last = first + draw(waits)
    ended = draw(st.none() | waits.map(lambda wait: last + wait))
    revised = draw(st.none() | waits.map(lambda wait: first - wait))
    return Signals(first, last, ended, revised, draw(st.booleans()), draw(st.booleans()))


def slices(*positions: float, modality: str = "CT", series: str = "1.2", **facts: object) -> list[Header]:
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
            **facts,  # type: ignore[arg-type]
        )
        for at, position in enumerate(positions)
    ]


def film(**said: float | None) -> Signals:
    return Signals(0.0, said.get("last") or 0.0, said.get("ended"), said.get("revised"), False, False)


def volume(has_gap: bool, **said: float | None) -> Signals:
    return Signals(0.0, said.get("last") or 0.0, said.get("ended"), said.get("revised"), True, has_gap)


def test_a_study_that_a_person_decided_upon_is_whole_by_that() -> None:
    decided = replace(film(ended=1.0), is_decided=True)
    assert whole(decided, Patience(), 1.0) == Whole("conflict settled")


@given(signals(), patiences, ticks)
def test_a_study_is_whole_or_looked_at_later(known: Signals, patience: Patience, now: float) -> None:
    verdict = whole(known, patience, now)
    assert isinstance(verdict, Whole) or (verdict.at > now and verdict.why)


@given(signals(), patiences, ticks)
def test_the_next_look_finds_it_whole_unless_something_came(known: Signals, patience: Patience, now: float) -> None:
    verdict = whole(known, patience, now)
    if isinstance(verdict, LookAgain):
        assert isinstance(whole(known, patience, verdict.at), Whole)


@given(signals(), patiences)
def test_no_study_waits_longer_than_the_caps(known: Signals, patience: Patience) -> None:
    longest = known.first_tick + patience.longest_s
    if known.revised_tick is not None:
        longest = max(longest, known.revised_tick + patience.between_revisions_s)
    assert isinstance(whole(known, patience, longest), Whole)


@given(signals(), patiences, ticks, waits)
def test_what_is_whole_stays_so(known: Signals, patience: Patience, now: float, later: float) -> None:
    if isinstance(whole(known, patience, now), Whole):
        assert isinstance(whole(known, patience, now + later), Whole)


@given(signals(), patiences, ticks)
def test_two_revisions_are_never_closer_than_they_may_be(known: Signals, patience: Patience, now: float) -> None:
    if known.revised_tick is not None and now < known.revised_tick + patience.between_revisions_s:
        assert isinstance(whole(known, patience, now), LookAgain)


def test_a_film_is_whole_at_the_end_of_its_association() -> None:
    assert whole(film(ended=0.5), PATIENCE, 0.5) == Whole("end of the association")


def test_a_film_is_whole_two_seconds_after_it_though_the_association_stays_open() -> None:
    assert whole(film(), PATIENCE, 1.9) == LookAgain(2.0, "quiet time of films")
    assert whole(film(), PATIENCE, 2.0) == Whole("quiet time of films")


def test_a_volume_waits_two_seconds_after_its_association_and_ten_with_a_gap() -> None:
    assert whole(volume(False, last=5.0, ended=6.0), PATIENCE, 6.0) == LookAgain(8.0, "quiet time")
    assert isinstance(whole(volume(False, last=5.0, ended=6.0), PATIENCE, 8.0), Whole)
    assert isinstance(whole(volume(True, last=5.0, ended=6.0), PATIENCE, 15.9), LookAgain)
    assert isinstance(whole(volume(True, last=5.0, ended=6.0), PATIENCE, 16.0), Whole)


def test_a_volume_waits_a_minute_while_its_association_is_open_but_silent() -> None:
    assert whole(volume(False, last=5.0), PATIENCE, 6.0) == LookAgain(65.0, "association open, but silent")


def test_a_volume_that_never_ends_is_taken_after_a_quarter_of_an_hour() -> None:
    assert whole(volume(True, last=899.0), PATIENCE, 900.0) == Whole("longest wait")


def test_a_late_image_waits_until_a_minute_after_the_last_revision() -> None:
    assert whole(film(ended=0.0, revised=-10.0), PATIENCE, 1.0) == LookAgain(50.0, "one revision a minute")


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
