"""Every transition of the tables, tried from every state: applied where a table names it, dropped elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
from ledger_cases import (
    FAULTY,
    MODEL,
    NEGATIVE,
    REFUSED,
    answered,
    candidate,
    claim,
    decided,
    film,
    force,
    judge,
    kept,
    lease,
    queued,
    receive,
    report,
    rows,
)
from sqlalchemy import Table, insert, update
from sqlalchemy.exc import IntegrityError

from imaging.domain import findings
from imaging.domain.retry import Accepted, Answer, Permanent, Transient
from imaging.domain.same_image import Kind
from imaging.domain.states import (
    DELIVERY,
    JOB,
    STUDY,
    DeliveryEvent,
    DeliveryState,
    JobEvent,
    JobState,
    StudyEvent,
    StudyState,
)
from imaging.ledger import deliveries, jobs, settling, tables
from imaging.ledger.deliveries import Delivery
from imaging.ledger.jobs import Job
from imaging.ledger.settling import NewJob
from imaging.ledger.store import Ledger

WORKER, SENDER = "worker-0:1", "deliver:PACS:1"


def conclude_job(outcome: findings.Answer) -> Callable[[Ledger, Job], object]:
    return lambda ledger, job: jobs.conclude(ledger, job, outcome, [report(job)])


def supersede(ledger: Ledger, job: Job) -> None:
    receive(ledger, film(number=2))
    seen = candidate(ledger, job.study_id)
    settling.settle(ledger, seen, "late", [NewJob(MODEL, "1", frozenset(seen.instances))], "")


JOB_EVENTS: dict[JobEvent, Callable[[Ledger, Job], object]] = {
    JobEvent.LEASED: lambda ledger, job: lease(ledger, WORKER),
    JobEvent.FINDINGS: conclude_job(NEGATIVE),
    JobEvent.REASON: conclude_job(REFUSED),
    JobEvent.FAULT: conclude_job(FAULTY),
    JobEvent.LEASE_ENDED: lambda ledger, job: jobs.release_leases(ledger, WORKER, running_jobs=[job.id]),
    JobEvent.SUPERSEDED: supersede,
    JobEvent.REPLAYED: lambda ledger, job: jobs.replay(ledger, ["1.2.3"]),
}


@pytest.mark.parametrize("event", JobEvent, ids=str)
def test_a_job_changes_only_from_the_states_that_the_table_names(ledger: Ledger, event: JobEvent) -> None:
    queued(ledger)
    (job,) = lease(ledger, WORKER)
    before = rows(ledger, tables.job)[0]
    for state in JobState:
        with ledger.write() as connection:
            connection.execute(tables.delivery.delete())
            connection.execute(tables.object_.delete())
            connection.execute(tables.job.delete().where(tables.job.c.id != job.id))
            connection.execute(update(tables.job).values(**dict(before) | {"state": state, "lease": WORKER}))
        JOB_EVENTS[event](ledger, job)
        found = next(each for each in rows(ledger, tables.job) if each["id"] == job.id)
        assert found["state"] == JOB.get((state, event), state), f"{event} in {state}"
        if (state, event) not in JOB:
            assert not rows(ledger, tables.object_), f"{event} in {state} left an object"


def conclude_delivery(answer: Answer) -> Callable[[Ledger, Delivery], object]:
    return lambda ledger, delivery: deliveries.conclude(ledger, delivery, answer, 0.0, peer_is_down=False)


INSTEAD = kept("1.2.840.10008.5.1.4.1.1.88.33", "2.25.8001", "2.25.8002")
DELIVERY_EVENTS: dict[DeliveryEvent, Callable[[Ledger, Delivery], object]] = {
    DeliveryEvent.CLAIMED: lambda ledger, delivery: claim(ledger),
    DeliveryEvent.ACCEPTED: conclude_delivery(Accepted()),
    DeliveryEvent.FAILED_FOR_NOW: conclude_delivery(Transient("full")),
    DeliveryEvent.REFUSED: conclude_delivery(Permanent("no")),
    DeliveryEvent.FELL_BACK: lambda ledger, delivery: deliveries.fall_back(ledger, delivery, INSTEAD),
    DeliveryEvent.LEASE_ENDED: lambda ledger, delivery: deliveries.release_leases(ledger, SENDER),
    DeliveryEvent.DESTINATION_GONE: lambda ledger, delivery: deliveries.give_up(ledger, ["RIS"]),
    DeliveryEvent.REPLAYED: lambda ledger, delivery: deliveries.replay(ledger),
}


@pytest.mark.parametrize("event", DeliveryEvent, ids=str)
def test_a_delivery_changes_only_from_the_states_that_the_table_names(ledger: Ledger, event: DeliveryEvent) -> None:
    answered(ledger)
    deliveries.keep_peers(ledger, ["PACS"])
    (delivery,) = claim(ledger, owner=SENDER)
    before = rows(ledger, tables.delivery)[0]
    for state in DeliveryState:
        force(ledger, tables.delivery, **dict(before) | {"state": state, "lease": SENDER})
        DELIVERY_EVENTS[event](ledger, delivery)
        (found,) = rows(ledger, tables.delivery)
        assert found["state"] == DELIVERY.get((state, event), state), f"{event} in {state}"


@pytest.mark.parametrize("event", StudyEvent, ids=str)
@pytest.mark.parametrize("state", StudyState, ids=str)
def test_a_study_changes_only_from_the_states_that_the_table_names(
    ledger: Ledger, state: StudyState, event: StudyEvent
) -> None:
    study_id = receive(ledger, film()).study_id
    if event is StudyEvent.CONFLICT_SETTLED:
        receive(ledger, film(number=2, patient_id="P2"))
    if event is StudyEvent.COPY_JUDGED:
        receive(ledger, film(view_position="PA"), "mended")
    seen = candidate(ledger, study_id)
    force(ledger, tables.study, state=state)
    if event is StudyEvent.COMPLETE:
        settling.settle(ledger, seen, "quiet", [NewJob(MODEL, "1", frozenset(seen.instances))], "")
    elif event is StudyEvent.LATE_INSTANCE:
        receive(ledger, film(number=2))
    elif event is StudyEvent.COPY_JUDGED:
        assert judge(ledger, Kind.CORRECTION)
    else:
        (quarantined,) = rows(ledger, tables.conflict)
        assert decided(ledger, quarantined["id"], use=False) == ""
    (found,) = rows(ledger, tables.study)
    assert found["state"] == STUDY.get((state, event), state)
    assert len(rows(ledger, tables.job)) == ((state, event) == (StudyState.RECEIVING, StudyEvent.COMPLETE))


@pytest.mark.parametrize("table", [tables.study, tables.job, tables.delivery, tables.conflict], ids=lambda t: t.name)
def test_the_database_itself_refuses_a_state_that_no_table_names(ledger: Ledger, table: Table) -> None:
    study_id = answered(ledger)
    values: dict[str, Any] = {"study_id": study_id, "size": 1, "header": {}, "received_at": ledger.clock.now()}
    with ledger.write() as connection:
        connection.execute(insert(tables.conflict).values(state="open", sop_instance_uid="1", digest="d", **values))
    with pytest.raises(IntegrityError, match="state_is_known"):
        force(ledger, table, state="odd")
