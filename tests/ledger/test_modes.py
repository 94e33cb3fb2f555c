"""What a model's mode changes of its study: findings raise no flag; shadow is kept, and shows nowhere else."""

from dataclasses import replace

import pytest
from ledger_cases import (
    FAULTY,
    MODEL,
    NEGATIVE,
    POSITIVE,
    REFUSED,
    TurnedClock,
    candidate,
    film,
    lease,
    lease_one,
    receive,
    report,
    rows,
    states,
)

from imaging.domain.findings import Answer, State
from imaging.domain.modes import Mode
from imaging.domain.worklist import ListingQuery, PageState, Row, Word
from imaging.ledger import jobs, replays, settling, stories, tables
from imaging.ledger.jobs import Job
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger
from imaging.ledger.worklist import LedgerWorklist

EFFUSION = Word("effusion", codes=frozenset({"SCT:60046008"}))


def asked(ledger: Ledger, study: str = "1.2.3", reason: str = "", **modes: Mode) -> int:
    """A study that was received and settled for these models; its row number."""
    study_id = receive(ledger, film(study)).study_id
    seen = candidate(ledger, study_id)
    new = [NewJob(model, "1", frozenset(seen.instances), mode=mode) for model, mode in modes.items()]
    assert settling.settle(ledger, seen, "quiet", new, reason)
    return study_id


def row_of(ledger: Ledger) -> Row:
    (row,) = LedgerWorklist(ledger).listing(ListingQuery()).rows
    return row


def found(ledger: Ledger) -> int:
    """How many studies a search for effusions finds."""
    return len(LedgerWorklist(ledger).listing(ListingQuery((EFFUSION,))).rows)


def end(ledger: Ledger, job: Job, outcome: Answer) -> None:
    assert jobs.conclude(ledger, job, outcome, [])


def test_findings_are_shown_and_sent_and_raise_no_flag(ledger: Ledger) -> None:
    asked(ledger, other=Mode.FINDINGS)
    before = rows(ledger, tables.study)[0]["due_at"]
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, POSITIVE, [report(job)])
    row = row_of(ledger)
    assert (row.flag, row.due_at, row.state) == (None, before, PageState.CLEAR)
    (answer,) = row.results
    assert (answer.mode, answer.no_flag, answer.flag) == (Mode.FINDINGS, "mode-findings", None)
    assert [each.present for each in answer.findings] == [True]
    assert found(ledger) == 1
    assert len(rows(ledger, tables.delivery)) == 1


def test_a_live_model_beside_it_flags_as_ever(ledger: Ledger) -> None:
    asked(ledger, first=Mode.FINDINGS, second=Mode.LIVE)
    for _ in range(2):
        end(ledger, lease_one(ledger), POSITIVE)
    row = row_of(ledger)
    assert row.state is PageState.FLAGGED
    assert {each.model: each.flag for each in row.results} == {"first": None, "second": POSITIVE.flag}


@pytest.mark.parametrize("outcome", [POSITIVE, NEGATIVE, REFUSED, FAULTY], ids=lambda each: str(each.state))
def test_whatever_a_shadow_answers_the_study_is_as_without_it_and_its_story_has_it(
    ledger: Ledger, outcome: Answer
) -> None:
    asked(ledger, first=Mode.LIVE, second=Mode.SHADOW)
    live, shadow = lease_one(ledger), lease_one(ledger)
    assert (live.model, shadow.model) == ("first", "second")
    end(ledger, live, NEGATIVE)
    without = row_of(ledger)
    assert without.state is PageState.CLEAR
    end(ledger, shadow, outcome)
    assert row_of(ledger) == without
    assert LedgerWorklist(ledger).states() == {PageState.CLEAR: 1}
    assert found(ledger) == 0
    (story,) = stories.named(ledger, "1.2.3")
    assert [(each["model"], each["mode"], each["state"]) for each in story["results"]] == [
        ("first", "live", "analysed"),
        ("second", "shadow", str(outcome.state)),
    ]


