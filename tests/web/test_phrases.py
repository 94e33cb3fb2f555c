from dataclasses import replace
from typing import Any

import pytest
from web_site import ABNORMAL, CARDIOMEGALY, EFFUSION, analysed, failed, finding, in_part, refused, row

from imaging.domain.codes import Code
from imaging.domain.findings import NO_EVIDENCE, Finding, Measurement, TriageClass
from imaging.domain.modes import Mode
from imaging.domain.places import Place
from imaging.domain.reasons import Reason
from imaging.domain.worklist import PageState
from imaging.web import phrases
from imaging.web.languages import load_languages
from imaging.web.phrases import Line

LANGUAGES = load_languages()
EN, VI, FR = LANGUAGES["en"], LANGUAGES["vi"], LANGUAGES["fr"]


@pytest.mark.parametrize(
    ("person_name", "shown"),
    [
        ("NGUYỄN^VĂN ĐỨC", "NGUYỄN VĂN ĐỨC"),
        ("YAMADA^TAROU=山田^太郎=やまだ^たろう", "山田 太郎"),
        ("TRẦN^ÁNH==", "TRẦN ÁNH"),
        ("Lê^Minh^^BS^", "Lê Minh BS"),
        ("^^^^", ""),
        ("", ""),
    ],
)
def test_names_are_shown_as_their_bearers_write_them_family_first(person_name: str, shown: Any) -> None:
    assert phrases.native_name(person_name) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [("056Y", "56 tuổi"), ("003M", "3 tháng"), ("", ""), ("56", "56"), ("old", "old")]
)
def test_an_age_that_is_no_dicom_age_is_shown_as_it_came(value: str, shown: Any) -> None:
    assert phrases.age(value, VI) == shown


def test_an_answer_without_findings_names_what_was_looked_for_and_never_says_normal() -> None:
    values = phrases.answer(analysed(finding(EFFUSION, False), finding(CARDIOMEGALY, False)), EN)
    assert [line.text for line in values] == ["Not found: pleural effusion, cardiomegaly – chest-film 1.4"]
    for language, word in ((EN, "normal"), (VI, "bình thường"), (FR, "normal")):
        lines = phrases.answer(analysed(finding(EFFUSION, False), finding(ABNORMAL, False)), language)
        assert word not in " ".join(line.text for line in lines).replace("abnormal", "").replace(
            "anormale", ""
        ).replace("bất thường", "")


def test_what_is_there_what_could_not_be_told_and_what_was_not_found_stand_apart() -> None:
    values = phrases.answer(
        analysed(finding(EFFUSION, False), finding(CARDIOMEGALY, True), finding(ABNORMAL, None)), VI
    )
    assert [(line.tone, line.text) for line in values] == [
        ("present", "Bóng tim to – chest-film 1.4"),
        ("unsure", "Không kết luận được: phim ngực bất thường (điểm tổng thể) – chest-film 1.4"),
        ("absent", "Không tìm thấy: tràn dịch màng phổi – chest-film 1.4"),
    ]


def test_what_was_not_analysed_is_counted_with_its_reason_and_nothing_is_called_absent() -> None:
    texts = [line.text for line in phrases.answer(in_part(), EN)]
    assert texts[0].startswith("15 of 40 images not analysed: ")
    assert texts[1].startswith("Undetermined: ")
    assert phrases.answer(in_part(), VI)[0].text.startswith("15 trên 40 ảnh chưa được phân tích: ")


def test_a_second_content_is_said_with_the_answer_that_it_leaves_in_doubt() -> None:
    doubtful = analysed(finding(EFFUSION, False)).doubted(1)
    texts = [line.text for line in phrases.answer(doubtful, EN)]
    assert texts[0].startswith("1 image has a second, different version")
    assert texts[1].startswith("Undetermined: ")
    assert phrases.answer(doubtful, VI)[0].text.startswith("1 ảnh có phiên bản thứ hai khác")
    assert phrases.answer(doubtful, FR)[0].text.startswith("1 image a une seconde version")
    assert len(texts) == 2


@pytest.mark.parametrize("result", [analysed(finding(EFFUSION, False)), refused("gap"), failed()])
def test_a_flag_that_an_earlier_answer_raised_stands_and_is_said(result: Any) -> None:
    lines = phrases.answer(replace(result, triage=TriageClass.URGENT), EN)
    assert lines[0].text.startswith("The flag remains, although the latest answer has no finding – ")
    assert len(lines) == 2
    assert len(phrases.answer(replace(result, triage=None), EN)) == 1


def test_a_code_that_no_catalogue_knows_is_shown_by_its_english_meaning() -> None:
    assert phrases.meaning(Code("SCT", "1", "Some new finding"), VI) == "Some new finding"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("slices-missing: 12", "il manque des coupes dans la série (12)"),
        ("gap", "l’écart entre les coupes est trop grand"),
        (None, "?"),
    ],
)
def test_a_reason_is_a_sentence_with_its_detail(text: str | None, shown: str) -> None:
    assert phrases.reason(Reason.parse(text) if text else None, FR) == shown


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("poison", "Échec : l’analyse s’est interrompue à plusieurs reprises – chest-film 1.4"),
        (
            "ValueError at decode.py:12",
            "Échec : une erreur de ce système (ValueError at decode.py:12) – chest-film 1.4",
        ),
        (None, "Échec : une erreur de ce système – chest-film 1.4"),
    ],
)
def test_a_failure_is_a_sentence_with_its_fingerprint_behind(reason: Any, shown: Any) -> None:
    (line,) = phrases.answer(replace(failed(), fault=reason), FR)
    assert line.text.replace("\xa0", " ") == shown


