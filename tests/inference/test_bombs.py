"""A frame's size is read from the very codestream that a decoder would get, before it gets it."""

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from codestreams import COLUMNS, DRAWN, ENCODERS, J2K, JPEG_LS, LOSSLESS, ROWS, written
from inference_cases import write_film
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian

from imaging.domain.reasons import NotAnalysable
from imaging.inference import pixels
from imaging.inference.boxes import contents
from imaging.inference.codestreams import by_starts, jpeg, jpeg2000, jpeg_xl
from imaging.inference.pixels import decode, in_colour, read_file

JPEG_XL = "1.2.840.10008.1.2.4.110"
BASELINE = "1.2.840.10008.1.2.4.50"
WIDE = 3000
JP2_HEAD = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
JXL_HEAD = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "


def j2k(values: np.ndarray) -> bytes:
    return ENCODERS[J2K](values)


def jxl(values: np.ndarray, *, is_boxed: bool = False, **options: Any) -> bytes:
    """A JPEG XL stream, bare or in boxes. Its encoder puts some into boxes that need none."""
    data = bytes(imagecodecs.jpegxl_encode(values, lossless=True, effort=1, usecontainer=is_boxed, **options))
    if data.startswith(JXL_HEAD) and not is_boxed:
        (data,) = contents(data, b"jxlc")
    return data


def box(kind: bytes, content: bytes, *, is_long: bool = False, is_last: bool = False) -> bytes:
    """A box whose length is told in four bytes, in twelve, or as "up to the end"."""
    if is_long:
        return (1).to_bytes(4, "big") + kind + (16 + len(content)).to_bytes(8, "big") + content
    return (0 if is_last else 8 + len(content)).to_bytes(4, "big") + kind + content


def film_of(path: Path, syntax: str, frame: bytes) -> pydicom.Dataset:
    """A film of this frame. pydicom writes no syntax that is newer than itself."""
    dataset = read_file(written(path / "film.dcm", J2K, encapsulate([frame])))
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


OTHER = np.zeros_like(DRAWN)
HUGE = np.zeros((WIDE, WIDE), np.uint16)


# JPEG 2000 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [b"uuid", b"xml ", b"free"])
def test_the_image_is_that_of_the_codestream_box_not_one_that_stands_before_it(tmp_path: Path, kind: bytes) -> None:
    frame = JP2_HEAD + box(kind, j2k(OTHER)) + box(b"jp2c", j2k(DRAWN))
    assert np.array_equal(decode(film_of(tmp_path, J2K, frame))[0], DRAWN)


def test_a_false_size_in_another_box_hides_no_bomb(tmp_path: Path) -> None:
    frame = JP2_HEAD + box(b"uuid", j2k(DRAWN)) + box(b"jp2c", j2k(HUGE))
    found = jpeg2000(frame)
    assert found is not None
    assert (found.rows, found.columns) == (WIDE, WIDE)
    with pytest.raises(NotAnalysable, match=J2K):
        decode(film_of(tmp_path, J2K, frame))


@pytest.mark.parametrize(
    "frame",
    [
        JP2_HEAD + box(b"jp2c", j2k(DRAWN), is_last=True),
        JP2_HEAD + box(b"jp2c", j2k(DRAWN), is_long=True),
        JP2_HEAD + box(b"xml ", b"x" * 10_000) + box(b"jp2c", j2k(DRAWN)),
    ],
)
def test_boxes_are_walked_whatever_their_length(tmp_path: Path, frame: bytes) -> None:
    assert np.array_equal(decode(film_of(tmp_path, J2K, frame))[0], DRAWN)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        JP2_HEAD,
        JP2_HEAD + b"\0\0\0\x04jp2c",
        JP2_HEAD + box(b"jp2c", b""),
        JP2_HEAD + box(b"jp2c", b"no codestream" + j2k(DRAWN)),
        JP2_HEAD + b"\0\0\0\x07uuid" + box(b"jp2c", j2k(DRAWN)),
        b"before" + j2k(DRAWN),
        box(b"free", b"") * 2000 + box(b"jp2c", j2k(DRAWN)),
    ],
)
def test_boxes_that_lead_to_no_codestream_are_no_image(frame: bytes) -> None:
    assert jpeg2000(frame) is None


# JPEG XL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_boxed", [False, True])
def test_a_jpeg_xl_image_of_another_size_reaches_no_decoder(tmp_path: Path, is_boxed: bool) -> None:
    dataset = film_of(tmp_path, JPEG_XL, jxl(HUGE, is_boxed=is_boxed))
    tracemalloc.start()
    try:
        with pytest.raises(NotAnalysable, match=JPEG_XL):
            decode(dataset)
        _, maximum = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert maximum < HUGE.nbytes / 4


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (8, 8),
        (256, 256),
        (255, 257),
        (40, 48),
        (90, 120),
        (60, 90),
        (90, 160),
        (100, 125),
        (100, 200),
        (513, 9),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("is_boxed", [False, True])
