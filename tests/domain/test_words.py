"""Values as sites write them: what they mean, and what stays open."""

import pytest

from imaging.domain.gates import BODY_PARTS
from imaging.domain.words import body_parts, names_agent, plain_date, speaks_of_contrast, views


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("CHEST PA", {"CHEST"}), ("chest", {"CHEST"}), ("PORT CHEST", {"CHEST"}), ("NGỰC", {"CHEST"}),
        ("POUMON", {"CHEST"}), ("SỌ NÃO", {"HEAD"}), ("SKULL BASE", {"HEAD"}), ("KNEE", {"KNEE"}),
        ("CHEST_TO_ABDOMEN", {"CHEST", "ABDOMEN"}), ("UNKNOWN", set()), ("", set()),
    ],
)  # fmt: skip
def test_body_parts_are_read_with_words_around_them_and_in_three_languages(text: str, parts: set[str]):
    assert body_parts(text, BODY_PARTS) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PA", {"PA"}), ("pa erect", {"PA"}), ("AP SUPINE", {"AP"}), ("A/P", {"AP"}), ("ANTERO-POSTERIOR", {"AP"}),
        ("POSTERO-ANTERIOR", {"PA"}), ("LATERAL", {"OTHER"}), ("LLD", {"OTHER"}), ("nghiêng", {"OTHER"}), ("??", set()),
    ],
)  # fmt: skip
def test_views_are_read_as_they_are_written(text: str, said: set[str]):
    assert views(text) == said


@pytest.mark.parametrize(
    ("agent", "named"),
    [
        ("", False), ("NO", False), ("KHÔNG", False), ("SANS", False), ("-", False), ("0", False), ("NONE.", False),
        ("N/A", False), ("No IV", False), ("UNKNOWN", None), ("ULTRAVIST 300", True), ("Iohexol", True),
    ],
)  # fmt: skip
def test_words_for_no_agent_name_none(agent: str, named: bool | None):
    assert names_agent(agent) is named


@pytest.mark.parametrize(
    ("description", "given"),
    [
        ("CT HEAD W CONTRAST", True), ("HEAD WITH AND WITHOUT CONTRAST", None), ("HEAD W/O + W CONTRAST", None),
        ("Brain C+", True), ("HEAD POST", None), ("Sọ não có tiêm thuốc cản quang", True), ("CTA HEAD", True),
        ("CT so nao khong tiem", False), ("Sọ não không tiêm thuốc", False), ("SO NAO KHONG CO TIEM THUOC", False),
        ("TDM CEREBRALE AVEC INJECTION", True), ("TDM SANS INJECTION", False), ("SCHAEDEL MIT KM", True),
        ("SCHAEDEL NATIV", False), ("Head 5.0 H31s", False), ("HEAD+CSPINE", False), ("CRANE IV-", False),
        ("CRANE IV+", True), ("SO NAO TRUOC VA SAU TIEM", None),
    ],
)  # fmt: skip
def test_descriptions_say_whether_contrast_was_given_or_leave_it_open(description: str, given: bool | None):
    assert speaks_of_contrast(description) is given


@pytest.mark.parametrize(
    ("text", "date"),
    [("2020.01.01", "20200101"), ("2020-01-01", "20200101"), ("20200101", "20200101"), ("19000101", ""), ("2020", "")],
)
def test_dates_are_read_with_their_marks_and_a_placeholder_is_none(text: str, date: str):
    assert plain_date(text) == date
