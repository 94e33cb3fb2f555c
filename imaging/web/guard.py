"""What every answer has: the Host check, headers that let no script run but ours, a fault told without patient data."""

import logging
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaging.domain.faults import fingerprint

log = logging.getLogger("imaging.web")

POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGES: Final = "private, no-store"
ASSETS: Final = "no-cache"
"""Kept, but asked for again each time: an upgrade must not leave an old script on a workstation."""


HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of loopback, where alone the pages are: a request for another Host came by DNS rebinding."""


class Guard:
    """Stands before the pages. `sorry`: what a reader is told of a fault of ours."""

    def __init__(self, app: ASGIApp, sorry: str) -> None:
        self.app = app
        self.sorry = sorry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = Answer(send, ASSETS if scope["path"].startswith("/static/") else PAGES)
        refusal = self._refusal(Headers(scope=scope).getlist("host"))
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            log.info("reader_left")
        except Exception as fault:  # noqa: BLE001 -- one request: answered and recorded here, without its text
            log.error("page_failed error=%s", fingerprint(fault))
            if answer.has_started:
                raise Broken from None
            await PlainTextResponse(self.sorry, 500)(scope, receive, answer)

    def _refusal(self, hosts: list[str]) -> PlainTextResponse | None:
        if len(hosts) != 1 or not hosts[0]:
            return PlainTextResponse("This request does not name one Host.", 400)
        if name_of(hosts[0]) not in HOSTS:
            return PlainTextResponse("These pages are served under the names of loopback alone.", 421)
        return None


class Broken(Exception):
    """An answer broke off in the middle; the cause is in the log already."""


class Answer:
    """`send` with the headers put in, that knows whether an answer has begun."""

    def __init__(self, send: Send, caching: str) -> None:
        self._send = send
        self._caching = caching
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers["Cache-Control"] = self._caching
        await self._send(message)


def name_of(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:8080` is `[::1]`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")
