"""Who got no association: written down in groups, behind the back of who did."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from imaging.domain.peers import Refused

log = logging.getLogger(__name__)

_PAUSE_S: Final = 1.0
"""Between two writes, so that strangers cost modalities no more than one a second."""
_MAX_WAITING: Final = 1000
_TOO_MANY: Final = "closed: too many requests at once"


WriteDown = Callable[[Sequence[Refused], Mapping[Refused, int]], None]
"""Takes those who were refused, and how many connections were closed unread, by address and why, without titles."""


class Refusals:
    """Has a thread that writes down what it is told; neither `add` nor `count` waits for it."""

    def __init__(self, write_down: WriteDown) -> None:
        self._write_down = write_down
        self._refused: list[Refused] = []
        self._unread: Counter[Refused] = Counter()
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def add(self, refused: Refused) -> None:
        """Notes a request that was read, as far as it could be."""
        with self._changed:
            if len(self._refused) < _MAX_WAITING:
                self._refused.append(refused)
            else:
                self._unread[Refused("", "", refused.address, _TOO_MANY)] += 1
            self._changed.notify()

    def count(self, address: str, how: str) -> None:
        """Notes a connection that was closed unread."""
        with self._changed:
            self._unread[Refused("", "", address, how)] += 1
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Writes down what is left."""
        self._is_over.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._refused or self._unread or self._is_over.is_set())
                refused, unread = self._refused, self._unread
                self._refused, self._unread = [], Counter()
            if not refused and not unread:
                return
            self._write(refused, unread)
            self._is_over.wait(_PAUSE_S)

    def _write(self, refused: Sequence[Refused], unread: Mapping[Refused, int]) -> None:
        for each, count in unread.items():
            log.warning("connections_closed_unread address=%s count=%d why=%r", each.address, count, each.how)
        try:
            self._write_down(refused, unread)
        except Exception as error:  # a full disk, say: the log has them
            log.exception("refusals_not_recorded error=%s", type(error).__name__)
