"""What headers say of contrast: given, native, or left open, in the words that sites use."""

from typing import Any

import pytest

from imaging.domain.contrast import Cue, agent_cue, contrast, description_cue
from imaging.domain.header import Header
from imaging.domain.site_words import SiteWords

GIVEN = """
    CT HEAD W CONTRAST|Brain C+|HEAD +C|HEAD+C|Head + C|T1 POST|HEAD POST|T1 POST GD|AX FLAIR POST|FLAIR POST GAD|T1+GD
    Sọ não có tiêm thuốc cản quang|CT so nao tiem can quang|SO NAO CO TIEM THUOC|sau khi tiêm thuốc|FLAIR SAU TIEM
    tiêm đối quang từ|có cản quang|CO THUOC|thì động mạch|CT MẠCH MÁU NÃO|CTA HEAD|ANGIO HEAD|CT ANGIO CEREBRAL
    CECT HEAD|TDM CEREBRALE AVEC INJECTION|CRANE IV+|CRANE INJECTÉ|APRÈS INJECTION|FLAIR APRES GADO
    avec produit de contraste
    TEMPS PORTAL|THORAX AVEC IV|SCHAEDEL MIT KM|Schaedel KM|nach i.v. KM-Gabe|MIT KONTRASTMITTEL|KM+|HEAD 5.0 CE|POSTGAD
    POST-CONTRAST|HEAD POSTCONTRAST|with IV contrast|W/CONTRAST|W/ CONTRAST|HEAD W C|HEAD ARTERIAL PHASE|CT PERFUSION
    CT CHEST WITH CONTRAST 5MM|T1 SE POST AX|HEAD POST 5.0|t1_mprage_sag_p2_iso_POST|Contrast|HEAD CONTRAST
    (+C)|ULTRAVIST 300|C(+)|CONTRAST (+)|CRANE I+|CRANE APC
"""
NOT_GIVEN = """
    WO CONTRAST|W/O CONTRAST|W O CONTRAST|w/out contrast|HEAD W/O|CT HEAD WO|WITHOUT CONTRAST|WITHOUT IV CONTRAST|NO IV
    PRE CONTRAST|PRECONTRAST|PRE-CONTRAST|NON CONTRAST|NON-CONTRAST|NONCONTRAST|NONCON|NON CON|HEAD NC|NCCT HEAD|C-|-C
    HEAD C-|HEAD -C|T1 -C|AX T1 PRE|HEAD PRE|PRE GAD|NO CONTRAST|UNENHANCED|NON ENHANCED|HEAD PLAIN|CONTRAST: NONE
    CONTRAST NOT GIVEN|TRUOC TIEM|TRƯỚC TIÊM|trước khi tiêm thuốc|CT so nao khong tiem|Sọ não không tiêm thuốc|chưa tiêm
    SO NAO KHONG CO TIEM THUOC|không tiêm thuốc cản quang|KHÔNG CẢN QUANG|ko tiem thuoc|KTIEM|thì chưa tiêm
    CT CO KHONG TIEM|AVANT INJECTION|SANS INJECTION|TDM SANS IV|SANS PRODUIT DE CONTRASTE|NON INJECTÉ|INJECTION: NON
    C(-)|HEAD C (-)|CONTRAST (-)|CRANE I-|CRANE SPC
    CRANE IV-|SCHAEDEL NATIV|NATIVE|OHNE KM|vor KM|ohne Kontrastmittel|KM-|kein KM|PRE CTA
"""
DOUBTFUL = """
    HEAD WITH AND WITHOUT CONTRAST|HEAD W/O + W CONTRAST|W/WO CONTRAST|W/ & W/O|W AND WO CONTRAST|WWO|WITHOUT/WITH
    WITH OR WITHOUT CONTRAST|C+/-|C+/C-|+/- CONTRAST|PRE AND POST|PRE/POST GD|PRE POST|before and after contrast
    BRAIN P&C|trước và sau tiêm|trước và sau khi tiêm thuốc|có và không tiêm|SO NAO TRUOC VA SAU TIEM
    AVEC ET SANS INJECTION
    SANS PUIS AVEC INJECTION|SANS + AVEC INJECTION|avant et après injection|NATIV UND KM|NATIV + KM|mit und ohne KM
    (-) CONTRAST|TSA
    INJECTION|IV|SO NAO TIEM|HEAD VENOUS|ZZZ CONTRAST|POST XYZ|NON ANGIO|W/O, CTA HEAD|W/O + CONTRAST
    without oral contrast|CONTRAST NO GAP|HEAD WITH|WITHOUT HEAD CONTRAST|POST 24H
"""
SILENT = """
    Head 5.0 H31s|HEAD+CSPINE|HEAD + C-SPINE|C-SPINE|C1-C7|C-ARM|CT HEAD|HEAD POST CONCUSSION|POST OP|PRE OP|POST TRAUMA
    POSTERIOR FOSSA|HỐ SAU|Sọ não|CT CO|T2 W TSE|T2W|AX T2|WITHOUT GAP|SANS FATSAT|NO FLAIR|PHASE CONTRAST|TOF ANGIO
    AX T2 (+)|AX T2 (-)|I-131
    TOF MRA|ASL PERFUSION|HEAD W MPR|SERIES NO 3|ANGIOMA|edge enhanced|Thin 1.0|FACE
"""


