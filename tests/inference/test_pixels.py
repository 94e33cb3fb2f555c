"""Stored values come out of every transfer syntax as they went in, and a lie never reaches a decoder's memory."""

import csv
import hashlib
import resource
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import shared, write_film
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from imaging.domain.reasons import NotAnalysable
from imaging.inference.pixels import Layout, decode, layout_of, read_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of broken files
GREY = ("MONOCHROME1", "MONOCHROME2")


def _index() -> list[dict[str, str]]:
    with (shared("transfer_syntaxes") / "INDEX.csv").open() as lines:
        return [row for row in csv.DictReader(lines) if row["photometric"]]


def test_grey_files_of_all_syntaxes_give_the_values_whose_checksum_is_known() -> None:
    compared = 0
    for row in _index():
        if row["photometric"] not in GREY or not row["checksum_of_decoded_pixels"] or not row["bits_stored"]:
            continue
        values = decode(read_file(shared("transfer_syntaxes") / row["file"]))
        assert hashlib.sha256(values.tobytes()).hexdigest() == row["checksum_of_decoded_pixels"], row["file"]
        compared += 1
    assert compared == 39


def test_lossy_grey_files_decode_to_their_size() -> None:
    lossy = [row for row in _index() if row["photometric"] in GREY and not row["checksum_of_decoded_pixels"]]
    assert lossy
    for row in lossy:
        dataset = read_file(shared("transfer_syntaxes") / row["file"])
        assert decode(dataset).shape == (int(row["frames"]), dataset.Rows, dataset.Columns), row["file"]


def test_near_lossless_values_lie_within_two_of_the_lossless_ones() -> None:
    names = ("17_jpegls_near2_12bit.dcm", "12_jpeg_lossless_sv1_12bit.dcm")
    near, exact = (decode(read_file(shared("transfer_syntaxes") / name)).astype(int) for name in names)
    assert np.abs(near - exact).max() <= 2


def test_colour_is_refused_by_its_name() -> None:
    coloured = [row for row in _index() if row["photometric"] not in GREY]
    assert coloured
    for row in coloured:
        with pytest.raises(NotAnalysable, match="colour"):
            decode(read_file(shared("transfer_syntaxes") / row["file"]))


def _end(path: Path) -> str:
    """How decoding a file ends: "whole", or the code of a reason."""
    try:
        decode(read_file(path))
    except NotAnalysable as refused:
        return refused.reason.code
    return "whole"


def test_broken_pixels_end_with_a_reason_or_whole_and_in_bounded_memory() -> None:
    whole = {"p02", "p23", "p26", "p27", "p28", "p29", "p30", "p32", "p38", "p49", "p55"}
    paths = sorted((shared("malformed") / "pixels").glob("*.dcm"))
    assert whole <= {path.name[:3] for path in paths}
    for path in paths:
        tracemalloc.start()
        assert (_end(path) == "whole") == (path.name[:3] in whole), path.name
        assert tracemalloc.get_traced_memory()[1] < 64 << 20, path.name
        tracemalloc.stop()


def test_no_malformed_file_raises_anything_but_a_reason() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slow = ("b01", "b02", "b15")  # these unpack to 200 MB and more, or take a minute: a worker's limits end them
    paths = [path for path in sorted(shared("malformed").glob("*/*.dcm")) if not path.name.startswith(slow)]
    assert paths
    for path in paths:
        assert _end(path) in ("whole", "pixels-unreadable", "colour", "memory"), path.name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10  # KiB


def test_half_a_jpeg_is_not_half_a_picture() -> None:
    with pytest.raises(NotAnalysable, match=r"pixels-unreadable: 1\.2\.840\.10008\.1\.2\.4\.50"):
        decode(read_file(shared("malformed") / "pixels" / "p39_jpeg_cut.dcm"))


def test_a_reason_never_repeats_text_that_stands_where_a_uid_should(tmp_path: Path) -> None:
    path = tmp_path / "text.dcm"
    path.write_bytes(b"no DICOM at all, but PATIENT^NAME")
    with pytest.raises(NotAnalysable) as refused:
        read_file(path)
    assert str(refused.value) == "pixels-unreadable"


def test_a_file_that_is_gone_is_our_trouble_and_no_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "gone.dcm")


def test_the_range_of_stored_values_follows_bits_stored_and_sign() -> None:
    assert Layout(1, 1, 1, 16, 12, False).range == (0, 4095)
    assert Layout(1, 1, 1, 16, 12, True).range == (-2048, 2047)


VALUES = (b"", b"\0", b"abc ", b"inf ", b"1.5 ", b"1\\2 ", b"\xff" * 8)


@pytest.mark.parametrize("keyword", ["Rows", "NumberOfFrames", "BitsStored", "HighBit", "PhotometricInterpretation"])
@pytest.mark.parametrize("vr", ["US", "IS", "SQ", "UN", "ZZ"])
def test_a_size_that_is_empty_or_no_number_is_the_inputs_trouble(tmp_path: Path, keyword: str, vr: str) -> None:
    write_film(tmp_path / "film.dcm", np.zeros((8, 8)))
    dataset = read_file(tmp_path / "film.dcm")
    tag = Tag(keyword)
    ended = set()
    for value in VALUES:
        dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True)
        try:
            layout_of(dataset)
        except NotAnalysable as refused:
            ended.add(refused.reason.code)
    assert "pixels-unreadable" in ended
    assert ended <= {"pixels-unreadable", "memory"}


def test_an_error_of_ours_is_no_fault_of_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Dataset, "get", get)
    with pytest.raises(MemoryError):
        layout_of(Dataset())


def test_more_than_the_bound_is_refused_before_anything_is_allocated() -> None:
    dataset = read_file(shared("malformed") / "pixels" / "p08_frames_1e9.dcm")
    with pytest.raises(NotAnalysable, match="memory"):
        layout_of(dataset)
