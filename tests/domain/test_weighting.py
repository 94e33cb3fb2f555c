"""What weighting an MR image has: what its times exclude, what they prove, and what words may still decide."""

from typing import Any

import pytest

from imaging.domain.card import Gate, VolumeInput
from imaging.domain.gates import Scope, gate, judge
from imaging.domain.header import Header
from imaging.domain.site_words import SiteWords
from imaging.domain.weighting import has_weighting, named, times, weighting

MR = "1.2.840.10008.5.1.4.1.1.4"
FLAIR_TIMES = {"echo_time": 120.0, "repetition_time": 9000.0, "inversion_time": 2500.0}
T2_TIMES = {"echo_time": 100.0, "repetition_time": 5000.0}
T1_TIMES = {"echo_time": 12.0, "repetition_time": 500.0}


def mr(description: str = "", **facts: Any) -> Header:
    return Header(MR, "1", "1", "1", "", modality="MR", series_description=description, **facts)


@pytest.mark.parametrize(
    ("facts", "in_ms"),
    [
        ({"echo_time": 0.09, "repetition_time": 4.5}, (90, 4500, None)),
        ({"echo_time": 0.12, "repetition_time": 9.0, "inversion_time": 2.5}, (120, 9000, 2500)),
        ({"echo_time": 90.0, "repetition_time": 4.5}, (90, 4500, None)),
        ({"echo_time": 0.09, "repetition_time": 4500.0}, (90, 4500, None)),
        ({"echo_time": 0.01, "repetition_time": 0.5}, (10, 500, None)),
        ({"echo_time": 10.0, "repetition_time": 0.5, "scanning_sequence": ("SE",)}, (10, 500, None)),
        ({"echo_time": 90.0, "repetition_time": 4500.0, "inversion_time": 0.0}, (90, 4500, None)),
        # Milliseconds all the same: a gradient echo, and an ultrashort one.
        ({"echo_time": 4.0, "repetition_time": 9.0}, (4, 9, None)),
        ({"echo_time": 0.07, "repetition_time": 5.0, "scanning_sequence": ("GR",)}, (0.07, 5, None)),
    ],
)
def test_times_are_taken_for_seconds_where_they_cannot_be_milliseconds(facts: dict[str, Any], in_ms: Any) -> None:
    value = times(mr(**facts))
    assert (value.echo, value.repetition, value.inversion) == pytest.approx(in_ms)


def test_a_gate_asks_of_the_times_in_milliseconds() -> None:
    volume_input = VolumeInput("mr", ("MR",), gates=(Gate("EchoTime", min=80), Gate("RepetitionTime", min=4000)))
    assert gate(volume_input, mr(echo_time=0.09, repetition_time=4.5)) is None
    assert gate(volume_input, mr(echo_time=0.02, repetition_time=4.5)) is not None


@pytest.mark.parametrize(
    ("description", "texts"),
    [
        ("AX FLAIR", {"flair"}), ("Ax T2 FLAIR", {"flair"}), ("Ax T1 FLAIR", {"t1"}), ("CSF DRIVE no flair", set()),
        ("t2_tirm_tra_dark-fluid", {"flair"}), ("T2 xoá dịch", {"flair"}), ("FLAIR APRES GADO", {"flair"}),
        ("T1W SE", {"t1"}), ("MPRAGE", {"t1"}), ("pondération T1", {"t1"}), ("xung T2", {"t2"}),
        ("T2 sans FLAIR", {"t2"}),
        ("Ax PD/T2", {"pd", "t2"}), ("densité de protons", {"pd"}), ("mật độ proton", {"pd"}),
        ("AX DWI", {"other"}), ("ep2d_diff_b1000_T2", {"other"}), ("khuếch tán", {"other"}), ("T2*", {"other"}),
        ("t2_fl2d_hemo", {"other"}),
        ("t1_fl2d_sag", {"t1"}), ("SWI", {"other"}), ("3D TOF", {"other"}), ("sT2W", {"t2"}), ("brain", set()),
    ],
)  # fmt: skip
def test_words_name_weightings_in_three_languages(description: str, texts: set[str]) -> None:
    assert named(description) == texts


def test_a_sites_own_words_name_a_weighting() -> None:
    assert named("xung Z", SiteWords.of(["flair=xung Z"])) == {"flair"}