def test_a_measurement_has_its_name_number_and_unit_in_the_readers_language() -> None:
    attenuation = Measurement(Code("DCM", "112031", "Attenuation Coefficient"), 61.5, "[hnsf'U]")
    assert phrases.measurement(attenuation, FR) == "Atténuation 61,5 UH"
    assert phrases.measurement(Measurement(Code("X", "1", "Ratio"), 2, "{ratio}"), VI) == "Ratio 2 {ratio}"


def test_a_flag_stands_before_another_models_trouble_and_both_are_said() -> None:
    results = (refused("body-part", "bone-age"), failed(), analysed(finding(EFFUSION, True), flag=TriageClass.URGENT))
    assert [line.tone for line in phrases.answers(results, EN)] == ["present", "failed", "not_analysed"]


@pytest.mark.parametrize("state", [PageState.RECEIVING, PageState.WAITING, PageState.ANALYSING])
def test_a_state_under_way_is_said_in_a_sentence_beside_earlier_answers(state: Any) -> None:
    shown = phrases.row_lines(row(1, state, analysed(finding(EFFUSION, False))), EN)
    assert [line.tone for line in shown] == ["absent", "under_way"]


def test_a_study_in_conflict_has_its_reason_on_the_row_without_any_model() -> None:
    shown = phrases.row_lines(row(1, PageState.NOT_ANALYSED, reason=Reason("mixed-patients")), VI)
    assert [line.text for line in shown] == ["Không phân tích: một ca chụp chứa dữ liệu của nhiều bệnh nhân"]


@pytest.mark.parametrize(
    ("band", "flag", "shown"),
    [
        (0, TriageClass.URGENT, "stat"),
        (1, TriageClass.STAT, "ai_stat"),
        (1, None, "none"),
    ],
)
def test_an_ordered_stat_stands_above_what_a_model_asks_for(band: int, flag: Any, shown: Any) -> None:
    assert phrases.triage_class(row(1, PageState.FLAGGED, band=band, flag=flag)) == shown


BONE_AGE = Code("99IMAGING", "age", "Bone age")
AGE = Finding(BONE_AGE, None, None, None, (Measurement(BONE_AGE, 134.5, "mo"),), is_measured_only=True)


def test_what_is_only_measured_is_said_with_its_value_and_is_neither_present_nor_undetermined() -> None:
    assert phrases.answers([analysed(AGE)], EN) == [Line("measured", "Bone age 134.5 months – chest-film 1.4")]
    assert phrases.answers([analysed(AGE)], VI) == [Line("measured", "Bone age 134,5 tháng – chest-film 1.4")]
    assert phrases.tone(AGE) == "measured"


def test_places_are_told_by_columns_rows_and_in_a_volume_by_the_patient_and_how_many_more_there_are() -> None:
    corners = tuple((float(x), float(y), float(z)) for x in (0, 20) for y in (0, 10) for z in (-50, -40))
    on_film = Place(("1.2", 1), (59.5, 71.5, 95.5, 155.5), (77.5, 113.5), (("1.2", 1),), 0.934)
    inside = Place(("1.2", 1), (4.5, 7.5, 9.5, 20.5), (7, 14), (("1.2", 1), ("1.3", 1)), 0.5, corners, "1.9")
    faint = replace(on_film, score=0.03)  # not called a finding, so not shown
    places = (on_film, inside, *[on_film] * 5, faint)
    nodules = Finding(Code("SCT", "27925004", "Nodule"), True, 0.934, 0.5, places=places)
    assert phrases.places(nodules, EN) == [
        "0.93: columns 60–96, rows 72–156",
        "0.50: columns 4–10, rows 8–20 at 10 5 -45 mm (LPS), on 2 images",
        *["0.93: columns 60–96, rows 72–156"] * 3,
        "and 2 more",
    ]
    assert phrases.places(nodules, FR)[:1] == ["0,93: colonnes 60–96, lignes 72–156"]
    assert phrases.places(nodules, VI)[-1] == "và 2 vị trí khác"


def test_a_finding_of_a_model_that_raises_no_flag_has_not_the_colour_of_one() -> None:
    answer = analysed(finding(EFFUSION, True), flag=TriageClass.URGENT)
    shown = answer.in_mode(Mode.FINDINGS)
    assert [(line.tone, line.text) for line in phrases.answer(answer, EN)] == [
        ("present", "Pleural effusion – chest-film 1.4")
    ]
    assert [(line.tone, line.text) for line in phrases.answer(shown, EN)] == [
        ("noted", "Pleural effusion – chest-film 1.4")
    ]
    stands = replace(shown, triage=TriageClass.STAT)  # an earlier answer raised it
    assert [line.tone for line in phrases.answer(stands, EN)] == ["present"]


def test_a_study_s_page_says_why_no_class_is_proposed_though_a_rule_is_met() -> None:
    flagged = analysed(finding(EFFUSION, True), flag=TriageClass.URGENT)
    silent = replace(flagged, triage=TriageClass.NONE, no_flag=NO_EVIDENCE)
    for language, word in ((EN, "none:"), (FR, "aucune"), (VI, "không")):
        texts = [phrases.no_flag(each, language) for each in (flagged, flagged.in_mode(Mode.FINDINGS), silent)]
        assert texts[0] == ""
        assert all(each.startswith(word) for each in texts[1:])
        assert texts[1] != texts[2]
    assert phrases.no_flag(replace(silent, triage=TriageClass.STAT), EN) == ""
