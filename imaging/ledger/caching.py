"""What is dear to find, such as a count over the whole ledger, is not found anew after each commit."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_TIME_FRACTION: Final = 0.1
"""Of the time, that is spent at most on finding one thing."""
ALWAYS_FRESH_S: Final = 0.1
"""What takes no longer is found whenever the ledger changed."""


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """What was found for a revision, in `took` seconds; it may be found anew from `until` on. `number` counts these."""

    value: T
    number: int
    revision: object
    took: float
    until: float


class CachedValue(Generic[T]):
    """A value of the ledger's present revision, or of an earlier one while finding it again would take too much.

    What is dear is found in a thread of its own (`begin` starts it), and nobody waits for it but whoever asks first. By
    `clock`, in seconds, is told how long finding takes, whether this process works meanwhile or a database server.
    """

    def __init__(
        self,
        compute: Callable[[], T],
        revision: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        begin: Callable[[Callable[[], None]], None] = lambda work: threading.Thread(target=work, daemon=True).start(),
    ) -> None:
        self._compute, self._revision, self._clock, self._begin = compute, revision, clock, begin
        self._entry: _Entry[T] | None = None
        self._finding = threading.Lock()

    def value(self) -> T:
        """The value; where it is out of date and may be found again by now, finding it begins."""
        return self._present().value

    def mark(self) -> object:
        """Differs from the one before once `value` gives another value; asking brings that about, as `value` does."""
        return self._present().number

    def _present(self) -> _Entry[T]:
        revision = self._revision()  # before it is found: what changes meanwhile makes it be found once more
        entry = self._entry
        if entry is None:
            return self._computed(revision)
        if entry.revision == revision or self._clock() < entry.until:
            return entry
        if entry.took <= ALWAYS_FRESH_S:
            return self._computed(revision)
        if self._finding.acquire(blocking=False):
            self._begin(lambda: self._aside(revision))
        return self._entry or entry

    def _aside(self, revision: object) -> None:
        try:
            self._computed(revision)
        except Exception as error:  # noqa: BLE001 (of a database that is away, say: the next who asks begins it again)
            log.error("not_counted_anew error=%s", type(error).__name__)
        finally:
            self._finding.release()

    def _computed(self, revision: object) -> _Entry[T]:
        before = self._clock()
        value = self._compute()
        now = self._clock()
        took = now - before
        until = now + (took * (1 / MAX_TIME_FRACTION - 1) if took > ALWAYS_FRESH_S else 0)
        number = 1 if self._entry is None else self._entry.number + 1
        self._entry = entry = _Entry(value, number, revision, took, until)
        return entry
