"""Who holds a lease: what a host's start and the deaths of its processes give back is that host's alone."""

import fcntl
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_cases import (
    TurnedClock,
    answered,
    claim,
    delivery_states,
    film,
    job_states,
    lease_one,
    queued,
    receive,
    rows,
)

from imaging.ledger import copies, health, jobs, registry, tables, workers
from imaging.ledger.store import Ledger
from imaging.roles.locks import lock_of
from imaging.roles.owner import owner, owner_of
from imaging.settings import Settings
from imaging.spool import FolderSpool
from imaging.supervise import _Supervisor

Named = Callable[[str], None]


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Gives the machine another name."""
    return lambda name: monkeypatch.setattr(socket, "gethostname", lambda: name)


def held_by_two_hosts(ledger: Ledger, home: Path, on_host: Named) -> None:
    """One job, one copy and one delivery are held by each of two hosts; the first is this one afterwards."""
    for number in range(2):
        answered(ledger, f"1.2.{number}")
        receive(ledger, film(f"1.3.{number}"), "one")
        receive(ledger, film(f"1.3.{number}"), "two")
    for number in range(2):
        queued(ledger, f"1.4.{number}")
    for name in ("other", "here"):
        on_host(name)
        claim(ledger, owner=owner(home, "deliver"), limit=1)
        lease_one(ledger, owner(home, "worker-0"))
        assert copies.claim(ledger, owner(home, "worker-0")) is not None


def held(ledger: Ledger) -> set[str]:
    """The hosts that hold anything."""
    every = [each for table in (tables.job, tables.delivery, tables.conflict) for each in rows(ledger, table)]
    return {each["lease"].partition(".")[0] for each in every if each["lease_tick"] is not None}


def test_a_start_takes_back_what_its_own_host_held_and_of_a_home_with_a_ledger_of_its_own_all(
    ledger: Ledger, tmp_path: Path, on_host: Named
) -> None:
    held_by_two_hosts(ledger, tmp_path, on_host)
    assert held(ledger) == {"here", "other"}
    _Supervisor(ledger, Settings(home=tmp_path), tmp_path)._return_claims(have_died=True)
    assert held(ledger) == (set() if ledger.is_sqlite else {"other"})
    of_other = 0 if ledger.is_sqlite else 1
    assert (job_states(ledger).count("leased"), delivery_states(ledger).count("sending")) == (of_other, of_other)


def test_the_death_of_a_worker_gives_back_what_it_held_and_nothing_of_its_namesake_elsewhere(
    ledger: Ledger, tmp_path: Path, on_host: Named
) -> None:
    held_by_two_hosts(ledger, tmp_path, on_host)
    assert jobs.release_leases(ledger, owner_of(tmp_path, "worker-0")) == 1
    copies.release_leases(ledger, owner_of(tmp_path, "worker-0"))
    assert [each["lease"].partition(".")[0] for each in rows(ledger, tables.conflict)] == ["other", ""]
    assert job_states(ledger).count("leased") == 1


def test_no_start_forgets_another_hosts_worker_and_its_silence_does(
    ledger: Ledger, clock: TurnedClock, tmp_path: Path, on_host: Named
) -> None:
    names = {}
    for host, model in (("other", "second"), ("here", "first")):
        on_host(host)
        ledger.begin_boot()
        names[host] = owner_of(tmp_path, "worker-0")
        workers.expect(ledger, [names[host]])
        workers.serve(ledger, names[host], [model])
    assert workers.served(ledger) == frozenset({"first", "second"})
    clock.advance(workers.GONE_S + 1)
    workers.beat(ledger, names["here"], owner(tmp_path, "worker-0"))
    assert workers.served(ledger) == frozenset({"first"})
    workers.expect(ledger, [names["here"]])
    assert [each["name"] for each in rows(ledger, tables.worker)] == [names["here"]]


def test_after_a_boot_a_worker_is_waited_for_and_forgotten_once_it_is_silent(
    ledger: Ledger, clock: TurnedClock
) -> None:
    ledger.begin_boot()
    for name in ("one", "other"):
        workers.serve(ledger, name, [f"model-of-{name}"])
    clock.reboot()
    ledger.begin_boot()
    assert workers.served(ledger) == frozenset({"model-of-one", "model-of-other"})
    clock.advance(workers.GONE_S + 1)
    workers.beat(ledger, "one", "one/1")
    assert workers.served(ledger) == frozenset({"model-of-one"})


@pytest.mark.parametrize("role", ["worker", "deliver"])
def test_results_without_a_row_are_removed_at_a_start_unless_another_service_may_be_writing_one(
    ledger: Ledger, tmp_path: Path, role: str
) -> None:
    answered(ledger)
    spool = FolderSpool(tmp_path / "spool")
    (stray,) = spool.put([b"of a transaction that never was"])
    with lock_of(tmp_path, role).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _Supervisor(ledger, Settings(home=tmp_path, role="web"), tmp_path)._sweep(ledger)
        assert spool.path(stray.key).exists()
        _Supervisor(ledger, Settings(home=tmp_path, role=role), tmp_path)._sweep(ledger)
        assert not spool.path(stray.key).exists()


def test_an_owner_is_one_process_of_one_role_of_one_home(tmp_path: Path) -> None:
    names = [owner(tmp_path / home, role) for home in "ab" for role in ("worker-1", "worker-10") for _ in range(2)]
    assert len(set(names)) == len(names)
    assert [each.startswith(owner_of(tmp_path / "a", "worker-1")) for each in names] == [True] * 2 + [False] * 6


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # which alone is shared
def test_what_a_host_says_of_its_roles_is_not_overwritten_by_another_of_the_same_database(
    url: str, tmp_path: Path, on_host: Named
) -> None:
    hosts: dict[str, Ledger] = {}
    for name, state in (("first", "up"), ("second", "crashing")):
        on_host(name)
        hosts[name] = Ledger(tmp_path, url)
        registry.note_role(hosts[name], "node", state)
    registry.keep_roles(hosts["second"], {"node"}, [])
    with hosts["first"].read() as connection:
        assert [each.state for each in health.roles(hosts["first"], connection, {"node"})] == ["up"]
        assert not health.roles(hosts["second"], connection, {"node"})
    for each in hosts.values():
        each.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_home_in_sqlite_that_moves_to_another_host_keeps_its_roles(
    open_ledger: Callable[[], Ledger], on_host: Named
) -> None:
    on_host("first")
    registry.note_role(open_ledger(), "node", "up")
    on_host("second")
    moved = open_ledger()
    with moved.read() as connection:
        assert [each.name for each in health.roles(moved, connection, {"node"})] == ["node"]
