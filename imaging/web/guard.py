"""What every answer has: whether the request may be one of ours, headers that let no script run but our own, a fault
told without patient data."""

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
    "Referrer-Policy": "same-origin",  # with "no-referrer" a form of our own would say that it comes from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGES: Final = "private, no-store"
ASSETS: Final = "no-cache"
"""Kept, but asked for again each time: an upgrade must not leave an old script on a workstation."""


READING: Final = frozenset({"GET", "HEAD"})
"""Methods by which nothing changes."""
OUR_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Of Sec-Fetch-Site (W3C Fetch Metadata): from a page of ours, or from the reader's own hand."""


class Guard:
    """Stands before the pages. `error_page`: what a reader is told of a fault of ours.

    `hosts`: the names under which the pages are asked for; a request for another came by DNS rebinding.
    """

    def __init__(self, app: ASGIApp, error_page: str, hosts: frozenset[str]) -> None:
        self.app = app
        self.error_page = error_page
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = Answer(send, ASSETS if scope["path"].startswith("/static/") else PAGES)
        refusal = self._refusal(scope["method"], Headers(scope=scope))
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
            await PlainTextResponse(self.error_page, 500)(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not hosts[0]:
            return PlainTextResponse("This request does not have exactly one Host header.", 400)
        if name_of(hosts[0]) not in self.hosts:
            return PlainTextResponse(
                "These pages are not served under this host name; add it with the setting web_hosts.", 421
            )
        if method not in READING and not is_ours(headers, hosts[0]):
            return PlainTextResponse("This request comes from another site.", 403)
        return None


def is_ours(headers: Headers, host: str) -> bool:
    """Whether a browser says that a request comes from a page of ours; what is no browser says nothing."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in OUR_OWN_SITES
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()


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
