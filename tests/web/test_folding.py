import unicodedata

import pytest

from imaging.web.folding import contains_all, fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Nguyễn Văn Đức", "nguyen van duc"),
        (unicodedata.normalize("NFD", "Nguyễn Văn Đức"), "nguyen van duc"),
        ("ĐỖ THỊ HẠNH", "do thi hanh"),
        ("Ðức", "duc"),  # eth, typed for Đ
        ("ðức", "duc"),
        ("Épanchement", "epanchement"),
        ("STRASSE Straße", "strasse strasse"),
        ("山田", "山田"),
    ],
)
def test_a_search_needs_neither_marks_nor_case(text, folded):
    assert fold(text) == folded


def test_each_word_of_a_query_must_stand_somewhere():
    assert contains_all("NGUYỄN VĂN ĐỨC P1@BV01", "duc nguyen")
    assert not contains_all("NGUYỄN VĂN ĐỨC P1@BV01", "duc tran")
