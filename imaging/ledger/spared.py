"""What is dear to find, such as a count over the whole ledger, is not found anew after each commit."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SHARE: Final = 0.1
"""Of the time, that is spent at most on finding one thing."""
CHEAP_S: Final = 0.1
"""What takes no longer is found whenever the ledger changed."""


@dataclass(frozen=True)
class _Found(Generic[T]):
    """What was found for a revision. It may be found anew from `until` on."""

    value: T
    revision: object
    until: float


class Spared(Generic[T]):
    """A value of the ledger's present revision, or of an earlier one while finding it again would take too much.

    `cost`: seconds spent so far, by which is told how much finding it takes: of this thread, in which SQLite works. A
    server of PostgreSQL works in its own time.
    """

    def __init__(
        self,
        find: Callable[[], T],
        revision: Callable[[], object],
        cost: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._revision, self._cost, self._clock = find, revision, cost, clock
        self._found: _Found[T] | None = None

    def value(self) -> T:
        revision = self._revision()  # before it is found: what changes meanwhile makes it be found once more
        found = self._found
        if found is None or (found.revision != revision and self._clock() >= found.until):
            found = self._found = self._anew(revision)
        return found.value

    def is_due(self) -> bool:
        """Whether the value that was given last is out of date, and would be found anew."""
        found = self._found
        return found is not None and found.revision != self._revision() and self._clock() >= found.until

    def _anew(self, revision: object) -> _Found[T]:
        before = self._cost()
        value = self._find()
        took = self._cost() - before
        return _Found(value, revision, self._clock() + (took * (1 / SHARE - 1) if took > CHEAP_S else 0))
