"""Header facts of bytes from strangers: decoded as they declare, refused by name, never slow."""

import contextlib
import csv
import struct
import time
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import ROOT
from pydicom import Dataset, dcmread
from pydicom.sr._snomed_dict import mapping as retired
from pydicom.sr.codedict import Code, codes

from imaging.domain.header import Header
from imaging.encoding.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    MAX_ELEMENTS,
    MAX_IN_ITEMS,
    read_elements,
)
from imaging.encoding.headers import _WANTED, Mismatch, Unreadable, read_header
from imaging.encoding.part10 import split_part_10
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SYNTAXES = [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, *sorted(DEFLATED)]
UIDS = {0x00080016: b"1.2.840.10008.5.1.4.1.1.2\0", 0x00080018: b"1.2.3\0", 0x0020000D: b"1.2\0", 0x0020000E: b"1.4\0"}
BOUND_S = 1.0

bounded = settings(deadline=timedelta(seconds=2), max_examples=200)


def implicit(elements: dict[int, bytes]) -> bytes:
    """An implicit little endian data set."""
    return b"".join(
        struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in sorted(elements.items())
    )


def explicit(elements: dict[int, bytes], vr: bytes = b"UI") -> bytes:
    """An explicit little endian data set, all in one VR with a short length."""
    return b"".join(
        struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
        for tag, value in sorted(elements.items())
    )


def header_or_refusal(data: bytes, syntax: str) -> Header | Unreadable | Mismatch:
    try:
        return read_header(data, syntax, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")
    except (Unreadable, Mismatch) as refusal:
        return refusal


@bounded
@given(st.binary(max_size=2000), st.sampled_from(SYNTAXES))
def test_random_bytes_are_refused_by_name(data: bytes, syntax: str) -> None:
    refusal = header_or_refusal(data, syntax)
    assert isinstance(refusal, Unreadable | Mismatch)
    assert str(refusal)


@bounded
@given(st.data(), st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE]))
def test_random_values_of_wanted_elements_give_a_header_or_a_refusal(data: st.DataObject, syntax: str) -> None:
    values = data.draw(st.dictionaries(st.sampled_from(sorted(_WANTED)), st.binary(max_size=80)))
    encode = implicit if syntax == IMPLICIT_LITTLE else explicit
    header_or_refusal(encode(values | UIDS if data.draw(st.booleans()) else UIDS | values), syntax)


@bounded
@given(st.data())
def test_a_damaged_object_gives_a_header_or_a_refusal(data: st.DataObject) -> None:
    sound = bytearray(explicit(UIDS | {0x00100010: b"A^B ", 0x00080005: b"ISO_IR 192"}))
    for at in data.draw(st.lists(st.integers(0, len(sound) - 1), max_size=8)):
        sound[at] = data.draw(st.integers(0, 255))
    header_or_refusal(bytes(sound[: data.draw(st.integers(0, len(sound)))]), EXPLICIT_LITTLE)


@pytest.mark.parametrize("tag", sorted(_WANTED - set(UIDS)))
def test_a_value_of_many_megabytes_takes_no_time(tag: int) -> None:
    data = implicit(UIDS | {tag: b"\\\x1b$B" * (4 << 20)})
    began = time.process_time()
    header_or_refusal(data, IMPLICIT_LITTLE)
    assert time.process_time() - began < BOUND_S


