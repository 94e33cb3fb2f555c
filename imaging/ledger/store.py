"""The door to the database: transactions that write queue up, those that read do not."""

import errno
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, func, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from imaging.domain.clock_anchor import Anchor, anchored
from imaging.domain.states import UNSENT
from imaging.ledger import tables
from imaging.ledger.clock import BUILT, Clock, ServerClock, SystemClock
from imaging.ledger.place import place_of
from imaging.ledger.unusable import Unusable
from imaging.ledger.wakeups import SocketWakeUps, WakeUps

SQLITE_FILE: Final = "ledger.sqlite"
_DURABLE: Final = {"writes": True, "is_durable": True}
_SOON_DURABLE: Final = {"writes": True, "is_durable": False}
BOOTED: Final = 0.0
"""The end of a lease that was held when the machine went down."""


def is_begun(home: Path, url: str = "") -> bool:
    """Whether the home has a ledger, as far as its folder can tell: one with a URL of its own is taken to be there."""
    return bool(url) or (home / SQLITE_FILE).exists()


def is_transient(error: Exception) -> bool:
    """Whether the trouble is the database's, as a full disk or a server that is away: it may be over in a while."""
    return isinstance(error, (OperationalError, InterfaceError, NoConnection, sqlite3.OperationalError, OSError))


def is_deadlock(error: DBAPIError) -> bool:
    """Whether PostgreSQL ended a transaction that waited in a circle: the other goes on, this may be tried again."""
    return getattr(error.orig, "sqlstate", None) == "40P01"


