"""What is dear to find, such as a count over the whole ledger, is not found anew after each commit."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

SHARE: Final = 0.1
"""Of the time, that is spent at most on finding one thing."""
CHEAP_S: Final = 0.1
"""What takes no longer is found whenever the ledger changed."""


@dataclass(frozen=True)
class _Found(Generic[T]):
    """What was found for a revision, in `took` seconds; it may be found anew from `until` on. `number` counts these."""

    value: T
    number: int
    revision: object
    took: float
    until: float


class Spared(Generic[T]):
    """A value of the ledger's present revision, or of an earlier one while finding it again would take too much.

    What is dear is found in a thread of its own (`begin` starts it), and nobody waits for it but whoever asks first. By
    `clock`, in seconds, is told how long finding takes, whether this process works meanwhile or a database server.
    """

    def __init__(
        self,
        find: Callable[[], T],
        revision: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        begin: Callable[[Callable[[], None]], None] = lambda work: threading.Thread(target=work, daemon=True).start(),
    ) -> None:
        self._find, self._revision, self._clock, self._begin = find, revision, clock, begin
        self._found: _Found[T] | None = None
        self._finding = threading.Lock()

    def value(self) -> T:
        """The value; where it is out of date and may be found again by now, finding it begins."""
        return self._present().value

    def mark(self) -> object:
        """Differs from the one before once `value` gives another value; asking brings that about, as `value` does."""
        return self._present().number

    def _present(self) -> _Found[T]:
        revision = self._revision()  # before it is found: what changes meanwhile makes it be found once more
        found = self._found
        if found is None:
            return self._anew(revision)
        if found.revision == revision or self._clock() < found.until:
            return found
        if found.took <= CHEAP_S:
            return self._anew(revision)
        if self._finding.acquire(blocking=False):
            self._begin(lambda: self._aside(revision))
        return self._found or found

    def _aside(self, revision: object) -> None:
        try:
            self._anew(revision)
        except Exception as error:  # noqa: BLE001 (of a database that is away, say: the next who asks begins it again)
            log.error("not_counted_anew error=%s", type(error).__name__)
        finally:
            self._finding.release()

    def _anew(self, revision: object) -> _Found[T]:
        before = self._clock()
        value = self._find()
        now = self._clock()
        took = now - before
        until = now + (took * (1 / SHARE - 1) if took > CHEAP_S else 0)
        number = 1 if self._found is None else self._found.number + 1
        self._found = found = _Found(value, number, revision, took, until)
        return found
