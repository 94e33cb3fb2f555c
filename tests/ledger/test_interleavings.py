"""Two nodes on one PostgreSQL: one transaction has done all but its commit when the other begins.

On SQLite there is nothing to try, since one process writes at a time.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ledger_cases import (
    MODEL,
    NEGATIVE,
    POSITIVE,
    TurnedClock,
    answered,
    candidate,
    contradicted,
    film,
    job_states,
    lease_one,
    queued,
    receive,
    report,
    rows,
)
from peers import eventually
from sqlalchemy import Connection, event, text

from imaging.domain.findings import TriageClass
from imaging.domain.header import Header
from imaging.domain.same_image import Judgement, Kind
from imaging.domain.settling import CORRECTED, CompletenessTimeouts, Incomplete
from imaging.ledger import associations, conflicts, copies, jobs, recording, retention, settling, tables, workers
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.instances import Receipt
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
RELEASED = AssociationEnd("released", 1, 0)


@dataclass(frozen=True)
class Nodes:
    """Two nodes, each with connections of its own, and a third that looks on."""

    one: Ledger
    other: Ledger
    watching: Ledger

    def overlap(self, first: Callable[[], Any], second: Callable[[], Any], after: str = "") -> tuple[Any, Any]:
        """What both give, where `second`, of the other node, begins before `first`, of the one, commits.

        `after`: how the statement begins behind which the first is held already, and not only at its commit.
        """
        with ThreadPoolExecutor(2) as threads, held_in_the_middle(self.one, after) as held:
            begun = threads.submit(first)
            assert held.reached.wait(30)
            meanwhile = threads.submit(second)
            eventually(lambda: meanwhile.done() or self._is_waiting(), what="the other's wait, or its end")
            held.go_on.set()
            return begun.result(30), meanwhile.result(30)

    def _is_waiting(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with self.watching.read() as connection:
            return bool(connection.scalar(text(query)))


@dataclass(frozen=True)
class Held:
    reached: threading.Event
    go_on: threading.Event


@contextmanager
def held_in_the_middle(ledger: Ledger, after: str) -> Iterator[Held]:
    """Holds the first transaction of a ledger that comes to its commit, or to such a statement, until it may go on."""
    held = Held(threading.Event(), threading.Event())

    def hold() -> None:
        if not held.reached.is_set():
            held.reached.set()
            held.go_on.wait(30)

    def at_commit(_: Connection) -> None:
        hold()

    def at_statement(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(after):
            hold()

    name, listener = ("after_cursor_execute", at_statement) if after else ("commit", at_commit)
    event.listen(ledger.engine, name, listener)
    try:
        yield held
    finally:
        held.go_on.set()
        event.remove(ledger.engine, name, listener)


@pytest.fixture
def nodes(open_ledger: Callable[[], Ledger]) -> Nodes:
    return Nodes(open_ledger(), open_ledger(), open_ledger())


def test_an_image_that_comes_while_its_study_settles_opens_it_again(nodes: Nodes, clock: TurnedClock) -> None:
    study_id = receive(nodes.one, film()).study_id
    seen = candidate(nodes.one, study_id)
    clock.advance(1)
    assert nodes.overlap(
        lambda: settling.settle(nodes.one, seen, "end of the association", [], "no-model"),
        lambda: receive(nodes.other, film(number=2)).study_id,
    ) == (True, study_id)
    (study,) = rows(nodes.one, tables.study)
    assert (study["state"], study["instances"], study["settle_tick"] is not None) == ("receiving", 2, True)


def test_a_study_does_not_settle_without_the_image_that_is_just_written_down(nodes: Nodes, clock: TurnedClock) -> None:
    study_id = receive(nodes.one, film()).study_id
    seen = candidate(nodes.one, study_id)
    clock.advance(1)
    assert nodes.overlap(
        lambda: receive(nodes.one, film(number=2)).study_id,
        lambda: settling.settle(nodes.other, seen, "end of the association", [], "no-model"),
    ) == (study_id, False)
    (study,) = rows(nodes.one, tables.study)
    assert (study["state"], study["instances"]) == ("receiving", 2)


def test_a_look_that_comes_after_the_study_settled_leaves_no_time_to_look_at_it(nodes: Nodes) -> None:
    study_id = receive(nodes.one, film()).study_id
    seen = candidate(nodes.one, study_id)
    nodes.overlap(
        lambda: settling.settle(nodes.one, seen, "end of the association", [], "no-model"),
        lambda: settling.look_again(nodes.other, [(seen, Incomplete(nodes.other.clock.tick() - 1, "silence"))]),
    )
    (study,) = rows(nodes.one, tables.study)
    assert (study["state"], study["settle_tick"]) == ("settled", None)
    assert settling.due_studies(nodes.one) == ([], None)


def test_two_nodes_settle_a_study_once(nodes: Nodes) -> None:
    study_id = receive(nodes.one, film()).study_id
    seen, new = candidate(nodes.one, study_id), [NewJob(MODEL, "1", frozenset({1}))]
    assert nodes.overlap(
        lambda: settling.settle(nodes.one, seen, "end of the association", new, ""),
        lambda: settling.settle(nodes.other, seen, "end of the association", new, ""),
    ) == (True, False)
    assert (len(rows(nodes.one, tables.revision)), job_states(nodes.one)) == (1, ["queued"])


@pytest.mark.parametrize("flags", [(TriageClass.STAT, TriageClass.URGENT), (TriageClass.URGENT, TriageClass.STAT)])
def test_of_two_answers_that_come_together_the_most_urgent_flag_stays(
    nodes: Nodes, flags: tuple[TriageClass, TriageClass]
) -> None:
    queued(nodes.one, models=["first", "second"])
    found = [lease_one(nodes.one), lease_one(nodes.other, "worker-1:1")]
    values = [replace(POSITIVE, triage=each) for each in flags]
    assert nodes.overlap(
        lambda: jobs.conclude(nodes.one, found[0], values[0], []),
        lambda: jobs.conclude(nodes.other, found[1], values[1], []),
    ) == (True, True)
    (study,) = rows(nodes.one, tables.study)
    assert (study["flag"], (study["due_at"] - study["received_at"]).total_seconds()) == (TriageClass.STAT, 1800)


def test_a_lease_that_runs_out_while_its_worker_renews_it_is_kept(nodes: Nodes, clock: TurnedClock) -> None:
    queued(nodes.one)
    job = lease_one(nodes.one, "worker-0:1")
    clock.advance(workers.LEASE_S + 1)
    ran_out = workers.silent(nodes.other)
    assert nodes.overlap(
        lambda: workers.beat(nodes.one, "worker-0", "worker-0:1", [job.id]),
        lambda: workers.return_silent(nodes.other, ran_out),
    ) == (None, 0)
    assert jobs.conclude(nodes.one, job, NEGATIVE, [])


def test_an_answer_that_comes_while_its_lease_is_taken_away_is_dropped(nodes: Nodes, clock: TurnedClock) -> None:
    queued(nodes.one)
    job = lease_one(nodes.one, "worker-0:1")
    clock.advance(workers.LEASE_S + 1)
    ran_out = workers.silent(nodes.other)
    assert nodes.overlap(
        lambda: workers.return_silent(nodes.one, ran_out),
        lambda: jobs.conclude(nodes.other, job, POSITIVE, [report(job)]),
    ) == (1, False)
    assert (job_states(nodes.one), rows(nodes.one, tables.object_)) == (["queued"], [])


def test_a_job_is_answered_once_where_its_lease_is_taken_away_while_the_answer_is_written_down(
    nodes: Nodes, clock: TurnedClock
) -> None:
    queued(nodes.one)
    job = lease_one(nodes.one, "worker-0:1")
    clock.advance(workers.LEASE_S + 1)
    ran_out = workers.silent(nodes.other)
    assert nodes.overlap(
        lambda: jobs.conclude(nodes.one, job, POSITIVE, [report(job)]),
        lambda: workers.return_silent(nodes.other, ran_out),
    ) == (True, 0)
    assert (job_states(nodes.one), len(rows(nodes.one, tables.object_))) == (["analysed"], 1)


def test_two_workers_never_lease_the_same_job(nodes: Nodes) -> None:
    first, second = queued(nodes.one, "1.2.1"), queued(nodes.one, "1.2.2")
    found = nodes.overlap(lambda: lease_one(nodes.one), lambda: lease_one(nodes.other, "worker-1:1"))
    assert [each.study_id for each in found] == [first, second]


def test_a_study_is_awaited_no_more_once_both_associations_that_sent_of_it_have_ended_together(nodes: Nodes) -> None:
    numbers = [associations.begin(nodes.one, "CT1", "IMAGING", "10.0.0.7", []) for _ in range(2)]
    for at, number in enumerate(numbers):
        receive(nodes.one, film(number=at), association=number)
    nodes.overlap(
        lambda: associations.end(nodes.one, numbers[0], RELEASED),
        lambda: associations.end(nodes.other, numbers[1], RELEASED),
    )
    (study,) = rows(nodes.one, tables.study)
    assert study["ended_tick"] == study["settle_tick"] == nodes.one.clock.tick()


@pytest.mark.parametrize("is_first", [True, False], ids=["the image", "the end"])
def test_a_study_whose_first_image_is_written_down_while_its_association_ends_is_looked_at_at_once(
    nodes: Nodes, is_first: bool
) -> None:
    number = associations.begin(nodes.one, "CT1", "IMAGING", "10.0.0.7", [])

    def image(ledger: Ledger) -> None:
        receive(ledger, film(), association=number)

    def end(ledger: Ledger) -> None:
        associations.end(ledger, number, RELEASED)

    first, second = (image, end) if is_first else (end, image)
    nodes.overlap(lambda: first(nodes.one), lambda: second(nodes.other))
    (study,) = rows(nodes.one, tables.study)
    assert (study["ended_tick"], study["settle_tick"]) == (nodes.one.clock.tick(),) * 2


def test_an_image_that_comes_while_its_study_is_removed_begins_it_anew(nodes: Nodes, clock: TurnedClock) -> None:
    study_id = ended(nodes.one, clock)
    removed, again = nodes.overlap(
        lambda: retention.remove(nodes.one, study_id, clock.now()),
        lambda: receive(nodes.other, film(number=2)).study_id,
    )
    (study,) = rows(nodes.one, tables.study)
    assert (removed, study["id"], study["instances"]) == (True, again, 1)


def test_a_study_of_which_an_image_is_just_written_down_is_not_removed(nodes: Nodes, clock: TurnedClock) -> None:
    study_id = ended(nodes.one, clock)
    assert nodes.overlap(
        lambda: receive(nodes.one, film(number=2)).study_id,
        lambda: retention.remove(nodes.other, study_id, clock.now()),
    ) == (study_id, False)
    assert len(rows(nodes.one, tables.instance)) == 2


def test_of_two_decisions_about_one_object_that_come_together_one_is_taken(nodes: Nodes) -> None:
    receive(nodes.one, film())
    contradicted(nodes.one)
    used, dropped = nodes.overlap(
        lambda: conflicts.decide(nodes.one, [1], True),
        lambda: conflicts.decide(nodes.other, [1], False),
    )
    assert (used, dropped) == ({1: ""}, {1: conflicts.NOT_OPEN})
    (study,) = rows(nodes.one, tables.study)
    assert (study["conflicts"], rows(nodes.one, tables.conflict)[0]["state"]) == (0, "used")


def test_a_copy_that_is_judged_while_its_study_settles_leaves_it_to_be_looked_at(
    nodes: Nodes, clock: TurnedClock
) -> None:
    study_id = receive(nodes.one, film()).study_id
    assert receive(nodes.one, film(), "other bytes").is_unjudged
    pair, seen = copies.claim(nodes.other, "worker-0:1"), candidate(nodes.one, study_id)
    assert pair is not None
    clock.advance(1)
    judged = Judgement(Kind.CORRECTION, "", pair.second[1], True)
    assert nodes.overlap(
        lambda: settling.settle(nodes.one, seen, "end of the association", [], "no-model"),
        lambda: copies.conclude(nodes.other, pair, judged),
    ) == (True, True)
    (study,) = rows(nodes.one, tables.study)
    assert (study["state"], study["settle_tick"], study["settle_why"]) == ("receiving", clock.tick(), CORRECTED)


def test_two_nodes_that_receive_of_the_same_new_studies_in_opposite_order_both_do(nodes: Nodes) -> None:
    both = nodes.overlap(
        lambda: record(nodes.one, film("1.2.1", 1), film("1.2.2", 1)),
        lambda: record(nodes.other, film("1.2.2", 2), film("1.2.1", 2)),
        after="INSERT INTO study",
    )
    assert [each.study_id for each in both[0]] == [each.study_id for each in reversed(both[1])]
    assert [each["instances"] for each in rows(nodes.one, tables.study)] == [2, 2]


def test_where_two_nodes_wait_for_each_other_all_the_same_both_write_down_what_they_received(nodes: Nodes) -> None:
    both = nodes.overlap(
        lambda: record(nodes.one, film("1.2.1", patient_id="P1"), film("1.2.3", patient_id="P2")),
        lambda: record(nodes.other, film("1.2.2", patient_id="P2"), film("1.2.4", patient_id="P1")),
        after="INSERT INTO patient",
    )
    assert sorted(each.study_id for part in both for each in part) == sorted(
        each["id"] for each in rows(nodes.one, tables.study)
    )
    assert len(rows(nodes.one, tables.patient)) == 2


def record(ledger: Ledger, *headers: Header) -> list[Any]:
    receipts = [Receipt(each, each.sop_instance_uid, 1000, None, "key", "apart") for each in headers]
    return recording.record(ledger, receipts, CompletenessTimeouts())


def ended(ledger: Ledger, clock: TurnedClock) -> int:
    """A study that nothing holds any more; its row number."""
    study_id = answered(ledger, destinations=[])
    clock.advance(60)
    return study_id