class Ledger:
    """The database of a home. `url` defaults to SQLite in the home's folder, as `file`. Raises Unusable.

    `clock` and `wakeups` default to those of the database and of this machine.
    """

    def __init__(self, home: Path, url: str = "", clock: Clock | None = None, wakeups: WakeUps | None = None) -> None:
        self.file = None if url else home / SQLITE_FILE
        self.url = url or f"sqlite:///{self.file}"
        self.engine = _engine(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.clock: Clock = clock or self._clock()
        self._lock = threading.Lock()
        try:
            self.wakeups: WakeUps = wakeups or SocketWakeUps(home / "run")
            self._lock_fd = os.open(home / "ledger.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if self.file is not None:
                _make_private(self.file)
        except OSError as error:
            raise Unusable(f"{error.filename} cannot be used: {error.strerror}") from error
        if self.is_sqlite:
            _own_transactions(self.engine)
        else:
            _let_commits_return_early(self.engine)
        self.place = "" if self.is_sqlite else place_of(home)
        """Of this home among those that share the database; one in SQLite shares it with nobody, and may move."""
        self.site = ""
        """Where what this process receives comes in; stands in each new row of a study and an association."""
        self.node = ""
        """Which node of which host this process is, as owners of leases begin; in each new row of an association."""

    @contextmanager
    def write(self, *, is_durable: bool = True) -> Iterator[Connection]:
        """A transaction that may write. On SQLite writers queue before BEGIN, since its own waiting starves.

        Unless it `is_durable`, a power failure may undo it until the next one that is: for what nobody was told, and
        would be done again. A process that is killed undoes no commit of either kind.
        """
        options = _DURABLE if is_durable else _SOON_DURABLE
        if not self.is_sqlite:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
            return
        with self._lock:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                with self.engine.connect().execution_options(**options) as connection, connection.begin():
                    yield connection
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger and changes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def _clock(self) -> Clock:
        return SystemClock(self.anchor) if self.is_sqlite else ServerClock(self.anchor, self.server_seconds)

    def server_seconds(self) -> float:
        """The seconds since 1970 by the clock of a PostgreSQL server."""
        with self.read() as connection:
            return float(connection.execute(_SERVER_SECONDS).scalar_one())

    def close(self) -> None:
        """Closes the connections, the file lock and the sockets."""
        self.engine.dispose()
        os.close(self._lock_fd)
        self.wakeups.close()

    def begin_boot(self) -> None:
        """To be called at each start of a home, before anything is received.

        Time is counted from now on. Ticks of another boot mean nothing: what waited for one is due at once, and its
        leases have ended. On PostgreSQL, whose ticks are the server's, no host's start ends them. A ledger that is new
        gets the id of its installation.
        """
        clock = self.clock
        with self.write() as connection:
            anchor = anchored(clock.wall(), clock.tick(), clock.boot(), newest(connection), BUILT)
            known = connection.scalar(_META, {"which": "boot"})
            _keep(connection, "clock", anchor.to_json())
            if known != clock.boot():
                _forget_ticks(connection, clock.tick())
                _keep(connection, "boot", clock.boot())
            if connection.scalar(_META, {"which": "installation"}) is None:
                _keep(connection, "installation", secrets.token_hex(16))

    def installation(self) -> str:
        """What tells this ledger's results from those of any other, also of one that was lost; drawn once.

        Raises Unusable where `begin_boot` was never called.
        """
        with self.read() as connection:
            found: str | None = connection.scalar(_META, {"which": "installation"})
        if found is None:
            raise Unusable("this ledger has not been served yet")
        return found

    def anchor(self) -> Anchor | None:
        """Where the time of the home is counted from; None where nothing was served yet."""
        try:
            with self.read() as connection:
                anchor_json = connection.scalar(_META, {"which": "clock"})
        except (DBAPIError, sqlite3.Error):  # no table yet, or a database in trouble, which others tell
            return None
        return None if anchor_json is None else Anchor.from_json(anchor_json)


_SERVER_SECONDS: Final = select(func.extract("epoch", func.clock_timestamp()))
_META: Final = select(tables.meta.c.value).where(tables.meta.c.key == bindparam("which"))


def _keep(connection: Connection, key: str, value: str) -> None:
    meta = tables.meta
    if not connection.execute(update(meta).where(meta.c.key == key).values(value=value)).rowcount:
        connection.execute(meta.insert().values(key=key, value=value))


def newest(connection: Connection) -> datetime | None:
    """When the last object or association came, as far as rows are left."""
    last = [connection.scalar(each) for each in _LAST]
    return max((each for each in last if each is not None), default=None)


_LAST: Final = [
    select(column).where(table.c.id == select(func.max(table.c.id)).scalar_subquery())
    for table, column in (
        (tables.study, tables.study.c.last_image_at),
        (tables.instance, tables.instance.c.received_at),
        (tables.association, tables.association.c.started_at),
    )
]


def _make_private(file: Path) -> None:
    """Creates the database's file where it is missing, its owner's alone. Raises OSError where it cannot be used.

    An existing file is never opened here: to close any descriptor of it would release the locks that SQLite holds on it
    for this process (POSIX locks, fcntl(2)), and another process would take a database that is in use for abandoned.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file)) from None
        if not os.access(file, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file)) from None
    with suppress(PermissionError):  # it is another user's, who may let us
        file.chmod(0o600)  # SQLite gives its other files what this one has


def _forget_ticks(connection: Connection, now: float) -> None:
    """Only in rows that wait for one: of a home of years those are few."""
    study, series, job, conflict = tables.study, tables.series, tables.job, tables.conflict
    delivery, peer = tables.delivery, tables.peer
    is_waited_for = study.c.settle_tick.is_not(None)
    connection.execute(
        update(study).where(is_waited_for).values(first_tick=now, last_tick=now, ended_tick=now, settle_tick=now)
    )
    connection.execute(update(study).values(revised_tick=None).where(study.c.revised_tick.is_not(None)))
    connection.execute(update(study).where(study.c.cut_tick.is_not(None)).values(cut_tick=now))
    connection.execute(update(series).values(last_tick=None).where(series.c.last_tick.is_not(None)))
    connection.execute(update(job).values(lease_tick=BOOTED).where(job.c.lease_tick.is_not(None)))
    connection.execute(update(conflict).values(lease="", lease_tick=None).where(conflict.c.lease_tick.is_not(None)))
    connection.execute(update(delivery).values(lease_tick=0.0).where(delivery.c.lease_tick.is_not(None)))
    connection.execute(update(delivery).values(due_tick=0.0).where(delivery.c.state.in_(UNSENT)))
    connection.execute(update(peer).values(probe_tick=0.0))
    connection.execute(update(tables.worker).values(beat_tick=now))  # whoever does not come back falls silent


def _engine(url: str) -> Engine:
    try:
        return create_engine(url, pool_size=4, max_overflow=60, hide_parameters=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise Unusable(
            "the database URL cannot be used: expected one such as postgresql+psycopg://user@host/name, and "
            f"`pip install 'imaging[postgresql]'` for it ({type(error).__name__})"
        ) from error


def _own_transactions(engine: Engine) -> None:
    """Takes BEGIN away from the driver, which would not roll back DDL, and makes a commit durable."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={_FULL}", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("writes"):
            connection.exec_driver_sql("BEGIN")
            return
        wanted = _FULL if options["is_durable"] else _NORMAL
        if connection.info.get(_SYNCHRONOUS, _FULL) != wanted:  # which is the database connection's from then on
            connection.exec_driver_sql(f"PRAGMA synchronous={wanted}")
            connection.info[_SYNCHRONOUS] = wanted
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _let_commits_return_early(engine: Engine) -> None:
    """On PostgreSQL, which writes in order as well: what is durable later is never durable without what was before."""

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("is_durable", True):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


_FULL: Final = "FULL"
_NORMAL: Final = "NORMAL"
"""Syncs the write-ahead log before each checkpoint, not at each commit (sqlite.org/pragma.html#pragma_synchronous)."""
_SYNCHRONOUS: Final = "synchronous"