BOMBS = {
    "a million elements": explicit(UIDS) + explicit({0x00091001: b""}, b"LO") * 1_000_000,
    "a hundred thousand levels": explicit(UIDS) + struct.pack("<HH2sHI", 9, 0x1001, b"SQ", 0, 0xFFFFFFFF) * 100_000,
    "items that never end": explicit(UIDS)
    + struct.pack("<HH2sHI", 9, 0x1001, b"SQ", 0, 0xFFFFFFFF)
    + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 1_000_000,
    "a length of four gigabytes": explicit(UIDS) + struct.pack("<HH2sHI", 9, 0x1001, b"OB", 0, 0xFFFFFFFE),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_read_to_a_bound_and_its_fault_is_said(name: str) -> None:
    began = time.process_time()
    found = read_elements(BOMBS[name], EXPLICIT_LITTLE, set(UIDS))
    assert time.process_time() - began < BOUND_S
    assert found.fault
    assert len(found.values) == 4


def test_objects_of_the_shared_bombs_are_read_in_no_time(shared: Path) -> None:
    bombs = sorted((shared / "malformed" / "bombs").glob("*.dcm"))
    assert bombs
    for file in bombs:
        request = split_part_10(file.read_bytes())
        began = time.process_time()
        header_or_refusal(bytes(request.data), request.transfer_syntax_uid)
        assert time.process_time() - began < BOUND_S, file.name


def test_as_many_elements_as_may_be_are_read() -> None:
    many = explicit(UIDS) + explicit({0x00211001: b""}, b"LO") * (MAX_ELEMENTS - 5) + explicit({0x7FE00010: b""}, b"US")
    assert read_elements(many, EXPLICIT_LITTLE, set(UIDS)).fault == ""


def test_a_deflated_file_is_split_without_being_inflated(shared: Path) -> None:
    deflated = [file for file in sorted((shared / "transfer_syntaxes").glob("*.dcm")) if "deflate" in file.name]
    assert deflated
    for file in deflated:
        request = split_part_10(file.read_bytes())
        assert bytes(request.data) == file.read_bytes()[-len(request.data) :]
        header = read_header(request.data, request.transfer_syntax_uid)
        assert header.sop_instance_uid == request.sop_instance_uid


@bounded
@given(st.binary(max_size=300))
def test_a_damaged_file_is_split_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        split_part_10(bytes(128) + b"DICM" + data)


def test_a_data_set_that_names_another_object_than_its_command_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="SOPInstanceUID"):
        read_header(explicit(UIDS), EXPLICIT_LITTLE, "1.2.840.10008.5.1.4.1.1.2", "1.2.4")


def test_how_many_images_are_announced_is_read() -> None:
    announced = {0x00201002: b"40", 0x00201208: b"41 ", 0x00201209: b"42"}
    header = read_header(implicit(UIDS | announced), IMPLICIT_LITTLE)
    assert (header.images_in_acquisition, header.images_in_study, header.images_in_series) == (40, 41, 42)


def test_a_uid_that_comes_twice_with_other_values_is_refused() -> None:
    data = explicit(UIDS) + explicit({0x0020000E: b"1.5\0"})
    with pytest.raises(Unreadable, match="duplicated"):
        read_header(data, EXPLICIT_LITTLE)


def charset_rows() -> list[dict[str, str]]:
    """The index; where it is missing one row that names it, whose test says so."""
    index = ROOT.parent / "shared" / "data" / "charsets" / "INDEX.csv"
    if not index.is_file():
        return [{"file": index.name}]
    with index.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", charset_rows(), ids=lambda row: row["file"])
def test_text_is_decoded_as_its_character_set_says(shared: Path, row: dict[str, str]) -> None:
    """Where the declaration is at fault the text may differ; then it is no worse than replaced, and still a header."""
    request = split_part_10((shared / "charsets" / row["file"]).read_bytes())
    header = read_header(request.data, request.transfer_syntax_uid)
    expected = [unicodedata.normalize("NFC", row[key]) for key in ("patient_name_expected", "institution_expected")]
    if not row["fault"]:
        assert [header.patient_name, header.institution_name] == expected
        assert header.faults == ()
    assert unicodedata.is_normalized("NFC", header.patient_name)
    assert "\x1b" not in header.patient_name


def drawn_film() -> Dataset:
    """A DX film of a drawn study."""
    return film_study(2, frozenset(), datetime(2026, 11, 24), rows=64, columns=64).instances[0]


def header_of(image: Dataset) -> Header:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    request = split_part_10(buffer.getvalue())
    return read_header(request.data, request.transfer_syntax_uid)


@pytest.mark.parametrize(
    ("name", "view"),
    [("PosteroAnterior", "PA"), ("AnteroPosterior", "AP"), ("LeftLateral", "LL"), ("RightLateral", "RL")],
)
def test_a_view_code_says_the_view_where_view_position_does_not(name: str, view: str) -> None:
    code = getattr(codes.CID4010, name)
    for scheme, value in (("SCT", code.value), ("SRT", retired["SCT"][code.value])):
        film = drawn_film()
        film.ViewPosition = ""
        film.ViewCodeSequence[0].CodingSchemeDesignator, film.ViewCodeSequence[0].CodeValue = scheme, value
        assert header_of(film).view_position == view


