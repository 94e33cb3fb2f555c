"""Values as sites write them: what they mean, and what stays open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.domain.contrast import agent_cue, description_cue
from imaging.domain.free_text import NOT_UNDERSTOOD, age_years, body_parts, days, meant_views, plain_date, views
from imaging.domain.site_words import SiteWords
from imaging.domain.weighting import named

PIECES = [
    "with",
    "w/o",
    "wo",
    "and",
    " ",
    "+",
    "-",
    "c",
    "/",
    "contrast",
    "tiêm",
    "không",
    "pre",
    "post",
    "KM",
    "t1",
    "iv",
    "de",
]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("CHEST PA", {"CHEST"}), ("chest", {"CHEST"}), ("PORT CHEST", {"CHEST"}), ("NGỰC", {"CHEST"}),
        ("NGUC THANG", {"CHEST"}), ("Tim phổi thẳng", {"CHEST"}), ("POUMON", {"CHEST"}), ("THORAX FACE", {"CHEST"}),
        ("Thorax de face", {"CHEST"}), ("CXR", {"CHEST"}), ("Lungs", {"CHEST"}),
        ("CHEST_TO_ABDOMEN", {"CHEST", "ABDOMEN"}),
        ("SỌ NÃO", {"HEAD"}), ("SKULL BASE", {"HEAD"}), ("Crâne", {"HEAD"}), ("FACE", {"FACE"}), ("KNEE", {"KNEE"}),
        ("Knees", {"KNEE"}), ("CỔ TAY", {"WRIST"}), ("BÀN CHÂN", {"FOOT"}), ("CỘT SỐNG CỔ", {"SPINE", "NECK"}),
        ("C-SPINE", {"SPINE"}), ("UNKNOWN", set()), ("", set()),
    ],
)  # fmt: skip
def test_body_parts_are_read_with_words_around_them_and_in_three_languages(text: str, parts: set[str]) -> None:
    assert body_parts(text) == parts


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("PA", {"PA"}), ("pa erect", {"PA"}), ("CHEST PA", {"PA"}), ("AP SUPINE", {"AP"}), ("A/P", {"AP"}),
        ("ANTERO-POSTERIOR", {"AP"}), ("POSTERO-ANTERIOR", {"PA"}), ("sau trước", {"PA"}), ("thẳng", {"FRONTAL"}),
        ("DE FACE", {"FRONTAL"}), ("LATERAL", {"LATERAL"}), ("nghiêng", {"LATERAL"}), ("profil", {"LATERAL"}),
        ("LL", {"LL"}), ("LLD", {"OTHER"}), ("left lateral decubitus", {"LATERAL", "OTHER"}),
        ("PA/LAT", {"PA", "LATERAL"}), ("??", set()), ("", set()),
    ],
)  # fmt: skip
def test_views_are_read_as_they_are_written(text: str, texts: set[str]) -> None:
    assert views(text) == texts


def test_frontal_is_pa_or_ap_and_lateral_is_of_either_side() -> None:
    assert meant_views({"FRONTAL"}) == {"PA", "AP"}
    assert meant_views({"LATERAL", "PA"}) == {"LL", "RL", "PA"}


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2020.01.01", "20200101"), ("2020-01-01", "20200101"), ("20200101", "20200101"), ("31/12/2020", "20201231"),
        ("19000101", ""), ("1900.01.01", ""), ("00000000", ""), ("2020", ""), ("20201301", ""), ("02/03/2020", ""),
    ],
)  # fmt: skip
def test_dates_are_read_with_their_marks_and_a_placeholder_is_none(text: str, date: str) -> None:
    assert plain_date(text) == date


def test_a_date_that_names_a_year_or_a_month_has_its_first_and_last_day() -> None:
    assert [days("2020")[end] - days("20200101")[0] for end in (0, 1)] == [0, 365]
    assert days("2020.02")[1] - days("2020.02")[0] == 28
    assert len(days("02/03/2020")) == 2
    assert days("19000101") == days("") == days("1900") == ()
    assert days("soon") is NOT_UNDERSTOOD


SITE = SiteWords.of(
    ["CHEST=nguc thang", "CHEST=TP", "PA=phim thang", "contrast=thuoc X", "no-contrast=tron", "t1=xung A"]
)


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("Ngực  THẲNG", "part", " CHEST "), ("tp", "part", " CHEST "), ("TPX", "part", "tpx"),
        ("phim-thẳng", "view", " PA "), ("phim thang", "part", "phim thang"), ("CT tron", "contrast", "ct  native "),
        ("", "part", ""),
    ],
)  # fmt: skip
def test_a_sites_words_are_read_whole_whatever_their_case_and_marks(text: str, kind: str, read: str) -> None:
    assert SITE.applied(text, kind) == read


@pytest.mark.parametrize("entry", ["CHEST", "=ngực", "CHEST=", "CHEST=--", "NGUC=ngực", "lateral view=x"])
def test_a_site_word_that_cannot_be_understood_says_the_form_wanted(entry: str) -> None:
    with pytest.raises(ValueError, match=r"MEANING=WORDS|expected"):
        SiteWords.of([entry])


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_whatever_fails_or_is_read_in_two_ways(text: str) -> None:
    """Case, and space at the ends, change nothing."""
    for read in (body_parts, views, named, description_cue, agent_cue):
        assert read(text) == read(f" {text} ")
    assert age_years(text) == age_years(f" {text} ")
