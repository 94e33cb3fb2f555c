"""How an open page hears of changes: server-sent events (HTML Standard 9.2), one watcher for all pages.

An event says only that something changed, as a mark; the page then asks for the rows. So events may be lost or
repeated without harm: whoever comes with another mark than the present one is told at once. A mark holds a number
drawn at start, so that a page that outlives the server notices.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

log = logging.getLogger("imaging.web")

RECONNECT_MS: Final = 2000
LOOK_AGAIN_S: Final = 5.0


class EventSource(Protocol):
    """Where changes of the ledger are heard of; implemented above, by the ledger's wake-ups."""

    async def next_change(self) -> None:
        """Return once something that a row or the health line shows may have changed since the last call."""


class Changes:
    """The present mark, and the streams that wait for the next one. Used in one event loop only.

    `look` gives the ledger's revision (in a thread); two looks that are equal are no change, so that a source that
    speaks up to be safe does not make every open page read the list again.
    """

    def __init__(
        self, source: EventSource, look: Callable[[], object], heartbeat_s: float, clock: Callable[[], datetime]
    ) -> None:
        self._source = source
        self._look = look
        self._seen: object = None
        self._streams = self._open = 0
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._start = secrets.token_hex(4)
        self._revision = 0
        self._next = asyncio.Event()
        self._is_closed = False
        self.look_again_s = LOOK_AGAIN_S

    @property
    def mark(self) -> str:
        """What a page that is read now has seen."""
        return f"{self._start}-{self._revision}"

    async def watch(self) -> None:
        """Turn the source's changes into marks, for as long as the server runs.

        Where the source fails, each page looks again every few seconds, so a fault costs seconds of delay.
        """
        while True:
            try:
                await self._source.next_change()
                is_new = await self._is_new()
            except Exception as fault:  # noqa: BLE001 -- the source's own fault; the pages must outlive it
                log.error("changes_unheard error=%s", type(fault).__name__)
                await asyncio.sleep(self.look_again_s)
                is_new = True
            if is_new:
                self._revision += 1
                self._wake()

    async def _is_new(self) -> bool:
        if not self._streams:  # nobody to spare; the next page reads for itself
            self._seen = None
            return True
        before, self._seen = self._seen, await asyncio.to_thread(self._look)
        return before != self._seen

    @property
    def open_pages(self) -> int:
        """How many hold a place now."""
        return self._open

    @contextmanager
    def place(self) -> Iterator[None]:
        """Inside, a page is open, whether its stream has begun or not."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def close(self) -> None:
        """End all streams at once: uvicorn waits for them for ever otherwise."""
        self._is_closed = True
        self._wake()

    async def stream(self, seen: str) -> AsyncIterator[str]:
        """The events for a page that has seen the mark `seen`: each change, and a beat where there is none."""
        self._streams += 1
        try:
            yield f"retry: {RECONNECT_MS}\n\n"
            while not self._is_closed:
                awaited = self._next
                if seen != self.mark:
                    seen = self.mark
                    yield self._event("change", f"id: {seen}\n")
                else:
                    yield self._event("beat")
                if not self._is_closed and seen == self.mark:
                    await self._wait(awaited)
        finally:
            self._streams -= 1

    def _event(self, kind: str, head: str = "") -> str:
        data = {"revision": self.mark, "at": self._clock().astimezone().strftime("%H:%M:%S")}
        return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n"

    async def _wait(self, awaited: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(awaited.wait(), self._heartbeat_s)
        except TimeoutError:
            pass

    def _wake(self) -> None:
        self._next.set()
        self._next = asyncio.Event()
