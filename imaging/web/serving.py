"""Runs the pages under uvicorn until told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette

MAX_CONNECTIONS: Final = 512
"""At a time; further ones are answered 503. A page has two."""
UNREAD_MS: Final = 30_000
"""How long what was sent may stay unacknowledged, or unread, before the kernel ends the connection."""
GRACE_S: Final = 5
"""How long answers under way may take at shutdown; streams are ended at once."""


async def serve(app: Starlette, listener: socket.socket, on_ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Serve `app` on a socket that is bound already, until `stop` is set; then end within GRACE_S seconds.

    `on_ready` is called once requests are answered. Signals stay with the caller, who sets `stop`. There is no access
    log, and what uvicorn itself has to say goes to the logger "uvicorn.error" at warning level, without paths.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a peer's word for who it is would be believed
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MAX_CONNECTIONS,
    )
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)  # accepted ones inherit it
    server = _Server(config, on_ready)
    stopper = asyncio.create_task(_stop_with(server, app, stop))
    try:
        await server.serve(sockets=[listener])
    finally:
        stopper.cancel()


async def _stop_with(server: "_Server", app: Starlette, stop: asyncio.Event) -> None:
    await stop.wait()
    app.state.changes.close()
    server.should_exit = True


class _Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn's server, which says when it is ready and leaves signals alone."""

    def __init__(self, config: Any, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