@pytest.mark.parametrize(
    ("facts", "description", "text"),
    [
        (FLAIR_TIMES, "", "flair"),
        (FLAIR_TIMES, "T1", "flair"),
        (T1_TIMES, "", "t1"),
        (T2_TIMES | {"scanning_sequence": ("SE",)}, "", "t2"),
        (T2_TIMES, "AX T2", "t2"),
        (T2_TIMES, "AX FLAIR", "flair"),
        (T2_TIMES, "", ""),  # a FLAIR whose inversion time was left out looks like this
        ({"echo_time": 15.0, "repetition_time": 2500.0, "scanning_sequence": ("SE",)}, "", "pd"),
        ({"echo_time": 10.0, "repetition_time": 2000.0, "inversion_time": 800.0}, "T1 FLAIR", "t1"),
        ({"echo_time": 3.0, "repetition_time": 2300, "inversion_time": 900, "scanning_sequence": ("GR",)}, "", "t1"),
        ({}, "AX FLAIR", "flair"),
        ({}, "ep2d_diff", ""),
        ({}, "", ""),
    ],
)  # fmt: skip
def test_the_weighting_is_told_by_times_then_by_the_description(
    facts: dict[str, Any], description: str, text: str
) -> None:
    assert weighting(mr(description, **facts)) == text


@pytest.mark.parametrize(
    ("wanted", "facts", "description", "scope"),
    [
        # What times or Scanning Sequence exclude is out of scope, named or not.
        ("flair", T1_TIMES, "", Scope.OUT),
        ("flair", T1_TIMES, "AX FLAIR", Scope.OUT),
        ("flair", T2_TIMES | {"scanning_sequence": ("SE",)}, "", Scope.OUT),
        ("flair", T2_TIMES, "AX T2", Scope.OUT),
        ("flair", {"scanning_sequence": ("EP",)}, "", Scope.OUT),
        ("flair", {"scanning_sequence": ("GR",)}, "", Scope.OUT),
        ("flair", {"diffusion_b_value": 1000.0}, "", Scope.OUT),
        ("t2", FLAIR_TIMES, "T2", Scope.OUT),
        ("t2", T2_TIMES | {"scanning_sequence": ("SE", "EP")}, "AX T2", Scope.OUT),
        ("t2", T2_TIMES | {"image_type": ("ORIGINAL", "PRIMARY", "DIFFUSION")}, "", Scope.OUT),
        ("t1", T2_TIMES, "", Scope.OUT),
        ("t2", {"echo_time": 20.0, "repetition_time": 3000.0}, "Ax PD/T2", Scope.OUT),
        # What may be it is missing.
        ("flair", {}, "", Scope.MISSING),
        ("flair", {}, "Ax T1 FLAIR", Scope.MISSING),
        ("flair", T2_TIMES, "", Scope.MISSING),
        ("t2", T2_TIMES, "", Scope.MISSING),
        ("t2", {}, "Ax PD/T2", Scope.MISSING),
        ("t2", T2_TIMES | {"scanning_sequence": ("SE",)}, "AX DWI", Scope.MISSING),
        ("t1", {"echo_time": 25.0, "repetition_time": 700.0, "scanning_sequence": ("GR",)}, "T2* hemo", Scope.MISSING),
        ("t2", {"frames_differ": ("echo_time",)}, "T2", Scope.MISSING),
        # What is it is taken.
        ("flair", {}, "AX FLAIR", Scope.IN),
        ("flair", FLAIR_TIMES | {"scanning_sequence": ("IR",)}, "", Scope.IN),
        ("flair", {"echo_time": 0.12, "repetition_time": 9.0, "inversion_time": 2.5}, "", Scope.IN),
        ("flair", {"scanning_sequence": ("RM",)}, "AX FLAIR", Scope.IN),
        ("t2", {"echo_time": 90.0, "repetition_time": 3000.0, "scanning_sequence": ("SE",)}, "Ax PD/T2", Scope.IN),
        ("t2", {"echo_time": 0.09, "repetition_time": 4.5, "scanning_sequence": ("SE",)}, "", Scope.IN),
        ("t1", T1_TIMES, "", Scope.IN),
    ],
)  # fmt: skip
def test_an_image_is_out_of_scope_only_where_its_weighting_is_excluded(
    wanted: str, facts: dict[str, Any], description: str, scope: Scope
) -> None:
    volume_input = VolumeInput("mr", ("MR",), weighting=wanted)
    assert judge(volume_input, mr(description, **facts)).scope is scope


def test_a_diffusion_image_is_never_t2() -> None:
    for facts in (
        {"scanning_sequence": ("EP",)},
        {"diffusion_b_value": 800.0},
        {"frames_differ": ("diffusion_b_value",)},
    ):
        assert has_weighting(mr("AX T2", **T2_TIMES, **facts), "t2") is False