def test_a_jpeg_xl_header_tells_what_is_decoded(shape: tuple[int, int], dtype: str, is_boxed: bool) -> None:
    values = np.random.default_rng(3).integers(0, 200, shape).astype(dtype)
    found = jpeg_xl(jxl(values, is_boxed=is_boxed))
    assert found is not None
    assert (found.rows, found.columns, found.components) == (*shape, 1)
    assert np.array_equal(imagecodecs.jpegxl_decode(found.data), values)


def test_a_jpeg_xl_image_may_lie_in_parts(tmp_path: Path) -> None:
    stream = jxl(DRAWN)
    parts = [box(b"jxlp", at.to_bytes(4, "big") + stream[start : start + 700]) for at, start in enumerate((0, 700))]
    parts.append(box(b"jxlp", (2 | 1 << 31).to_bytes(4, "big") + stream[1400:]))
    frame = JXL_HEAD + b"".join(parts)
    assert np.array_equal(decode(film_of(tmp_path, JPEG_XL, frame))[0], DRAWN)


def test_a_small_jpeg_xl_image_in_another_box_hides_no_bomb(tmp_path: Path) -> None:
    frame = JXL_HEAD + box(b"Exif", jxl(DRAWN)) + box(b"jxlc", jxl(HUGE))
    with pytest.raises(NotAnalysable, match=JPEG_XL):
        decode(film_of(tmp_path, JPEG_XL, frame))


def header(*fields: tuple[int, int]) -> bytes:
    """A JPEG XL header of fields (value, bits), the lowest bit first."""
    bits = at = 0
    for value, count in fields:
        bits |= value << at
        at += count
    return b"\xff\x0a" + bits.to_bytes(64, "little")


SIZE = ((0, 1), (0, 2), (ROWS - 1, 9), (0, 3), (0, 2), (COLUMNS - 1, 9))
GREY_OF_8_BITS = ((0, 1), (0, 2), (1, 1), (0, 2), (0, 1), (0, 1), (0, 1), (1, 2))
"""No floats, 8 bits, small values, no further channels, not XYB; then its colours: not all default, no ICC, grey."""


def test_what_stands_beside_a_jpeg_xl_picture_is_refused() -> None:
    plain = header(*SIZE, (0, 1), (0, 1), *GREY_OF_8_BITS)
    found = jpeg_xl(plain)
    assert found is not None
    assert (found.rows, found.columns, found.components) == (ROWS, COLUMNS, 1)
    for extra in (((0, 3), (0, 1), (1, 1)), ((0, 3), (0, 1), (0, 1), (1, 1))):  # a preview; an animation
        assert jpeg_xl(header(*SIZE, (0, 1), (1, 1), *extra, *GREY_OF_8_BITS)) is None
    channels = ((0, 1), (0, 2), (1, 1), (3, 2), (4095, 12))
    assert jpeg_xl(header(*SIZE, (0, 1), (0, 1), *channels)) is None
    assert jpeg_xl(jxl(np.zeros((3, 30, 40), np.uint8), photometric="gray")) is None
    assert jpeg_xl(b"\xff\x0a") is not None  # its bits are all 0: an image of one pixel, which is no film


@pytest.mark.parametrize("size", [(0, 0x3FFFFFFF), (0x3FFFFFFF, 0)])
def test_the_largest_jpeg_xl_sizes_are_read(size: tuple[int, int]) -> None:
    fields = ((0, 1), (3, 2), (size[0], 30), (0, 3), (3, 2), (size[1], 30))
    found = jpeg_xl(header(*fields, (0, 1), (0, 1), *GREY_OF_8_BITS))
    assert found is not None
    assert (found.rows, found.columns) == (size[0] + 1, size[1] + 1)


def test_a_turned_jpeg_xl_image_has_the_size_that_it_is_decoded_to() -> None:
    found = jpeg_xl(header(*SIZE, (0, 1), (1, 1), (4, 3), (0, 1), (0, 1), (0, 1), *GREY_OF_8_BITS))
    assert found is not None
    assert (found.rows, found.columns) == (COLUMNS, ROWS)


def test_a_coloured_jpeg_xl_image_is_none_of_a_grey_header(tmp_path: Path) -> None:
    coloured = jxl(np.zeros((ROWS, COLUMNS, 3), np.uint8))
    found = jpeg_xl(coloured)
    assert found is not None
    assert found.components == 3
    with pytest.raises(NotAnalysable, match=JPEG_XL):
        decode(film_of(tmp_path, JPEG_XL, coloured))


def test_jpeg_xl_frames_in_fragments_are_told_apart_by_their_starts() -> None:
    bare, boxed = jxl(DRAWN), jxl(DRAWN, is_boxed=True)
    assert by_starts([bare[:100], bare[100:], boxed, bare]) == [bare, boxed, bare]


# JPEG and JPEG-LS -------------------------------------------------------------------------------------------

FRAME_HEADERS = {LOSSLESS: b"\xff\xc3", JPEG_LS: b"\xff\xf7"}


