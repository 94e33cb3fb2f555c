"""One ledger per test, on SQLite and on a PostgreSQL that the tests start, with a clock that is turned."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_cases import TurnedClock
from peers import eventually, missing_peer
from sqlalchemy import text

from imaging.ledger import migrate, tables
from imaging.ledger.store import SQLITE_FILE, Ledger


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite ledger with the newest schema, to be copied."""
    home = tmp_path_factory.mktemp("migrated")
    ledger = Ledger(home)
    migrate.migrate(ledger)
    ledger.close()
    return home / SQLITE_FILE


class PostgreSQL:
    """A server of our own: in a temporary folder, on a UNIX socket, run by an unprivileged user."""

    def __init__(self, programs: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="imaging-postgresql-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
        self.url = f"postgresql+psycopg://tests@/postgres?host={self._folder}"
        data = self._folder / "data"
        self._run(programs / "initdb", "-D", data, "-U", "tests", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        self._programs, self._data = programs, data
        self.start()

    def start(self) -> None:
        settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={self._folder}"]
        options = [word for each in settings for word in ("-c", each)]
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data, *options]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*self._as_user, *command], stdout=log, stderr=log, cwd="/")
        is_up: list[str | Path] = [self._programs / "pg_isready", "-h", self._folder, "-U", "tests"]
        eventually(lambda: subprocess.run(is_up, capture_output=True).returncode == 0, what="PostgreSQL's start")

    def _run(self, *command: object) -> None:
        subprocess.run([*self._as_user, *map(str, command)], check=True, capture_output=True, cwd="/")

    def halt(self) -> None:
        self._process.send_signal(signal.SIGINT)  # at once, whoever is connected
        self._process.wait(timeout=30)

    def stop(self) -> None:
        self.halt()
        shutil.rmtree(self._folder)


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def programs() -> Path:
    """Where PostgreSQL's programs are."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        missing_peer("/usr/lib/postgresql/*/bin/initdb")
    return found[-1].parent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty database."""
    server = PostgreSQL(programs())
    yield server.url
    server.stop()


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """A server that the test may stop and start."""
    server = PostgreSQL(programs())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_url(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL database with the newest schema."""
    ledger = Ledger(tmp_path_factory.mktemp("postgresql"), postgresql)
    migrate.migrate(ledger)
    ledger.close()
    return postgresql


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the test's ledger lies, with every table and no row."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / SQLITE_FILE)
        return ""
    url: str = request.getfixturevalue("migrated_url")
    ledger = Ledger(tmp_path, url)
    with ledger.write() as connection:
        names = ", ".join(f'"{each.name}"' for each in tables.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    ledger.close()
    return url


@pytest.fixture
def open_ledger(url: str, tmp_path: Path, clock: TurnedClock) -> Iterator[Callable[[], Ledger]]:
    """Opens the test's ledger, as one more process would."""
    opened: list[Ledger] = []

    def start() -> Ledger:
        opened.append(Ledger(tmp_path, url, clock))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    return open_ledger()
