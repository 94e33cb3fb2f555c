"""Work that costs the same for many as for one: whoever comes while it is done shares the next turn."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T, R]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | Exception | None = None


class Batcher(Generic[T, R]):
    """Calls `work` with what many threads bring at the same time, at most `most` at once.

    No thread of its own: one of those that wait does the work of all. `work` returns for each item, in their order, a
    result (never None) or the exception that its thread gets; what it raises, all of them get.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]], max_batch: int) -> None:
        self._work, self._max_batch = work, max_batch
        self._waiting: list[_Waiting[T, R]] = []
        self._list, self._turn = threading.Lock(), threading.Lock()

    def __call__(self, item: T) -> R:
        """The result of one item. Raises what its work raised."""
        mine = _Waiting[T, R](item)
        with self._list:
            self._waiting.append(mine)
        with self._turn:
            while mine.result is None:
                self._serve()
        if isinstance(mine.result, Exception):
            raise mine.result
        return mine.result

    def finish(self) -> None:
        """Waits until the work that is under way is done."""
        with self._turn:
            pass

    def _serve(self) -> None:
        with self._list:
            group, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
        results: Sequence[R | Exception] = [RuntimeError("the work was broken off")] * len(group)
        try:
            results = self._work([each.item for each in group])
        except Exception as error:  # noqa: BLE001 (each of those that wait gets it)
            results = [error] * len(group)
        finally:
            for each, result in zip(group, results, strict=True):
                each.result = result
