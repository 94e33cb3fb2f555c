"""Associations and instances as rows: what one more object means for its study."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from ledger_cases import TurnedClock, answered, candidate, film, receive, rows, settle
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from imaging.domain.peers import Refused
from imaging.domain.settling import Complete, CompletenessTimeouts, completeness
from imaging.ledger import associations, recording, settling, stories, tables, undecided
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.instances import Receipt
from imaging.ledger.recording import Recorded
from imaging.ledger.refusals import RefusalBook
from imaging.ledger.store import SQLITE_FILE, Ledger


def begin(ledger: Ledger) -> int:
    contexts = [{"abstract_syntax": "1.2.840.10008.5.1.4.1.1.2", "result": "refused"}]
    return associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", contexts)


def settle_tick(ledger: Ledger) -> float | None:
    tick: float | None = rows(ledger, tables.study)[0]["settle_tick"]
    return tick


def test_an_association_is_told_with_its_contexts_counts_and_end(ledger: Ledger) -> None:
    begin(ledger)
    newest = begin(ledger)
    associations.end(ledger, newest, AssociationEnd("released", 3, 2, {"0xA900: the UIDs differ": 2}))
    ended, still_open = associations.listed(ledger, 20)
    assert (ended["id"], ended["calling_ae_title"], ended["address"]) == (newest, "CT1", "10.0.0.7")
    assert (ended["stored"], ended["refused"], ended["refusals"]) == (3, 2, {"0xA900: the UIDs differ": 2})
    assert (ended["contexts"][0]["result"], ended["ended_how"]) == ("refused", "released")
    assert still_open["ended_at"] is None
    assert [each["id"] for each in associations.listed(ledger, 1)] == [newest]


def test_what_a_node_receives_bears_the_name_of_its_site(ledger: Ledger) -> None:
    ledger.site = "North"
    number = begin(ledger)
    receive(ledger, film(), association=number)
    ledger.site = "South"
    receive(ledger, film(number=2), association=number)
    ledger.site = "East"
    RefusalBook(ledger).write([Refused("CT9", "IMAGING", "10.0.0.9", "rejected")], {})
    assert [each["site"] for each in rows(ledger, tables.study)] == ["North"]
    assert [each["site"] for each in rows(ledger, tables.association)] == ["North", "East"]
    (story,) = stories.named(ledger, "1.2.3")
    assert story["site"] == "North"
    assert [each["site"] for each in associations.listed(ledger, 20)] == ["East", "North"]


def test_the_end_of_an_association_makes_its_studies_due_unless_another_one_still_sends(ledger: Ledger) -> None:
    one, other = begin(ledger), begin(ledger)
    receive(ledger, film(number=1), association=one)
    receive(ledger, film(number=2), association=other)
    waits_until = settle_tick(ledger)
    associations.end(ledger, one, AssociationEnd("released", 1, 0))
    assert settle_tick(ledger) == waits_until
    associations.end(ledger, other, AssociationEnd("aborted", 1, 0))
    assert settle_tick(ledger) == ledger.clock.tick()


def test_what_a_dead_node_left_open_is_ended_at_the_next_start(ledger: Ledger) -> None:
    receive(ledger, film(), association=begin(ledger))
    begin(ledger)
    assert associations.end_lost(ledger) == 2
    assert associations.end_lost(ledger) == 0
    assert settle_tick(ledger) == ledger.clock.tick()
    assert {each["ended_how"] for each in associations.listed(ledger, 9)} == {"cut by a restart"}
    assert [each["stored"] for each in associations.listed(ledger, 9)] == [0, 1]


def test_the_start_of_a_node_ends_no_association_of_another_hosts(ledger: Ledger) -> None:
    ledger.node = "there.1/node/"
    receive(ledger, film(), association=begin(ledger))
    ledger.node = "here.1/node/"
    begin(ledger)
    assert associations.end_lost(ledger) == 1
    assert [each["ended_at"] is None for each in associations.listed(ledger, 9)] == [False, True]


def test_a_study_whose_images_never_pause_is_looked_at_when_its_longest_wait_is_over(
    ledger: Ledger, clock: TurnedClock
) -> None:
    sender, timeouts = begin(ledger), CompletenessTimeouts(longest_s=5.0)
    for number in range(6):
        a_slice = film(number=number, modality="CT")
        (done,) = recording.record(ledger, [Receipt(a_slice, str(number), 10, sender, "key", "apart")], timeouts)
        assert isinstance(done, Recorded)
        due, later = settling.due_studies(ledger)
        assert (len(due), later) == ((0, 1005.0) if number < 5 else (1, None))
        if number < 5:
            clock.advance(1)
    assert completeness(candidate(ledger, due[0]).signals, timeouts, clock.tick()) == Complete("longest wait")


def test_images_that_came_after_settling_begin_a_wait_of_their_own(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = receive(ledger, film(modality="CT")).study_id
    settle(ledger, study_id)
    clock.advance(2 * CompletenessTimeouts().longest_s)
    receive(ledger, film(number=2, modality="CT"), association=begin(ledger))
    assert settle_tick(ledger) == clock.tick() + CompletenessTimeouts().volume_open_s


def test_what_a_second_object_under_a_uid_is_a_worker_says(ledger: Ledger) -> None:
    receive(ledger, film(), "one")
    for digest, facts in (("re-encoded", {}), ("other", {"rows": 512}), ("mended", {"view_position": "PA"})):
        done = receive(ledger, film(**facts), digest)
        assert (done.conflict, done.is_unjudged) == ("", True)
    assert [each["state"] for each in rows(ledger, tables.conflict)] == ["unjudged"] * 3
    assert undecided.listed(ledger) == []
    assert not receive(ledger, film(), "one").is_unjudged


def test_a_second_object_without_an_image_is_noted_and_the_first_one_stays(ledger: Ledger) -> None:
    receive(ledger, film(modality="SR", has_pixels=False), "one")
    done = receive(ledger, film(modality="SR", has_pixels=False, accession_number="A2"), "two")
    assert (done.conflict, done.is_unjudged) == ("", False)
    assert [each["state"] for each in rows(ledger, tables.conflict)] == ["noted"]


def test_a_bad_receipt_fails_alone_and_its_group_is_recorded(ledger: Ledger) -> None:
    good, bad = film(number=1), film(number=2)
    receipts = [Receipt(each, "d", 10, None, "key", "apart") for each in (good, bad, film(number=3))]
    receipts[1] = Receipt(bad, "d", 10, 4711, "key", "apart")  # there is no such association
    done = recording.record(ledger, receipts, CompletenessTimeouts())
    assert [isinstance(each, Recorded) for each in done] == [True, False, True]
    assert len(rows(ledger, tables.instance)) == 2


def test_a_group_that_sqlite_rolled_back_is_recorded_whole_or_not_at_all(
    migrated_file: Path, tmp_path: Path, clock: TurnedClock
) -> None:
    shutil.copy(migrated_file, tmp_path / SQLITE_FILE)
    ledger = Ledger(tmp_path, clock=clock)
    event.listen(ledger.engine, "connect", _leave_little_room)
    large = film(number=2, study_description="x" * 1_000_000)
    receipts = [Receipt(each, "d", 10, None, "key", "apart") for each in (film(number=1), large, film(number=3))]
    with pytest.raises(OperationalError):
        recording.record(ledger, receipts, CompletenessTimeouts())
    assert rows(ledger, tables.instance) == rows(ledger, tables.study) == []
    done = recording.record(ledger, receipts[::2], CompletenessTimeouts())
    assert [isinstance(each, Recorded) for each in done] == [True, True]
    assert len(rows(ledger, tables.instance)) == 2
    ledger.close()


def _leave_little_room(connection: Any, _: Any) -> None:
    """The database may grow by a few rows, as on a disk that is nearly full."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + 20}")