def _each(table: str) -> list[str]:
    return [text.strip() for line in table.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize(
    ("description", "result"),
    [(text, cue) for table, cue in ((GIVEN, Cue.GIVEN), (NOT_GIVEN, Cue.NOT_GIVEN), (DOUBTFUL, Cue.DOUBTFUL),
     (SILENT, Cue.SILENT)) for text in _each(table)],
)  # fmt: skip
def test_descriptions_say_that_contrast_was_given_or_not_or_leave_it_open(description: str, result: Cue) -> None:
    assert description_cue(description) is result
    assert description_cue(description.lower()) is result


@pytest.mark.parametrize(
    ("agent", "result"),
    [
        *((text, Cue.NOT_GIVEN) for text in _each("""NO|NONE|NONE.|SANS|KHONG|KHÔNG|-|--|0|0 ml|0.0|No IV|N/A|NON|NIL
            không tiêm|Non injecté|WITHOUT|W/O|ohne KM|NATIVE|no contrast given|PAS DE CONTRASTE|kein KM""")),
        *((text, Cue.GIVEN) for text in _each("""ULTRAVIST 300|Iohexol|IV|YES|OUI|CÓ|Omnipaque 350/100ml|contrast|80 ML
            DOTAREM|có tiêm|injected|APPLIED""")),
        *((text, Cue.DOUBTFUL) for text in _each("UNKNOWN|?|X|300|không rõ|OTHER|WITH AND WITHOUT|ORAL CONTRAST")),
        ("", Cue.SILENT), ("  ", Cue.SILENT),
    ],
)  # fmt: skip
def test_words_for_no_agent_name_none(agent: str, result: Cue) -> None:
    assert agent_cue(agent) is result


@pytest.mark.parametrize(
    ("facts", "given"),
    [
        ({}, False),
        ({"contrast_bolus_agent": "Iohexol"}, True),
        ({"contrast_bolus_agent": "NONE"}, False),
        ({"contrast_bolus_agent": "UNKNOWN"}, None),
        ({"contrast_volume": 80.0}, True),
        ({"contrast_volume": 0.0}, False),
        ({"contrast_agent_code": "Iopromide"}, True),
        ({"contrast_agent_code": "No contrast"}, False),
        # Two facts that contradict each other leave it open; a doubtful one is decided by another.
        ({"contrast_bolus_agent": "NONE", "contrast_volume": 80.0}, None),
        ({"contrast_bolus_agent": "Iohexol", "series_description": "HEAD W/O"}, None),
        ({"contrast_bolus_agent": "KHÔNG", "series_description": "HEAD +C"}, None),
        ({"contrast_bolus_agent": "Iohexol", "series_description": "WITH AND WITHOUT"}, True),
        ({"contrast_bolus_agent": "UNKNOWN", "series_description": "HEAD W/O"}, False),
        ({"contrast_bolus_agent": "UNKNOWN", "series_description": "HEAD +C"}, True),
        # Frames of one object that say which of them had the agent.
        ({"contrast_agent_code": "Iopromide", "contrast_administered": "NO"}, False),
        ({"contrast_agent_code": "Iopromide", "contrast_administered": "YES"}, True),
        ({"contrast_agent_code": "Iopromide", "frames_differ": ("contrast",)}, None),
        # A study "without" speaks for all its series, one "with" holds native series too.
        ({"study_description": "CT HEAD W/O CONTRAST"}, False),
        ({"study_description": "CT HEAD W CONTRAST"}, None),
        ({"study_description": "CT HEAD W CONTRAST", "series_description": "NATIVE"}, False),
        ({"study_description": "CT HEAD W CONTRAST", "contrast_bolus_agent": "NO"}, False),
        ({"study_description": "CT HEAD W/O CONTRAST", "contrast_bolus_agent": "Iohexol"}, True),
        ({"study_description": "CT HEAD W/WO CONTRAST"}, False),
    ],
)
def test_what_was_injected_and_what_the_series_is_called_decide_together(
    facts: dict[str, Any], given: bool | None
) -> None:
    assert contrast(Header("1", "2", "3", "4", "5", modality="CT", **facts)) is given


def test_a_sites_own_words_for_contrast_are_read_with_what_stands_before_them() -> None:
    site = SiteWords.of(["contrast=thuoc X", "no-contrast=tron"])
    assert description_cue("CT tron", site) is Cue.NOT_GIVEN
    assert description_cue("SO NAO thuốc X", site) is Cue.GIVEN
    assert description_cue("không thuốc X", site) is Cue.NOT_GIVEN
    assert agent_cue("TRÒN", site) is Cue.NOT_GIVEN
