"""The pages: which address shows what. Reading and deciding happen elsewhere; here they meet a request.

No address holds a patient's data: a study goes by our row number, and a filter is sent in a request's body.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from imaging.domain.worklist import Worklist
from imaging.web.events import Changes, EventSource
from imaging.web.guard import Guard
from imaging.web.languages import Language, load_languages
from imaging.web.settings import WebSettings
from imaging.web.view import ListView, list_view, study_view

HERE: Final = Path(__file__).parent
LIMIT: Final = 500
"""Rows on a page; how many more there are is said below them."""
LARGEST_NUMBER: Final = 2**63 - 1
"""Of a study, in either database."""
LANGUAGE_COOKIE: Final = "lang"
YEAR_S: Final = 365 * 24 * 3600
LONGEST_FORM: Final = 64 * 1024


def utc_now() -> datetime:
    return datetime.now(UTC)


def shown_of(worklist: Worklist) -> object:
    """All that the list page shows of the ledger: equal where nothing changed."""
    return worklist.rows(LIMIT), worklist.count(), worklist.health()


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
    changes = Changes(events, partial(shown_of, worklist), settings.heartbeat_s, clock)
    sorry = "\n".join(each.say("page.trouble") for each in languages.values())
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
            Middleware(Guard, sorry=sorry),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4),
        ],
        lifespan=lifespan,
    )
    app.state.changes = changes
    return app


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
        language = language_of(request, self._languages, self._settings)
        number = request.path_params["number"]
        row = await run_in_threadpool(self._worklist.numbered, number) if number <= LARGEST_NUMBER else None
        if row is None:
            return self._page(request, "missing.html", language, status=404)
        view = study_view(row, self._settings.viewer_url, self._clock(), language)
        return self._page(request, "study.html", language, view=view)

    async def events(self, request: Request) -> Response:
        """Changes, from the mark that the page has seen on (Last-Event-ID after a break)."""
        seen = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return StreamingResponse(
            self._changes.stream(seen), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _listing(self, request: Request, template: str, form: Mapping[str, str], language: Language) -> Response:
        view = await run_in_threadpool(self._read, form.get("q", "").strip(), numbers(form.get("shown", "")), language)
        return await run_in_threadpool(self._page, request, template, language, view=view)

    def _read(self, query: str, shown: tuple[int, ...], language: Language) -> ListView:
        mark = self._changes.mark  # before the rows: what changes meanwhile is told of once more
        worklist = self._worklist
        return list_view(
            rows=worklist.rows(LIMIT),
            count=worklist.count(),
            health=worklist.health(),
            query=query,
            shown=shown,
            viewer_url=self._settings.viewer_url,
            mark=mark,
            now=self._clock(),
            language=language,
        )

    def _page(
        self, request: Request, template: str, language: Language, status: int = 200, **values: object
    ) -> Response:
        text = self._templates.get_template(template).render(
            say=language.say,
            language=language,
            languages=self._languages.values(),
            has_viewer=bool(self._settings.viewer_url),
            stale_after_s=3 * self._settings.heartbeat_s,
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
    """The fields of an urlencoded form; nothing where it is longer than any of ours."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def numbers(text: str) -> tuple[int, ...]:
    """`numbers("3,1,2") == (3, 1, 2)`; what is not a number is left out."""
    return tuple(int(each) for each in text.split(",") if each.isdecimal() and len(each) < 19)
