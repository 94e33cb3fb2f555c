"""The open list in Chromium: keys, values in place, an order that waits for the reader, and no refused policy.

`page.wait_for_function` and inline scripts die under our policy, so conditions are awaited through locators.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from web_site import EFFUSION, HEALTH, NOW, Site, analysed, finding, row, seven_states

from imaging.domain.alarms import Alarm, Kind
from imaging.domain.findings import TriageClass
from imaging.domain.reasons import Reason
from imaging.domain.worklist import PageState

SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) {
    window.shifts += shift.value;
    window.moved = shift.sources.map(({ node }) => node && (node.outerHTML || node.textContent).slice(0, 200));
  }
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def opened(browser: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens the list. Ends by failing on anything that the console or a script complained of."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(10_000)
    complaints: list[str] = []

    def watch(page: Any) -> None:
        page.on("console", lambda value: complaints.append(value.text) if value.type in ("error", "warning") else None)
        page.on("pageerror", lambda fault: complaints.append(str(fault)))

    context.on("page", watch)
    context.add_init_script(SHIFTS)

    def open_list(path: str = "/?lang=en") -> Any:
        page = context.new_page()
        page.goto(site.url + path)
        if path.startswith("/?"):
            page.locator("#live.is-live").wait_for()
        return page

    yield open_list
    context.close()
    assert complaints == []


def focused(page: Any) -> Any:
    return page.locator(":focus")


def order(page: Any) -> list[str]:
    return [each.get_attribute("data-number") for each in page.locator("tr.row").all()]


def clock_of(page: Any) -> Any:
    return page.locator("#live time")


@pytest.mark.parametrize(
    ("lang", "title"), [("vi", "Danh sách ca chụp"), ("fr", "Liste de travail"), ("en", "Worklist")]
)
def test_each_language_draws_all_rows_whole(opened: Callable[..., Any], lang: str, title: str) -> None:
    page = opened(f"/?lang={lang}")
    assert page.locator("h1").inner_text() == title
    assert page.locator("tr.row").count() == 9
    heights = {round(each.bounding_box()["height"]) for each in page.locator("tr.row").all()}
    assert len(heights) == 1, "rows differ in height"
    cut = page.locator("td .sign").evaluate_all(
        "signs => signs.filter(s => s.getBoundingClientRect().right > s.parentElement.getBoundingClientRect().right)"
        ".map(s => s.textContent)"
    )
    assert cut == []
    cut = page.locator("td .chip").evaluate_all(
        "chips => chips.filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.textContent)"
    )
    assert cut == []
    small = page.locator("a, button, input").evaluate_all(
        "all => all.filter(e => e.offsetParent && !e.matches('.skip') && Math.min(e.offsetWidth, e.offsetHeight) < 24)"
        ".map(e => e.outerHTML)"
    )
    assert small == []


@pytest.mark.parametrize("width", [1280, 720, 390])
def test_a_zoomed_or_narrow_page_needs_no_sideways_scrolling_and_shows_when_a_study_is_due(
    opened: Callable[..., Any], width: int
) -> None:
    page = opened("/?lang=vi")
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for cell in ("class", "due", "wait", "patient", "state", "answer"):
        box = page.locator(f"#r3 .{cell}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_the_list_is_walked_and_opened_by_keys_alone(opened: Callable[..., Any], site: Site) -> None:
    page = opened()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert focused(page).get_attribute("id") == "r2"
    assert page.locator('tr[tabindex="0"]').count() == 1
    page.keyboard.press("?")
    page.locator("#help[open]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    assert focused(page).get_attribute("id") == "r2"
    page.keyboard.press("a")
    page.wait_for_url("**/study/2")
    page.keyboard.press("Escape")
    page.wait_for_url("**/#r2")
    page.locator("#r2:focus").wait_for()


def test_enter_opens_the_viewer_of_the_row(opened: Callable[..., Any], site: Site) -> None:
    page = opened()
    page.context.route(
        "https://viewer.example/**", lambda route: route.fulfill(body="viewer", content_type="text/plain")
    )
    page.keyboard.press("j")
    with page.context.expect_page() as viewer:
        page.keyboard.press("Enter")
    assert viewer.value.url == "https://viewer.example/?study=1.2.3.1&patient=P1"
    assert viewer.value.evaluate("document.referrer") == ""


def test_letters_typed_into_the_search_are_letters_and_the_list_folds_their_marks(opened: Callable[..., Any]) -> None:
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("đuc")
    page.locator("#counts .hidden-count", has_text="7 hidden").wait_for()
    assert order(page) == ["2", "4"]
    assert page.url.endswith("/?lang=en")
    page.keyboard.press("Escape")
    assert focused(page).get_attribute("data-number") in ("2", "4")
    page.keyboard.press("/")
    page.keyboard.press("Delete")
    page.locator("#r9").wait_for()
    assert len(order(page)) == 9


def test_letter_keys_can_be_switched_off(opened: Callable[..., Any]) -> None:
    page = opened()
    page.locator("#keys").click()
    page.locator("#letters").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help[open]").count() == 0
    page.reload()
    assert not page.locator("#letters").is_checked()


def test_values_change_in_place_and_nothing_moves_under_the_reader(opened: Callable[..., Any], site: Site) -> None:
    page = opened()
    for _ in range(4):
        page.keyboard.press("j")
    link = page.locator("#r4 [data-answers]")
    link.focus()
    top = page.locator("#r4").bounding_box()
    page.evaluate("window.shifts = 0")
    states = list(PageState)
    for turn in range(3):
        for number in range(1, 10):
            site.worklist.change(
                number,
                state=states[(turn + number) % 7],
                instances=1000 + turn,
                conflicts=turn,
                is_changed=turn != 1,
                results=(analysed(finding(EFFUSION, turn == 1)),) * turn,
                reason=Reason("slices-missing", "3"),
                band=turn % 2,
                due_at=NOW + timedelta(minutes=200 * (1 - turn)),
            )
        site.worklist.roles = [replace(each, state=("up", "crashing", "down")[turn]) for each in HEALTH]
        site.announce()
        page.locator("#r4 .images", has_text=f"1,00{turn}").wait_for()
    assert page.evaluate("window.shifts") == 0, page.evaluate("window.moved")
    assert focused(page).get_attribute("href") == "/study/4"
    assert page.locator("#r4").bounding_box() == top
    assert order(page) == [str(number) for number in range(1, 10)]


def test_new_studies_are_counted_and_placed_only_when_the_reader_asks(opened: Callable[..., Any], site: Site) -> None:
    page = opened()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.evaluate("window.shifts = 0")
    bleed = row(20, PageState.FLAGGED, analysed(finding(EFFUSION, True), flag=TriageClass.STAT))
    site.worklist.listed = [bleed, *[each for each in seven_states()[::-1] if each.number != 9]]
    site.announce()
    page.locator("#news", has_text="1 new, 1 of them AI STAT, order changed").wait_for()
    assert page.locator("#said").inner_text() == "1 new, 1 of them AI STAT, order changed"
    assert order(page) == [str(number) for number in range(1, 10)]
    assert page.locator("#r9.gone").count() == 1
    assert page.evaluate("window.shifts") == 0, page.evaluate("window.moved")
    page.keyboard.press("r")
    page.locator("#r20").wait_for()
    assert order(page) == ["20", "8", "7", "6", "5", "4", "3", "2", "1"]
    assert focused(page).get_attribute("id") == "r2"
    assert page.locator("#news").inner_text() == ""


def test_a_list_of_several_pages_is_turned_by_buttons_and_hears_of_every_study(
    opened: Callable[..., Any], site: Site
) -> None:
    stat = analysed(finding(EFFUSION, True), flag=TriageClass.STAT)
    site.worklist.listed = [row(number, PageState.CLEAR) for number in range(1, 603)]
    page = opened()
    assert page.locator("tr.row").count() == 500
    page.locator("#more button", has_text="Next").click()
    page.locator('#rows[data-page="2"]').wait_for()
    assert order(page) == [str(number) for number in range(501, 603)]
    assert focused(page).get_attribute("id") == "r501"
    page.evaluate("window.shifts = 0")
    site.worklist.change(1, flag=TriageClass.STAT, state=PageState.FLAGGED, results=(stat,))
    site.worklist.change(602, instances=4711)
    site.worklist.listed.append(row(700, PageState.WAITING))
    site.announce()
    page.locator("#r602 .images", has_text="4,711").wait_for()
    page.locator("#news", has_text="2 new, 1 of them AI STAT").wait_for()
    page.locator("#counts", has_text="603 studies").wait_for()
    assert page.evaluate("window.shifts") == 0, page.evaluate("window.moved")
    page.keyboard.press("r")
    page.locator("#r1.state-flagged").wait_for()
    assert page.locator("#rows").get_attribute("data-page") == "2"
    page.keyboard.press("/")
    page.keyboard.type("P300")
    page.locator('#rows[data-page="1"] #r300').wait_for()
    assert order(page) == ["1", "300"]
    assert focused(page).get_attribute("id") == "q"


def test_a_list_of_several_pages_is_turned_without_script(browser: Any, site: Site) -> None:
    site.worklist.listed = [row(number, PageState.CLEAR) for number in range(1, 603)]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url + "/?lang=en")
    page.locator("#q").fill("nguyen")
    page.locator("#filter button").click()
    page.locator("#more button", has_text="Next").click()
    page.locator("#r602").wait_for()
    assert page.locator("tr.row").count() == 102
    assert page.locator("#q").input_value() == "nguyen"
    context.close()


def test_a_hostile_name_that_arrives_live_stays_text(opened: Callable[..., Any], site: Site) -> None:
    page = opened()
    site.worklist.change(1, patient_name="<script>alert(1)</script>", description="<img src=x onerror=alert(2)>")
    site.announce()
    page.locator("#r1 .name", has_text="<script>alert(1)</script>").wait_for()
    assert page.locator("#r1 img, #r1 script").count() == 0


def test_two_pages_of_a_browser_share_one_stream_and_both_stay_true(opened: Callable[..., Any], site: Site) -> None:
    first, second = opened(), opened()
    streams = "performance.getEntriesByType('resource').filter(e => e.name.includes('/events')).length"
    site.worklist.change(1, instances=4711)
    site.announce()
    for page in (first, second):
        page.locator("#r1 .images", has_text="4,711").wait_for()
    assert second.evaluate(streams) == 0
    first.close()
    site.worklist.change(1, instances=4712)
    site.announce()
    second.locator("#r1 .images", has_text="4,712").wait_for()


def test_due_times_follow_the_servers_clock(browser: Any, site_of: Callable[..., Site]) -> None:
    site = site_of(heartbeat_s=0.2)
    page = browser.new_page()
    page.goto(site.url + "/?lang=en")
    assert page.locator("#r4 .due").inner_text() == "in 48 min"
    site.now += timedelta(minutes=50)
    page.locator("#r4.late .due", has_text="late 2 min").wait_for(timeout=10_000)
    page.close()


def lights(page: Any) -> tuple[set[str], set[str]]:
    """The roles' words, and the colours of their signs."""
    signs = page.locator("#health li .sign")
    return set(signs.all_inner_texts()), set(signs.evaluate_all("all => all.map(e => getComputedStyle(e).color)"))


