"""Copies under a known UID: compared once, in the worklist's order, and written down with all that follows, or not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_cases import (
    MODEL,
    NEGATIVE,
    TurnedClock,
    candidate,
    contradicted,
    decided,
    discarded,
    film,
    force,
    job_states,
    judge,
    lease,
    lease_one,
    queued,
    receive,
    rows,
    settle,
    states,
)

from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, ImageRef, State
from imaging.domain.reasons import Reason
from imaging.domain.same_image import Judgement, Kind
from imaging.domain.settling import Complete, CompletenessTimeouts, completeness
from imaging.domain.worklist import ListingQuery, PageState, Row
from imaging.ledger import associations, copies, jobs, retention, settling, stories, tables, undecided
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist

NOT_FOUND = Finding(Code("SCT", "60046008", "Pleural effusion"), False, 0.1, 0.5)


def looked_at(number: int = 1) -> Answer:
    """A film that was looked at, and nothing found."""
    header = film(number=number)
    image = ImageRef(header.sop_class_uid, header.sop_instance_uid, header.series_instance_uid)
    return Answer(State.ANALYSED, (NOT_FOUND,), images=(image,))


def row_of(ledger: Ledger) -> Row:
    (row,) = LedgerWorklist(ledger).listing(ListingQuery()).rows
    return row


def test_a_study_is_analysed_while_its_copy_waits_to_be_compared(ledger: Ledger) -> None:
    queued(ledger)
    receive(ledger, film(view_position="PA"), "copy")
    (job,) = lease(ledger)
    assert (job.instances[0][1].view_position, job.doubtful) == ("", frozenset())
    assert states(ledger, tables.conflict) == ["unjudged"]


def test_the_same_image_is_noted_and_changes_nothing(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), looked_at(), [])
    before = rows(ledger, tables.study), rows(ledger, tables.instance)
    receive(ledger, film(), "compressed")
    assert judge(ledger, Kind.SAME)
    assert states(ledger, tables.conflict) == ["noted"]
    assert (rows(ledger, tables.study), rows(ledger, tables.instance)) == before
    assert copies.claim(ledger, "worker-0:1") is None


def test_a_correction_takes_its_uids_place_and_is_shown_found_and_analysed_anew(
    ledger: Ledger, clock: TurnedClock
) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), looked_at(), [])
    mended = film(patient_name="Nguyễn^An", accession_number="A2", view_position="PA", series_description="mended")
    receive(ledger, replace(mended, series_instance_uid="1.2.3.9"), "mended")
    assert judge(ledger, Kind.CORRECTION)
    (instance,) = rows(ledger, tables.instance)
    assert (instance["digest"], instance["header"]["view_position"]) == ("mended", "PA")
    row = row_of(ledger)
    assert (row.patient_name, row.accession_number, row.corrections, row.conflicts) == ("Nguyễn^An", "A2", 1, 0)
    assert "nguyen an" in row.search_text
    clock.advance(CompletenessTimeouts().film_s)
    seen = candidate(ledger, study_id)
    assert not frozenset({1}) & seen.instances.keys()
    clock.advance(CompletenessTimeouts().between_revisions_s)
    assert completeness(seen.signals, CompletenessTimeouts(), clock.tick()) == Complete("correction")
    assert settle(ledger, study_id)
    assert lease_one(ledger).instances[0][1].view_position == "PA"
    (data,) = stories.named(ledger, "1.2.3")
    assert [(each["state"], each["why"]) for each in data["copies"]] == [("used", "correction"), ("noted", "replaced")]
    assert (data["corrections"], data["copies"][0]["judgement"]) == (1, "what differs")


def test_bytes_that_were_replaced_and_come_again_change_nothing(ledger: Ledger) -> None:
    receive(ledger, film(), "first")
    receive(ledger, film(view_position="PA"), "mended")
    assert judge(ledger, Kind.CORRECTION)
    for digest, view in (("first", ""), ("mended", "PA")):
        receive(ledger, film(view_position=view), digest)
        assert copies.claim(ledger, "worker-0:1") is None
    assert [each["digest"] for each in rows(ledger, tables.instance)] == ["mended"]


def test_newer_attributes_may_hold_for_the_pixels_that_were_there(ledger: Ledger) -> None:
    receive(ledger, film(), "lossless")
    receive(ledger, film(view_position="PA", lossy_image_compression="01"), "lossy")
    assert judge(ledger, Kind.CORRECTION, takes_pixels=False)
    (instance,) = rows(ledger, tables.instance)
    assert (instance["digest"], instance["key"], instance["header"]["view_position"]) == (
        "lossless",
        "key-lossless",
        "PA",
    )
    assert states(ledger, tables.conflict) == ["used"]


def test_the_study_shows_what_was_corrected_on_another_of_its_images(ledger: Ledger) -> None:
    receive(ledger, film(number=1, body_part_examined="CHEST", patient_name="A"))
    receive(ledger, film(number=2, body_part_examined="ABDOMEN", patient_name="A"))
    receive(ledger, film(number=2, body_part_examined="CHEST", patient_name="B"), "mended")
    assert judge(ledger, Kind.CORRECTION)
    (study,) = rows(ledger, tables.study)
    assert (study["header"]["patient_name"], study["header"]["sop_instance_uid"]) == ("B", "1.2.3.1.1")


def test_a_readable_copy_is_used_without_waiting_for_the_time_between_revisions(
    ledger: Ledger, clock: TurnedClock
) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), Answer(State.NOT_ANALYSED, reason=Reason("pixels-unreadable")), [])
    receive(ledger, film(), "readable")
    receive(ledger, film(), "one more")
    assert judge(ledger, Kind.READABLE)
    assert settling.due_studies(ledger)[0] == [study_id]
    clock.advance(CompletenessTimeouts().film_s)
    assert completeness(candidate(ledger, study_id).signals, CompletenessTimeouts(), clock.tick()) == Complete(
        "readable copy"
    )


def test_corrections_of_one_study_make_one_new_answer(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = receive(ledger, film(number=1)).study_id
    receive(ledger, film(number=2))
    settle(ledger, study_id)
    clock.advance(CompletenessTimeouts().between_revisions_s)
    for number in (1, 2):
        receive(ledger, film(number=number, view_position="PA"), f"mended-{number}")
    assert judge(ledger, Kind.CORRECTION)
    clock.advance(CompletenessTimeouts().film_s)
    assert not isinstance(
        completeness(candidate(ledger, study_id).signals, CompletenessTimeouts(), clock.tick()), Complete
    )
    assert judge(ledger, Kind.SAME)
    assert settling.due_studies(ledger)[0] == [study_id]
    assert isinstance(completeness(candidate(ledger, study_id).signals, CompletenessTimeouts(), clock.tick()), Complete)


def test_images_that_come_after_a_correction_are_waited_for(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = queued(ledger, modality="CT")
    receive(ledger, film(modality="CT", series_description="mended"), "mended")
    assert judge(ledger, Kind.CORRECTION)
    sender = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(number=2, modality="CT"), association=sender)
    assert candidate(ledger, study_id).signals.judged == ""


def test_a_conflict_puts_in_doubt_what_was_not_found_and_stops_nothing(ledger: Ledger) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), looked_at(), [])
    assert row_of(ledger).state is PageState.CLEAR
    contradicted(ledger)
    force(ledger, tables.study, state="settled")
    row = row_of(ledger)
    assert (row.state, row.reason, row.conflicts, row.results[0].conflicts) == (PageState.IN_PART, None, 1, 1)
    assert row.results[0].findings[0].present is None
    assert LedgerWorklist(ledger).states() == {PageState.IN_PART: 1}
    (data,) = stories.named(ledger, "1.2.3")
    assert (data["results"][-1]["findings"][0]["present"], data["results"][-1]["conflicts"]) == (None, 1)
    force(ledger, tables.study, state="receiving")
    seen = candidate(ledger, study_id)
    assert (seen.doubt, seen.doubtful) == ("", frozenset({1}))
    assert seen.doubts == {(MODEL, "1"): frozenset[int]()}
    assert settling.settle(ledger, seen, "conflict found", [NewJob(MODEL, "1", frozenset({1}), frozenset({1}))], "")
    assert lease_one(ledger).doubtful == {film().sop_instance_uid}
    assert candidate(ledger, study_id).doubts == {(MODEL, "1"): frozenset({1})}


def test_a_conflict_of_an_image_that_a_model_did_not_look_at_leaves_its_answer(ledger: Ledger) -> None:
    queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), looked_at(number=2), [])
    contradicted(ledger)
    assert row_of(ledger).results[0].findings[0].present is False


def test_a_conflict_that_came_meanwhile_stops_the_settling(ledger: Ledger) -> None:
    study_id = receive(ledger, film()).study_id
    seen = candidate(ledger, study_id)
    contradicted(ledger)
    assert not settling.settle(ledger, seen, "quiet", [NewJob(MODEL, "1", frozenset({1}))], "")


def test_both_contents_of_a_conflict_are_described(ledger: Ledger) -> None:
    sender = associations.begin(ledger, "CR1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(rows=512, columns=512), "one", sender)
    other = associations.begin(ledger, "PACS", "IMAGING", "10.0.0.8", [])
    receive(ledger, film(rows=256, columns=256), "two", other)
    assert judge(ledger, Kind.CONFLICT, words="size: 512 x 512 and 256 x 256")
    (conflict,) = undecided.listed(ledger)
    assert (conflict["why"], conflict["differs"]) == ("conflict", "size: 512 x 512 and 256 x 256")
    assert [(conflict[each]["rows"], conflict[each]["calling_ae_title"]) for each in ("first", "second")] == [
        (512, "CR1"),
        (256, "PACS"),
    ]


def test_what_contradicted_an_object_is_compared_anew_with_the_one_that_a_person_puts_there(ledger: Ledger) -> None:
    queued(ledger)
    contradicted(ledger)
    receive(ledger, film(), "its re-encoding")
    assert judge(ledger, Kind.CONFLICT)
    first, second = undecided.listed(ledger)
    assert decided(ledger, first["id"], use=True) == ""
    assert rows(ledger, tables.study)[0]["conflicts"] == 0
    pair = copies.claim(ledger, "worker-0:1")
    assert pair is not None
    assert (pair.number, pair.first[0]) == (second["id"], "apart-other pixels")


def test_a_job_that_comes_back_and_lost_its_input_meanwhile_is_superseded(ledger: Ledger) -> None:
    study_id = queued(ledger)
    lease_one(ledger)
    receive(ledger, film(view_position="PA"), "mended")
    assert judge(ledger, Kind.CORRECTION)
    jobs.release_leases(ledger, "worker-0:")
    assert lease(ledger) == []
    assert rows(ledger, tables.job)[0]["reason"] == "superseded"
    settle(ledger, study_id)
    assert lease_one(ledger).instances[0][1].view_position == "PA"
    assert job_states(ledger) == ["not_analysed", "leased"]


def test_a_copy_is_compared_by_one_worker_and_again_when_that_one_died(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    receive(ledger, film(), "one")
    receive(ledger, film(), "two")
    first = copies.claim(ledger, "worker-0:1")
    assert first is not None
    assert copies.claim(open_ledger(), "worker-1:1") is None
    clock.advance(copies.LEASE_S + 1)
    second = copies.claim(ledger, "worker-0:1")
    assert second is not None
    assert (first.deaths, second.deaths) == (0, 1)
    assert copies.conclude(ledger, second, Judgement(Kind.SAME, "", second.first[1]))
    assert not copies.conclude(ledger, first, Judgement(Kind.CONFLICT, "", first.first[1]))
    assert rows(ledger, tables.study)[0]["conflicts"] == 0


def test_a_copy_whose_uid_got_another_content_meanwhile_is_compared_with_that(ledger: Ledger) -> None:
    receive(ledger, film(), "one")
    receive(ledger, film(), "two")
    pair = copies.claim(ledger, "worker-0:1")
    assert pair is not None
    receive(ledger, film(view_position="PA"), "three")
    assert judge(ledger, Kind.CORRECTION)
    assert not copies.conclude(ledger, pair, Judgement(Kind.CORRECTION, "", pair.second[1], takes_pixels=True))
    again = copies.claim(ledger, "worker-0:1")
    assert again is not None
    assert (again.number, again.first[0]) == (pair.number, "apart-three")


def test_copies_are_compared_in_the_order_of_the_worklist_and_by_kind(ledger: Ledger, clock: TurnedClock) -> None:
    for number, modality in enumerate(("DX", "CT", "DX")):
        study = f"1.2.{number}"
        receive(ledger, film(study, modality=modality), f"first-{number}")
        receive(ledger, film(study, modality=modality), f"copy-{number}")
    with ledger.write() as connection:
        last = tables.study.update().where(tables.study.c.study_instance_uid == "1.2.2")
        connection.execute(last.values(due_at=clock.now() - timedelta(hours=1)))
    found = [copies.claim(ledger, "worker-0:1", each) for each in (False, True, False, None)]
    assert [each and each.study_id for each in found] == [3, 2, 1, None]


@pytest.mark.parametrize("kind", [None, Kind.CONFLICT], ids=["not compared", "in conflict"])
def test_a_study_with_a_copy_that_is_not_compared_or_contradicts_is_not_removed(
    ledger: Ledger, clock: TurnedClock, kind: Kind | None
) -> None:
    queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    receive(ledger, film(), "copy")
    if kind:
        judge(ledger, kind)
    force(ledger, tables.study, state="settled")
    clock.advance(1000)
    assert retention.removable(ledger, clock.now()) == []
    force(ledger, tables.conflict, state="noted")
    (number,) = retention.removable(ledger, clock.now())
    assert retention.remove(ledger, number, clock.now())
    assert "apart-copy" in discarded(ledger)
    assert rows(ledger, tables.conflict) == []
