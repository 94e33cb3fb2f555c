"""The hot queries use an index each: what they cost does not grow with what the ledger holds."""

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ledger_cases import FAULTY, NEGATIVE, TurnedClock, claim, film, lease, lease_one, receive, report
from sqlalchemy import Connection, event, insert

from imaging.domain.disk_space import DiskSpace
from imaging.domain.retry import Accepted, Transient
from imaging.domain.states import DeliveryState, JobState, StudyState
from imaging.ledger import associations, deliveries, jobs, settling, stories, tables, worklist
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.health import facts
from imaging.ledger.store import SQLITE_FILE, Ledger
from imaging.ledger.worklist import LedgerWorklist

STUDIES = 3000
LARGE = ("study", "series", "instance", "job", "object", "delivery", "association", "patient")


@pytest.fixture(scope="module")
def full(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger of thousands of studies, one in ten still to be analysed, delivered or settled."""
    home = tmp_path_factory.mktemp("full")
    shutil.copy(migrated_file, home / SQLITE_FILE)
    ledger = Ledger(home, clock=TurnedClock())
    with ledger.write() as connection:
        for table, make in ROWS.items():
            connection.execute(
                insert(tables.metadata.tables[table]), [make(number) for number in range(1, STUDIES + 1)]
            )
    yield ledger
    ledger.close()


def _is_open(number: int) -> bool:
    return number % 10 == 0


AT = TurnedClock().now()
ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "patient": lambda n: {"value": f"P{n}"},
    "association": lambda n: {"started_at": AT, "ended_at": AT, "contexts": [], "refusals": {}},
    "study": lambda n: {
        "study_instance_uid": f"1.2.{n}",
        "state": StudyState.RECEIVING if _is_open(n) else StudyState.SETTLED,
        "settle_tick": 1.0 if _is_open(n) else None,
        "header": film(f"1.2.{n}").to_json(),
        "received_at": AT,
        "last_image_at": AT,
        "band": 1,
        "due_at": AT,
        "first_tick": 0.0,
        "last_tick": 0.0,
    },
    "series": lambda n: {"study_id": n, "series_instance_uid": f"1.2.{n}.1"},
    "instance": lambda n: {
        "study_id": n,
        "series_id": n,
        "association_id": n,
        "sop_instance_uid": f"1.2.{n}.1.1",
        "size": 1,
        "header": film(f"1.2.{n}").to_json(),
        "received_at": AT,
    },
    "revision": lambda n: {"study_id": n, "number": 1, "settled_at": AT},
    "job": lambda n: {
        "study_id": n,
        "revision_id": n,
        "model": "chest-film",
        "result_number": 1,
        "instances": [n],
        "state": JobState.QUEUED if _is_open(n) else JobState.ANALYSED,
        "band": 1,
        "due_at": AT,
        "received_at": AT,
        "queued_at": AT,
    },
    "object": lambda n: {
        "study_id": n,
        "job_id": n,
        "kind": "sr",
        "model": "chest-film",
        "sop_instance_uid": f"2.25.{n}",
        "key": f"out/{n}",
        "size": 1000,
        "built_at": AT,
    },
    "delivery": lambda n: {
        "study_id": n,
        "object_id": n,
        "destination": "PACS",
        "state": DeliveryState.WAITING if _is_open(n) else DeliveryState.DELIVERED,
        "due_tick": 0.0,
        "created_at": AT,
    },
}


def plans(ledger: Ledger, act: Callable[[], object]) -> list[tuple[str, str]]:
    """What SQLite does for each statement of an act."""
    texts: list[tuple[str, Any]] = []

    def note(_: Connection, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE") and not many:
            texts.append((statement, parameters))

    event.listen(ledger.engine, "before_cursor_execute", note)
    act()
    event.remove(ledger.engine, "before_cursor_execute", note)
    with ledger.read() as connection:
        return [
            (statement, step.detail)
            for statement, parameters in texts
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def scans(found: list[tuple[str, str]]) -> list[str]:
    """The steps that read a whole table."""
    large = re.compile(rf"SCAN \"?({'|'.join(LARGE)})(_\d+)?\"?( USING COVERING INDEX \S+)?$")
    return [f"{step}: {statement}" for statement, step in found if large.match(step)]


def _end(ledger: Ledger) -> None:
    number = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(f"1.9.{number}"), association=number)
    associations.end(ledger, number, AssociationEnd("released", 1, 0))


def _answer(ledger: Ledger) -> None:
    job = lease_one(ledger)
    jobs.conclude(ledger, job, NEGATIVE, [report(job)])


def _deliver(ledger: Ledger) -> None:
    first, second = claim(ledger, limit=2)
    deliveries.conclude(ledger, first, Accepted(), 0.0, peer_is_down=False)
    deliveries.conclude(ledger, second, Transient("full"), 0.0, peer_is_down=False)


def _read_page(ledger: Ledger) -> None:
    with ledger.read() as connection:
        worklist._page(connection, None, 100, 200)


HOT: dict[str, Callable[[Ledger], object]] = {
    "next job": lease,
    "next batch": lambda ledger: lease(ledger, batch=8),
    "answer": _answer,
    "failure": lambda ledger: jobs.conclude(ledger, lease_one(ledger), FAULTY, []),
    "due deliveries": claim,
    "outcome of a delivery": _deliver,
    "worklist page": _read_page,
    "one row": lambda ledger: LedgerWorklist(ledger).numbered(7),
    "due studies": lambda ledger: [settling.candidate(ledger, each) for each in settling.due_studies(ledger)[0]],
    "one more instance": lambda ledger: receive(ledger, film("1.2.10", number=2)),
    "end of an association": _end,
    "health": lambda ledger: facts(ledger, DiskSpace(2, 1), {"web"}, timedelta(minutes=15)),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_reads_no_whole_table(full: Ledger, name: str) -> None:
    found = plans(full, lambda: HOT[name](full))
    assert found
    assert scans(found) == []


def test_a_query_that_reads_a_whole_table_would_be_seen(full: Ledger) -> None:
    assert scans(plans(full, lambda: stories.named(full, "no such accession number")))


@pytest.mark.parametrize("name", ["next job", "worklist page", "due deliveries", "due studies"])
def test_what_comes_next_is_read_off_an_index_and_not_sorted(full: Ledger, name: str) -> None:
    found = plans(full, lambda: HOT[name](full))
    ordered = [step for statement, step in found if "ORDER BY" in statement and "LIMIT" in statement]
    assert ordered
    assert not [step for step in ordered if "TEMP B-TREE FOR ORDER BY" in step]


def test_whether_a_study_is_still_sent_is_asked_of_each_open_association_alone(full: Ledger) -> None:
    """Otherwise each end reads all that open associations have brought, under the lock that everybody waits for."""
    found = plans(full, lambda: _end(full))
    steps = [step for statement, step in found if statement.startswith("UPDATE study") and "instance" in step]
    assert steps
    assert all("ix_instance_association (association_id=?" in step for step in steps)
    assert any("AND study_id=?" in step for step in steps)


def test_waiting_deliveries_of_one_study_are_found_by_the_study(full: Ledger) -> None:
    """Otherwise a long outage's outbox costs its square."""
    steps = [step for _, step in plans(full, lambda: claim(full)) if "delivery_1" in step or "earlier" in step]
    assert steps
    assert all("ix_delivery_study" in step for step in steps)
