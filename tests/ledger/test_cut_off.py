"""A sender that was cut off is awaited, and comes back; one that opens an association per slice sends one study."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ledger_cases import TurnedClock, film, receive, rows, settle

from imaging.domain.ends import HABIT, End
from imaging.domain.header import Header
from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import associations, recording, tables
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.instances import Receipt
from imaging.ledger.recording import Recorded
from imaging.ledger.store import Ledger
from imaging.roles.node import Settler

TIMEOUTS = CompletenessTimeouts()
CT, ROUTER = ("CT1", "10.0.0.7"), ("ROUTER", "10.0.0.8")


def begin(ledger: Ledger, sender: tuple[str, str] = CT) -> int:
    return associations.begin(ledger, sender[0], "IMAGING", sender[1], [])


def end(ledger: Ledger, number: int, how: End, stored: int = 1) -> None:
    associations.end(ledger, number, AssociationEnd(how.value, stored, 0, end=how))


def a_slice(number: int) -> Header:
    place: dict[str, Any] = {
        "image_position": (0.0, 0.0, 5.0 * number),
        "image_orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    }
    return film(number=number, modality="CT", **place)


def send(ledger: Ledger, numbers: Sequence[int], how: End | None = End.RELEASED, sender: tuple[str, str] = CT) -> int:
    """These slices in one association, which ends so, or stays open."""
    association = begin(ledger, sender)
    for number in numbers:
        receive(ledger, a_slice(number), association=association)
    if how is not None:
        end(ledger, association, how, len(numbers))
    return association


def settles_after(ledger: Ledger, clock: TurnedClock) -> float:
    """How many seconds from now on the study is taken as whole if nothing more comes."""
    begun = clock.tick()
    settler = Settler(ledger, [], TIMEOUTS)
    while (again := settler.run_once()) is not None:
        clock.advance(again - clock.tick())
    assert rows(ledger, tables.study)[0]["state"] == "settled"
    return clock.tick() - begun


def is_settled(ledger: Ledger) -> bool:
    Settler(ledger, [], TIMEOUTS).run_once()
    return bool(rows(ledger, tables.study)[0]["state"] == "settled")


def test_a_volume_whose_sender_was_cut_off_waits_for_it_a_minute(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), End.CUT)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s
    assert rows(ledger, tables.study)[0]["settle_why"] == "sender cut off, and not back"
    (study,) = rows(ledger, tables.study)
    assert (study["cut_tick"], study["cut_by"]) == (None, {})


@pytest.mark.parametrize("how", [End.RELEASED, End.CLOSED])
def test_after_a_release_or_a_close_with_nothing_under_way_the_usual_time_is_waited(
    ledger: Ledger, clock: TurnedClock, how: End
) -> None:
    send(ledger, range(10), how)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s


def test_once_the_sender_is_back_the_usual_times_apply(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), End.CUT)
    clock.advance(50)
    assert not is_settled(ledger)
    association = send(ledger, range(10, 12), how=None)
    clock.advance(TIMEOUTS.volume_open_s - 1)
    assert not is_settled(ledger)
    end(ledger, association, End.RELEASED)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s


def test_a_sender_that_brings_again_what_is_there_is_back_as_well(ledger: Ledger, clock: TurnedClock) -> None:
    """It sends all anew; what was missing comes long after the wait for it would have been over."""
    send(ledger, range(10), End.CUT)
    clock.advance(58)
    association = begin(ledger)
    for number in range(10):
        receive(ledger, a_slice(number), association=association)
        clock.advance(0.5)
        assert not is_settled(ledger)
    for number in range(10, 20):
        receive(ledger, a_slice(number), association=association)
    end(ledger, association, End.RELEASED)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s
    assert rows(ledger, tables.study)[0]["instances"] == 20


def test_the_end_of_one_that_brought_only_what_was_there_is_an_end(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), End.CUT)
    clock.advance(20)
    send(ledger, range(10))
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s


def test_another_sender_is_not_the_one_that_was_cut_off(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), End.CUT)
    clock.advance(10)
    send(ledger, range(10, 20), sender=ROUTER)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s - 10


def test_an_association_that_was_open_all_the_time_is_not_the_senders_return(
    ledger: Ledger, clock: TurnedClock
) -> None:
    other = send(ledger, [1, 3, 5], how=None)
    send(ledger, [2, 4, 6], End.CUT)
    receive(ledger, a_slice(7), association=other)
    end(ledger, other, End.RELEASED)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s


def test_a_film_never_waits_for_a_sender_that_was_cut_off(ledger: Ledger, clock: TurnedClock) -> None:
    association = begin(ledger)
    receive(ledger, film(), association=association)
    end(ledger, association, End.CUT)
    assert settles_after(ledger, clock) == 0.0


def test_an_abort_is_waited_for_until_it_is_the_senders_habit(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(HABIT + 1):
        association = begin(ledger)
        for at in range(3):
            receive(ledger, film(f"1.2.9.{number}", at), association=association)
        end(ledger, association, End.ABORTED)
    assert {each["ended_as"] for each in associations.listed(ledger, 9)} == {"aborted"}
    send(ledger, range(10), End.ABORTED, sender=("CT1", "10.0.0.9"))
    assert rows(ledger, tables.study)[-1]["cut_by"] != {}  # the same title elsewhere is another sender
    send(ledger, range(10), End.RELEASED, sender=("CT1", "10.0.0.9"))
    send(ledger, range(10, 20), End.ABORTED)
    assert rows(ledger, tables.study)[-1]["cut_by"] == {}


def test_what_a_dead_node_left_open_was_cut_off(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), how=None)
    associations.end_lost(ledger)
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s


def test_whoever_sends_of_what_a_crash_left_over_is_its_sender(ledger: Ledger, clock: TurnedClock) -> None:
    receive(ledger, a_slice(1))
    clock.advance(40)
    assert not is_settled(ledger)
    send(ledger, range(1, 10))
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s


def test_after_a_boot_the_sender_has_its_minute_anew_and_no_pause_is_counted_across(
    ledger: Ledger, clock: TurnedClock
) -> None:
    ledger.begin_boot()
    clock.advance(10_000)
    send(ledger, range(10), how=None)
    associations.end_lost(ledger)
    clock.reboot()
    ledger.begin_boot()
    assert [each["last_tick"] for each in rows(ledger, tables.series)] == [None]
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s


def test_a_pause_across_a_cut_is_not_the_senders_pace(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10), End.CUT)
    clock.advance(30)
    send(ledger, range(10, 20))
    (series,) = rows(ledger, tables.series)
    assert (series["longest_pause_s"], series["is_split"]) == (0.0, False)


def test_a_pause_in_which_the_study_was_settled_is_not_the_senders_pace(ledger: Ledger, clock: TurnedClock) -> None:
    send(ledger, range(10))
    settle(ledger, rows(ledger, tables.study)[0]["id"])
    clock.advance(300)
    send(ledger, [10])
    assert settles_after(ledger, clock) == TIMEOUTS.volume_s


def test_a_slow_sender_is_awaited_at_its_own_pace(ledger: Ledger, clock: TurnedClock) -> None:
    association = begin(ledger)
    for number in range(5):
        receive(ledger, a_slice(number), association=association)
        clock.advance(6)
    end(ledger, association, End.RELEASED)
    assert settles_after(ledger, clock) == 3 * 6 - 6


@pytest.mark.parametrize("pauses_s", [(0.3, 0.3), (3.0, 3.0), (0.3, 3.0)])
def test_a_study_that_comes_in_an_association_per_slice_is_one_revision(
    ledger: Ledger, clock: TurnedClock, pauses_s: tuple[float, float]
) -> None:
    slices, pauses = list(range(40)), random.Random(7)
    pauses.shuffle(slices)
    settler = Settler(ledger, [], TIMEOUTS)
    for number in slices:
        send(ledger, [number])
        assert settler.run_once() is not None
        clock.advance(pauses.uniform(*pauses_s))
        settler.run_once()
    (study,) = rows(ledger, tables.study)
    assert (study["state"], study["instances"]) == ("receiving", len(slices))
    assert settles_after(ledger, clock) <= TIMEOUTS.volume_with_gap_s


@pytest.mark.parametrize(("announced", "seconds"), [(10, TIMEOUTS.volume_s), (11, TIMEOUTS.volume_with_gap_s)])
def test_images_that_are_announced_are_waited_for_as_a_gap_is(
    ledger: Ledger, clock: TurnedClock, announced: int, seconds: float
) -> None:
    association = begin(ledger)
    for number in range(10):
        receive(ledger, replace(a_slice(number), images_in_acquisition=announced), association=association)
    end(ledger, association, End.RELEASED)
    assert settles_after(ledger, clock) == seconds


def test_what_is_written_down_after_its_association_was_cut_waits_for_the_sender(
    ledger: Ledger, clock: TurnedClock
) -> None:
    association = begin(ledger)
    end(ledger, association, End.CUT)
    headers = [a_slice(number) for number in range(10)]
    receipts = [Receipt(each, each.sop_instance_uid, 1, association, "key", "apart") for each in headers]
    assert {each.is_over for each in recording.record(ledger, receipts, TIMEOUTS) if isinstance(each, Recorded)} == {
        True
    }
    assert settles_after(ledger, clock) == TIMEOUTS.volume_cut_s