def test_a_study_is_one_row_however_often_its_objects_come(ledger: Ledger) -> None:
    for _ in range(3):
        receive(ledger, film(number=1))
    receive(ledger, film(number=2))
    (study,) = rows(ledger, tables.study)
    assert (study["instances"], len(rows(ledger, tables.instance)), len(rows(ledger, tables.patient))) == (2, 2, 1)


def test_an_object_without_pixels_does_not_open_a_settled_study_again(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = receive(ledger, film()).study_id
    settle(ledger, study_id)
    clock.advance(5)
    receive(ledger, film(number=2, has_pixels=False))
    (study,) = rows(ledger, tables.study)
    assert (study["state"], study["settle_tick"], study["instances"]) == ("settled", None, 1)


def test_our_own_result_sent_back_makes_nothing(ledger: Ledger) -> None:
    answered(ledger)
    (ours,) = rows(ledger, tables.object_)
    back = film(modality="SR", has_pixels=False)
    receive(ledger, type(back)(**vars(back) | {"sop_instance_uid": ours["sop_instance_uid"]}), "its digest")
    assert rows(ledger, tables.study)[0]["state"] == "settled"


def test_an_empty_identifier_names_nobody(ledger: Ledger) -> None:
    receive(ledger, film("1.2.1", patient_id=""))
    receive(ledger, film("1.2.2", patient_id=""))
    assert rows(ledger, tables.patient) == []
    assert receive(ledger, film("1.2.1", number=2, patient_id="P7")).conflict == ""


def test_the_same_identifier_of_another_issuer_is_another_patient(ledger: Ledger) -> None:
    receive(ledger, film("1.2.1", issuer_of_patient_id="HANOI"))
    receive(ledger, film("1.2.2", issuer_of_patient_id="HUE"))
    assert len(rows(ledger, tables.patient)) == 2
    assert receive(ledger, film("1.2.1", number=2, issuer_of_patient_id="HUE")).conflict == "mixed-patients"


def test_an_issuer_that_is_named_later_holds_for_the_study(ledger: Ledger) -> None:
    receive(ledger, film(number=1, has_pixels=False))
    assert receive(ledger, film(number=2, issuer_of_patient_id="HANOI", has_pixels=False)).conflict == ""
    assert receive(ledger, film(number=3, view_position="PA")).conflict == ""
    assert receive(ledger, film(number=4, issuer_of_patient_id="HUE")).conflict == "mixed-patients"
    (study,) = rows(ledger, tables.study)
    assert (study["header"]["issuer_of_patient_id"], study["header"]["view_position"]) == ("HANOI", "PA")
    (patient,) = [each for each in rows(ledger, tables.patient) if each["id"] == study["patient_id"]]
    assert (patient["value"], patient["issuer"]) == ("P1", "HANOI")


def test_another_name_where_no_identifier_is_is_another_patient(ledger: Ledger) -> None:
    receive(ledger, film(number=1, patient_id=""))
    assert receive(ledger, film(number=2, patient_id="", patient_name="Nguyễn^An")).conflict == ""
    assert receive(ledger, film(number=3, patient_id="", patient_name="NGUYEN AN")).conflict == ""
    assert receive(ledger, film(number=4, patient_id="", patient_name="Trần^Bình")).conflict == "mixed-patients"
    assert receive(ledger, film(number=5, patient_id="P2", patient_name="Trần^Bình")).conflict == "mixed-patients"
    (study,) = rows(ledger, tables.study)
    assert (study["instances"], study["conflicts"], study["header"]["patient_name"]) == (3, 2, "Nguyễn^An")


def test_another_patients_image_under_a_known_uid_stops_the_study(ledger: Ledger) -> None:
    receive(ledger, film(patient_id="", patient_name="Nguyễn^An"), "one")
    assert receive(ledger, film(patient_id="", patient_name="Nguyen^An"), "two").conflict == ""
    assert receive(ledger, film(patient_id="", patient_name="Trần^Bình"), "three").conflict == "mixed-patients"
