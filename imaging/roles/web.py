"""Web: the worklist's pages, woken by the ledger."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from imaging.domain.languages import Language
from imaging.domain.ports import advice
from imaging.ledger import migrate, wakeups
from imaging.ledger.store import Ledger
from imaging.ledger.wakeups import Listener
from imaging.ledger.worklist import LedgerWorklist
from imaging.roles.child import LOOK_S, CannotRun, Lifecycle
from imaging.roles.health import Watched
from imaging.web.app import create_app
from imaging.web.serving import serve
from imaging.web.settings import LOOPBACK, WebSettings


@dataclass(frozen=True)
class WebConfig:
    """What the web is told."""

    name: str
    home: str
    database: str
    host: str
    port: int
    viewer_url: str
    language: Language
    disk_reserve_bytes: int
    longest_wait_s: float
    hosts: Sequence[str]


def run(config: Mapping[str, Any], lifecycle: Lifecycle) -> None:
    """Serves pages until it is told to stop."""
    asyncio.run(_run(WebConfig(**config), lifecycle))


async def _run(config: WebConfig, lifecycle: Lifecycle) -> None:
    ledger = Ledger(Path(config.home), config.database)
    migrate.check(ledger)
    listener = _bound(config.host, config.port)
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if _family(config.host) == socket.AF_INET6 else config.host
    hosts = frozenset(each.lower() for each in (*LOOPBACK, host, *config.hosts))
    settings = WebSettings(viewer_url=config.viewer_url, language=config.language, hosts=hosts)
    watched = Watched(ledger, Path(config.home), config.disk_reserve_bytes, config.longest_wait_s)
    changes = _Changes(ledger.wakeups.listen(wakeups.STUDY))
    app = create_app(LedgerWorklist(ledger, watched.now), changes, settings, ledger.clock.now)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    lifecycle.on_stop(partial(_set_soon, loop, stop))
    url = f"http://{host}:{port}/"
    await serve(app, listener, lambda: lifecycle.ready({"web": url, "port": port}), stop)


def _set_soon(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stop.set)


def _bound(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), backlog=128, family=_family(host))
    except OSError as error:
        raise CannotRun(
            f"cannot listen on {host}:{port} (--web-port): {error.strerror}; {advice(port, error, '--web-port')}"
        ) from None
    listener.setblocking(False)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Changes:
    """The ledger's wake-ups as an event loop hears them; looks every few seconds as well, since they may be lost."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._changed = asyncio.Event()
        self._watched = False

    async def next_change(self) -> None:
        if not self._watched:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._on_wakeup)
            self._watched = True
        try:
            await asyncio.wait_for(self._changed.wait(), LOOK_S)
        except TimeoutError:
            pass
        await asyncio.sleep(_COALESCE_S)
        self._changed.clear()

    def _on_wakeup(self) -> None:
        self._listener.drain()  # at once: the loop calls this for as long as there is something to read
        self._changed.set()


_COALESCE_S = 0.2
"""What changes within this time is one change: a busy node would make the pages read all the time otherwise."""
