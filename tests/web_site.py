"""A real server on loopback over a worklist in memory. The worklist is the seam: a list of rows."""

import asyncio
import contextlib
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from shown_rows import is_in

from imaging.domain.alarms import Alarm, Health, Kind, RoleHealth
from imaging.domain.codes import Code
from imaging.domain.coverage import Coverage
from imaging.domain.findings import Answer, Finding, State, TriageClass
from imaging.domain.header import Header
from imaging.domain.reasons import Reason
from imaging.domain.worklist import Listing, ListingQuery, PageState, Row, Word, search_text_of
from imaging.web.app import create_app
from imaging.web.serving import serve
from imaging.web.settings import WebSettings

NOW = datetime(2026, 11, 23, 9, 31, 4, tzinfo=UTC)

EFFUSION = Code("SCT", "60046008", "Pleural effusion")
CARDIOMEGALY = Code("99IMAGING", "cardiomegaly", "Cardiomegaly")
ABNORMAL = Code("99IMAGING", "abnormal", "Abnormal chest film")
BLEED = Code("SCT", "1386000", "Intracranial hemorrhage")


def finding(code: Code, present: bool | None, probability: float | None = 0.5) -> Finding:
    return Finding(code, present, probability, 0.5)


def analysed(*findings: Finding, flag: TriageClass | None = None, model: str = "chest-film") -> Answer:
    return Answer(State.ANALYSED, findings, triage=flag, model=model, version="1.4", sr="1.2.826.0.1.99.7")


def refused(reason: str, model: str | None = "head-ct-bleed") -> Answer:
    return Answer(State.NOT_ANALYSED, reason=Reason.parse(reason), model=model, version="0.3" if model else None)


def failed() -> Answer:
    return Answer(State.FAILED, fault="poison: worker died 3 times", model="chest-film", version="1.4")


def in_part() -> Answer:
    """Fifteen slices lay elsewhere and made no stack."""
    seen = Coverage(25, {"orientation-mixed": 15})
    return replace(analysed(finding(BLEED, None, 0.1), model="head-ct-bleed"), coverage=seen)


def row(number: int, state: PageState, *results: Answer, **value: Any) -> Row:
    """A row received 10 minutes ago; what a test does not say is ordinary."""
    flags = [result.flag for result in results if result.flag]
    ordinary = Row(
        number=number,
        study_uid=f"1.2.3.{number}",
        patient_name=f"NGUYỄN^VĂN^SỐ {number}",
        patient_id=f"P{number}",
        issuer="BV01",
        sex="M",
        age="056Y",
        modality="DX",
        body_part="CHEST",
        description="Ngực thẳng",
        accession_number=f"A{number}",
        institution="BV Đa khoa Huyện",
        study_date="20261123",
        received_at=NOW - timedelta(minutes=10),
        due_at=NOW + timedelta(minutes=230),
        band=1,
        state=state,
        reason=next((result.reason for result in results if result.state is State.NOT_ANALYSED), None),
        flag=flags[0] if flags else None,
        results=results,
        instances=2,
        conflicts=0,
        is_changed=False,
        search_text="",
    )
    return replace_row(ordinary, **value)


def replace_row(row: Row, **value: Any) -> Row:
    """The row with other values, and with what a search then looks at."""
    changed = replace(row, **value)
    header = Header(
        *("",) * 5,
        modality=changed.modality,
        patient_id=changed.patient_id,
        issuer_of_patient_id=changed.issuer,
        patient_name=changed.patient_name,
        accession_number=changed.accession_number,
        institution_name=changed.institution,
        study_description=changed.description,
        body_part_examined=changed.body_part,
    )
    return replace(changed, search_text=search_text_of(header))


def seven_states() -> list[Row]:
    """A row in each of the seven states, with the chips, the classes and the names that are hard to draw."""
    late, soon = NOW - timedelta(minutes=8), NOW + timedelta(minutes=21)
    head: dict[str, Any] = {"modality": "CT", "body_part": "HEAD", "description": "CT sọ não không thuốc"}
    return [
        row(
            1,
            PageState.ANALYSING,
            patient_name="TRẦN^THỊ ÁNH",
            sex="F",
            age="067Y",
            band=0,
            due_at=soon,
            instances=312,
            **head,
        ),
        row(
            2,
            PageState.FLAGGED,
            replace(
                analysed(finding(BLEED, True, 0.94), flag=TriageClass.STAT, model="head-ct-bleed"), is_synthetic=True
            ),
            patient_name="ĐỖ^THỊ HẠNH",
            sex="F",
            age="081Y",
            due_at=NOW + timedelta(minutes=20),
            instances=298,
            is_changed=True,
            **head,
        ),
        row(
            3,
            PageState.NOT_ANALYSED,
            refused("slices-missing: 12"),
            patient_name="PHẠM^HOA",
            sex="F",
            age="040Y",
            received_at=NOW - timedelta(minutes=248),
            due_at=late,
            instances=36,
            conflicts=2,
            is_changed=True,
            **head,
        ),
        row(
            4,
            PageState.FLAGGED,
            analysed(
                finding(EFFUSION, True, 0.88),
                finding(CARDIOMEGALY, False, 0.2),
                finding(ABNORMAL, True, 0.91),
                flag=TriageClass.URGENT,
            ),
            refused("body-part", model="bone-age"),
            patient_name="NGUYỄN^VĂN ĐỨC",
            due_at=NOW + timedelta(minutes=48),
        ),
        row(5, PageState.FAILED, failed(), patient_name="LÊ^MINH", age="008Y", due_at=NOW + timedelta(minutes=130)),
        row(
            6,
            PageState.CLEAR,
            analysed(finding(EFFUSION, False, 0.03), finding(CARDIOMEGALY, False, 0.11), finding(ABNORMAL, None, 0.4)),
            patient_name="VÕ^NGỌC BẢO TRÂN",
            sex="F",
            age="029Y",
        ),
        row(7, PageState.WAITING, patient_name="", patient_id="", issuer="", sex="", age="", description=""),
        row(
            8,
            PageState.RECEIVING,
            patient_name="YAMADA^TAROU=山田^太郎=やまだ^たろう",
            age="003M",
            instances=14,
            **head,
        ),
        row(
            9,
            PageState.NOT_ANALYSED,
            refused("no-model", model=None),
            modality="MR",
            body_part="KNEE",
            description="MRI khớp gối",
        ),
    ]