GREY = "rgb(160, 173, 186)"


def test_ten_seconds_after_its_server_is_gone_a_page_says_so_and_every_light_is_grey(
    browser: Any, site_of: Callable[..., Site]
) -> None:
    site = site_of()
    page = browser.new_page()
    page.clock.install()
    page.goto(site.url + "/?lang=vi")
    page.locator("#live.is-live").wait_for()
    site.stop()
    page.clock.run_for(9_000)
    assert page.locator("#live.is-stale").count() == 0
    page.clock.run_for(2_000)
    page.locator("#live.is-stale").wait_for(timeout=10_000)
    assert re.fullmatch(
        r"ngừng cập nhật từ \d\d:\d\d:\d\d UTC[+-]\d\d:\d\d", " ".join(page.locator("#live").inner_text().split())
    )
    assert lights(page) == ({"không rõ"}, {GREY})
    assert page.locator("#health .alarms").inner_text() == "Máy chủ không trả lời. Thông tin hiển thị ở đây đã cũ."
    assert page.locator("tr.row").count() == 9
    page.close()


def test_the_lights_come_back_with_the_server(browser: Any, site_of: Callable[..., Site]) -> None:
    site = site_of(heartbeat_s=0.2, stale_after_s=0.6)
    page = browser.new_page()
    page.goto(site.url + "/?lang=en")
    page.locator("#live.is-live").wait_for()
    before = lights(page)
    site.stop()
    page.locator("#health.unanswered").wait_for(timeout=10_000)
    assert lights(page) == ({"unknown"}, {GREY})
    site_of(port=site.port)
    page.locator("#health:not(.unanswered)").wait_for(timeout=10_000)
    assert lights(page) == before
    page.close()


def test_the_head_tells_at_once_that_images_are_refused_and_reports_wait(
    opened: Callable[..., Any], site: Site
) -> None:
    page = opened()
    site.worklist.alarms = [
        Alarm(Kind.DISK, why="3 MiB free, reserve 2048 MiB"),
        Alarm(Kind.DESTINATION, "PACS", 1200, "no connection: refused"),
    ]
    site.announce()
    page.locator("#health li", has_text="Receiving refuses images").wait_for()
    page.locator("#health li", has_text="Delivery cannot send").wait_for()
    value = page.locator("#health .alarms span").all_inner_texts()
    assert value == [
        "Images are refused: the disk is full: 3 MiB free, reserve 2048 MiB",
        "PACS does not answer, reports waiting: 1,200: no connection: refused",
    ]


def test_the_list_can_be_read_and_filtered_without_script(browser: Any, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url + "/?lang=fr")
    page.locator("#q").fill("duc")
    page.locator("#filter button").click()
    page.locator("a", has_text="Tout afficher").wait_for()
    assert page.locator("tr.row").count() == 2
    page.locator("#r4 [data-answers]").click()
    page.locator("h1", has_text="NGUYỄN VĂN ĐỨC").wait_for()
    context.close()
