from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_site import EFFUSION, HEALTH, NOW, analysed, finding, row, seven_states

from imaging.domain.findings import TriageClass
from imaging.domain.worklist import PageState
from imaging.web import view
from imaging.web.languages import load_languages

EN, VI = load_languages()["en"], load_languages()["vi"]
RECEIVING = PageState.RECEIVING


def listed(rows, query="", shown=(), count=None, language=EN):
    return view.list_view(rows, count or len(rows), HEALTH, query, shown, "", "mark", NOW, language)


def test_rows_keep_the_order_in_which_the_worklist_gives_them():
    assert [each.number for each in listed(seven_states()[::-1]).rows] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_the_head_counts_each_of_the_seven_states_the_most_pressing_first():
    counts = [(str(each.state), each.n) for each in listed(seven_states()).counts]
    assert counts[:3] == [("flagged", "2"), ("failed", "1"), ("not_analysed", "2")]
    assert len(counts) == 7


@pytest.mark.parametrize("query", ["duc", "ĐỨC nguyen", "p4", "tran dich mang phoi", "bv01 p4", "gan co duc"])
def test_a_filter_finds_by_name_identifier_finding_and_state_without_marks(query):
    rows = [each for each in seven_states() if each.flag is not TriageClass.STAT]
    shown = listed(rows, query, language=VI)
    assert [each.number for each in shown.rows] == [4]
    assert shown.hidden == "bộ lọc ẩn 7 ca"


def test_a_study_that_a_model_calls_stat_passes_every_filter_and_says_so():
    shown = listed(seven_states(), "duc")
    assert [(each.number, bool(each.kept)) for each in shown.rows] == [(2, True), (4, False)]
    assert shown.hidden == "7 hidden by the filter"


def test_what_lies_below_the_last_row_is_said():
    shown = listed([row(1, RECEIVING)], count=501)
    assert (shown.more, shown.of_first) == ("500 more studies below these, not shown", "counted in the first 1")


@pytest.mark.parametrize(
    ("minutes", "due", "is_late"), [(12, "in 12 min", False), (-8, "late 8 min", True), (0, "in 0 min", False)]
)
def test_due_counts_down_and_then_says_late(minutes, due, is_late):
    shown = listed([row(1, RECEIVING, due_at=NOW + timedelta(minutes=minutes))]).rows[0]
    assert (shown.due, shown.is_late) == (due, is_late)


def test_a_clock_that_stepped_back_does_not_make_waiting_negative():
    assert listed([row(1, RECEIVING, received_at=NOW + timedelta(minutes=5))]).rows[0].wait == "0 min"


def test_a_viewers_address_takes_each_value_percent_encoded_whole():
    hostile = row(1, RECEIVING, patient_id='P 1/&?#"<{study_uid}', study_uid="1.2.3")
    link = view.viewer_link("https://v/{study_uid}?p={patient_id}", hostile)
    assert link == "https://v/1.2.3?p=P%201%2F%26%3F%23%22%3C%7Bstudy_uid%7D"


def test_the_head_says_what_a_refresh_would_bring():
    bleed = row(9, PageState.FLAGGED, analysed(finding(EFFUSION, True), flag=TriageClass.STAT))
    rows = [bleed, row(2, RECEIVING), row(1, RECEIVING), row(3, RECEIVING)]
    shown = listed(rows, shown=(1, 2))
    assert shown.news == "2 new, 1 of them AI STAT, order changed"
    assert shown.has_stat_news
    assert listed(rows, shown=(9, 2, 1, 3)).news == ""
    assert listed(rows).news == ""


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_only_a_changed_order_among_the_rows_on_the_screen_counts_as_changed(order, on_screen):
    rows = [row(number, RECEIVING) for number in order]
    shown = [number for number in order if number in on_screen]
    assert "order" not in view.news(rows, shown, EN)
    assert ("order" in view.news(rows, shown[::-1], EN)) is (len(shown) > 1)


def test_a_role_that_keeps_crashing_is_shown_in_its_place_with_its_last_error():
    roles = [(role.word, role.state, role.error) for role in listed([]).roles]
    assert roles[:2] == [("Receiving", "up", ""), ("Analysis", "crashing", HEALTH[1].error)]


def test_the_model_and_its_version_stand_on_the_row_or_how_many_answered():
    shown = {each.number: each.answers for each in listed(seven_states()).rows}
    assert (shown[2], shown[4], shown[7]) == ("head-ct-bleed 1.4", "2 answers", "details")
