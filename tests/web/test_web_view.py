from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_site import ABNORMAL, CARDIOMEGALY, EFFUSION, HEALTH, NOW, MemoryWorklist, analysed, finding, row, seven_states

from imaging.domain.alarms import Alarm, Kind
from imaging.domain.findings import NO_GOLDEN_CASE, TriageClass
from imaging.domain.worklist import Listing, ListingQuery, PageState
from imaging.web import view
from imaging.web.languages import load_languages

EN, FR, VI = (load_languages()[each] for each in ("en", "fr", "vi"))
RECEIVING = PageState.RECEIVING


def listed(rows: Any, query: str = "", shown: Any = (), after: Any = None, language: Any = EN) -> view.ListView:
    worklist = MemoryWorklist(list(rows))
    listing_query = ListingQuery(view.words(query, language), after=after)
    return view.list_view(
        worklist.listing(listing_query), (), worklist.health(), query, shown, "", "mark", NOW, language
    )


def test_rows_keep_the_order_in_which_the_worklist_gives_them() -> None:
    assert [each.number for each in listed(seven_states()[::-1]).rows] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_the_head_counts_each_of_the_eight_states_the_most_pressing_first() -> None:
    counts = [(str(each.state), each.n) for each in listed(seven_states()).counts]
    assert counts[:3] == [("flagged", "2"), ("failed", "1"), ("not_analysed", "2")]
    assert len(counts) == 8


@pytest.mark.parametrize("query", ["duc", "ĐỨC nguyen", "p4", "tran dich mang phoi", "bv01 p4", "gan co duc"])
def test_a_filter_finds_by_name_identifier_finding_and_state_without_marks(query: str) -> None:
    rows = [each for each in seven_states() if each.flag is not TriageClass.STAT]
    shown = listed(rows, query, language=VI)
    assert [each.number for each in shown.rows] == [4]
    assert shown.hidden == "bộ lọc ẩn 7 ca"


def test_a_study_that_a_model_calls_stat_passes_every_filter_and_says_so() -> None:
    shown = listed(seven_states(), "duc")
    assert [(each.number, bool(each.kept)) for each in shown.rows] == [(2, True), (4, False)]
    assert shown.hidden == "7 hidden by the filter"


@pytest.mark.parametrize(
    ("page", "pages", "shown"),
    [
        (1, 1, ("", 0, 0, 0, 0)),
        (1, 9, ("page 1 of 9", 0, 0, 2, 9)),
        (5, 9, ("page 5 of 9", 1, 4, 6, 9)),
        (9, 9, ("page 9 of 9", 1, 8, 0, 0)),
    ],
)
def test_the_pages_of_a_long_list_lead_to_each_other(page: Any, pages: int, shown: Any) -> None:
    listing = Listing((), page, pages, 0, 0, {}, 0, frozenset())
    assert view.pager(listing, EN) == view.PagerView(*shown)


def test_the_head_counts_the_whole_ledger_and_not_the_page() -> None:
    rows = [row(number, PageState.FAILED) for number in range(1, 701)]
    shown = listed(rows)
    assert (shown.studies, len(shown.rows)) == ("700 studies", 500)
    assert [each.n for each in shown.counts if each.state is PageState.FAILED] == ["700"]


@pytest.mark.parametrize(
    ("minutes", "due", "is_late"), [(12, "in 12 min", False), (-8, "late 8 min", True), (0, "in 0 min", False)]
)
def test_due_counts_down_and_then_says_late(minutes: float, due: Any, is_late: bool) -> None:
    shown = listed([row(1, RECEIVING, due_at=NOW + timedelta(minutes=minutes))]).rows[0]
    assert (shown.due, shown.is_late) == (due, is_late)


def test_a_clock_that_stepped_back_does_not_make_waiting_negative() -> None:
    assert listed([row(1, RECEIVING, received_at=NOW + timedelta(minutes=5))]).rows[0].wait == "0 min"


def test_a_viewers_address_takes_each_value_percent_encoded_whole() -> None:
    hostile = row(1, RECEIVING, patient_id='P 1/&?#"<{study_uid}', study_uid="1.2.3")
    link = view.viewer_link("https://v/{study_uid}?p={patient_id}", hostile)
    assert link == "https://v/1.2.3?p=P%201%2F%26%3F%23%22%3C%7Bstudy_uid%7D"


def test_the_head_says_what_a_refresh_would_bring() -> None:
    bleed = row(9, PageState.FLAGGED, analysed(finding(EFFUSION, True), flag=TriageClass.STAT))
    rows = [bleed, row(2, RECEIVING), row(1, RECEIVING), row(3, RECEIVING)]
    shown = listed(rows, shown=(1, 2))
    assert shown.news == "2 new, 1 of them AI STAT, order changed"
    assert shown.has_stat_news
    assert listed(rows, shown=(9, 2, 1, 3)).news == ""
    assert listed(rows).news == ""


def test_a_new_study_is_told_on_a_page_to_which_it_does_not_belong() -> None:
    rows = [row(number, RECEIVING) for number in range(1, 503)]
    on_screen = range(1, 501)
    assert listed(rows, shown=on_screen, after=500).news == "2 new"
    assert listed(rows, shown=on_screen, after=502).news == ""


