"""The pages: which address shows what. Reading and deciding happen elsewhere; here they meet a request.

No address holds a patient's data: a study goes by our row number, and a filter is sent in a request's body.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from imaging.domain.worklist import ListingQuery, Worklist
from imaging.web.events import Changes, EventSource
from imaging.web.guard import Guard
from imaging.web.languages import Language, load_languages
from imaging.web.settings import WebSettings
from imaging.web.view import ListView, RowView, list_view, study_view, words

HERE: Final = Path(__file__).parent
LIMIT: Final = 500
"""Rows on a page beside the flagged ones, which are on each; the others have pages of their own."""
MAX_NUMBER: Final = 2**63 - 1
"""Of a study, in either database."""
DRAWN_ROWS: Final = 16384
"""Rows whose HTML is kept: most are the same when a page is read again."""
LANGUAGE_COOKIE: Final = "lang"
YEAR_S: Final = 365 * 24 * 3600
MAX_FORM: Final = 256 * 1024
FORM_S: Final = 20.0
"""How long a form may take to arrive; all of ours are short."""
RETRY_S: Final = 10


def utc_now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(UTC)


def create_app(
    worklist: Worklist,
    events: EventSource,
    settings: WebSettings,
    clock: Callable[[], datetime] = utc_now,
) -> Starlette:
    """The application. Its `state.changes.close()` ends open streams; `imaging.web.serving.serve` calls it.

    The worklist is asked from several threads. Raises CatalogueError where the catalogues are not whole.
    """
    languages = load_languages()
    changes = Changes(events, worklist.revision, settings.heartbeat_s, clock)
    error_page = "\n".join(each.say("page.trouble") for each in languages.values())
    pages = Pages(worklist, settings, languages, changes, clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watcher = asyncio.create_task(changes.watch())
        yield
        watcher.cancel()

    app = Starlette(
        routes=[
            Route("/", pages.index, methods=["GET", "POST"]),
            Route("/rows", pages.rows, methods=["POST"]),
            Route("/study/{number:int}", pages.study),
            Route("/events", pages.events),
            Route("/healthz", pages.healthz),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(Guard, error_page=error_page, hosts=settings.hosts),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4),
        ],
        lifespan=lifespan,
    )
    app.state.changes = changes
    return app


class _Events(StreamingResponse):
    """The stream of one open page, which holds a place from its first byte to its end."""

    def __init__(self, changes: Changes, seen: str) -> None:
        super().__init__(changes.stream(seen), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._changes.place():
            await super().__call__(scope, receive, send)


@dataclass(frozen=True)
class DrawnRow:
    """A row's HTML. `look` differs where anything in it does."""

    look: str
    html: str