def test_a_study_does_not_wait_for_a_shadow(ledger: Ledger) -> None:
    asked(ledger, first=Mode.LIVE, second=Mode.SHADOW)
    end(ledger, lease_one(ledger), NEGATIVE)
    assert row_of(ledger).state is PageState.CLEAR
    lease_one(ledger)
    assert (row_of(ledger).state, row_of(ledger).is_changed) == (PageState.CLEAR, False)


def test_a_shadow_stands_behind_whatever_somebody_waits_for(ledger: Ledger, clock: TurnedClock) -> None:
    asked(ledger, "1.2.1", second=Mode.SHADOW)
    clock.advance(1000)
    asked(ledger, "1.2.2", first=Mode.LIVE)
    assert [lease_one(ledger).model, lease_one(ledger).model] == ["first", "second"]


def test_a_study_that_only_shadows_looked_at_is_analysed_by_no_model(ledger: Ledger) -> None:
    asked(ledger, reason="no-model", second=Mode.SHADOW)
    before = row_of(ledger)
    assert (before.state, str(before.reason)) == (PageState.NOT_ANALYSED, "no-model")
    end(ledger, lease_one(ledger), POSITIVE)
    assert row_of(ledger) == before


def test_the_mode_in_force_when_it_answers_is_kept_and_later_ones_change_nothing(ledger: Ledger) -> None:
    asked(ledger, first=Mode.SHADOW)
    end(ledger, replace(lease_one(ledger), mode=Mode.LIVE), POSITIVE)  # it went live while the job waited
    assert row_of(ledger).state is PageState.FLAGGED
    seen = candidate(ledger, 1)
    again = [NewJob("first", "1", frozenset(seen.instances), mode=Mode.SHADOW)]
    with ledger.write() as connection:
        settling.add_revision(ledger, connection, 1, "again", again)
    end(ledger, lease_one(ledger), NEGATIVE)
    row = row_of(ledger)
    assert [(each.mode, each.flag) for each in row.results] == [(Mode.LIVE, POSITIVE.flag)]
    (story,) = stories.named(ledger, "1.2.3")
    assert [each["mode"] for each in story["results"]] == ["live", "shadow"]


def test_a_job_that_cannot_be_concluded_fails_in_its_mode(ledger: Ledger) -> None:
    asked(ledger, reason="no-model", second=Mode.SHADOW)
    assert jobs.fail(ledger, lease_one(ledger), "ValueError in worker.py:1")
    assert states(ledger, tables.job) == [str(State.FAILED)]
    assert row_of(ledger).state is PageState.NOT_ANALYSED


def test_what_was_answered_in_shadow_can_be_asked_again_and_nothing_else(ledger: Ledger, clock: TurnedClock) -> None:
    asked(ledger, "1.2.1", reason="no-model", second=Mode.SHADOW)
    asked(ledger, "1.2.2", second=Mode.LIVE)
    for job in (*lease(ledger), *lease(ledger)):
        end(ledger, job, POSITIVE)
    assert replays.mark_for_model(ledger, "second", None) == 1
    assert candidate(ledger, 1).shadowed == {("second", "1")}
    assert candidate(ledger, 2).shadowed == frozenset()
    (mark,) = replays.marked(ledger, 10)
    seen = candidate(ledger, 1)
    assert replays.settle_again(ledger, mark, seen, [NewJob("second", "1", frozenset(seen.instances))])
    end(ledger, lease_one(ledger), POSITIVE)
    assert {row.study_uid: row.state for row in LedgerWorklist(ledger).listing(ListingQuery()).rows} == {
        "1.2.1": PageState.FLAGGED,
        "1.2.2": PageState.FLAGGED,
    }


def test_a_study_that_cannot_be_looked_at_fails_for_who_is_shown(ledger: Ledger) -> None:
    shadowed = receive(ledger, film("1.2.1")).study_id
    shown = receive(ledger, film("1.2.2")).study_id
    for study_id, mode in ((shadowed, Mode.SHADOW), (shown, Mode.LIVE)):
        assert settling.give_up(ledger, study_id, [(MODEL, "1", mode)], "fault")
    assert {row.study_uid: row.state for row in LedgerWorklist(ledger).listing(ListingQuery()).rows} == {
        "1.2.1": PageState.NOT_ANALYSED,
        "1.2.2": PageState.FAILED,
    }
