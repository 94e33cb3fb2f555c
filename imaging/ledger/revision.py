"""Whether anything in the ledger changed, as the databases tell it."""

import threading

from sqlalchemy import Connection, text

from imaging.ledger.store import Ledger


class Revision:
    """The ledger's revision: another one after each commit of another connection, whatever it changed.

    The databases count commits themselves, so no writer can forget to, and nobody waits for a counter.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._connection: Connection | None = None

    def now(self) -> object:
        """What SQLite counts is counted for one connection, which is therefore kept; and it is read in turn."""
        if not self._ledger.is_sqlite:
            with self._ledger.read() as connection:
                return connection.scalar(text("SELECT CAST(pg_current_snapshot() AS text)"))
        with self._lock:
            self._connection = self._connection or self._ledger.engine.connect()
            with self._connection.begin():
                return self._connection.scalar(text("PRAGMA data_version"))
