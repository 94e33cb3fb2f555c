"""The door to the database: transactions that write queue up, those that read do not."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, func, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError

from imaging.domain.steady import Anchor, anchored
from imaging.ledger import tables
from imaging.ledger.clock import BUILT, Clock, SystemClock
from imaging.ledger.wakeups import WakeUps

SQLITE_FILE: Final = "ledger.sqlite"


def is_begun(home: Path, url: str = "") -> bool:
    """Whether the home has a ledger, as far as its folder can tell: one with a URL of its own is taken to be there."""
    return bool(url) or (home / SQLITE_FILE).exists()


class Unusable(Exception):
    """The database cannot be used: a wrong URL, nobody who answers, no ledger; the text says which."""


class SchemaDiffers(Unusable):
    """The database has another schema than this version; the supervisor or `imaging migrate` brings it up."""


class Ledger:
    """The database of a home. `url` defaults to SQLite in the home's folder, as `file`. Raises Unusable."""

    def __init__(self, home: Path, url: str = "", clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock(self.anchor)
        self.file = None if url else home / SQLITE_FILE
        self.url = url or f"sqlite:///{self.file}"
        self.engine = _engine(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        try:
            self.wakeups = WakeUps(home / "run")
            self._lock_fd = os.open(home / "ledger.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if self.file is not None:
                os.close(os.open(self.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                with suppress(PermissionError):  # it is another user's, who may let us
                    self.file.chmod(0o600)  # SQLite gives its other files what this one has
        except OSError as error:
            raise Unusable(f"{error.filename} cannot be used: {error.strerror}") from error
        if self.is_sqlite:
            _own_transactions(self.engine)
        self.site = ""
        """Where what this process receives comes in; stands in each new row of a study and an association."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write. On SQLite writers queue before BEGIN, since its own waiting starves."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._lock:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                    yield connection
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger and changes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()
        os.close(self._lock_fd)
        self.wakeups.close()

    def begin_boot(self) -> None:
        """To be called at each start of a home, before anything is received.

        Time is counted from now on. Ticks of another boot mean nothing: what waited for one is due at once, and its
        leases have ended.
        """
        clock = self.clock
        with self.write() as connection:
            anchor = anchored(clock.wall(), clock.tick(), clock.boot(), newest(connection), BUILT)
            known = connection.scalar(_META, {"which": "boot"})
            _keep(connection, "clock", anchor.to_json())
            if known != clock.boot():
                _forget_ticks(connection, clock.tick())
                _keep(connection, "boot", clock.boot())

    def anchor(self) -> Anchor | None:
        """Where the time of the home is counted from; None where nothing was served yet."""
        try:
            with self.read() as connection:
                said = connection.scalar(_META, {"which": "clock"})
        except (DBAPIError, sqlite3.Error):  # no table yet, or a database in trouble, which others tell
            return None
        return None if said is None else Anchor.from_json(said)


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


def _forget_ticks(connection: Connection, now: float) -> None:
    study, job, delivery, peer, conflict = tables.study, tables.job, tables.delivery, tables.peer, tables.conflict
    is_waited_for = study.c.settle_tick.is_not(None)
    connection.execute(
        update(study).where(is_waited_for).values(first_tick=now, last_tick=now, ended_tick=now, settle_tick=now)
    )
    connection.execute(update(study).values(revised_tick=None))
    connection.execute(update(study).where(study.c.cut_tick.is_not(None)).values(cut_tick=now))
    connection.execute(update(tables.series).values(last_tick=None))
    connection.execute(update(job).values(lease_tick=0.0).where(job.c.lease_tick.is_not(None)))
    connection.execute(update(conflict).values(lease_tick=None).where(conflict.c.lease_tick.is_not(None)))
    connection.execute(update(delivery).values(lease_tick=0.0).where(delivery.c.lease_tick.is_not(None)))
    connection.execute(update(delivery).values(due_tick=0.0))
    connection.execute(update(peer).values(probe_tick=0.0))


def _engine(url: str) -> Engine:
    try:
        return create_engine(url, pool_size=4, max_overflow=60, hide_parameters=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise Unusable(
            "the database's URL cannot be used: one such as postgresql+psycopg://user@host/name is wanted, and "
            f"`pip install 'imaging[postgresql]'` for it ({type(error).__name__})"
        ) from error


def _own_transactions(engine: Engine) -> None:
    """Takes BEGIN away from the driver, which would not roll back DDL, and makes a commit durable."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
