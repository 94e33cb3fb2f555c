"""Who got no association: rows of `association` that begin and end at once."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, insert, select, update

from imaging.domain.peers import Refused
from imaging.ledger import tables
from imaging.ledger.store import Ledger

UNREAD: Final = "further connections closed"
"""Among `refusals` of a row: how many connections of its address were closed unread since it was written."""
_COUNTED_WITHIN_S: Final = 60.0
_MAX_ADDRESSES: Final = 1000
_ADD: Final = insert(tables.association)


class RefusalBook:
    """Writes them down; keeps in mind each address's newest row, in which its further connections are counted."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._newest: dict[str, tuple[int, float]] = {}

    def write(self, refused: Sequence[Refused], unread: Mapping[Refused, int]) -> None:
        """One transaction. `unread`: how many connections were closed unread, of which the address alone is known."""
        newest = dict(self._newest)
        with self._ledger.write() as connection:
            for each in refused:
                newest[each.address] = self._add(connection, each)
            for each, count in unread.items():
                newest[each.address] = self._count(connection, newest.get(each.address), each, count)
        self._newest = dict(list(newest.items())[-_MAX_ADDRESSES:])

    def _add(self, connection: Connection, refused: Refused, unread: int = 0) -> tuple[int, float]:
        now = self._ledger.clock.now()
        row = {
            "calling_ae_title": refused.calling_ae_title,
            "called_ae_title": refused.called_ae_title,
            "address": refused.address,
            "site": self._ledger.site,
            "started_at": now,
            "ended_at": now,
            "ended_how": refused.how,
            "contexts": [],
            "refusals": {UNREAD: unread} if unread else {},
        }
        key = connection.execute(_ADD, row).inserted_primary_key
        assert key is not None
        return int(key[0]), self._ledger.clock.tick()

    def _count(
        self, connection: Connection, newest: tuple[int, float] | None, refused: Refused, count: int
    ) -> tuple[int, float]:
        """In the newest row of the address, or in a new one where that is old or was purged."""
        table, refusals = tables.association, None
        if newest is not None and self._ledger.clock.tick() - newest[1] < _COUNTED_WITHIN_S:
            refusals = connection.scalar(select(table.c.refusals).where(table.c.id == newest[0]))
        if newest is None or refusals is None:
            return self._add(connection, refused, count)
        counted = refusals | {UNREAD: refusals.get(UNREAD, 0) + count}
        connection.execute(update(table).where(table.c.id == newest[0]).values(refusals=counted))
        return newest