def with_segment(stream: bytes, segment: bytes, syntax: str, *, before: bool) -> bytes:
    """The stream with a segment before or behind its frame header."""
    at = stream.index(FRAME_HEADERS[syntax])
    if not before:
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return stream[:at] + segment + stream[at:]


def frame_header(stream: bytes, syntax: str, rows: int, columns: int) -> bytes:
    at = stream.index(FRAME_HEADERS[syntax])
    own = stream[at : at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")]
    return own[:5] + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + own[9:]


@pytest.mark.parametrize("syntax", FRAME_HEADERS)
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("size", [(ROWS, COLUMNS), (60_000, 60_000)])
def test_a_stream_with_two_sizes_is_refused(tmp_path: Path, syntax: str, before: bool, size: tuple[int, int]) -> None:
    stream = ENCODERS[syntax](DRAWN)
    frame = with_segment(stream, frame_header(stream, syntax, *size), syntax, before=before)
    assert jpeg(frame) is None
    with pytest.raises(NotAnalysable, match=syntax):
        decode(film_of(tmp_path, syntax, frame))


@pytest.mark.parametrize("syntax", FRAME_HEADERS)
def test_an_image_that_begins_anew_is_refused(syntax: str) -> None:
    stream, huge = (ENCODERS[syntax](each) for each in (DRAWN, HUGE))
    assert jpeg(with_segment(stream, b"\xff\xd8", syntax, before=True)) is None
    assert (
        jpeg(with_segment(stream, b"\xff\xd8" + frame_header(huge, syntax, WIDE, WIDE), syntax, before=False)) is None
    )
    assert jpeg(b"\xff\xd8" + stream) is None
    assert jpeg(b"\0\0" + stream) is None
    assert jpeg(stream[2:]) is None


def test_a_jpeg_ls_stream_tells_no_other_size_beside_its_frame_header() -> None:
    stream = ENCODERS[JPEG_LS](DRAWN)
    other = b"\xff\xf8\x00\x0a\x04\x03" + (60_000).to_bytes(3, "big") * 2
    presets = b"\xff\xf8\x00\x0d\x01\x0f\xff\x00\x43\x00\x82\x01\x0e\x00\x40"
    assert jpeg(with_segment(stream, other, JPEG_LS, before=False)) is None
    assert jpeg(with_segment(stream, other, JPEG_LS, before=True)) is None
    assert jpeg(with_segment(stream, presets, JPEG_LS, before=False)) is not None


def test_a_frame_header_that_is_cut_is_refused() -> None:
    stream = ENCODERS[LOSSLESS](DRAWN)
    assert jpeg(stream[: stream.index(b"\xff\xc3") + 8]) is None


# Colour, deflated data sets ----------------------------------------------------------------------------------


def coloured(path: Path, frame: bytes) -> pydicom.Dataset:
    """A film whose header says that it is coloured, 8 bits a sample."""
    dataset = film_of(path, BASELINE, frame)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "YBR_FULL_422", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    return dataset


def test_a_coloured_copy_is_compared_where_its_stream_has_the_headers_size_alone(tmp_path: Path) -> None:
    drawn = np.repeat((DRAWN >> 4).astype(np.uint8)[:, :, None], 3, axis=2)
    shown = in_colour(coloured(tmp_path, bytes(imagecodecs.jpeg8_encode(drawn))))
    assert shown.shape == (1, ROWS, 3 * COLUMNS)
    huge = bytes(imagecodecs.jpeg8_encode(np.zeros((WIDE, WIDE, 3), np.uint8)))
    with pytest.raises(NotAnalysable, match=f"pixels-unreadable.*{BASELINE}"):
        in_colour(coloured(tmp_path, huge))


def deflated(path: Path, length: int) -> Path:
    """A film with so many bytes of zeros beside its pixels, in a deflated data set."""
    dataset = pydicom.dcmread(write_film(path, DRAWN).path)
    dataset.add_new(0x00091001, "LO", "OURS")
    dataset.add_new(0x7FE11001, "OB", bytes(length))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_deflated_data_set_is_inflated_within_its_bound_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MAX_BYTES", 1 << 24)
    path = deflated(tmp_path / "small.dcm", 1 << 20)
    assert np.array_equal(decode(read_file(path))[0], DRAWN)
    bomb = deflated(tmp_path / "bomb.dcm", 1 << 26)
    assert bomb.stat().st_size < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(NotAnalysable, match="memory"):
            read_file(bomb)
        _, maximum = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert maximum < 1 << 23


def test_a_deflated_frame_is_inflated_as_far_as_it_is_asked_for(tmp_path: Path) -> None:
    deflating = zlib.compressobj(wbits=-15)
    frame = deflating.compress(DRAWN.tobytes() + bytes(1 << 26)) + deflating.flush()
    dataset = film_of(tmp_path, "1.2.840.10008.1.2.8.1", frame)
    tracemalloc.start()
    try:
        decode(dataset)
        _, maximum = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert maximum < 1 << 22
