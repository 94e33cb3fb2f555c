"""Where ticks come from: this machine's boot with SQLite, the server's clock with PostgreSQL, which hosts share."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_cases import lease_one, queued
from sqlalchemy.exc import OperationalError

from imaging.ledger import jobs, leasing
from imaging.ledger.clock import ServerClock
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.store import Ledger


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Ledger:
    """The test's ledger with the clock that it has of itself."""
    return Ledger(tmp_path, url)


def test_ticks_are_of_the_boot_with_sqlite_and_of_the_server_with_postgresql(opened: Ledger) -> None:
    expected = time.clock_gettime(time.CLOCK_BOOTTIME) if opened.is_sqlite else opened.server_seconds()
    assert opened.clock.tick() == pytest.approx(expected, abs=5)


class Uptime:
    """How long a machine has run, turned by hand."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Server:
    """A server's clock, turned by hand; `is_up`: whether it answers."""

    def __init__(self) -> None:
        self.seconds, self.is_up, self.queries = 1_800_000_000.0, True, 0

    def __call__(self) -> float:
        self.queries += 1
        if not self.is_up:
            raise OperationalError("SELECT", {}, Exception("no server"))
        return self.seconds


def clock_of(uptime: Uptime, server: Callable[[], float]) -> ServerClock:
    return ServerClock(lambda: None, server, uptime)


def test_hosts_of_one_server_count_alike_whatever_their_uptime() -> None:
    server = Server()
    clocks = [clock_of(Uptime(seconds), server) for seconds in (7.0, 900_000.0)]
    assert [each.tick() for each in clocks] == [server.seconds] * 2
    assert len({each.boot() for each in clocks}) == 1


def test_the_server_is_asked_every_five_seconds_and_a_machines_ticks_go_on_between() -> None:
    server, uptime = Server(), Uptime(7.0)
    clock = clock_of(uptime, server)
    begun = clock.tick()
    uptime.seconds += 4
    assert (clock.tick(), server.queries) == (begun + 4, 1)
    server.seconds += 100  # it was set meanwhile
    uptime.seconds += 4
    assert (clock.tick(), server.queries) == (begun + 100, 2)


def test_ticks_go_on_while_the_server_does_not_answer() -> None:
    server, uptime = Server(), Uptime(7.0)
    clock = clock_of(uptime, server)
    begun = clock.tick()
    server.is_up = False
    uptime.seconds += 30
    assert clock.tick() == begun + 30


def test_what_asking_takes_does_not_move_ticks() -> None:
    server, uptime = Server(), Uptime(7.0)

    def slowly() -> float:
        uptime.seconds += 0.5
        return server() + 0.1

    clock = clock_of(uptime, slowly)
    begun = clock.tick()
    uptime.seconds += 10
    server.seconds += 10
    assert clock.tick() - begun == pytest.approx(10.5)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_the_start_of_another_host_ends_no_lease(url: str, tmp_path: Path) -> None:
    hosts = [Ledger(tmp_path, url) for _ in range(2)]
    for each, uptime in zip(hosts, (900_000.0, 7.0), strict=True):
        each.clock = ServerClock(each.anchor, each.server_seconds, Uptime(uptime))
    one, other = hosts
    one.begin_boot()
    queued(one)
    held = lease_one(one)
    other.begin_boot()
    assert leasing.lease(other, "other/worker-0/1", LeaseRequest({held.model})) == []
    assert jobs.release_leases(other, held.lease) == 1
