"""Decoded images that several models look at: what one has read of a study, the next one need not read again.

It holds nothing until it is told how much it may, which is done only where models share images.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Made = TypeVar("Made")


class Decoded:
    """What was made of files, by what it was made of, up to so many bytes: what was longest unused goes first. Calls
    from several threads are safe. Arrays that are held are read-only.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._max_bytes, self._bytes, self._lock = 0, 0, threading.Lock()

    @property
    def bytes(self) -> int:
        """How many are held."""
        return self._bytes

    def hold(self, max_bytes: int) -> None:
        """From now on at most so many bytes; 0: nothing."""
        with self._lock:
            self._max_bytes = max_bytes
            self._shrink()

    def drop(self) -> bool:
        """Lets go of everything. Returns whether there was anything."""
        with self._lock:
            had_any = bool(self._held)
            self._held.clear()
            self._bytes = 0
        return had_any

    def of(
        self,
        key_of: Callable[[], Hashable],
        make: Callable[[], Made],
        array_of: Callable[[Made], NDArray[Any] | None],
    ) -> Made:
        """What is held under a key, else what `make` gives. `array_of`: what of that takes the memory; None: it is not
        to be held. The key is asked only where anything is held at all.
        """
        if not self._max_bytes:
            return make()
        key = key_of()
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                found: Made = self._held[key][0]
                return found
        made = make()
        array = array_of(made)
        if array is not None:
            array.flags.writeable = False
            with self._lock:
                self._put(key, made, _bytes_behind(array))
        return made

    def _put(self, key: Hashable, made: Any, size: int) -> None:
        if size <= self._max_bytes and key not in self._held:
            self._held[key] = made, size
            self._bytes += size
            self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            _, (_, size) = self._held.popitem(last=False)
            self._bytes -= size


def _bytes_behind(array: NDArray[Any]) -> int:
    """What an array keeps in memory: a view keeps all that it is a view of."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, bytes | bytearray):
        return max(array.nbytes, len(base))
    return max(array.nbytes, base.nbytes if isinstance(base, np.ndarray | memoryview) else 0)


DECODED: Final = Decoded()
"""Of this process."""
