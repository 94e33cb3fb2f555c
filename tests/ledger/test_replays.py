"""Studies that are asked for again: which are marked, and what becomes of the marks."""

from datetime import timedelta

from ledger_cases import (
    FAULTY,
    MODEL,
    NEGATIVE,
    REFUSED,
    TurnedClock,
    answered,
    candidate,
    film,
    job_states,
    lease_one,
    queued,
    receive,
    rows,
    settle,
)

from imaging.domain.findings import Answer, State
from imaging.domain.priority import first_due
from imaging.domain.reasons import Reason
from imaging.ledger import jobs, registry, replays, retention, stories, tables, wakeups
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger

LATER = "later-model"


def without_model(ledger: Ledger, study: str) -> int:
    study_id = receive(ledger, film(study)).study_id
    assert settle(ledger, study_id, models=())
    return study_id


def marks(ledger: Ledger) -> list[tuple[int, str]]:
    return [(each.study_id, each.model) for each in replays.marked(ledger, 100)]


def test_a_model_is_asked_about_settled_studies_that_it_has_not_answered(ledger: Ledger) -> None:
    none, others, its, being_received = (
        without_model(ledger, "1.2.1"),
        answered(ledger, "1.2.2"),
        queued(ledger, "1.2.3", [LATER]),
        receive(ledger, film("1.2.4")).study_id,
    )
    assert replays.mark_for_model(ledger, LATER, None) == 2
    assert marks(ledger) == [(none, LATER), (others, LATER)]
    assert replays.mark_for_model(ledger, LATER, None) == 2, "said twice, it is asked once"
    assert len(rows(ledger, tables.replay)) == 2
    assert its != being_received


def test_what_came_after_a_models_answer_is_asked_about(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = answered(ledger)
    clock.advance(60)
    receive(ledger, film(number=2))
    assert settle(ledger, study_id, models=())
    assert replays.mark_for_model(ledger, MODEL, None) == 1


def test_studies_are_asked_about_since_their_receipt(ledger: Ledger, clock: TurnedClock) -> None:
    without_model(ledger, "1.2.1")
    clock.advance(8 * 86400)
    late = without_model(ledger, "1.2.2")
    assert replays.mark_for_model(ledger, LATER, clock.now() - timedelta(days=7)) == 1
    assert marks(ledger) == [(late, LATER)]


def test_the_node_is_woken(ledger: Ledger) -> None:
    without_model(ledger, "1.2.1")
    listener = ledger.wakeups.listen(wakeups.SETTLE)
    assert replays.mark_studies(ledger, ["1.2.1", "9.9"]) == 1
    assert listener.drain() == {wakeups.SETTLE}
    listener.close()


def new_job(ledger: Ledger, study_id: int, model: str = LATER) -> NewJob:
    return NewJob(model, "1", frozenset(candidate(ledger, study_id).instances))


def test_a_replayed_study_has_one_revision_more_and_no_reason_and_is_settled_all_the_time(ledger: Ledger) -> None:
    study_id = without_model(ledger, "1.2.1")
    replays.mark_studies(ledger, ["1.2.1"])
    (mark,) = replays.marked(ledger, 100)
    assert replays.settle_again(ledger, mark, candidate(ledger, study_id), [new_job(ledger, study_id)])
    (study,), (revision,) = rows(ledger, tables.study), rows(ledger, tables.revision)
    assert (study["state"], study["reason"], revision["signal"]) == ("settled", "", "asked for again")
    assert (job_states(ledger), marks(ledger)) == (["queued"], [])
    assert stories.named(ledger, "1.2.1")[0]["results"] != []


def test_a_study_to_which_something_came_meanwhile_is_looked_at_once_more(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = without_model(ledger, "1.2.1")
    replays.mark_studies(ledger, ["1.2.1"])
    (mark,), seen = replays.marked(ledger, 100), candidate(ledger, study_id)
    clock.advance(1)
    receive(ledger, film("1.2.1", number=2))
    assert not replays.settle_again(ledger, mark, seen, [new_job(ledger, study_id)])
    assert (job_states(ledger), marks(ledger)) == ([], []), "it waits until the study is settled"
    assert settle(ledger, study_id, models=())
    assert not replays.settle_again(ledger, mark, seen, [new_job(ledger, study_id)])
    assert marks(ledger) == [(study_id, "")]


def test_what_one_model_is_asked_of_many_studies_stands_behind_what_came_before(
    ledger: Ledger, clock: TurnedClock
) -> None:
    old = without_model(ledger, "1.2.1")
    clock.advance(86400)
    fresh = queued(ledger, "1.2.2")
    replays.mark_for_model(ledger, LATER, None)
    mark = next(each for each in replays.marked(ledger, 100) if each.study_id == old)
    clock.advance(1)
    assert replays.settle_again(ledger, mark, candidate(ledger, old), [new_job(ledger, old)])
    assert [job["due_at"] for job in rows(ledger, tables.job) if job["study_id"] == old] == [first_due(clock.now())]
    assert [lease_one(ledger).study_id for _ in range(2)] == [fresh, old]


def test_a_study_that_is_asked_for_again_is_not_removed(ledger: Ledger, clock: TurnedClock) -> None:
    study_id = without_model(ledger, "1.2.1")
    replays.mark_studies(ledger, ["1.2.1"])
    clock.advance(1)
    assert retention.removable(ledger, clock.now()) == []
    (mark,) = replays.marked(ledger, 100)
    replays.unmark(ledger, mark)
    assert retention.removable(ledger, clock.now()) == [study_id]


def test_what_was_not_analysed_while_a_model_was_disabled_is_queued_again_and_nothing_else(
    ledger: Ledger, clock: TurnedClock
) -> None:
    disabled = Answer(State.NOT_ANALYSED, reason=Reason("model-disabled"))
    for number, outcome in enumerate((disabled, REFUSED, FAULTY, NEGATIVE)):
        queued(ledger, f"1.2.{number}")
        jobs.conclude(ledger, lease_one(ledger), outcome, [])
    assert jobs.replay_disabled(ledger, LATER, None) == 0
    assert jobs.replay_disabled(ledger, MODEL, clock.now() + timedelta(days=1)) == 0
    assert jobs.replay_disabled(ledger, MODEL, None) == 1
    assert job_states(ledger) == ["queued", "not_analysed", "failed", "analysed"]


def test_the_models_that_workers_know_are_named_with_why_one_is_not_served(ledger: Ledger) -> None:
    registry.note_model(ledger, "a", "1", "")
    registry.note_model(ledger, "b", "1", "", "its golden case differs", is_served=False)
    assert registry.models(ledger) == {"a": "", "b": "its golden case differs"}
