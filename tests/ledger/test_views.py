"""What people ask of the ledger: the worklist in its order, the status, a study's story."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest
from ledger_cases import (
    FAULTY,
    MODEL,
    NEGATIVE,
    POSITIVE,
    REFUSED,
    TurnedClock,
    answered,
    film,
    lease_one,
    queued,
    receive,
    report,
    rows,
    settle,
)
from sqlalchemy import update

from imaging.domain.findings import Outcome, State, TriageClass
from imaging.domain.worklist import PageState, Row
from imaging.ledger import jobs, retention, tables, views
from imaging.ledger.store import Ledger
from imaging.ledger.views import LedgerWorklist


def row_of(ledger: Ledger) -> Row:
    """The row of the only study."""
    (row,) = LedgerWorklist(ledger).rows(2)
    return row


def state(ledger: Ledger) -> PageState:
    return row_of(ledger).state


def test_a_study_passes_through_the_pages_states(ledger: Ledger) -> None:
    study_id = receive(ledger, film()).study_id
    seen = [state(ledger)]
    settle(ledger, study_id)
    seen.append(state(ledger))
    job = lease_one(ledger)
    seen.append(state(ledger))
    jobs.conclude(ledger, job, NEGATIVE, [])
    seen.append(state(ledger))
    assert seen == [PageState.RECEIVING, PageState.WAITING, PageState.ANALYSING, PageState.CLEAR]


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [(POSITIVE, PageState.FLAGGED), (REFUSED, PageState.NOT_ANALYSED), (FAULTY, PageState.FAILED)],
)
def test_a_row_shows_how_the_work_ended(ledger: Ledger, outcome: Outcome, shown: PageState) -> None:
    queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), outcome, [])
    row = row_of(ledger)
    assert (row.state, row.flag) == (shown, outcome.flag)
    assert row.reason == (outcome.reason if outcome.state is State.NOT_ANALYSED else None)


def test_a_study_that_no_model_fits_says_so_in_a_result_without_model(ledger: Ledger) -> None:
    settle(ledger, receive(ledger, film()).study_id, [])
    row = row_of(ledger)
    (result,) = row.results
    assert (result.model, result.state, result.reason) == (None, State.NOT_ANALYSED, "no-model")


def test_a_flag_once_raised_stays_though_the_next_answer_finds_nothing(ledger: Ledger) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), POSITIVE, [])
    due_at = rows(ledger, tables.study)[0]["due_at"]
    receive(ledger, film(number=2))
    settle(ledger, study_id)
    assert state(ledger) is PageState.FLAGGED
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    row = row_of(ledger)
    assert (row.state, row.flag, row.due_at) == (PageState.FLAGGED, TriageClass.URGENT, due_at)
    assert row.results[0].findings == ()


def test_images_after_an_answer_are_shown_as_a_change(ledger: Ledger) -> None:
    answered(ledger)
    receive(ledger, film(number=2))
    row = row_of(ledger)
    assert row.is_changed


def test_a_conflict_after_the_answer_is_the_rows_reason(ledger: Ledger) -> None:
    queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    receive(ledger, film(rows=512), "other bytes")
    row = row_of(ledger)
    assert (row.state, row.reason, row.conflicts) == (PageState.NOT_ANALYSED, "conflict", 1)


def test_the_worklist_and_the_queue_have_one_order(ledger: Ledger, clock: TurnedClock) -> None:
    """By band, then by due time, then by receipt; what came into the ledger first has no say."""
    places = {}
    for number, (received, due, band) in enumerate(product((2, 1), (2, 1), (1, 0))):
        place = {"band": band, "due_at": clock.now() + timedelta(hours=due)}
        place["received_at"] = clock.now() - timedelta(hours=received)
        study_id = queued(ledger, f"1.2.{number}")
        places[study_id] = tuple(place.values())
        with ledger.write() as connection:
            for table, own in ((tables.study, tables.study.c.id), (tables.job, tables.job.c.study_id)):
                connection.execute(update(table).where(own == study_id).values(**place))
    expected = sorted(places, key=places.__getitem__)
    assert [each.number for each in LedgerWorklist(ledger).rows(10)] == expected
    assert [lease_one(ledger).study_id for _ in places] == expected


def test_a_flag_moves_a_study_up_and_nothing_moves_it_down(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(6):
        queued(ledger, f"1.2.{number}")
        clock.advance(60)
    for outcome in (NEGATIVE, NEGATIVE, POSITIVE):
        jobs.conclude(ledger, lease_one(ledger), outcome, [])
    found = LedgerWorklist(ledger).rows(4)
    assert [each.study_uid for each in found] == ["1.2.2", "1.2.0", "1.2.1", "1.2.3"]
    assert LedgerWorklist(ledger).count() == 6


def test_a_row_is_found_by_our_own_number(ledger: Ledger) -> None:
    study_id = queued(ledger, patient_name="Nguyễn^Văn An")
    row = row_of(ledger)
    assert (row.patient_name, row.number) == ("Nguyễn^Văn An", study_id)
    assert LedgerWorklist(ledger).numbered(study_id) == row
    assert LedgerWorklist(ledger).numbered(study_id + 1) is None


def test_the_status_counts_every_state_and_says_how_old_the_oldest_is(ledger: Ledger, clock: TurnedClock) -> None:
    receive(ledger, film("1.2.1"))
    queued(ledger, "1.2.2")
    clock.advance(30)
    lease_one(ledger)
    answered(ledger, "1.2.3")
    clock.advance(12)
    said = views.status(ledger)
    assert said["studies"] == {"receiving": 1, "settled": 2}
    assert said["jobs"] == {"queued": 0, "leased": 1, "analysed": 1, "not_analysed": 0, "failed": 0}
    assert said["deliveries"] == {"waiting": 1, "sending": 0, "delivered": 0, "dead": 0}
    assert said["oldest_s"] == {"receiving": 42.0, "job": 42.0, "delivery": 12.0}
    assert said["instances"] == 3
    json.dumps(said)


def test_a_story_is_found_by_uid_and_by_accession_number(ledger: Ledger) -> None:
    answered(ledger)
    answered(ledger, "1.2.4")
    (by_uid,) = views.story(ledger, "1.2.3")
    assert [each["study_uid"] for each in views.story(ledger, "A1")] == ["1.2.3", "1.2.4"]
    assert by_uid["revisions"][0]["signal"] == "end of the association"
    assert by_uid["received"][0]["instances"] == 1
    assert [(each["model"], each["state"]) for each in by_uid["results"]] == [(MODEL, "analysed")]
    assert [(each["destination"], each["state"]) for each in by_uid["deliveries"]] == [("PACS", "waiting")]
    assert views.story(ledger, "9.9") == []
    json.dumps(by_uid)


def test_only_what_is_answered_and_delivered_may_be_removed(ledger: Ledger, clock: TurnedClock) -> None:
    receive(ledger, film("1.2.1"))
    queued(ledger, "1.2.2")
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    answered(ledger, "1.2.3")
    clock.advance(60)
    before = clock.now()
    assert retention.removable(ledger, before) == [2]
    removed: list[str] = []
    assert not retention.remove(ledger, 3, before, removed.append)
    assert retention.remove(ledger, 2, before, removed.append)
    assert removed == ["key-"]
    assert [each["id"] for each in rows(ledger, tables.study)] == [1, 3]


def test_a_study_to_which_an_image_came_meanwhile_is_not_removed(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = queued(ledger)
    job = lease_one(ledger)
    jobs.conclude(ledger, job, NEGATIVE, [report(job, [])])
    clock.advance(60)
    before = clock.now()
    assert retention.removable(ledger, before) == [study_id]
    clock.advance(1)
    receive(ledger, film(number=2))
    removed: list[str] = []
    assert not retention.remove(ledger, study_id, before, removed.append)
    assert removed == []


def test_a_removed_studys_files_go_while_its_rows_still_name_them(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: TurnedClock
) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    clock.advance(60)
    other, named = open_ledger(), []

    def killed(key: str) -> None:
        raise KeyboardInterrupt(key)

    with pytest.raises(KeyboardInterrupt):
        retention.remove(ledger, study_id, clock.now(), killed)
    assert retention.removable(ledger, clock.now()) == [study_id]
    assert retention.remove(
        ledger, study_id, clock.now(), lambda _: named.append([each["key"] for each in rows(other, tables.instance)])
    )
    assert named == [["key-"]]
    assert rows(other, tables.study) == []


def test_a_study_that_comes_again_after_it_was_removed_is_answered_under_new_numbers(
    ledger: Ledger, clock: TurnedClock
) -> None:
    numbers = []
    for _ in range(3):
        study_id = queued(ledger)
        job = lease_one(ledger)
        numbers.append(job.result_number)
        jobs.conclude(ledger, job, NEGATIVE, [report(job, [])])
        clock.advance(60)
        assert retention.remove(ledger, study_id, clock.now(), [].append)
    assert rows(ledger, tables.study) == rows(ledger, tables.object_) == []
    queued(ledger, "1.2.4")  # another study begins at one
    assert (numbers, lease_one(ledger).result_number) == ([1, 2, 3], 1)


def test_an_age_that_is_not_stated_follows_from_the_dates(ledger: Ledger) -> None:
    receive(ledger, film(patient_birth_date="19700312", study_date="20261124"))
    assert row_of(ledger).age == "056Y"


def test_a_role_and_a_model_that_the_settings_do_not_name_any_more_are_not_told_of(ledger: Ledger) -> None:
    for name in ("node", "worker-0", "worker-1", "web"):
        views.note_role(ledger, name, "up")
    for name in ("old", "new"):
        views.note_model(ledger, name, "1", "")
    views.keep_roles(ledger, {"worker"}, ["worker-0"])
    views.keep_models(ledger, ["new"])
    said = views.status(ledger)
    assert [each["name"] for each in said["roles"]] == ["node", "web", "worker-0"]
    assert [each["name"] for each in said["models"]] == ["new"]
