"""What settling leaves: one revision, a job per model that fits, and nothing where something came meanwhile."""

from ledger_cases import MODEL, TurnedClock, candidate, film, job_states, lease_one, queued, receive, rows, settle

from imaging.domain.settling import Incomplete
from imaging.ledger import associations, settling, tables, wakeups
from imaging.ledger.store import Ledger


def test_a_revision_holds_one_job_per_model(ledger: Ledger) -> None:
    queued(ledger, models=[MODEL, "other"])
    assert [each["number"] for each in rows(ledger, tables.revision)] == [1]
    assert [(each["model"], each["result_number"], each["instances"]) for each in rows(ledger, tables.job)] == [
        (MODEL, 1, [1]),
        ("other", 1, [1]),
    ]


def test_a_study_that_no_model_fits_settles_with_its_reason_and_no_revision(ledger: Ledger) -> None:
    study_id = receive(ledger, film()).study_id
    assert settle(ledger, study_id, [])
    assert rows(ledger, tables.study)[0]["reason"] == "no-model"
    assert rows(ledger, tables.revision) == []


def test_an_image_that_came_meanwhile_stops_the_settling(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = receive(ledger, film()).study_id
    seen = candidate(ledger, study_id)
    clock.advance(0.5)
    receive(ledger, film(number=2))
    assert not settling.settle(ledger, seen, "quiet", [], "no-model")
    assert rows(ledger, tables.study)[0]["state"] == "receiving"


def test_a_look_that_is_put_off_does_not_undo_what_came_meanwhile(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = receive(ledger, film()).study_id
    seen = candidate(ledger, study_id)
    clock.advance(0.5)
    receive(ledger, film(number=2))
    before = rows(ledger, tables.study)[0]["settle_tick"]
    settling.look_again(ledger, [(seen, Incomplete(clock.tick() + 900, "a gap"))])
    assert rows(ledger, tables.study)[0]["settle_tick"] == before


def test_a_later_revision_supersedes_what_is_queued_and_lets_end_what_is_leased(ledger: Ledger) -> None:
    study_id = queued(ledger, models=[MODEL, "other"])
    lease_one(ledger)
    receive(ledger, film(number=2))
    settle(ledger, study_id, [MODEL, "other"])
    assert job_states(ledger) == ["leased", "not_analysed", "queued", "queued"]
    assert [each["reason"] for each in rows(ledger, tables.job)] == [None, "superseded", None, None]
    assert [each["result_number"] for each in rows(ledger, tables.job)] == [1, 1, 2, 2]


def test_the_settler_is_told_what_each_model_was_last_given(ledger: Ledger) -> None:
    study_id = queued(ledger)
    receive(ledger, film(number=2))
    assert candidate(ledger, study_id).inputs == {(MODEL, "1"): frozenset({1})}
    settle(ledger, study_id)
    assert candidate(ledger, study_id).inputs == {(MODEL, "1"): frozenset({1, 2})}


def test_studies_are_looked_at_when_they_are_due_and_the_next_time_is_known(ledger: Ledger, clock: TurnedClock) -> None:
    sender = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    film_study = receive(ledger, film("1.2.1"), association=sender).study_id
    volume_study = receive(ledger, film("1.2.2", modality="CT"), association=sender).study_id
    assert settling.due_studies(ledger) == ([], clock.tick() + 2)
    clock.advance(2)
    assert settling.due_studies(ledger) == ([film_study], clock.tick() + 58)
    settle(ledger, film_study)
    clock.advance(60)
    assert settling.due_studies(ledger)[0] == [volume_study]


def test_late_images_are_due_anew(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = queued(ledger)
    clock.advance(100)
    sender = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(number=2), association=sender)
    seen = candidate(ledger, study_id)
    assert seen.signals.first_tick == seen.signals.last_tick == clock.tick()
    assert seen.signals.revised_tick == clock.tick() - 100
    assert settling.due_studies(ledger) == ([], clock.tick() + 2)


def test_workers_are_woken_only_where_there_is_work(ledger: Ledger) -> None:
    listener = ledger.wakeups.listen(wakeups.JOB)
    settle(ledger, receive(ledger, film("1.2.1")).study_id, [])
    assert listener.drain() == set()
    settle(ledger, receive(ledger, film("1.2.2")).study_id)
    assert listener.drain() == {wakeups.JOB}
    listener.close()
