"""The pages over HTTP, from a real server."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from web_site import EFFUSION, Site, analysed, finding, in_part, row, seven_states

from imaging.domain.alarms import Alarm, Kind, RoleHealth
from imaging.domain.findings import TriageClass
from imaging.domain.worklist import PageState
from imaging.web.app import LIMIT, screen_of

HOSTILE = "<script>alert(1)</script>^\"onmouseover='x' {{7*7}} &amp;"


def test_a_hostile_name_is_text_and_nothing_else(site: Site) -> None:
    for path, form in (("/", None), ("/rows", {}), ("/study/1", None)):
        site.worklist.listed = [
            row(
                1,
                PageState.FAILED,
                analysed(finding(EFFUSION, True), model="<b>m"),
                patient_name=HOSTILE,
                patient_id=HOSTILE,
                description=HOSTILE,
                institution=HOSTILE,
                sex=HOSTILE,
                age=HOSTILE,
                body_part=HOSTILE,
                modality="<i>",
            )
        ]
        answer, page = site.ask(path, form=form)
        assert answer.status == 200
        assert "<script>alert" not in page
        assert not re.search(r"<[^>]*[\"' ]onmouseover=", page)
        assert "<b>m" not in page
        assert "<i>" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{7*7}}" in page


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/rows", "/study/1", "/events", "/healthz", "/static/list.js"])
def test_another_host_is_refused_everywhere(site: Site, host: str, path: str) -> None:
    answer, page = site.ask(path, Host=host)
    assert answer.status == 421
    assert "NGUYỄN" not in page


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "[::1]:80", "127.0.0.1"])
def test_a_configured_host_is_answered_on_any_port(site: Site, host: str) -> None:
    assert site.ask("/", Host=host)[0].status == 200


def test_a_monitor_hears_what_the_head_of_the_page_shows(site: Site) -> None:
    site.worklist.roles, site.worklist.alarms = [RoleHealth("node", "up")], []
    answer, text = site.ask("/healthz")
    assert (answer.status, text) == (200, "ok")
    assert '<p class="alarms" aria-label="Needs attention"></p>' in site.ask("/?lang=en")[1]
    site.worklist.alarms = [
        Alarm(Kind.INODES, why="9 inodes free, reserve 10"),
        Alarm(Kind.DESTINATION, "PACS", 7, "no connection"),
    ]
    answer, text = site.ask("/healthz")
    assert answer.status == 503
    assert text.splitlines() == [
        "objects are refused: 9 inodes free, reserve 10",
        "PACS is down, 7 waiting: no connection",
    ]
    for lang, words in (
        ("en", ["Images are refused: the disk holds too many files", "PACS does not answer, reports waiting: 7"]),
        ("fr", ["Images refusées\xa0: le disque contient trop de fichiers", "PACS ne répond pas"]),
        ("vi", ["Từ chối ảnh: ổ đĩa có quá nhiều tệp", "PACS không trả lời, báo cáo đang chờ: 7"]),
    ):
        page = site.ask(f"/?lang={lang}")[1]
        assert all(each in page for each in words), lang
    assert "refuses images" in site.ask("/?lang=en")[1]


def test_two_hosts_in_one_request_are_refused(site: Site) -> None:
    connection = site.connect()
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", "localhost")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize("path", ["/", "/study/2", "/study/99", "/healthz", "/nothing", "/static/list.js"])
def test_every_answer_has_the_headers_of_the_design(site: Site, path: str) -> None:
    answer, _ = site.ask(path)
    policy = answer.getheader("Content-Security-Policy", "")
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "same-origin"
    assert answer.getheader("Cross-Origin-Opener-Policy") == "same-origin"
    assert answer.getheader("Cache-Control") == ("no-cache" if path.startswith("/static") else "private, no-store")
    assert answer.getheader("Server") is None


@pytest.mark.parametrize("path", ["/", "/study/2", "/study/99"])
def test_a_page_has_no_inline_script_or_style(site: Site, path: str) -> None:
    _, page = site.ask(path)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


def test_the_language_is_vietnamese_until_the_reader_chooses_and_then_kept(site: Site) -> None:
    assert '<html lang="vi">' in site.ask("/", Accept_Language="en")[1]
    answer, page = site.ask("/?lang=fr")
    assert '<html lang="fr">' in page
    cookie = answer.getheader("Set-Cookie", "")
    assert "lang=fr" in cookie
    assert "HttpOnly" in cookie
    assert '<html lang="fr">' in site.ask("/study/2", Cookie="lang=fr")[1]
    assert '<html lang="vi">' in site.ask("/?lang=xx", Cookie="lang=../etc")[1]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "vi",
            [
                "gắn cờ",
                "bị lỗi",
                "không phân tích",
                "đang phân tích",
                "chờ phân tích",
                "đang nhận ảnh",
                "phân tích một phần",
                "không gắn cờ",
            ],
        ),
        (
            "fr",
            [
                "signalé",
                "échec",
                "non analysé",
                "en analyse",
                "en attente",
                "en réception",
                "analysé en partie",
                "non signalé",
            ],
        ),
        (
            "en",
            ["flagged", "failed", "not analysed", "analysing", "waiting", "receiving", "analysed in part", "no flag"],
        ),
    ],
)
def test_each_state_has_a_word_and_a_shape_beside_its_colour(site: Site, lang: str, words: Any) -> None:
    site.worklist.listed.append(row(10, PageState.IN_PART, in_part()))
    _, page = site.ask("/rows", form={"lang": lang})
    body = page.split("<tbody")[1]
    for state, word in zip(PageState, words, strict=True):
        signs = re.findall(rf'<span class="sign is-{state}"><svg.*?<path.*?</svg><span>(.*?)</span>', body, re.DOTALL)
        assert signs
        assert set(signs) == {words[list(PageState).index(state)]}, word


def test_the_list_is_a_real_table(site: Site) -> None:
    _, page = site.ask("/")
    assert page.count('<th scope="col"') == 9
    assert page.count('<th scope="row"') == 9
    assert "<caption>" in page


def test_without_script_the_form_filters_and_no_name_enters_an_address(site: Site) -> None:
    answer, page = site.ask("/", form={"q": "đức"})
    assert answer.status == 200
    assert re.findall(r'<tr id="r(\d+)"', page) == ["2", "4"]
    assert 'value="đức"' in page
    assert "bộ lọc ẩn 7 ca" in page


def test_no_address_on_the_list_but_the_viewers_holds_an_identifier(site: Site) -> None:
    _, page = site.ask("/")
    links = [unquote(link) for link in re.findall(r'(?:href|src|action)="([^"]*)"', page)]
    own = [link for link in links if not link.startswith("https://viewer.example/")]
    assert not [link for link in own if "1.2.3" in link or "P1" in link or "NGUY" in link]
    assert sum(link.startswith("https://viewer.example/?study=1.2.3.") for link in links) == 9
    assert "<title>Danh sách ca chụp – imaging</title>" in page


def test_a_list_without_viewer_has_no_column_for_it(site_of: Callable[..., Site]) -> None:
    _, page = site_of(viewer_url="").ask("/")
    assert "data-viewer" not in page
    assert page.count('<th scope="col"') == 8


def numbers_on(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="r(\d+)"', page)]


def test_every_study_is_on_one_of_the_pages_and_flagged_ones_are_on_each(site: Site) -> None:
    bleed = analysed(finding(EFFUSION, True), flag=TriageClass.URGENT)
    flagged = [row(number, PageState.FLAGGED, bleed) for number in range(5000, 5000 + LIMIT + 1)]
    rest = [row(number, PageState.CLEAR) for number in range(1, LIMIT + 4)]
    site.worklist.listed = [*rest, *flagged]
    first, second = (numbers_on(site.ask("/?lang=en", form={"page": number})[1]) for number in ("1", "2"))
    assert first == [*range(1, LIMIT + 1), *range(5000, 5000 + LIMIT + 1)]
    assert second == [LIMIT + 1, LIMIT + 2, LIMIT + 3, *range(5000, 5000 + LIMIT + 1)]
    page = site.ask("/?lang=en")[1]
    assert "page 1 of 2" in page
    assert '<button form="filter" name="page" value="2">Next</button>' in page
    assert '<a id="to-flagged" href="#r5000"' in page
    assert numbers_on(site.ask("/", form={"page": "99999999999999999999"})[1]) == first
    assert numbers_on(site.ask("/", form={"page": "77"})[1]) == second


def test_of_an_open_page_only_the_rows_that_look_different_are_drawn_again(site: Site) -> None:
    shown = ",".join(f"{number}.{look}" for number, look in rows_of(site.ask("/rows", form={})[1]))
    assert rows_of(site.ask("/rows", form={"shown": shown})[1]) == []
    site.worklist.change(4, instances=77)
    site.worklist.listed = [each for each in site.worklist.listed if each.number != 5]
    page = site.ask("/rows", form={"shown": shown})[1]
    assert [number for number, _ in rows_of(page)] == ["4"]
    assert 'data-gone="5"' in page


def rows_of(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<tr id="r(\d+)"[^>]*data-look="([0-9a-f]+)"', page)


def test_a_row_that_a_filter_does_not_match_any_more_stays_true_on_the_screen(site: Site) -> None:
    page = site.ask("/rows", form={"q": "waiting", "lang": "en"})[1]
    assert [number for number, _ in rows_of(page)] == ["2", "7"]
    site.worklist.change(7, state=PageState.ANALYSING)
    page = site.ask("/rows", form={"q": "waiting", "lang": "en", "shown": "2.x,7.x"})[1]
    assert re.search(r'id="r7"[^>]*state-analysing', page)
    assert "order changed" in page


def test_a_study_page_shows_every_answer_with_numbers_reasons_and_cure(site: Site) -> None:
    answer, page = site.ask("/study/4?lang=fr")
    assert answer.status == 200
    for value in (
        "NGUYỄN VĂN ĐỨC",
        "Non trouvé\xa0: cardiomégalie – chest-film 1.4",
        "0,88",
        "0,50",
        "bone-age 0.3",
        "la région n’est pas une de celles du modèle",
        "Corriger Body Part Examined",
        "1.2.826.0.1.99.7",
    ):
        assert value in page
    assert "<title>Examen n° 4 – imaging</title>" in page


def test_each_row_has_a_study_page_in_each_language(site: Site) -> None:
    for each in seven_states():
        for lang in ("vi", "fr", "en"):
            assert site.ask(f"/study/{each.number}?lang={lang}")[0].status == 200


def test_a_study_that_is_not_there_is_said_kindly(site: Site) -> None:
    answer, page = site.ask("/study/99?lang=en")
    assert answer.status == 404
    assert "This study does not exist." in page


@pytest.mark.parametrize("number", ["9" * 18, str(2**63), "9" * 20, "9" * 200])
def test_a_number_too_long_for_any_study_is_not_found(site: Site, number: int) -> None:
    assert site.ask(f"/study/{number}")[0].status == 404


def test_a_fault_of_ours_is_answered_and_recorded_without_patient_data(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.worklist.fault = KeyError("NGUYỄN VĂN ĐỨC 1.2.3.4")
    answer, page = site.ask("/")
    assert answer.status == 500
    assert answer.getheader("Content-Security-Policy", "")
    assert "Lỗi đã được ghi lại" in page
    assert re.search(r"page_failed error=KeyError at web/app\.py:\d+ in \w+", caplog.text)
    assert "NGUYỄN" not in caplog.text + page
    assert "1.2.3.4" not in caplog.text + page


def test_no_log_holds_what_was_asked_for(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    site.ask("/rows", form={"q": "Đức"})
    site.ask("/study/4?MARK=NGUYEN")
    site.ask("/nothing/NGUYEN", "DELETE")
    assert "NGUYEN" not in caplog.text
    assert "Đức" not in caplog.text


def test_a_form_that_is_too_long_is_not_read(site: Site) -> None:
    everything, some = site.ask("/rows", form={})[1], site.ask("/rows", form={"q": "Đức"})[1]
    answer, page = site.ask("/rows", form={"q": "Đức", "more": "x" * 300_000})
    assert answer.status == 200
    assert page.count("<tr") == everything.count("<tr") > some.count("<tr")


def test_what_is_on_the_screen_is_read_as_numbers_or_not_at_all() -> None:
    assert screen_of("3.ab,1.,x.ab,-2.ab,٣.c,,2") == {3: "c", 1: "", 2: ""}
    assert screen_of("9" * 50) == {}


def test_a_server_with_open_pages_ends_within_its_grace(site_of: Callable[..., Site]) -> None:
    site = site_of()
    connections = [site.connect() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/events?since=")
        connection.getresponse().readline()
    site.stop()
    for connection in connections:
        connection.close()
