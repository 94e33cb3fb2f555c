"""The queue: order of work, leases and fencing, deaths and poison, replay, and answers with what they leave."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from ledger_cases import (
    FAULTY,
    MODEL,
    NEGATIVE,
    POSITIVE,
    REFUSED,
    TurnedClock,
    answered,
    candidate,
    contradicted,
    decided,
    film,
    force,
    job_states,
    lease,
    lease_one,
    lose,
    queued,
    receive,
    report,
    rows,
    settle,
)
from sqlalchemy import Column, Table, update
from sqlalchemy.exc import IntegrityError

from imaging.domain.findings import TriageClass
from imaging.domain.priority import STAT_BAND, TARGETS
from imaging.ledger import jobs, leasing, tables, wakeups, workers
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.store import Ledger


def test_the_study_that_came_first_is_leased_first(ledger: Ledger, clock: TurnedClock) -> None:
    first = queued(ledger, "1.2.1")
    clock.advance(1)
    second = queued(ledger, "1.2.2")
    assert [lease_one(ledger).study_id, lease_one(ledger).study_id] == [first, second]
    assert lease(ledger) == []


def test_an_ordered_stat_is_leased_before_whatever_is_due_earlier(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger, "1.2.1")
    clock.advance(1)
    ordered = queued(ledger, "1.2.2")
    with ledger.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.study_id == ordered).values(band=STAT_BAND))
    assert lease_one(ledger).study_id == ordered


def test_a_flag_brings_the_studys_other_jobs_forward(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger, "1.2.1")
    clock.advance(1)
    flagged = queued(ledger, "1.2.2", [MODEL, "other"])
    first, second = lease_one(ledger), lease_one(ledger)
    assert (first.study_id, second.study_id) != (flagged, flagged)
    assert jobs.conclude(ledger, second, POSITIVE, [])
    other = lease_one(ledger)
    assert (other.study_id, other.model) == (flagged, "other")


def test_a_flag_shortens_the_due_time_and_nothing_lengthens_it(ledger: Ledger) -> None:
    queued(ledger, models=[MODEL, "second", "third"])
    received = rows(ledger, tables.study)[0]["received_at"]
    for flag, due_in in ((TriageClass.STAT, 30), (TriageClass.ROUTINE, 30), (None, 30)):
        job = lease_one(ledger)
        outcome = type(POSITIVE)(**vars(POSITIVE) | {"triage": flag})
        assert jobs.conclude(ledger, job, outcome, [])
        assert rows(ledger, tables.study)[0]["due_at"] == received + timedelta(minutes=due_in)
    assert TARGETS[TriageClass.STAT] == timedelta(minutes=30)


def test_a_batch_holds_one_models_jobs_the_best_first(ledger: Ledger, clock: TurnedClock) -> None:
    studies = []
    for number in range(4):
        studies.append(queued(ledger, f"1.2.{number}", ["other"] if number == 1 else [MODEL]))
        clock.advance(1)
    batch = lease(ledger, batch=8)
    assert [each.study_id for each in batch] == [studies[0], studies[2], studies[3]]
    assert [each.model for each in lease(ledger, batch=8)] == ["other"]


def test_a_job_carries_what_a_worker_needs(ledger: Ledger) -> None:
    study_id = receive(ledger, film(), "d1").study_id
    receive(ledger, film(number=2), "d2")
    settle(ledger, study_id)
    job = lease_one(ledger)
    assert [key for key, _ in job.instances] == ["key-d1", "key-d2"]
    assert [header for _, header in job.instances] == [film(), film(number=2)]
    assert (job.study, job.predecessor, job.result_number, job.deaths) == (film(), None, 1, 0)


def test_a_silent_workers_job_is_leased_again_once_its_lease_ends(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    clock.advance(workers.LEASE_S)
    assert workers.silent(ledger) == frozenset()
    assert lease(ledger, "worker-1:1") == []
    lose(ledger, clock)
    again = lease_one(ledger, "worker-1:1")
    assert (again.id, again.deaths) == (job.id, 1)


def test_a_lease_is_kept_as_long_as_its_worker_says_that_it_lives(ledger: Ledger, clock: TurnedClock) -> None:
    """However long the job, or its wait for a job that runs alone, may be."""
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    for _ in range(100):
        clock.advance(workers.BEAT_S)
        workers.beat(ledger, "worker-0", "worker-0:1", [job.id])
        assert workers.silent(ledger) == frozenset()
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])


def test_a_lease_of_which_its_worker_never_heard_runs_out(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger)
    lease_one(ledger, "worker-0:1")
    clock.advance(workers.LEASE_S - 1)
    workers.beat(ledger, "worker-0", "worker-0:1", [])
    clock.advance(2)
    assert len(workers.silent(ledger)) == 1


def test_a_lease_that_was_renewed_since_it_ran_out_is_not_returned(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    clock.advance(workers.LEASE_S + 1)
    ran_out = workers.silent(ledger)
    assert len(ran_out) == 1
    workers.beat(ledger, "worker-0", "worker-0:1", [job.id])
    assert workers.return_silent(ledger, ran_out) == 0
    assert [(each["state"], each["attempts"]) for each in rows(ledger, tables.job)] == [("leased", 0)]


def test_a_job_whose_answer_could_not_be_written_comes_back_without_a_death(ledger: Ledger) -> None:
    queued(ledger)
    job = lease_one(ledger, "worker-0:1")
    assert workers.release_jobs(ledger, "worker-1:1", [job.id]) == 0
    assert workers.release_jobs(ledger, "worker-0:1", [job.id]) == 1
    assert lease_one(ledger).deaths == 0


@pytest.mark.parametrize("column", ["instances", "header of an image", "header of a study"])
def test_a_job_that_cannot_be_read_fails_alone_and_the_next_one_is_leased(ledger: Ledger, column: str) -> None:
    broken, other = queued(ledger, "1.2.1"), queued(ledger, "1.2.2")
    kinds: dict[str, tuple[Table, Column[Any], dict[str, Any]]] = {
        "instances": (tables.job, tables.job.c.study_id, {"instances": "none"}),
        "header of an image": (tables.instance, tables.instance.c.study_id, {"header": {"shoe_size": 42}}),
        "header of a study": (tables.study, tables.study.c.id, {"header": {"shoe_size": 42}}),
    }
    table, of_study, values = kinds[column]
    with ledger.write() as connection:
        connection.execute(update(table).where(of_study == broken).values(values))
    assert lease_one(ledger).study_id == other
    ended = rows(ledger, tables.job)[0]
    assert (ended["state"], ended["attempts"], ended["lease_tick"]) == ("failed", 0, None)
    assert ended["reason"].startswith("its input cannot be read from the ledger: ")


def test_a_job_of_a_model_is_answered_by_others_only_once_no_living_worker_serves_it(
    ledger: Ledger, clock: TurnedClock
) -> None:
    queued(ledger, models=["first", "second"])
    workers.expect(ledger, ["worker-0", "worker-1"])
    workers.serve(ledger, "worker-0", ["first"])
    assert workers.unserved(ledger) == frozenset()  # worker-1 has not said yet what it serves
    workers.serve(ledger, "worker-1", ["second"])
    assert workers.unserved(ledger) == frozenset()
    workers.expect(ledger, ["worker-0", "worker-1"])  # both are started anew: what they served holds
    assert workers.unserved(ledger) == frozenset()
    clock.advance(workers.GONE_S)
    workers.beat(ledger, "worker-0", "worker-0:1")
    assert workers.unserved(ledger) == frozenset()
    clock.advance(1)
    assert workers.unserved(ledger) == {"second"}


def test_a_worker_whose_lease_ran_out_can_write_nothing(ledger: Ledger, clock: TurnedClock) -> None:
    queued(ledger)
    late = lease_one(ledger, "worker-0:1")
    lose(ledger, clock)
    current = lease_one(ledger, "worker-1:1")
    assert not jobs.conclude(ledger, late, POSITIVE, [report(late)])
    assert (rows(ledger, tables.object_), rows(ledger, tables.delivery), job_states(ledger)) == ([], [], ["leased"])
    assert rows(ledger, tables.study)[0]["due_at"] == rows(ledger, tables.job)[0]["due_at"]
    assert jobs.conclude(ledger, current, NEGATIVE, [report(current)])
    assert not jobs.conclude(ledger, late, POSITIVE, [report(late)])
    assert (job_states(ledger), len(rows(ledger, tables.object_))) == (["analysed"], 1)


def test_an_answer_to_an_earlier_turn_of_the_same_job_is_dropped(ledger: Ledger) -> None:
    queued(ledger)
    earlier = lease_one(ledger)
    assert jobs.conclude(ledger, earlier, FAULTY, [report(earlier)])
    assert jobs.replay(ledger) == 1
    lease_one(ledger)
    assert not jobs.conclude(ledger, earlier, POSITIVE, [])
    assert job_states(ledger) == ["leased"]


def test_a_workers_death_gives_back_its_own_leases_alone(ledger: Ledger) -> None:
    queued(ledger, "1.2.1")
    queued(ledger, "1.2.2")
    lease_one(ledger, "worker-1:5")
    lease_one(ledger, "worker-10:6")
    assert jobs.release_leases(ledger, "worker-1:") == 1
    assert job_states(ledger) == ["queued", "leased"]


def test_a_death_counts_against_the_jobs_that_were_under_way_and_not_against_those_that_waited(ledger: Ledger) -> None:
    queued(ledger, "1.2.1")
    queued(ledger, "1.2.2")
    for was_there, deaths in (([], [0, 0]), ([1], [1, 0]), ([], [1, 0]), ([1, 77], [2, 0])):
        lease_one(ledger)
        lease_one(ledger)
        assert jobs.release_leases(ledger, "worker-0:", running_jobs=was_there) == 2
        assert [each["attempts"] for each in rows(ledger, tables.job)] == deaths


def test_a_job_that_was_there_when_a_worker_died_comes_alone(ledger: Ledger) -> None:
    for number in range(3):
        queued(ledger, f"1.2.{number}")
    leased = lease(ledger, batch=8)
    assert len(leased) == 3
    jobs.release_leases(ledger, "worker-0:", running_jobs=[each.id for each in leased])
    assert [len(lease(ledger, batch=8)) for _ in range(3)] == [1, 1, 1]


def test_a_worker_takes_jobs_of_its_models_alone(ledger: Ledger) -> None:
    queued(ledger, "1.2.1", models=("chest", "head"))
    for models, found in (((), []), ({"other"}, []), ({"head"}, ["head"]), ({"head"}, []), ({"chest"}, ["chest"])):
        assert [each.model for each in leasing.lease(ledger, "worker-0:1", LeaseRequest(models))] == found


def test_a_suspect_does_not_join_the_batch_of_others(ledger: Ledger, clock: TurnedClock) -> None:
    for number in range(3):
        queued(ledger, f"1.2.{number}")
        clock.advance(1)
    with ledger.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == 2).values(attempts=1))
    assert [each.id for each in lease(ledger, batch=8)] == [1, 3]


def test_a_models_job_waits_while_its_earlier_one_for_the_study_is_leased(ledger: Ledger) -> None:
    study_id = queued(ledger)
    first = lease_one(ledger)
    receive(ledger, film(number=2))
    settle(ledger, study_id)
    assert lease(ledger, "worker-1:1") == []
    jobs.conclude(ledger, first, POSITIVE, [report(first)])
    second = lease_one(ledger, "worker-1:1")
    assert (second.result_number, len(second.instances)) == (2, 2)
    assert second.predecessor is not None
    assert second.predecessor.sop_instance_uid == report(first).kept.sop_instance_uid


def test_an_answer_that_was_sent_to_nobody_is_no_predecessor(ledger: Ledger) -> None:
    study_id = queued(ledger)
    for number, destinations in ((2, ["PACS"]), (3, []), (4, [])):
        job = lease_one(ledger)
        jobs.conclude(ledger, job, POSITIVE, [report(job, destinations)])
        receive(ledger, film(number=number))
        settle(ledger, study_id)
    last = lease_one(ledger)
    assert last.predecessor is not None
    assert (last.result_number, last.predecessor.sop_instance_uid) == (4, "2.25.1.1")


def test_a_study_that_a_conflict_came_to_waits_for_the_person_who_settles_it(ledger: Ledger) -> None:
    queued(ledger, "1.2.1")
    queued(ledger, "1.2.2")
    assert receive(ledger, film("1.2.1", number=2, patient_id="P2"), "another's").conflict
    assert [each.study_id for each in lease(ledger, batch=8)] == [2]
    listener = ledger.wakeups.listen(wakeups.JOB)
    assert decided(ledger, 1, use=False) == ""
    assert listener.drain() == {wakeups.JOB}
    assert [each.study_id for each in lease(ledger, batch=8)] == [1]
    listener.close()


def test_an_object_that_a_person_puts_in_anothers_place_is_analysed_in_its_place(ledger: Ledger) -> None:
    study_id = queued(ledger)
    contradicted(ledger, rows=512)
    assert decided(ledger, 1, use=True) == ""
    assert lease(ledger) == []
    assert candidate(ledger, study_id).inputs == {}
    settle(ledger, study_id)
    assert [header.rows for _, header in lease_one(ledger).instances] == [512]
    assert job_states(ledger) == ["not_analysed", "leased"]


def test_a_returned_job_of_an_earlier_revision_still_comes_before_the_later(ledger: Ledger) -> None:
    study_id = queued(ledger)
    first = lease_one(ledger)
    receive(ledger, film(number=2))
    settle(ledger, study_id)
    jobs.release_leases(ledger, "worker-0:")
    assert [each.id for each in lease(ledger, batch=8)] == [first.id]


def test_two_workers_never_hold_the_same_job(open_ledger: Callable[[], Ledger]) -> None:
    one, other = open_ledger(), open_ledger()
    for number in range(4):
        queued(one, f"1.2.{number}")
    held = [lease_one(each, f"worker-{index}:1").id for _ in range(2) for index, each in enumerate((one, other))]
    assert sorted(held) == [1, 2, 3, 4]
    assert lease(one) == lease(other) == []


def test_a_result_and_its_deliveries_appear_together_or_not_at_all(ledger: Ledger) -> None:
    queued(ledger)
    job = lease_one(ledger)
    twice = [report(job, ["PACS"]), report(job, ["RIS"])]  # one UID: the second cannot be written
    with pytest.raises(IntegrityError):
        jobs.conclude(ledger, job, POSITIVE, twice)
    assert job_states(ledger) == ["leased"]
    assert rows(ledger, tables.object_) == rows(ledger, tables.delivery) == []
    assert rows(ledger, tables.study)[0]["due_at"] == rows(ledger, tables.job)[0]["due_at"]
    assert jobs.conclude(ledger, job, POSITIVE, [report(job, ["PACS", "RIS"])])
    assert job_states(ledger) == ["analysed"]
    assert [each["destination"] for each in rows(ledger, tables.delivery)] == ["PACS", "RIS"]


def test_an_answer_without_destination_is_kept_and_delivered_nowhere(ledger: Ledger) -> None:
    answered(ledger, destinations=[])
    assert len(rows(ledger, tables.object_)) == 1
    assert rows(ledger, tables.delivery) == []


def test_failed_work_is_replayed_as_the_next_answer(ledger: Ledger) -> None:
    queued(ledger)
    job = lease_one(ledger)
    jobs.conclude(ledger, job, FAULTY, [report(job)])
    assert jobs.replay(ledger) == 1
    again = lease_one(ledger)
    assert (again.id, again.result_number, again.deaths) == (job.id, 2, 0)
    assert again.predecessor is not None
    assert jobs.conclude(ledger, again, NEGATIVE, [report(again)])
    assert len({each["sop_instance_uid"] for each in rows(ledger, tables.object_)}) == 2


def test_replay_of_all_takes_what_failed_and_replay_of_a_study_also_what_was_not_analysed(ledger: Ledger) -> None:
    for study, outcome in (("1.2.1", FAULTY), ("1.2.2", REFUSED), ("1.2.3", NEGATIVE)):
        queued(ledger, study)
        jobs.conclude(ledger, lease_one(ledger), outcome, [])
    assert jobs.replay(ledger) == 1
    assert jobs.replay(ledger, ["1.2.2", "1.2.3"]) == 1
    assert job_states(ledger) == ["queued", "queued", "analysed"]


def test_work_for_which_a_later_revision_answers_is_not_replayed(ledger: Ledger) -> None:
    study_id = queued(ledger)
    jobs.conclude(ledger, lease_one(ledger), FAULTY, [])
    receive(ledger, film(number=2))
    settle(ledger, study_id)
    receive(ledger, film(number=3))
    settle(ledger, study_id)
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    assert job_states(ledger) == ["failed", "not_analysed", "analysed"]
    assert jobs.replay(ledger) == jobs.replay(ledger, ["1.2.3"]) == 0


def test_a_new_boot_ends_every_lease_and_every_waiting_time(ledger: Ledger, clock: TurnedClock) -> None:
    ledger.begin_boot()
    queued(ledger)
    lease_one(ledger)
    waiting = receive(ledger, film("1.2.4", modality="CT")).study_id
    force(ledger, tables.study, ended_tick=clock.tick() + 5)
    clock.reboot()
    ledger.begin_boot()
    jobs.release_leases(ledger, "worker-")  # nobody knows which were under way when the machine went down
    assert lease_one(ledger, "worker-1:1").deaths == 1
    study = next(each for each in rows(ledger, tables.study) if each["id"] == waiting)
    for name in ("first_tick", "last_tick", "ended_tick", "settle_tick"):
        assert study[name] == clock.tick(), name


def test_the_same_boot_leaves_leases_as_they_are(ledger: Ledger) -> None:
    ledger.begin_boot()
    queued(ledger)
    lease_one(ledger)
    ledger.begin_boot()
    assert lease(ledger, "worker-1:1") == []


def test_workers_are_woken_by_new_and_by_returned_and_by_replayed_work(ledger: Ledger) -> None:
    listener = ledger.wakeups.listen(wakeups.JOB)
    queued(ledger)
    assert listener.drain() == {wakeups.JOB}
    job = lease_one(ledger)
    jobs.release_leases(ledger, "worker-0:", running_jobs=[job.id])
    assert listener.drain() == {wakeups.JOB}
    jobs.conclude(ledger, lease_one(ledger), FAULTY, [])
    jobs.replay(ledger)
    assert listener.drain() == {wakeups.JOB}
    assert job.id == 1
    listener.close()