@settings(deadline=None)  # the first example loads what later ones have
@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_only_a_changed_order_among_the_rows_on_the_screen_counts_as_changed(order: Any, on_screen: Any) -> None:
    rows = [row(number, RECEIVING) for number in order]
    shown = [number for number in order if number in on_screen]
    assert "order" not in listed(rows, shown=shown).news
    assert ("order" in listed(rows, shown=shown[::-1]).news) is (len(shown) > 1)


def test_a_row_says_how_many_images_are_in_conflict_and_how_many_were_corrected() -> None:
    for conflicts, corrections, tone, text in (
        (0, 0, "conflict", ""),
        (2, 0, "conflict", "2 conflicts"),
        (0, 1, "corrected", "1 corrected"),
        (1, 3, "conflict", "1 conflict, 3 corrected"),
    ):
        (drawn,) = listed([row(1, PageState.CLEAR, conflicts=conflicts, corrections=corrections)]).rows
        assert (drawn.chips[0].tone, drawn.chips[0].text) == (tone, text)


def test_a_role_that_keeps_crashing_is_shown_in_its_place_with_its_last_error() -> None:
    seen = listed([])
    assert [(role.word, role.state) for role in seen.roles[:2]] == [("Receiving", "up"), ("Analysis", "crashing")]
    assert seen.alarms == (f"Analysis: keeps crashing: {HEALTH[1].error}",)


def test_each_alarm_is_said_in_each_language() -> None:
    for language in load_languages().values():
        for kind in Kind:
            text = view.alarm_text(Alarm(kind, "PACS", 3, "why", "stopped", timedelta(hours=3)), language)
            assert "{" not in text, text
            assert text.endswith(": why"), text


def test_the_model_and_its_version_stand_on_the_row_or_how_many_answered() -> None:
    shown = {each.number: each.answers for each in listed(seven_states()).rows}
    assert (shown[2], shown[4], shown[7]) == ("head-ct-bleed 1.4", "2 answers", "details")


def test_a_model_that_was_measured_on_drawn_images_alone_says_so_wherever_it_is_named() -> None:
    bleed = replace(analysed(finding(EFFUSION, False), model="head-ct-bleed"), is_synthetic=True)
    shown = listed([row(1, PageState.CLEAR, bleed)], language=VI).rows[0]
    assert (shown.answers, shown.caution.text) == ("head-ct-bleed 1.4", "dữ liệu tổng hợp")
    assert listed(seven_states(), language=VI).rows[5].caution == view.Caution("", "")
    assert shown.lines[0].text == "Không tìm thấy: tràn dịch màng phổi – head-ct-bleed 1.4 (dữ liệu tổng hợp)"
    assert view.answer_view(bleed, EN).model == "head-ct-bleed 1.4 (synthetic)"


def test_an_unproven_model_and_a_finding_near_chance_say_so_beside_the_finding_in_each_language() -> None:
    weak = replace(finding(ABNORMAL, True), is_near_chance=True)
    unproven = replace(analysed(weak, finding(EFFUSION, False)), unproven=NO_GOLDEN_CASE)
    for language, near, word in (
        (EN, "near chance", "unproven"),
        (FR, "proche du hasard", "non éprouvé"),
        (VI, "gần như ngẫu nhiên", "chưa kiểm chứng"),
    ):
        (drawn,) = listed([row(1, PageState.CLEAR, unproven)], language=language).rows
        assert (drawn.caution.text, near in drawn.lines[0].text, word in drawn.lines[0].text) == (word, True, True)
        assert [each.caution.text for each in view.answer_view(unproven, language).findings] == [
            f"{near}, {word}",
            word,
        ]
    both = replace(unproven, is_synthetic=True)
    assert view.answer_view(both, EN).model == "chest-film 1.4 (synthetic, unproven)"
    assert view.caution(view.of_models([both]), EN).text == "synthetic, unproven"


def test_calibrated_is_said_only_of_probabilities_that_are() -> None:
    plain, calibrated = finding(EFFUSION, True), replace(finding(CARDIOMEGALY, True), is_calibrated=True)
    for findings, text in (
        ([], ""),
        ([finding(EFFUSION, True, None)], ""),
        ([plain], "Probability: the model's own score, not calibrated; not a physician's estimate."),
        ([calibrated], "Probability: the model's own estimate after calibration, not a physician's."),
        ([plain, calibrated], "Probability: the model's own score, calibrated for some findings only; "
                              "not a physician's estimate."),
    ):  # fmt: skip
        assert view.answer_view(analysed(*findings), EN).probability_note == text


def test_a_chip_says_what_is_odd_about_a_studys_images_in_one_place() -> None:
    def chip(**facts: Any) -> view.Chip:
        return view.chips(replace(row(1, PageState.CLEAR), **facts), EN)[0]

    assert chip() == view.Chip("conflict", "")
    assert chip(shared=1) == view.Chip("shared", "1 shared UID")
    assert chip(conflicts=2, shared=3) == view.Chip("conflict", "2 conflicts, 3 shared UIDs")