def coded(value: str, meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99SITE", meaning
    return [item]


def test_a_code_that_nobody_knows_is_read_by_its_meaning() -> None:
    film = drawn_film()
    film.ViewCodeSequence, film.AnatomicRegionSequence = coded("V1", "left lateral"), coded("R1", "Hand")
    film.ContrastBolusAgentSequence = coded("C1", "Iopromide")
    header = header_of(film)
    assert (header.view_code, header.region_code, header.contrast_agent_code) == ("left lateral", "Hand", "Iopromide")


def group(**macros: Mapping[str, object]) -> Dataset:
    """A functional group with these macros."""
    made = Dataset()
    for name, values in macros.items():
        inner = Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        setattr(made, name, [inner])
    return made


def enhanced(shared: Dataset, frames: list[Dataset], **top: object) -> Header:
    image = drawn_film()
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [shared], frames
    for keyword, value in top.items():
        setattr(image, keyword, value)
    return header_of(image)


FLAIR: dict[str, dict[str, object]] = {
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": 9000},
    "MREchoSequence": {"EffectiveEchoTime": 120.0},
    "MRModifierSequence": {"InversionRecovery": "YES", "InversionTimes": [2500.0]},
}


@pytest.mark.parametrize("is_shared", [True, False])
def test_facts_of_functional_groups_are_the_objects_where_all_frames_agree(is_shared: bool) -> None:
    held, other = group(**FLAIR), Dataset()
    header = enhanced(held if is_shared else other, [other] * 2 if is_shared else [held] * 2, EchoPulseSequence="SPIN")
    assert (header.echo_time, header.repetition_time, header.inversion_time) == (120, 9000, 2500)
    assert header.scanning_sequence == ("SE", "IR")
    assert header.frames_differ == ()


def test_facts_that_differ_from_frame_to_frame_are_named() -> None:
    echoes = [group(MREchoSequence={"EffectiveEchoTime": echo}) for echo in (20.0, 90.0)]
    given = [group(ContrastBolusUsageSequence={"ContrastBolusAgentAdministered": value}) for value in ("NO", "YES")]
    weighted = [group(MRDiffusionSequence={"DiffusionBValue": b}) for b in (0.0, 1000.0)]
    assert enhanced(Dataset(), echoes).frames_differ == ("echo_time",)
    assert enhanced(Dataset(), given).frames_differ == ("contrast",)
    assert enhanced(Dataset(), weighted).frames_differ == ("diffusion_b_value",)
    assert enhanced(Dataset(), given[1:]).contrast_administered == "YES"
    assert enhanced(Dataset(), [*echoes[:1], Dataset()]).frames_differ == ("echo_time",)


def test_an_echo_pulse_alone_does_not_say_that_nothing_was_inverted() -> None:
    assert enhanced(Dataset(), [Dataset()], EchoPulseSequence="SPIN").scanning_sequence == ()
    not_inverted = group(MRModifierSequence={"InversionRecovery": "NO"})
    assert enhanced(not_inverted, [Dataset()], EchoPulseSequence="SPIN").scanning_sequence == ("SE",)
    planar = enhanced(Dataset(), [Dataset()], EchoPulseSequence="SPIN", EchoPlanarPulseSequence="YES")
    assert planar.scanning_sequence == ("SE", "EP")


def test_functional_groups_beyond_the_bound_tell_nothing_rather_than_a_part() -> None:
    frames = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * (MAX_IN_ITEMS + 1)
    data = explicit(UIDS) + struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(frames)) + frames
    began = time.process_time()
    assert "echo_time" in read_header(data, EXPLICIT_LITTLE).frames_differ
    assert time.process_time() - began < BOUND_S


def test_an_enhanced_object_of_a_vendor_tells_its_times(shared: Path) -> None:
    file = min((shared / "mr" / "enhanced_phantom_philips").rglob("*.dcm"))
    request = split_part_10(file.read_bytes())
    header = read_header(request.data, request.transfer_syntax_uid)
    assert header.repetition_time == pytest.approx(3.8045, abs=1e-4)
    assert header.scanning_sequence == ("GR",)
    assert header.frames_differ == ("echo_time",)


def test_the_view_code_of_a_drawn_film_says_what_its_view_position_does() -> None:
    golden = dcmread(shipped_folder() / "chest-film" / "golden" / "film.dcm")
    for film in (drawn_film(), golden):
        value, film.ViewPosition = film.ViewPosition, ""
        assert (value, header_of(film).view_position) == ("PA", "PA")
        (code,) = film.ViewCodeSequence
        assert codes.CID4010.PosteroAnterior == Code(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)
