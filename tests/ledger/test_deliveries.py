"""The outbox: order per study, one destination's outage and no other's, a peer that is down, dead letters."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from ledger_cases import (
    NEGATIVE,
    SR_CLASS,
    TurnedClock,
    answered,
    claim,
    delivery_states,
    film,
    kept,
    lease_one,
    receive,
    report,
    rows,
    settle,
)

from imaging.domain.retry import Accepted, Answer, Permanent, Transient
from imaging.ledger import deliveries, jobs, status, stories, tables, wakeups
from imaging.ledger.deliveries import LEASE_S, Delivery, Moved
from imaging.ledger.store import Ledger

AWAY = Transient("no connection")
HOUR_S = 3600.0
SUBSTITUTE = kept("1.2.840.10008.5.1.4.1.1.88.33", "2.25.8001", "2.25.8002")


def conclude(ledger: Ledger, delivery: Delivery, answer: Answer, *, down: bool = False) -> bool:
    return deliveries.conclude(ledger, delivery, answer, 0.0, peer_is_down=down)


def answer_again(ledger: Ledger, study_id: int, destinations: tuple[str, ...] = ("PACS",)) -> None:
    """A late image, and the next answer for the study."""
    receive(ledger, film(number=100 + len(rows(ledger, tables.instance))))
    settle(ledger, study_id)
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, NEGATIVE, [report(job, destinations)])


def peer(ledger: Ledger) -> dict[str, object]:
    (found,) = status.of(ledger)["peers"]
    return dict(found)


def next_due(ledger: Ledger, destination: str = "PACS") -> float | None:
    claimed, due = deliveries.claim(ledger, destination, "deliver:PACS:1", 16)
    assert claimed == []
    return due


def test_a_claimed_delivery_carries_its_object(ledger: Ledger) -> None:
    answered(ledger)
    (delivery,) = claim(ledger)
    (known,) = rows(ledger, tables.object_)
    assert asdict(delivery.kept).items() <= known.items()
    assert delivery.kept.sop_class_uid == SR_CLASS
    assert (delivery.destination, delivery.attempts) == ("PACS", 0)


def test_a_destination_gets_one_studys_answers_in_order(ledger: Ledger) -> None:
    study_id = answered(ledger)
    answer_again(ledger, study_id)
    (first,) = claim(ledger)
    assert (first.id, claim(ledger)) == (1, [])
    conclude(ledger, first, Accepted())
    assert [each.id for each in claim(ledger)] == [2]


def test_a_later_answer_waits_for_the_earlier_to_be_tried_again_and_nobody_spins_meanwhile(
    ledger: Ledger, clock: TurnedClock
) -> None:
    study_id = answered(ledger)
    answer_again(ledger, study_id)
    (first,) = claim(ledger)
    conclude(ledger, first, Transient("processing failure"))
    assert next_due(ledger) == clock.tick() + 2
    clock.advance(2)
    assert [each.id for each in claim(ledger)] == [1]


def test_a_dead_letter_does_not_hold_up_the_next_answer(ledger: Ledger) -> None:
    study_id = answered(ledger)
    answer_again(ledger, study_id)
    conclude(ledger, claim(ledger)[0], Permanent("refused"))
    assert [each.id for each in claim(ledger)] == [2]


def test_different_studies_go_in_one_burst_in_the_order_of_their_answers(ledger: Ledger) -> None:
    for number in range(5):
        answered(ledger, f"1.2.{number}")
    assert [each.id for each in claim(ledger, limit=3)] == [1, 2, 3]
    assert [each.id for each in claim(ledger, limit=3)] == [4, 5]


def test_one_destinations_outage_never_delays_another(ledger: Ledger) -> None:
    for number in range(3):
        answered(ledger, f"1.2.{number}", ["PACS", "RIS"])
    conclude(ledger, claim(ledger, "PACS", limit=1)[0], AWAY, down=True)
    assert claim(ledger, "PACS") == []
    assert len(claim(ledger, "RIS")) == 3


def test_a_peer_that_is_down_is_probed_by_one_delivery_and_the_others_wait(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(5):
        answered(ledger, f"1.2.{number}")
    first, *rest = claim(ledger, limit=2)
    conclude(ledger, first, AWAY, down=True)
    deliveries.release_leases(ledger, rest[0].lease)
    assert next_due(ledger) == clock.tick() + 2
    clock.advance(2)
    (probe,) = claim(ledger)
    conclude(ledger, probe, AWAY, down=True)
    assert next_due(ledger) == clock.tick() + 4


def test_a_peer_that_comes_back_gets_all_that_waited_in_order(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(5):
        answered(ledger, f"1.2.{number}")
    for _ in range(3):
        conclude(ledger, claim(ledger, limit=1)[0], AWAY, down=True)
        clock.advance(300)
    conclude(ledger, claim(ledger)[0], Accepted())
    rest = [each.id for each in claim(ledger)]
    assert len(rest) == 4
    assert rest == sorted(rest)


def outage(ledger: Ledger, clock: TurnedClock, seconds: float) -> Iterator[float]:
    """Sends as the role does while the peer is away; the ticks at which it was tried."""
    end = clock.tick() + seconds
    while clock.tick() < end:
        found, due = deliveries.claim(ledger, "PACS", "deliver:PACS:1", 16)
        if found:
            yield clock.tick()
            conclude(ledger, found[0], AWAY, down=True)
            deliveries.release_leases(ledger, found[0].lease)
        else:
            assert due is not None
            assert due > clock.tick(), "a sender would spin"
            clock.advance(due - clock.tick())


def test_a_pacs_that_is_down_for_an_hour_loses_nothing_and_is_not_hammered(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(10):
        answered(ledger, f"1.2.{number}")
    tries = list(outage(ledger, clock, HOUR_S))
    assert 12 <= len(tries) <= 22
    assert peer(ledger)["state"] == "down"
    clock.advance(300)
    while found := claim(ledger):
        for each in found:
            conclude(ledger, each, Accepted())
    assert delivery_states(ledger) == ["delivered"] * 10


def test_an_object_that_the_peer_chokes_on_does_not_hold_up_the_others(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(3):
        answered(ledger, f"1.2.{number}")
    (choking,) = claim(ledger, limit=1)
    conclude(ledger, choking, Transient("hung up"), down=True)
    clock.advance(2)
    (probe,) = claim(ledger)
    assert probe.id != choking.id
    conclude(ledger, probe, Accepted())
    again, other = claim(ledger)
    conclude(ledger, again, Transient("hung up"))
    conclude(ledger, other, Accepted())
    assert delivery_states(ledger) == ["waiting", "delivered", "delivered"]
    assert peer(ledger)["state"] == "up"
    answered(ledger, "1.2.9")
    assert [each.id for each in claim(ledger)] == [4]


def test_a_peer_is_shown_as_down_in_its_own_words_and_as_up_once_it_answers(ledger: Ledger, clock: TurnedClock) -> None:
    answered(ledger)
    conclude(ledger, claim(ledger)[0], Transient("association rejected: Called AE title not recognised"), down=True)
    since = peer(ledger)["since"]
    assert (peer(ledger)["state"], peer(ledger)["why"]) == (
        "down",
        "association rejected: Called AE title not recognised",
    )
    clock.advance(2)
    conclude(ledger, claim(ledger)[0], AWAY, down=True)
    assert (peer(ledger)["why"], peer(ledger)["since"]) == ("no connection", since)
    clock.advance(4)
    conclude(ledger, claim(ledger)[0], Accepted())
    assert (peer(ledger)["state"], peer(ledger)["why"]) == ("up", "")
    assert peer(ledger)["since"] != since


def test_a_peer_that_refuses_an_object_is_up(ledger: Ledger) -> None:
    answered(ledger)
    conclude(ledger, claim(ledger)[0], Permanent("SOP class not supported"))
    assert peer(ledger)["state"] == "up"
    assert delivery_states(ledger) == ["dead"]


def test_a_warning_is_kept_beside_the_delivered_object(ledger: Ledger) -> None:
    answered(ledger)
    conclude(ledger, claim(ledger)[0], Accepted("status 0xB000"))
    (sent,) = stories.named(ledger, "1.2.3")[0]["deliveries"]
    assert (sent["state"], sent["why"]) == ("delivered", "status 0xB000")


def test_a_sender_whose_claim_ran_out_can_write_nothing(ledger: Ledger, clock: TurnedClock) -> None:
    answered(ledger)
    (late,) = claim(ledger, owner="deliver:PACS:1")
    assert claim(ledger, owner="deliver:PACS:2") == []
    clock.advance(LEASE_S + 1)
    (current,) = claim(ledger, owner="deliver:PACS:2")
    assert not conclude(ledger, late, AWAY, down=True)
    assert status.of(ledger)["peers"] == []
    assert conclude(ledger, current, Accepted())
    assert not conclude(ledger, late, Permanent("refused"))
    assert delivery_states(ledger) == ["delivered"]


def test_what_a_dead_sender_had_claimed_is_due_again(ledger: Ledger) -> None:
    answered(ledger, "1.2.1")
    answered(ledger, "1.2.2", ["RIS"])
    claim(ledger)
    claim(ledger, "RIS", owner="deliver:RIS:1")
    assert deliveries.release_leases(ledger, "deliver:PACS:") == 1
    assert delivery_states(ledger) == ["waiting", "sending"]
    assert deliveries.release_leases(ledger, "") == 1
    assert delivery_states(ledger) == ["waiting", "waiting"]


def test_a_new_boot_makes_everything_due_at_once(ledger: Ledger, clock: TurnedClock) -> None:
    ledger.begin_boot()
    for number in range(3):
        answered(ledger, f"1.2.{number}")
    conclude(ledger, claim(ledger, limit=1)[0], AWAY, down=True)
    clock.advance(2)
    claim(ledger)
    clock.reboot()
    ledger.begin_boot()
    (probe,) = claim(ledger, owner="deliver:PACS:2")
    conclude(ledger, probe, Accepted())
    assert len(claim(ledger, owner="deliver:PACS:2")) == 2


def test_dead_letters_are_counted_by_destination_and_reason_and_replayed(ledger: Ledger) -> None:
    for number in range(3):
        answered(ledger, f"1.2.{number}", ["PACS", "RIS"])
    for each in [*claim(ledger, "PACS"), *claim(ledger, "RIS", limit=1)]:
        conclude(ledger, each, Permanent("SOP class not supported"))
    letters = {each["destination"]: (each["why"], each["count"]) for each in status.of(ledger)["dead_letters"]}
    assert letters == {"PACS": ("SOP class not supported", 3), "RIS": ("SOP class not supported", 1)}
    assert deliveries.replay(ledger, ["PACS"]) == 3
    assert (len(claim(ledger, "PACS")), deliveries.replay(ledger, ["PACS"])) == (3, 0)
    assert deliveries.replay(ledger) == 1


def test_what_waits_for_a_destination_that_is_gone_is_dead_with_its_reason(ledger: Ledger) -> None:
    answered(ledger, "1.2.1", ["PACS", "RIS"])
    assert deliveries.give_up(ledger, ["PACS"]) == 1
    (letter,) = status.of(ledger)["dead_letters"]
    assert (letter["destination"], "no destination of this name" in letter["why"]) == ("RIS", True)
    assert deliveries.replay(ledger) == deliveries.replay(ledger, ["RIS"]) == 0
    assert deliveries.gone(ledger) == {"PACS": 1, "RIS": 1}
    deliveries.keep_peers(ledger, ["PACS", "RIS"])
    assert deliveries.gone(ledger) == {}
    assert deliveries.replay(ledger, ["RIS"]) == 1
    assert len(claim(ledger, "RIS")) == 1


def test_what_is_undelivered_for_one_destination_moves_to_another_once(ledger: Ledger, clock: TurnedClock) -> None:
    deliveries.keep_peers(ledger, ["NEW"])
    for number, names in enumerate((["OLD"], ["OLD"], ["OLD", "NEW"], ["OLD"])):
        answered(ledger, f"1.2.{number}", names)
    delivered, dead, *_ = claim(ledger, "OLD")
    conclude(ledger, delivered, Accepted())
    conclude(ledger, dead, Permanent("refused", was_sent=True))
    deliveries.release_leases(ledger, "")
    assert deliveries.move(ledger, "OLD", "NEW") == Moved(count=2, dropped=1)
    assert deliveries.move(ledger, "OLD", "NEW") == Moved(count=0, dropped=0)
    moved = claim(ledger, "NEW")
    assert [(each.id, each.was_sent) for each in moved] == [(2, False), (4, False), (5, False)]
    kept = {each["id"]: (each["destination"], each["state"]) for each in rows(ledger, tables.delivery)}
    assert kept[1] == ("OLD", "delivered")
    assert 3 not in kept


def test_what_was_sent_in_place_of_another_moves_as_what_it_was_first(ledger: Ledger) -> None:
    answered(ledger, destinations=["OLD", "NEW"])
    deliveries.fall_back(ledger, claim(ledger, "NEW")[0], SUBSTITUTE)
    assert deliveries.move(ledger, "OLD", "NEW") == Moved(count=0, dropped=1)
    assert deliveries.move(ledger, "NEW", "THIRD") == Moved(count=1, dropped=0)
    assert claim(ledger, "THIRD")[0].kept.sop_class_uid == SR_CLASS


def test_what_waits_is_due_at_once_when_asked_for_and_peers_that_are_down_are_tried(
    ledger: Ledger, clock: TurnedClock
) -> None:
    answered(ledger, destinations=["PACS", "RIS"])
    for _ in range(5):
        for name in ("PACS", "RIS"):
            conclude(ledger, claim(ledger, name)[0], AWAY, down=True)
        clock.advance(300)
    for name in ("PACS", "RIS"):
        conclude(ledger, claim(ledger, name)[0], AWAY, down=True)
    assert claim(ledger) == []
    assert deliveries.send_now(ledger, ["PACS"]) == 1
    (now,) = claim(ledger)
    conclude(ledger, now, AWAY, down=True)
    assert next_due(ledger) == clock.tick() + 2  # its waits begin anew
    assert claim(ledger, "RIS") == []
    assert deliveries.send_now(ledger) == 2
    assert len(claim(ledger, "RIS")) == 1


def test_the_ledger_knows_whether_an_earlier_attempt_may_have_brought_the_object(
    ledger: Ledger, clock: TurnedClock
) -> None:
    answered(ledger)
    ends: list[tuple[Callable[[Delivery], object], bool]] = [
        (lambda each: deliveries.release_leases(ledger, each.lease, is_unsent=True), False),
        (lambda each: conclude(ledger, each, AWAY), False),
        (lambda each: conclude(ledger, each, Transient("no answer", was_sent=True)), True),
    ]
    for end, was_sent in ends:
        (delivery,) = claim(ledger)
        end(delivery)
        clock.advance(10)
        (again,) = claim(ledger)
        assert again.was_sent is was_sent
        deliveries.release_leases(ledger, "", is_unsent=True)


def test_what_a_sender_held_when_it_died_may_have_arrived(ledger: Ledger) -> None:
    answered(ledger)
    claim(ledger)
    deliveries.release_leases(ledger, "")
    (again,) = claim(ledger)
    assert again.was_sent
    deliveries.fall_back(ledger, again, SUBSTITUTE)
    (instead,) = claim(ledger)
    assert not instead.was_sent, "that one was never sent"


def test_an_object_goes_to_a_destination_once(ledger: Ledger) -> None:
    answered(ledger)
    conclude(ledger, claim(ledger)[0], Accepted())
    assert (claim(ledger), deliveries.replay(ledger), deliveries.release_leases(ledger, "")) == ([], 0, 0)


def test_two_senders_never_hold_the_same_delivery(open_ledger: Callable[[], Ledger]) -> None:
    one, other = open_ledger(), open_ledger()
    for number in range(4):
        answered(one, f"1.2.{number}")
    held = [claim(each, owner=f"deliver:PACS:{index}", limit=2) for index, each in enumerate((one, other))]
    assert [[each.id for each in batch] for batch in held] == [[1, 2], [3, 4]]


def test_senders_are_woken_by_answers_and_by_replay(ledger: Ledger) -> None:
    listener = ledger.wakeups.listen(f"{wakeups.DELIVERY}.0")
    answered(ledger)
    assert listener.drain() == {wakeups.DELIVERY}
    conclude(ledger, claim(ledger)[0], Permanent("refused"))
    deliveries.replay(ledger)
    assert listener.drain() == {wakeups.DELIVERY}
    listener.close()


def test_configured_destinations_are_known_before_they_are_tried_and_others_are_forgotten(ledger: Ledger) -> None:
    deliveries.keep_peers(ledger, ["PACS", "RIS"])
    assert [(each["name"], each["state"]) for each in status.of(ledger)["peers"]] == [
        ("PACS", "not tried yet"),
        ("RIS", "not tried yet"),
    ]
    answered(ledger)
    (delivery,) = claim(ledger)
    conclude(ledger, delivery, Accepted(""))
    assert [each["state"] for each in status.of(ledger)["peers"]] == ["up", "not tried yet"]
    deliveries.keep_peers(ledger, ["PACS"])
    assert deliveries.peers(ledger) == ["PACS"]


def test_a_substitute_is_sent_in_its_turn_once_for_all_who_need_it_and_a_replay_begins_with_the_first_object(
    ledger: Ledger,
) -> None:
    study_id = answered(ledger, destinations=("PACS", "RIS"))
    first = rows(ledger, tables.object_)[0]["sop_instance_uid"]
    for name in ("PACS", "RIS"):
        ((delivery,), _) = deliveries.claim(ledger, name, "deliver", 16)
        assert deliveries.fall_back(ledger, delivery, SUBSTITUTE)
        assert not deliveries.fall_back(ledger, delivery, SUBSTITUTE)
        ((delivery,), _) = deliveries.claim(ledger, name, "deliver", 16)
        assert delivery.kept == SUBSTITUTE
        conclude(ledger, delivery, Permanent("no"))
    assert [each["study_id"] for each in rows(ledger, tables.object_)] == [study_id, study_id]
    assert deliveries.replay(ledger) == 2
    assert claim(ledger)[0].kept.sop_instance_uid == first