class Pages:
    """One method for each address."""

    def __init__(
        self,
        worklist: Worklist,
        settings: WebSettings,
        languages: Mapping[str, Language],
        changes: Changes,
        clock: Callable[[], datetime],
    ) -> None:
        self._worklist = worklist
        self._settings = settings
        self._languages = languages
        self._changes = changes
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._drawn = lru_cache(maxsize=DRAWN_ROWS)(self._drawn_anew)

    async def index(self, request: Request) -> Response:
        """The whole list; a POST brings a filter, as the form does where no script runs."""
        form = await form_of(request) if request.method == "POST" else {}
        return await self._listing(request, "list.html", form, language_of(request, self._languages, self._settings))

    async def rows(self, request: Request) -> Response:
        """What changes on an open page: the page's own script asks for it, with what is on the screen."""
        form = await form_of(request)
        language = self._languages.get(form.get("lang", ""), self._languages[self._settings.language])
        return await self._listing(request, "rows.html", form, language)

    async def study(self, request: Request) -> Response:
        """The page of one study, or 404."""
        language = language_of(request, self._languages, self._settings)
        number = request.path_params["number"]
        row = await run_in_threadpool(self._worklist.numbered, number) if number <= MAX_NUMBER else None
        if row is None:
            return self._page(request, "missing.html", language, status=404)
        view = study_view(row, self._settings.viewer_url, self._clock(), language)
        return self._page(request, "study.html", language, view=view)

    async def events(self, request: Request) -> Response:
        """Changes, from the mark that the page has seen on (Last-Event-ID after a break)."""
        if self._changes.open_pages >= self._settings.max_pages:
            return PlainTextResponse("Too many pages are open.", 503, {"Retry-After": str(RETRY_S)})
        seen = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return _Events(self._changes, seen)

    async def healthz(self, request: Request) -> Response:
        """ "ok", or 503 with a line for each alarm: what the head of the page shows, for a monitor."""
        alarms = (await run_in_threadpool(self._worklist.health)).alarms
        text = "\n".join(each.words for each in alarms)
        return PlainTextResponse(text or "ok", 503 if alarms else 200)

    async def _listing(self, request: Request, template: str, form: Mapping[str, str], language: Language) -> Response:
        screen = screen_of(form.get("shown", ""))
        view = await run_in_threadpool(self._read, form, tuple(screen), language)
        return await run_in_threadpool(self._draw, request, template, language, view, screen)

    def _read(self, form: Mapping[str, str], shown: tuple[int, ...], language: Language) -> ListView:
        mark = self._changes.mark  # before the rows: what changes meanwhile is told of once more
        worklist, query = self._worklist, form.get("q", "").strip()
        listing_query = ListingQuery(
            words=words(query, language),
            page=number_of(form.get("page", "")) or 1,
            size=LIMIT,
            after=number_of(form.get("newest", "")),
        )
        listing = worklist.listing(listing_query)
        present = {row.number for row in listing.rows}
        elsewhere = [number for number in shown if number not in present]
        return list_view(
            listing=listing,
            others=worklist.rows(elsewhere, listing_query.words) if elsewhere else (),
            health=worklist.health(),
            query=query,
            shown=shown,
            viewer_url=self._settings.viewer_url,
            mark=mark,
            now=self._clock(),
            language=language,
        )

    def _draw(
        self, request: Request, template: str, language: Language, view: ListView, screen: Mapping[int, str]
    ) -> Response:
        """The page; of rows that are on the screen only those that look different there."""
        drawn = {row.number: self._drawn(row, language.tag) for row in view.rows}
        rows = [row for number, row in drawn.items() if row.look != screen.get(number)]
        gone = [number for number in screen if number not in drawn]
        return self._page(request, template, language, view=view, rows=rows, gone=gone)

    def _drawn_anew(self, row: RowView, tag: str) -> "DrawnRow":
        language = self._languages[tag]
        look = hashlib.blake2b(f"{tag} {row}".encode("utf-8", "replace"), digest_size=6).hexdigest()
        html = self._templates.get_template("parts/row.html").render(
            say=language.say, row=row, look=look, has_viewer=bool(self._settings.viewer_url)
        )
        return DrawnRow(look, html)

    def _page(
        self, request: Request, template: str, language: Language, status: int = 200, **values: object
    ) -> Response:
        text = self._templates.get_template(template).render(
            say=language.say,
            language=language,
            languages=self._languages.values(),
            has_viewer=bool(self._settings.viewer_url),
            stale_after_s=self._settings.stale_after_s,
            **values,
        )
        answer = HTMLResponse(text, status)
        if request.query_params.get("lang") in self._languages:
            answer.set_cookie(LANGUAGE_COOKIE, language.tag, max_age=YEAR_S, httponly=True, samesite="lax")
        return answer


def language_of(request: Request, languages: Mapping[str, Language], settings: WebSettings) -> Language:
    """The language asked for in the address, else the one chosen before, else the site's.

    Not Accept-Language: workstations speak English to readers who do not.
    """
    for tag in (request.query_params.get("lang", ""), request.cookies.get(LANGUAGE_COOKIE, "")):
        if tag in languages:
            return languages[tag]
    return languages[settings.language]


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of an urlencoded form; nothing where it is longer than any of ours.

    Raises HTTPException where it takes longer than FORM_S to arrive.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM:
                    return {}
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def screen_of(text: str) -> Mapping[int, str]:
    """What a screen shows, in its order: `screen_of("3.ab12,1.ff00") == {3: "ab12", 1: "ff00"}`.

    Each row's number and look; what is not a number is left out.
    """
    pairs = [each.partition(".") for each in text.split(",")]
    read = [(number_of(number), look) for number, _, look in pairs]
    return {number: look for number, look in read if number is not None}


def number_of(text: str) -> int | None:
    """A number of a study or a page, None where it is none."""
    return int(text) if text.isdecimal() and len(text) < 19 else None
