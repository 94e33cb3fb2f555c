"""Compressed frames are read as DCMTK reads them: what follows the end of an image is padding, however long."""

import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from codestreams import COLUMNS, DRAWN, ENCODERS, HTJ2K, J2K, JPEG_LS, LOSSLESS, RLE, ROWS, written
from peers import program
from pydicom.encaps import encapsulate, itemize_fragment

from imaging.domain.reasons import NotAnalysable
from imaging.inference.codestreams import jpeg, jpeg2000
from imaging.inference.pixels import decode, read_file

TRAILERS = {
    "a zero": b"\0",
    "many zeros": b"\0" * 200,
    "FF": b"\xff",
    "spaces": b"  ",
    "text": b"TRAILER " * 13,
    "a second end": b"\xff\xd9" * 50,
}


def items(*fragments: bytes) -> bytes:
    """An empty offset table and these fragments, without any padding of ours: their length may be odd."""
    return bytes(itemize_fragment(b"")) + b"".join(
        b"\xfe\xff\x00\xe0" + len(each).to_bytes(4, "little") + each for each in fragments
    )


def rle_of(values: np.ndarray, padding: bytes = b"") -> bytes:
    """PS3.5 annex G: the high bytes, then the low ones, each segment with this behind it."""
    planes = values.astype(">u2").tobytes()
    segments = [imagecodecs.packbits_encode(planes[at::2]) + padding for at in (0, 1)]
    header = np.array([2, 64, 64 + len(segments[0]), *[0] * 13], "<u4").tobytes()
    return header + b"".join(segments)


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("syntax", ENCODERS)
def test_what_follows_the_end_of_an_image_is_left_out(tmp_path: Path, syntax: str, trailer: str) -> None:
    stream = ENCODERS[syntax](DRAWN)
    path = written(tmp_path / "film.dcm", syntax, encapsulate([stream + TRAILERS[trailer]]))
    assert np.array_equal(decode(read_file(path))[0], DRAWN)


@pytest.mark.parametrize("syntax", [LOSSLESS, JPEG_LS, J2K, HTJ2K])
@pytest.mark.parametrize("trailer", [b"", b"\0\0", b"\xff\xd9"])
def test_half_a_stream_is_not_whole_whatever_follows_it(tmp_path: Path, syntax: str, trailer: bytes) -> None:
    stream = ENCODERS[syntax](DRAWN)
    cut = stream[: len(stream) // 2] + (trailer if syntax in (J2K, HTJ2K) else trailer.replace(b"\xff\xd9", b""))
    path = written(tmp_path / "film.dcm", syntax, encapsulate([cut]))
    with pytest.raises(NotAnalysable, match=syntax):
        decode(read_file(path))


def test_the_end_is_that_of_the_stream_not_one_that_stands_in_its_header() -> None:
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"
    stream = ENCODERS[LOSSLESS](DRAWN)
    found = jpeg(stream[:2] + comment + stream[2:] + b"\0\xff\xd9")
    assert found is not None
    assert found.data == stream[:2] + comment + stream[2:]
    assert (found.rows, found.columns, found.components) == (ROWS, COLUMNS, 1)
    stream = ENCODERS[J2K](DRAWN)
    after_size = 4 + int.from_bytes(stream[4:6], "big")
    comment = b"\xff\x64\x00\x0a\x00\x00\xff\x90\xff\x93\xff\xd9"
    found = jpeg2000(stream[:after_size] + comment + stream[after_size:] + b"after")
    assert found is not None
    assert found.data == stream[:after_size] + comment + stream[after_size:]


def test_a_last_tile_part_without_a_length_reaches_to_the_end() -> None:
    stream = ENCODERS[J2K](DRAWN)
    at = stream.find(b"\xff\x90\x00\x0a")
    found = jpeg2000(stream[: at + 6] + bytes(4) + stream[at + 10 :] + b"\0\0after")
    assert found is not None
    assert found.data[-2:] == b"\xff\xd9"
    assert len(found.data) == len(stream)


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0\0", b"\0" * 9, b"\x80", b"\xff\xff" * 20, b"TRAIL", b"\x7f"])
def test_an_rle_segment_may_have_any_padding(tmp_path: Path, padding: bytes) -> None:
    path = written(tmp_path / "film.dcm", RLE, items(rle_of(DRAWN, padding)))
    assert np.array_equal(decode(read_file(path))[0], DRAWN)


def test_an_rle_run_that_is_longer_than_the_image_is_cut(tmp_path: Path) -> None:
    planes = DRAWN.astype(">u2").tobytes()
    low = imagecodecs.packbits_encode(planes[1::2])
    flat = DRAWN & 0xFF
    high = b"\x81\x00" * (ROWS * COLUMNS // 128 + 1)  # runs of 128 zeros
    header = np.array([2, 64, 64 + len(high), *[0] * 13], "<u4").tobytes()
    path = written(tmp_path / "film.dcm", RLE, items(header + high + low))
    assert np.array_equal(decode(read_file(path))[0], flat)


@pytest.mark.parametrize("kept", [0, 1, 2, 5])
def test_an_rle_segment_that_is_too_short_is_no_picture(tmp_path: Path, kept: int) -> None:
    whole = rle_of(DRAWN)
    second = int(np.frombuffer(whole, "<u4", count=3)[2])
    path = written(tmp_path / "film.dcm", RLE, items(whole[: second + kept]))
    with pytest.raises(NotAnalysable, match=RLE):
        decode(read_file(path))


@pytest.mark.parametrize("syntax", [LOSSLESS, JPEG_LS, J2K])
def test_fragments_may_be_odd_many_and_begin_frames_by_themselves(tmp_path: Path, syntax: str) -> None:
    stream = ENCODERS[syntax](DRAWN)
    odd = stream + b"\0" * (1 - len(stream) % 2)
    assert len(odd) % 2
    assert np.array_equal(decode(read_file(written(tmp_path / "1.dcm", syntax, items(odd))))[0], DRAWN)
    parts = (stream[:101], b"", stream[101:])
    assert np.array_equal(decode(read_file(written(tmp_path / "2.dcm", syntax, items(*parts))))[0], DRAWN)
    trailed = (stream[:100], stream[100:] + b"TRAILER " * 5)
    several = decode(read_file(written(tmp_path / "3.dcm", syntax, items(*trailed, *parts), frames=2)))
    assert np.array_equal(several, np.stack([DRAWN, DRAWN]))


@pytest.mark.parametrize(
    ("syntax", "tool", "fragment"),
    [
        (LOSSLESS, "dcmdjpeg", ENCODERS[LOSSLESS](DRAWN) + b"TRAILER " * 13),
        (LOSSLESS, "dcmdjpeg", ENCODERS[LOSSLESS](DRAWN) + b"\0" * 200),
        (JPEG_LS, "dcmdjpls", ENCODERS[JPEG_LS](DRAWN) + b"\0" * 200),
        (RLE, "dcmdrle", rle_of(DRAWN, b"\0" * 9)),
        (RLE, "dcmdrle", rle_of(DRAWN, b"\xff\xff" * 20)),
    ],
)
def test_dcmtk_reads_the_same(tmp_path: Path, syntax: str, tool: str, fragment: bytes) -> None:
    path = written(tmp_path / "film.dcm", syntax, encapsulate([fragment]))
    subprocess.run([program(f"/usr/bin/{tool}"), path, tmp_path / "plain.dcm"], check=True, capture_output=True)
    assert np.array_equal(decode(read_file(path)), decode(read_file(tmp_path / "plain.dcm")))
