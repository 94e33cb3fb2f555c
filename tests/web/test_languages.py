import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from imaging.domain.measures import MEASURES
from imaging.domain.reasons import REASONS
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.web.languages import CATALOGUES, CatalogueError, load_languages

LANGUAGES = load_languages()
WEB = CATALOGUES.parent


def test_the_languages_say_the_same_things_and_every_reason_has_a_sentence_and_a_cure() -> None:
    keys = [set(language.texts) for language in LANGUAGES.values()]
    assert keys[0] == keys[1] == keys[2]
    for language in LANGUAGES.values():
        assert all(language.say(f"reason.{code}") and language.say(f"mend.{code}") for code in REASONS)


def test_each_finding_measurement_and_unit_of_the_shipped_models_is_named_in_each_language() -> None:
    cards = load_models([shipped_folder()]).models
    codes = {spec.code for card in cards for spec in card.findings} | {measure.code for measure in MEASURES.values()}
    assert len(codes) > 5
    for language in LANGUAGES.values():
        assert [code for code in codes if f"finding.{code.scheme}:{code.value}" not in language.texts] == []
        assert [each.unit for each in MEASURES.values() if f"unit.{each.unit}" not in language.texts] == []


def test_no_text_of_one_language_was_left_in_another() -> None:
    """Sentences that are the same in two languages are terms and numbers only."""
    for one, other in (("vi", "en"), ("vi", "fr"), ("fr", "en")):
        a, b = LANGUAGES[one].texts, LANGUAGES[other].texts
        same = [key for key, text in a.items() if text == b[key] and isinstance(text, str) and len(text.split()) > 3]
        assert not [key for key in same if not key.startswith("answer.present")]


@pytest.mark.parametrize(
    ("tag", "old", "new", "fault"),
    [
        ("vi", 'gap = "khoảng cách giữa các lát cắt quá lớn"', "", "vi: reason.gap is missing"),
        ("fr", 'late = "retard {time}"', 'late = "retard"', "fr: due.late does not have the placeholders of en"),
        ("fr", 'late = "retard {time}"', 'late = "retard {time}"\nnever = "x"', "fr: due.never is in no other"),
        ("en", 'gap = "the gap between slices is too large"', "", "en: reason.gap is missing"),
    ],
)
def test_a_catalogue_that_differs_stops_the_start_and_is_told_by_key(
    tmp_path: Path, tag: str, old: str, new: str, fault: str
) -> None:
    folder = Path(shutil.copytree(CATALOGUES, tmp_path / "catalogues"))
    text = (folder / f"{tag}.toml").read_text("utf-8")
    assert old in text
    (folder / f"{tag}.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(CatalogueError, match=re.escape(fault)):
        load_languages(folder)


def test_every_key_that_a_template_or_the_code_names_is_in_the_catalogues() -> None:
    source = "\n".join(path.read_text("utf-8") for path in [*WEB.rglob("*.html"), *WEB.glob("*.py")])
    named = set(re.findall(r'(?:say|say_or|count)\("([a-z_]+\.[A-Za-z_-]+)"', source))
    assert len(named) > 40
    assert named <= set(LANGUAGES["en"].texts)


@pytest.mark.parametrize(
    ("tag", "minutes", "text"),
    [
        ("vi", 12, "12 phút"),
        ("fr", 12, "12\xa0min"),
        ("en", 1, "1 min"),
        ("en", 119, "119 min"),
        ("en", 130, "2 hr 10 min"),
        ("en", 3 * 1440, "3 days"),
    ],
)
def test_times_are_counted_as_a_reader_counts_them(tag: str, minutes: float, text: str) -> None:
    assert LANGUAGES[tag].span(timedelta(minutes=minutes, seconds=30)) == text


def test_hours_in_vietnamese_are_what_the_cldr_of_the_day_calls_them() -> None:
    """It said giờ up to release 47 and says tiếng since; pages must hold either."""
    assert LANGUAGES["vi"].span(timedelta(minutes=180)) in {"3 giờ", "3 tiếng"}


@pytest.mark.parametrize(
    ("tag", "n", "text"), [("en", 1, "1 study"), ("en", 2, "2 studies"), ("fr", 0, "0 examen"), ("vi", 3, "3 ca")]
)
def test_plurals_follow_the_languages_own_rule(tag: str, n: int, text: str) -> None:
    assert LANGUAGES[tag].count("counts.studies", n) == text
