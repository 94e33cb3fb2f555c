"""Which models fit, what they take, and why they take nothing; whatever order instances come in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.domain.card import Card, Engine, FilmInput, Gate, Input, VolumeInput
from imaging.domain.contrast import contrast
from imaging.domain.fitting import check_memory, check_study, fits, in_scope, verdicts
from imaging.domain.gates import Scope, Verdict, judge
from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable, Reason, furthest
from imaging.domain.site_words import SiteWords
from imaging.domain.source import Source
from imaging.domain.stacks import FrameStack
from imaging.inference.acquisitions import read_study
from imaging.inference.series import ReadStack
from imaging.inference.volume import Volume

DX, CR, CT, MR = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1.1", "1", "2", "4"))
CHEST = Gate("BodyPartExamined", any=("CHEST", "THORAX"), absent="doubt")
FRONTAL = Gate("ViewPosition", any=("PA", "AP"), absent="doubt")
ADULT = Gate("PatientAge", min=18, absent="pass")
FILM = FilmInput("film", ("DX", "CR"), (DX, CR), (CHEST, FRONTAL, ADULT))
HEAD = VolumeInput(
    "ct",
    ("CT",),
    (CT,),
    (Gate("BodyPartExamined", any=("HEAD", "BRAIN"), absent="doubt"),),
    images="best",
    slices=(5, 40),
    extent_mm=(20, 300),
    max_gap_mm=7.5,
    contrast="no",
    prefer=("axial", "kernel:soft", "thin"),
)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def card(*inputs: Input) -> Card:
    engine = Engine("onnx", "m", "", {}, ())
    return Card("m", "1", "", "", "", "2.25.1", "research", "", (), inputs, (), engine, (), (), (), None, Path(), "")


CHEST_CARD, HEAD_CARD = card(FILM), card(HEAD)


def film(uid: str, **changes: Any) -> Header:
    facts: dict[str, Any] = {
        "modality": "DX", "body_part_examined": "CHEST", "view_position": "PA", "patient_age": "045Y",
        "image_type": ("DERIVED", "PRIMARY"), "patient_id": "P1", "has_pixels": True, "rows": 1024, "columns": 1024,
    }  # fmt: skip
    return Header(DX, uid, "1.2", "1.2.1", "1.2.840.10008.1.2.1", **{**facts, **changes})


def series(name: str, along: Any, **changes: Any) -> list[Header]:
    """Axial head CT slices at these heights."""
    facts: dict[str, Any] = {
        "modality": "CT", "body_part_examined": "HEAD", "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"), "rows": 64,
        "columns": 64, "pixel_spacing": (0.5, 0.5), "image_orientation": AXIAL, "has_rescale": True,
        "frame_of_reference_uid": "1.9", "convolution_kernel": "STANDARD", "patient_id": "P1", "has_pixels": True,
    }  # fmt: skip
    facts.update(changes)
    normal = np.cross(facts["image_orientation"][:3], facts["image_orientation"][3:])
    syntax = "1.2.840.10008.1.2.1"
    headers = []
    for at, height in enumerate(along):
        place = tuple(float(each) for each in normal * height)
        here = {"image_position": place, "instance_number": 99 - at, **facts}
        headers.append(Header(CT, f"{name}.{at}", "1.2", name, syntax, **here))
    return headers


def unread(frame_stack: FrameStack, *_: Any, threads: int) -> ReadStack:
    """A stack as headers tell it, without its pixels."""
    place = frame_stack.region
    values = np.zeros((len(place.positions), *place.shape), np.int8)
    volume = Volume(
        values,
        frame_stack.geometry,
        place.positions,
        place.spacing_mm,
        (),
        "CT",
        frame_of_reference_uid=place.frame_of_reference_uid,
    )
    return ReadStack(volume, frame_stack.frames, (), ())


def select(card: Card, headers: list[Header]) -> list[Header] | Reason:
    """The images that a model takes, or why it takes none."""
    known = {header.sop_instance_uid: header for header in headers}
    images = [known[uid] for uid in sorted(known)]
    card_input = card.inputs[0]
    judged = {header.sop_instance_uid: judge(card_input, header) for header in images}
    try:
        in_card = [h for h in images if judged[h.sop_instance_uid].scope is not Scope.OUT]
        check_study(card, in_card or images)
        if isinstance(card_input, FilmInput):
            films = [h for h in images if judged[h.sop_instance_uid].scope is Scope.IN]
            if not films:
                raise NotAnalysable(*furthest([each.reason for each in judged.values() if each.reason]))
            check_memory(card, films)
            return films
        sources = [Source(Path(), header) for header in images]
        space = card.engine.memory_mb << 20
        assert isinstance(card_input, VolumeInput)
        read = read_study(sources, card_input, judged, space, read=unread)
    except NotAnalysable as refused:
        return refused.reason
    return [frame.header for each in read.acquired for part in each.parts for frame in part.used]


def reason(card: Card, headers: list[Header]) -> str:
    refused = select(card, headers)
    assert isinstance(refused, Reason)
    return str(refused)


def taken(card: Card, headers: list[Header]) -> list[str]:
    selected = select(card, headers)
    assert not isinstance(selected, Reason), selected
    return [header.sop_instance_uid for header in selected]


# Fitting -----------------------------------------------------------------------------------------------------


def test_a_model_fits_by_modality_sop_class_and_body_part() -> None:
    assert fits(CHEST_CARD, [film("1")])
    assert not fits(CHEST_CARD, series("s", range(3)))
    assert not fits(CHEST_CARD, [film("1", body_part_examined="KNEE")])
    assert not fits(CHEST_CARD, [replace(film("1"), sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1.1")])
    assert fits(CHEST_CARD, [film("1", body_part_examined="KNEE"), film("2")])


@pytest.mark.parametrize("part", ["", "CHESTPA AP", "  chest "])
def test_an_absent_or_doubtful_body_part_fits_and_is_the_gates_matter(part: str) -> None:
    assert fits(CHEST_CARD, [film("1", body_part_examined=part)])


def test_doubt_refuses_as_long_as_no_check_on_pixels_is_shipped() -> None:
    assert reason(CHEST_CARD, [film("1", body_part_examined="")]) == "body-part"
    assert reason(CHEST_CARD, [film("1", view_position="")]) == "view"


# Films -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"view_position": "LL"}, "view"),
        ({"patient_age": "009Y"}, "age"),
        ({"patient_age": "", "patient_birth_date": "20200101", "study_date": "20260101"}, "age"),
        ({"quality_control_image": "YES"}, "quality-control"),
        ({"series_description": "Daily QC"}, "quality-control"),
        ({"image_type": ("DERIVED", "SECONDARY", "SUBTRACTION")}, "subtraction"),
        ({"patient_orientation": ("P", "F")}, "view"),
        ({"patient_orientation": ("F", "A")}, "view"),
        ({"view_position": "PA", "view_code": "LL"}, "view"),
        ({"patient_age": "6T"}, "age"),
    ],
)
def test_a_film_that_fails_a_gate_gives_that_gates_reason(changes: dict[str, Any], why: str) -> None:
    assert reason(CHEST_CARD, [film("1", **changes)]) == why


def test_front_and_back_in_the_plane_are_ordinary_in_a_mammogram() -> None:
    breast = FilmInput("breast", ("MG",), (), (Gate("ViewPosition", any=("MLO",)),))
    mlo = film("1", modality="MG", view_position="MLO", patient_orientation=("A", "FR"))
    assert judge(breast, mlo).scope is Scope.IN


def test_a_missing_age_passes_where_the_card_says_so() -> None:
    assert taken(CHEST_CARD, [film("1", patient_age="")]) == ["1"]


def test_each_frontal_film_is_taken_and_laterals_are_left() -> None:
    assert taken(CHEST_CARD, [film("2"), film("3", view_position="LL"), film("1")]) == ["1", "2"]


def test_of_several_refused_films_the_one_that_came_furthest_speaks() -> None:
    assert reason(CHEST_CARD, [film("1", quality_control_image="YES"), film("2", patient_age="004Y")]) == "age"


def test_two_patients_in_one_study_are_refused_but_an_empty_id_contradicts_nobody() -> None:
    assert reason(CHEST_CARD, [film("1"), film("2", patient_id="P2")]) == "mixed-patients"
    assert taken(CHEST_CARD, [film("1"), film("2", patient_id="")]) == ["1", "2"]


def test_an_issuer_that_only_some_images_give_makes_no_second_patient() -> None:
    assert taken(CHEST_CARD, [film("1", issuer_of_patient_id="HANOI"), film("2")]) == ["1", "2"]
    assert reason(CHEST_CARD, [film("1", issuer_of_patient_id="HANOI"), film("2", issuer_of_patient_id="HUE")]) == (
        "mixed-patients"
    )


def test_two_names_in_one_study_are_refused_where_an_id_is_missing() -> None:
    named = film("1", patient_name="Nguyễn^An")
    assert taken(CHEST_CARD, [named, film("2", patient_name="Trần^Bình")]) == ["1", "2"]
    assert reason(CHEST_CARD, [named, film("2", patient_id="", patient_name="Trần^Bình")]) == "mixed-patients"


def test_what_does_not_fit_at_all_says_in_what() -> None:
    assert reason(CHEST_CARD, series("s", range(3))) == "modality"
    assert reason(CHEST_CARD, [film("1", body_part_examined="KNEE")]) == "body-part"
    assert reason(CHEST_CARD, [replace(film("1"), sop_class_uid=CT)]) == "sop-class"


@pytest.mark.parametrize(
    ("changes", "is_out", "why"),
    [
        ({"view_position": "LATERAL"}, True, "view"),
        ({"view_position": "", "view_code": "left lateral decubitus"}, True, "view"),
        ({"view_position": ""}, False, "view"),
        ({"view_position": "??"}, False, "view"),
        ({"view_position": "AP LORDOTIC"}, False, "view"),
        ({"view_position": "PA", "view_code": "LL"}, False, "view"),
        ({"view_position": "PA", "view_code": "AP"}, False, "view"),
        ({"body_part_examined": "HAND"}, True, "body-part"),
        ({"body_part_examined": "??", "region_code": "HAND"}, True, "body-part"),
        ({"body_part_examined": "CHESTABDOMEN"}, False, "body-part"),
        ({"body_part_examined": "WHOLEBODY"}, False, "body-part"),
        ({"body_part_examined": "CHEST", "region_code": "HAND"}, False, "body-part"),
        ({"body_part_examined": "HAND", "region_code": "CHEST"}, False, "body-part"),
        ({"body_part_examined": "??", "series_description": "CHEST PA"}, False, "body-part"),
        ({"patient_age": "30T"}, False, "age"),
    ],
)
def test_what_is_plainly_another_view_or_region_is_out_of_scope_and_what_is_not_understood_is_missing(
    changes: dict[str, Any], is_out: bool, why: str
) -> None:
    verdict = judge(FILM, film("1", **changes))
    assert (verdict.scope is Scope.OUT, str(verdict.reason)) == (is_out, why)


@pytest.mark.parametrize(
    "changes",
    [
        {"body_part_examined": "PORT CHEST", "view_position": "AP SUPINE"},
        {"body_part_examined": "Tim phổi thẳng", "view_position": "thẳng"},
        {"body_part_examined": "THORAX FACE", "view_position": "DE FACE"},
        {"body_part_examined": "UNKNOWN", "region_code": "Thoracic cavity structure"},
        {"view_position": "", "view_code": "postero-anterior"},
        {"view_position": "FRONTAL", "view_code": "PA"},
        {"patient_age": "6T", "patient_birth_date": "1950", "study_date": "20260101"},
        {"patient_age": "42"},
    ],
)
def test_a_film_is_taken_as_its_site_writes_it(changes: dict[str, Any]) -> None:
    assert taken(CHEST_CARD, [film("1", **changes)]) == ["1"]


def test_a_sites_words_decide_of_each_question_that_a_card_asks() -> None:
    site = SiteWords.of(["CHEST=tp", "PA=phim thang", "no-contrast=tron", "contrast=thuoc X"])
    chest, head = (card(replace(each, site=site)) for each in (FILM, HEAD))
    written = film("1", body_part_examined="TP", view_position="Phim thẳng")
    assert taken(chest, [written]) == ["1"]
    assert reason(CHEST_CARD, [written]) == "body-part"
    assert reason(head, series("s", range(0, 50, 5), series_description="so nao thuoc X")) == "contrast"
    assert taken(head, series("s", range(0, 50, 5), contrast_bolus_agent="TRON"))


@pytest.mark.parametrize(
    ("image_type", "why"),
    [
        (("ORIGINAL", "PRIMARY", "LOCALIZER"), "localizer"),
        (("DERIVED", "SECONDARY", "AXIAL", "MIP"), "projection"),
        (("DERIVED", "SECONDARY", "MIN_IP"), "projection"),
        (("DERIVED", "SECONDARY", "AVERAGE"), "projection"),
        (("DERIVED", "SECONDARY", "VRT"), "projection"),
        (("ORIGINAL", "PRIMARY", "PROJECTION IMAGE"), "projection"),
        (("DERIVED", "SECONDARY", "SUBTRACT"), "subtraction"),
        (("DERIVED", "PRIMARY", "PERFUSION", "TTP"), "map"),
        (("DERIVED", "PRIMARY", "CBF MAP"), "map"),
        (("DERIVED", "SECONDARY", "SCREEN SAVE"), "capture"),
    ],
)
def test_what_no_card_takes_is_out_of_scope_under_a_name_of_its_own(image_type: tuple[str, ...], why: str) -> None:
    slices = series("s", range(0, 50, 5), image_type=image_type)
    assert judge(HEAD, slices[0]) == Verdict(Scope.OUT, Reason(why))
    assert reason(HEAD_CARD, slices) == why


@pytest.mark.parametrize(
    ("image_type", "why"),
    [
        (("DERIVED", "PRIMARY", "AXIAL"), None),
        (("DERIVED", "SECONDARY", "MPR"), Reason("derived")),
        (("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"), Reason("derived")),
        (("DERIVED", "SECONDARY", "AXIAL"), Reason("derived")),
    ],
)
def test_derived_alone_puts_nothing_out_of_scope_and_the_place_of_a_reformat_decides(
    image_type: tuple[str, ...], why: Reason | None
) -> None:
    verdict = judge(HEAD, series("s", [0], image_type=image_type)[0])
    assert verdict == Verdict(Scope.MISSING if why else Scope.IN, why)


def test_captures_and_raw_films_are_named_by_their_class_and_a_copy_with_loss_is_an_original() -> None:
    capture = replace(series("s", [0])[0], sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    assert judge(HEAD, capture) == Verdict(Scope.OUT, Reason("capture"))
    raw = replace(film("1"), sop_class_uid=f"{DX}.1")
    for each in (raw, film("1", presentation_intent_type="FOR PROCESSING")):
        assert judge(FILM, each) == Verdict(Scope.OUT, Reason("for-processing"))
    assert judge(replace(FILM, sop_class_uids=(f"{DX}.1",)), raw).scope is Scope.IN
    lossy = series("s", [0], image_type=("DERIVED", "SECONDARY", "AXIAL"), lossy_image_compression="01")
    assert judge(HEAD, lossy[0]).scope is Scope.IN


def test_a_slice_of_another_region_or_class_in_a_series_that_is_taken_is_missing_rather_than_out_of_scope() -> None:
    head = series("s", range(0, 50, 5))
    other = [
        replace(head[0], body_part_examined="NECK"),
        replace(head[1], sop_class_uid="1.2.840.10008.5.1.4.1.1.7"),
        replace(head[2], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
        replace(head[3], sop_class_uid="1.2.840.10008.5.1.4.1.1.7", image_position=None),
    ]
    data = verdicts(HEAD_CARD, [*other, *head[4:]])
    scopes = [data[each.sop_instance_uid].scope for each in other]
    assert scopes == [Scope.MISSING, Scope.MISSING, Scope.OUT, Scope.OUT]
    assert in_scope(HEAD_CARD, [*other, *head[4:]]) == {each.sop_instance_uid for each in (*other[:2], *head[4:])}
    neck = [replace(each, series_instance_uid="n") for each in other[:1]]
    assert verdicts(HEAD_CARD, [*neck, *head[4:]])[neck[0].sop_instance_uid].scope is Scope.OUT


def test_a_silent_series_in_a_study_with_contrast_is_native_where_another_is_marked() -> None:
    native = series("n", range(0, 50, 5), study_description="CT HEAD W CONTRAST")
    given_ = series("g", range(0, 50, 5), study_description="CT HEAD W CONTRAST", contrast_bolus_agent="Iohexol")
    assert reason(HEAD_CARD, native) == "contrast"
    data = verdicts(HEAD_CARD, [*native, *given_])
    assert {data[each.sop_instance_uid].scope for each in native} == {Scope.IN}
    assert {data[each.sop_instance_uid].scope for each in given_} == {Scope.OUT}
    doubtful = [replace(each, series_description="WITH AND WITHOUT") for each in native]
    data = verdicts(HEAD_CARD, [*doubtful, *given_])
    assert {data[each.sop_instance_uid].scope for each in doubtful} == {Scope.MISSING}


def test_an_agent_that_is_none_is_an_absent_one_to_a_gate() -> None:
    volume_input = replace(HEAD, contrast="any", gates=(Gate("ContrastBolusAgent", any=("IOHEXOL",), absent="pass"),))
    scopes = [
        judge(volume_input, each).scope
        for agent in ("", "KHÔNG", "Iohexol", "UNKNOWN")
        for each in series("s", [0], contrast_bolus_agent=agent)
    ]
    assert scopes == [Scope.IN, Scope.IN, Scope.IN, Scope.MISSING]


# Series ------------------------------------------------------------------------------------------------------


def test_slices_come_in_the_order_of_their_positions() -> None:
    slices = series("s", [15, 0, 5, 20, 10])
    assert taken(HEAD_CARD, slices) == ["s.1", "s.2", "s.4", "s.0", "s.3"]


@pytest.mark.parametrize(
    ("along", "changes", "why"),
    [
        (range(0, 20, 5), {}, "too-few-slices: 4"),
        (range(0, 205, 5), {}, "too-many-slices: 41"),
        (range(6), {}, "extent: 6 mm"),
        (range(0, 80, 8), {}, "gap: 8.0 mm"),
        ([0, 5, 10, 15, 25, 30, 35], {}, "slices-missing: 1"),
        ([0, 5, 10, 15, 20, 30, 40, 50, 60], {}, "gap: 10.0 mm"),
        ([0, 5, 10, 15, 23, 28], {}, "gap: 8.0 mm"),
        (range(0, 50, 5), {"image_position": None}, "positions-absent"),
        (range(0, 50, 5), {"pixel_spacing": None}, "pixel-size-absent"),
        (range(0, 50, 5), {"has_rescale": False}, "rescale-absent"),
        (range(0, 50, 5), {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        (range(0, 50, 5), {"image_type": ("DERIVED", "SECONDARY", "MPR")}, "derived"),
        (range(0, 50, 5), {"contrast_bolus_agent": "Iohexol"}, "contrast"),
        (range(0, 50, 5), {"series_description": "Head +C"}, "contrast"),
        (range(0, 50, 5), {"image_orientation": (1.0, 0.0, 0.0, 0.5, 0.9, 0.0)}, "orientation-invalid"),
    ],
)
def test_a_series_that_is_no_volume_for_the_card_gives_the_reason(
    along: Any, changes: dict[str, Any], why: str
) -> None:
    assert reason(HEAD_CARD, series("s", along, **changes)) == why


def test_uneven_slices_pass_up_to_the_cards_gap() -> None:
    assert len(taken(HEAD_CARD, series("s", [0, 4, 8, 9.1, 16, 23, 30]))) == 7


def test_without_contrast_is_not_with_contrast() -> None:
    assert not contrast(series("s", [0], series_description="Head WITHOUT contrast")[0])
    assert not contrast(series("s", [0], contrast_bolus_agent="NONE")[0])
    assert not contrast(series("s", [0], series_description="HEAD+CSPINE")[0])


def test_a_stray_orientation_is_left_out_and_stacks_too_small_together_are_none() -> None:
    axial, stray = series("s", range(0, 50, 5)), series("t", [0], image_orientation=SAGITTAL)
    combined = [*axial, *(replace(each, series_instance_uid="s") for each in stray)]
    assert taken(HEAD_CARD, combined) == [header.sop_instance_uid for header in axial]
    three = [series(n, range(0, 10, 5), image_orientation=o) for n, o in (("a", AXIAL), ("b", SAGITTAL))]
    mixed = [replace(header, series_instance_uid="s") for part in three for header in part]
    assert reason(HEAD_CARD, mixed) == "too-few-slices: 4"


def test_two_frames_of_reference_are_two_acquisitions_and_never_one_volume() -> None:
    halves = series("s", range(0, 25, 5)), series("t", range(25, 50, 5), frame_of_reference_uid="1.8")
    combined = [replace(header, series_instance_uid="s") for half in halves for header in half]
    assert len(taken(HEAD_CARD, combined)) == 10
    assert reason(HEAD_CARD, [*combined[:4], *combined[5:9]]) == "too-few-slices: 4"


def test_positions_that_wander_from_a_line_are_refused() -> None:
    slices = series("s", range(0, 50, 5))
    slices[4] = replace(slices[4], image_position=(7.0, 0.0, 20.0))
    assert reason(HEAD_CARD, slices) == "positions"


def test_of_several_series_the_preferred_one_is_taken() -> None:
    soft, thin, bone = (
        series("soft", range(0, 100, 5), series_number=2),
        series("thin", np.arange(0, 100, 3), series_number=3),
        series("bone", np.arange(0, 100, 2.5), convolution_kernel="BONE", series_number=1),
    )
    assert taken(HEAD_CARD, [*soft, *bone])[0].startswith("soft")
    assert taken(HEAD_CARD, [*soft, *thin, *bone])[0].startswith("thin")
    assert taken(HEAD_CARD, [*bone])[0].startswith("bone")


def test_alike_series_are_ranked_by_slices_then_series_number_then_uid() -> None:
    one, two = series("b", range(0, 100, 5), series_number=4), series("a", range(0, 100, 5), series_number=9)
    longer = series("c", range(0, 120, 5), series_number=20)
    assert taken(HEAD_CARD, [*one, *two])[0].startswith("b")
    assert taken(HEAD_CARD, [*one, *two, *longer])[0].startswith("c")
    same = [replace(each, series_number=4) for each in two]
    assert taken(HEAD_CARD, [*one, *same])[0].startswith("a")


def test_what_cannot_fit_into_the_cards_memory_is_refused_before_it_is_read() -> None:
    head = series("1", range(20), rows=1024, columns=1024)  # 40 MiB at two bytes a value
    films = [film(uid, rows=4096, columns=4096) for uid in ("1", "2")]  # 32 MiB each
    for model, study, enough_mb in ((HEAD_CARD, head, 40), (CHEST_CARD, films, 32)):
        tight = replace(model, engine=replace(model.engine, memory_mb=enough_mb - 1))
        assert reason(tight, study) == "memory"
        assert taken(replace(model, engine=replace(model.engine, memory_mb=enough_mb)), study)
        assert fits(tight, study)


def test_a_role_that_nobody_plays_is_named() -> None:
    both = card(replace(HEAD, role="ct"), replace(HEAD, role="mr", modality=("MR",), sop_class_uids=(MR,)))
    assert reason(both, series("s", range(0, 50, 5))) == "input-missing: mr"


# Revisions ---------------------------------------------------------------------------------------------------


def test_a_revision_is_what_the_model_takes_else_all_that_it_considered() -> None:
    assert in_scope(CHEST_CARD, [film("1"), film("2", view_position="LL")]) == {"1"}
    assert in_scope(CHEST_CARD, [film("2", view_position="LL"), *series("s", [0])]) == {"2"}


HEADERS = [
    film("f1"), film("f2", view_position="LL"), film("f3", patient_age="002Y"),
    *series("soft", range(0, 50, 5)), *series("bone", range(0, 50, 5), convolution_kernel="BONE"),
    *series("scout", [0, 1, 2], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
    *series("lost", [0, 5, 10, 20, 25, 30, 35]), *series("twice", [0, 5, 5, 10, 15, 20]),
]  # fmt: skip


@settings(deadline=None)  # machines are shared
@given(st.sets(st.sampled_from(HEADERS), max_size=len(HEADERS)), st.data())
def test_order_and_repetition_of_instances_change_nothing(some: set[Header], data: st.DataObject) -> None:
    headers = sorted(some, key=lambda header: header.sop_instance_uid)
    repeated = data.draw(st.lists(st.sampled_from(headers), max_size=5)) if headers else []
    again = data.draw(st.permutations([*headers, *repeated]))
    for each in (CHEST_CARD, HEAD_CARD):
        assert select(each, again) == select(each, headers)
        assert in_scope(each, again) == in_scope(each, headers)
        assert fits(each, again) == fits(each, headers)


@settings(deadline=None)  # machines are shared
@given(st.sets(st.sampled_from(HEADERS)))
def test_what_is_taken_fits_and_what_does_not_fit_has_a_reason(some: set[Header]) -> None:
    for each in (CHEST_CARD, HEAD_CARD):
        selected = select(each, list(some))
        if not isinstance(selected, Reason):
            assert fits(each, list(some))
            assert set(selected) <= some
        else:
            assert str(selected)