HEALTH = [
    RoleHealth("node", "up"),
    RoleHealth("worker", "crashing", "OSError: engine chest-film: memory exhausted"),
    RoleHealth("deliver", "up"),
    RoleHealth("web", "up"),
]


ALARMS = [Alarm(Kind.ROLE, "worker", why="OSError: engine chest-film: memory exhausted", state="crashing")]


@dataclass
class MemoryWorklist:
    """The seam: what the ledger would answer."""

    listed: list[Row] = field(default_factory=seven_states)
    roles: list[RoleHealth] = field(default_factory=lambda: list(HEALTH))
    alarms: list[Alarm] = field(default_factory=lambda: list(ALARMS))
    fault: Exception | None = None

    def listing(self, query: ListingQuery) -> Listing:
        """The rows of the list in the order in which a test put them."""
        if self.fault:
            raise self.fault
        passing = [row for row in self.listed if all(is_in(word, row) for word in query.words)]
        flagged = [row for row in self.listed if row.flag is TriageClass.STAT or (row.flag and row in passing)]
        rest = [row for row in passing if row.flag is None]
        pages = max(1, -(-len(rest) // query.size))
        page = min(query.page, pages)
        chosen = [*flagged, *rest[(page - 1) * query.size : page * query.size]]
        return Listing(
            rows=tuple(replace(row, passes=row in passing) for row in sorted(chosen, key=self.listed.index)),
            page=page,
            pages=pages,
            hidden=len(self.listed) - len(flagged) - len(rest),
            total=len(self.listed),
            counts=Counter(row.state for row in self.listed),
            newest=max((row.number for row in self.listed), default=0),
            new=frozenset(row.number for row in passing if query.after is not None and row.number > query.after),
        )

    def rows(self, numbers: Sequence[int], words: Sequence[Word] = ()) -> list[Row]:
        chosen = [row for row in self.listed if row.number in numbers]
        return [replace(row, passes=all(is_in(word, row) for word in words)) for row in chosen]

    def numbered(self, number: int) -> Row | None:
        number.to_bytes(8, signed=True)  # a database has no larger ones, and raises as this does
        return next((each for each in self.listed if each.number == number), None)

    def revision(self) -> object:
        return list(self.listed), self.health().look

    def health(self) -> Health:
        return Health(tuple(self.roles), tuple(self.alarms))

    def reset(self) -> None:
        self.listed, self.roles, self.fault = seven_states(), list(HEALTH), None
        self.alarms = list(ALARMS)

    def change(self, number: int, **value: Any) -> None:
        self.listed = [replace_row(each, **value) if each.number == number else each for each in self.listed]


class WakeUps:
    """Changes, told from the test's thread."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    async def next_change(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def tell(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._changed.set)


class Site:
    """A server in a thread of its own."""

    def __init__(self, settings: WebSettings, port: int = 0) -> None:
        self.worklist = MemoryWorklist()
        self.now = NOW
        self._wake_ups = WakeUps()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._is_ready = threading.Event()
        self._app = create_app(self.worklist, self._wake_ups, settings, clock=lambda: self.now)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await serve(self._app, self._listener, self._is_ready.set, self._stop)

    def start(self) -> None:
        self._thread.start()
        assert self._is_ready.wait(10)

    def stop(self) -> None:
        """Raises where the server does not end within 10 s."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not end"

    def reset(self) -> None:
        self.worklist.reset()
        self.now = NOW

    def announce(self) -> None:
        self._wake_ups.tell(self._loop)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(
        self, path: str, method: str = "GET", form: dict[str, str] | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = self.connect()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            method, sent["Content-Type"] = "POST", "application/x-www-form-urlencoded"
        with contextlib.closing(connection):
            connection.request(method, path, urlencode(form or {}), sent)
            answer = connection.getresponse()
            return answer, answer.read().decode()
