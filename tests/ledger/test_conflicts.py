"""What a person decides about objects kept apart: never so that a study, or anything sent of it, names two patients."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ledger_cases import (
    MODEL,
    NEGATIVE,
    POSITIVE,
    TurnedClock,
    answered,
    candidate,
    claim,
    decided,
    delivery_states,
    discarded,
    film,
    job_states,
    judge,
    lease,
    lease_one,
    queued,
    receive,
    report,
    rows,
    settle,
)

from imaging.domain.header import Header
from imaging.domain.retry import Accepted, Permanent
from imaging.domain.same_image import Kind
from imaging.domain.worklist import ListingQuery
from imaging.ledger import associations, conflicts, deliveries, jobs, retention, status, stories, tables, undecided
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist

MIXED = "mixed-patients"


def two_films(ledger: Ledger, answer: bool = True) -> int:
    """A study of two films of P1 that is analysed, its report waiting."""
    study_id = receive(ledger, film(number=1), "a1").study_id
    receive(ledger, film(number=2), "a2")
    settle(ledger, study_id)
    if answer:
        job = lease_one(ledger)
        assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    return study_id


def receive_again(ledger: Ledger, numbers: Sequence[int] = (1, 2)) -> list[int]:
    """The same films again under another Patient ID; the numbers of what is kept apart."""
    for number in numbers:
        assert receive(ledger, film(number=number, patient_id="P2"), f"b{number}").conflict == MIXED
    return [each["id"] for each in undecided.listed(ledger)]


def patients(ledger: Ledger) -> set[str]:
    return {each["header"]["patient_id"] for each in rows(ledger, tables.instance)}


def test_one_object_of_another_patient_is_not_used_and_the_answer_says_what_to_do(ledger: Ledger) -> None:
    two_films(ledger)
    one, _ = receive_again(ledger)
    why = decided(ledger, one, use=True)
    assert ("two patients" in why, "--all" in why, "`drop`" in why) == (True, True, True)
    assert patients(ledger) == {"P1"}
    assert len(undecided.listed(ledger)) == 2


def test_a_study_that_came_again_whole_under_another_patient_is_used_by_one_decision(ledger: Ledger) -> None:
    study_id = two_films(ledger)
    one, two = receive_again(ledger)
    assert conflicts.decide(ledger, [one], True, and_alike=True) == {one: ""}
    assert patients(ledger) == {"P2"}
    (study,) = rows(ledger, tables.study)
    assert (study["conflicts"], study["instances"], study["header"]["patient_id"]) == (0, 2, "P2")
    assert delivery_states(ledger) == []  # what waited named P1
    assert settle(ledger, study_id)
    job = lease_one(ledger)
    assert {header.patient_id for _, header in job.instances} == {"P2"}
    assert (job.study.patient_id, two) == ("P2", one + 1)


def test_numbers_that_are_named_together_are_decided_together(ledger: Ledger) -> None:
    two_films(ledger)
    assert conflicts.decide(ledger, receive_again(ledger), True) == {1: "", 2: ""}
    assert patients(ledger) == {"P2"}


def test_a_study_of_which_part_came_again_is_not_used(ledger: Ledger) -> None:
    two_films(ledger)
    (one,) = receive_again(ledger, [1])
    assert "1 of its objects" in conflicts.decide(ledger, [one], True, and_alike=True)[one]
    assert patients(ledger) == {"P1"}


def test_what_all_goes_for_is_of_one_patient(ledger: Ledger) -> None:
    two_films(ledger)
    receive_again(ledger)
    receive(ledger, film(number=3, patient_id="P3"), "c3")
    assert conflicts.decide(ledger, [1], True, and_alike=True) == {1: ""}
    assert [each["patient_id"] for each in undecided.listed(ledger)] == ["P3"]
    assert candidate(ledger, 1).doubt == MIXED


def test_two_contents_of_one_uid_are_not_used_together(ledger: Ledger) -> None:
    two_films(ledger)
    receive_again(ledger)
    receive(ledger, film(number=2, patient_id="P2"), "b2 again")
    reasons = conflicts.decide(ledger, [1], True, and_alike=True)
    assert "the same UID" in reasons[1]
    assert decided(ledger, 3, use=False) == ""
    assert conflicts.decide(ledger, [1], True, and_alike=True) == {1: ""}


def test_nothing_leaves_of_a_study_to_which_another_patients_object_came(ledger: Ledger) -> None:
    two_films(ledger)
    answered(ledger, "1.2.9")
    receive_again(ledger, [1])
    (other,) = claim(ledger)
    assert deliveries.conclude(ledger, other, Accepted(), 0.0, peer_is_down=False)
    assert (claim(ledger), delivery_states(ledger)) == ([], ["waiting", "delivered"])
    assert decided(ledger, 1, use=False) == ""
    assert len(claim(ledger)) == 1


def test_a_claimed_report_is_held_where_the_object_comes_before_it_is_sent(ledger: Ledger) -> None:
    two_films(ledger)
    (claimed,) = claim(ledger)
    assert not deliveries.is_held(ledger, claimed)
    receive_again(ledger, [1])
    assert deliveries.is_held(ledger, claimed)
    assert delivery_states(ledger) == ["waiting"]


def test_an_answer_that_ends_while_the_patient_is_in_doubt_is_kept_and_not_sent(ledger: Ledger) -> None:
    two_films(ledger, answer=False)
    job = lease_one(ledger)
    receive_again(ledger, [1])
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    (row,) = LedgerWorklist(ledger).listing(ListingQuery()).rows
    assert (row.flag, claim(ledger)) == (POSITIVE.flag, [])
    assert decided(ledger, 1, use=False) == ""
    assert len(claim(ledger)) == 1


def test_an_answer_about_images_that_are_not_the_studys_any_more_is_nobodys(ledger: Ledger) -> None:
    study_id = two_films(ledger, answer=False)
    job = lease_one(ledger)
    receive_again(ledger)
    assert conflicts.decide(ledger, [1, 2], True) == {1: "", 2: ""}
    assert settle(ledger, study_id)
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    assert (job_states(ledger), rows(ledger, tables.object_)) == (["not_analysed", "queued"], [])
    assert rows(ledger, tables.study)[0]["flag"] is None
    (next_job,) = lease(ledger)
    assert {header.patient_id for _, header in next_job.instances} == {"P2"}


def test_a_dead_letter_about_the_other_patient_is_not_sent_again(ledger: Ledger) -> None:
    two_films(ledger)
    (claimed,) = claim(ledger)
    deliveries.conclude(ledger, claimed, Permanent("0xC000"), 0.0, peer_is_down=False)
    receive_again(ledger)
    conflicts.decide(ledger, [1, 2], True)
    assert deliveries.replay(ledger) == 0
    assert claim(ledger) == []


def test_a_patient_is_not_exchanged_while_a_report_about_the_other_is_being_sent(ledger: Ledger) -> None:
    two_films(ledger)
    (claimed,) = claim(ledger)
    receive_again(ledger)
    assert "being sent" in conflicts.decide(ledger, [1], True, and_alike=True)[1]
    deliveries.conclude(ledger, claimed, Accepted(), 0.0, peer_is_down=False)
    assert conflicts.decide(ledger, [1], True, and_alike=True) == {1: ""}


def test_a_study_whose_rows_name_two_patients_in_spite_of_all_is_never_asked_about(ledger: Ledger) -> None:
    study_id = receive(ledger, film(number=1)).study_id
    job = queued(ledger, "1.2.9")
    with ledger.write() as connection:
        connection.execute(tables.study.update().values(persons=[["P1", "", "", "", ""], ["P2", "", "", "", ""]]))
    assert candidate(ledger, study_id).doubt == MIXED
    leased = lease_one(ledger)
    assert leased.study_id == job
    assert jobs.conclude(ledger, leased, POSITIVE, [report(leased)])
    assert (job_states(ledger), rows(ledger, tables.object_)) == (["not_analysed"], [])


# Undo ----------------------------------------------------------------------------------------------------------------


def test_a_decision_for_a_whole_study_is_taken_back_whole(ledger: Ledger) -> None:
    study_id = two_films(ledger, answer=False)
    receive_again(ledger)
    conflicts.decide(ledger, [1], True, and_alike=True)
    settle(ledger, study_id)
    assert conflicts.undo(ledger, [2]) == {2: ""}
    assert patients(ledger) == {"P1"}
    (study,) = rows(ledger, tables.study)
    assert (study["conflicts"], study["header"]["patient_id"]) == (2, "P1")
    assert [each["patient_id"] for each in undecided.listed(ledger)] == ["P2", "P2"]
    assert candidate(ledger, study_id).doubt == MIXED
    assert lease(ledger) == []
    assert conflicts.decide(ledger, [1], False, and_alike=True) == {1: ""}
    settle(ledger, study_id)
    assert {header.patient_id for _, header in lease_one(ledger).instances} == {"P1"}


def test_a_drop_is_taken_back_and_the_study_waits_again(ledger: Ledger) -> None:
    two_films(ledger, answer=False)
    receive_again(ledger)
    assert conflicts.decide(ledger, [1, 2], False) == {1: "", 2: ""}
    assert conflicts.undo(ledger, [1, 2]) == {1: "", 2: ""}
    assert len(undecided.listed(ledger)) == 2
    assert conflicts.undo(ledger, [1]) == {1: conflicts.NOT_DECIDED}


def test_a_report_that_waits_when_a_drop_is_taken_back_is_held_and_sent_after_the_next(ledger: Ledger) -> None:
    study_id = two_films(ledger)
    receive_again(ledger)
    for number in (1, 2):
        assert conflicts.decide(ledger, [number], False) == {number: ""}
    settle(ledger, study_id, [])
    assert conflicts.undo(ledger, [1]) == {1: ""}
    assert (claim(ledger), delivery_states(ledger)) == ([], ["waiting"])
    assert conflicts.decide(ledger, [1], False) == {1: ""}
    assert len(claim(ledger)) == 1


def test_a_decision_of_which_a_report_was_sent_stays(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = two_films(ledger)
    receive_again(ledger)
    conflicts.decide(ledger, [1], True, and_alike=True)
    clock.advance(1)
    settle(ledger, study_id)
    job = lease_one(ledger)
    jobs.conclude(ledger, job, NEGATIVE, [report(job)])
    (claimed,) = claim(ledger)
    assert "being sent" in conflicts.undo(ledger, [1])[1]
    deliveries.conclude(ledger, claimed, Accepted(), 0.0, peer_is_down=False)
    assert "has been sent since" in conflicts.undo(ledger, [1])[1]
    assert patients(ledger) == {"P2"}


def test_a_report_of_a_decision_that_waits_is_withdrawn_with_it(ledger: Ledger) -> None:
    study_id = two_films(ledger, answer=False)
    receive_again(ledger)
    conflicts.decide(ledger, [1], True, and_alike=True)
    settle(ledger, study_id)
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    assert delivery_states(ledger) == ["waiting"]
    assert conflicts.undo(ledger, [1]) == {1: ""}
    assert delivery_states(ledger) == []


def test_a_decision_is_not_taken_back_where_the_study_would_name_two_patients(ledger: Ledger) -> None:
    two_films(ledger)
    receive_again(ledger)
    conflicts.decide(ledger, [1], True, and_alike=True)
    assert receive(ledger, film(number=3, patient_id="P2"), "b3").conflict == ""
    assert "have arrived since" in conflicts.undo(ledger, [1])[1]
    assert patients(ledger) == {"P2"}


def test_a_decided_study_is_removed_with_all_its_files(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = two_films(ledger, answer=False)
    receive_again(ledger)
    conflicts.decide(ledger, [1], True, and_alike=True)
    settle(ledger, study_id)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    clock.advance(60)
    assert retention.remove(ledger, study_id, clock.now())
    gone = discarded(ledger)
    assert {"apart-b1", "apart-b2", "key-a1", "key-a2"} <= {*gone}
    assert rows(ledger, tables.conflict) == rows(ledger, tables.study) == []


# One UID, two studies -----------------------------------------------------------------------------------------------


def same_uid(ledger: Ledger, **facts: Any) -> tuple[int, int]:
    """Two studies of two patients, whose films have one UID."""
    one = receive(ledger, film("1.2.3"), "one").study_id
    other = replace(film("1.2.4", patient_id="P2", **facts), sop_instance_uid=film("1.2.3").sop_instance_uid)
    done = receive(ledger, other, "other")
    assert done.conflict == ""
    return one, done.study_id


def test_an_object_belongs_to_the_study_that_it_names_and_both_are_told(ledger: Ledger) -> None:
    one, other = same_uid(ledger)
    assert one != other
    assert [each["shared"] for each in map(vars, LedgerWorklist(ledger).rows([one, other]))] == [1, 1]
    data = undecided.listed(ledger)
    assert [(each["state"], each["patient_id"], each["shared_with"][0]["patient_id"]) for each in data] == [
        ("shared", "P1", "P2"),
        ("shared", "P2", "P1"),
    ]
    (story,) = stories.named(ledger, "1.2.4")
    assert (story["conflicts"], story["shared"][0]["study_uid"]) == (0, "1.2.3")


def test_a_shared_uid_stops_neither_study(ledger: Ledger) -> None:
    for study_id in same_uid(ledger):
        seen = candidate(ledger, study_id)
        assert (seen.doubt, len(seen.instances)) == ("", 1)
        assert settle(ledger, study_id)
    first, second = lease(ledger, batch=2)
    for each in (first, second):
        assert jobs.conclude(ledger, each, NEGATIVE, [report(each)])
    assert len(claim(ledger)) == 2
    assert {row.reason for row in LedgerWorklist(ledger).listing(ListingQuery()).rows} == {None}


def test_there_is_nothing_to_use_of_a_shared_uid_and_a_drop_takes_the_notice_away(ledger: Ledger) -> None:
    one, other = same_uid(ledger)
    assert "nothing to use" in decided(ledger, 1, use=True)
    assert decided(ledger, 1, use=False) == ""
    assert [each.shared for each in LedgerWorklist(ledger).rows([one])] == [0]
    assert [each.shared for each in LedgerWorklist(ledger).rows([other])] == [1]
    assert rows(ledger, tables.study)[0]["settle_why"] != "conflict settled"
    assert conflicts.undo(ledger, [1]) == {1: ""}
    assert len(undecided.listed(ledger)) == 2


def test_a_dropped_notice_makes_no_later_copy_silent(ledger: Ledger) -> None:
    same_uid(ledger)
    conflicts.decide(ledger, [1, 2], False)
    uid = film("1.2.3").sop_instance_uid
    changed = replace(film("1.2.4", patient_id="P2", rows=512), sop_instance_uid=uid)
    assert receive(ledger, changed, "changed").is_unjudged
    assert judge(ledger, Kind.CONFLICT)
    third = receive(ledger, replace(film("1.2.5", patient_id="P3"), sop_instance_uid=uid), "third")
    assert third.conflict == ""
    assert [each["state"] for each in undecided.listed(ledger)] == ["shared", "shared", "open", "shared"]
    assert len(undecided.listed(ledger)[0]["shared_with"]) == 2


def test_a_conflict_is_used_in_its_own_study_where_another_has_the_uid_too(ledger: Ledger) -> None:
    same_uid(ledger)
    uid = film("1.2.3").sop_instance_uid
    receive(ledger, replace(film("1.2.4", patient_id="P2", rows=512), sop_instance_uid=uid), "changed")
    assert judge(ledger, Kind.CONFLICT)
    assert decided(ledger, 3, use=True) == ""
    assert [each["digest"] for each in rows(ledger, tables.instance)] == ["one", "changed"]


def test_a_study_that_is_removed_takes_nothing_of_the_other(ledger: Ledger, clock: TurnedClock) -> None:
    one, other = same_uid(ledger)
    settle(ledger, one)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    clock.advance(60)
    assert retention.remove(ledger, one, clock.now())
    assert discarded(ledger) == ["key-one"]
    assert undecided.listed(ledger) == []
    assert [each["study_id"] for each in rows(ledger, tables.instance)] == [other]
    assert [each.shared for each in LedgerWorklist(ledger).rows([other])] == [0]


# Our own reports ----------------------------------------------------------------------------------------------------


def coerced(ledger: Ledger, **facts: Any) -> Header:
    """The report of ours, as a PACS sends it back."""
    (ours,) = rows(ledger, tables.object_)
    back = film(modality="SR", has_pixels=False, is_our_device=True)
    data = {"sop_class_uid": ours["sop_class_uid"], "sop_instance_uid": ours["sop_instance_uid"]}
    return replace(back, **data | facts)


COERCIONS: list[dict[str, Any]] = [
    {},
    {"patient_id": "HOSP-P1"},
    {"issuer_of_patient_id": "HUE"},
    {"study_instance_uid": "9.9.9"},
    {"study_instance_uid": "9.9.9", "patient_id": "HOSP-P1", "is_our_device": False},
    {"sop_instance_uid": "9.9.1"},
    {"sop_instance_uid": "9.9.1", "patient_id": "HOSP-P1", "issuer_of_patient_id": "HUE"},
]


@pytest.mark.parametrize("facts", COERCIONS, ids=lambda each: "-".join(each) or "as it was")
def test_a_report_of_ours_that_comes_back_is_kept_with_its_study_and_stops_nothing(
    ledger: Ledger, facts: dict[str, Any]
) -> None:
    study_id = answered(ledger)
    before = rows(ledger, tables.study)
    for _ in range(2):
        assert receive(ledger, coerced(ledger, **facts), "its digest").conflict == ""
    assert rows(ledger, tables.study) == before
    assert (len(rows(ledger, tables.instance)), undecided.listed(ledger)) == (1, [])
    (story,) = stories.named(ledger, "1.2.3")
    (back,) = story["returned"]
    assert back["patient_id"] == facts.get("patient_id", "P1")
    assert status.of(ledger)["instances"] == 2
    assert len(claim(ledger)) == 1
    assert candidate(ledger, study_id).doubt == ""


def test_a_report_of_ours_whose_every_uid_is_new_is_kept_without_a_row_until_its_study_comes(
    ledger: Ledger, clock: TurnedClock
) -> None:
    answered(ledger)
    stray = coerced(ledger, study_instance_uid="9.9", sop_instance_uid="9.9.1")
    assert receive(ledger, stray, "stray").study_id == 0
    assert len(rows(ledger, tables.study)) == 1
    receive(ledger, film("9.9", patient_id="HOSP-P1"))
    (story,) = stories.named(ledger, "9.9")
    assert (story["conflicts"], len(story["returned"])) == (0, 1)


def test_strays_are_removed_by_their_age_and_the_others_with_their_study(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = answered(ledger, destinations=[])
    receive(ledger, coerced(ledger, study_instance_uid="9.9", sop_instance_uid="9.9.1"), "stray")
    receive(ledger, coerced(ledger, patient_id="HOSP-P1"), "back")
    assert retention.remove_strays(ledger, clock.now()) == 0
    clock.advance(60)
    assert retention.remove_strays(ledger, clock.now()) == 1
    assert discarded(ledger) == ["apart-stray"]
    assert retention.remove(ledger, study_id, clock.now())
    assert discarded(ledger)[:2] == ["apart-back", "key-"]
    assert rows(ledger, tables.returned) == []


def test_another_devices_report_under_another_patient_is_a_conflict_as_before(ledger: Ledger) -> None:
    answered(ledger)
    other = coerced(ledger, sop_instance_uid="9.9.1", patient_id="HOSP-P1", is_our_device=False)
    assert receive(ledger, other).conflict == MIXED


def test_what_a_whole_site_sends_back_leaves_every_answer_delivered(ledger: Ledger) -> None:
    sender = associations.begin(ledger, "PACS", "IMAGING", "10.0.0.5", [])
    study_id = queued(ledger, models=[MODEL, "other"])
    job = lease_one(ledger)
    jobs.conclude(ledger, job, NEGATIVE, [report(job)])
    receive(ledger, coerced(ledger, patient_id="HOSP-P1"), "back", sender)
    job = lease_one(ledger)
    assert (job.model, job.study_id) == ("other", study_id)
    jobs.conclude(ledger, job, NEGATIVE, [report(job)])
    (first,) = claim(ledger)
    deliveries.conclude(ledger, first, Accepted(), 0.0, peer_is_down=False)
    assert len(claim(ledger)) == 1
