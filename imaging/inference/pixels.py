"""Stored pixel values out of a Part 10 file, whatever its transfer syntax.

What cannot be decoded is the input's trouble: `NotAnalysable("pixels-unreadable", syntax)`. Nothing is allocated on
the word of a header alone: the frames that a header promises are bounded, so is what a deflated data set may hold, and
a compressed frame must announce the size that its header tells before it reaches a decoder.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Protocol

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import pixel_array

from imaging.domain.reasons import NotAnalysable
from imaging.domain.transfer_syntaxes import (
    BIG_ENDIAN,
    DEFLATED,
    DEFLATED_FRAMES,
    JPEG,
    JPEG2000,
    JPEG_LS,
    JPEG_XL,
    NATIVE,
    RLE,
    UNCOMPRESSED_FRAMES,
)
from imaging.inference import codestreams

Array = NDArray[Any]

MAX_BYTES: Final = 1 << 30
"""Of one instance's decoded frames; more is refused as `memory`."""

_PIECE_BYTES: Final = 1 << 20

MALFORMED: Final = (
    AttributeError, TypeError, ValueError, OverflowError, NotImplementedError, OSError, BytesLengthException,
)  # fmt: skip
"""What asking pydicom for an element raises where it is absent, empty, or no value of its VR."""


@dataclass(frozen=True)
class Layout:
    """How a grey image's values are stored (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    is_signed: bool

    @property
    def values(self) -> int:
        """How many there are, in all frames."""
        return self.rows * self.columns * self.frames

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the decoded array: the smallest that holds the stored values with their sign."""
        return np.dtype(f"{'i' if self.is_signed else 'u'}{max(1, self.allocated // 8)}")

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest value that can be stored."""
        if self.is_signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


class Stored(Protocol):
    """What is read: a `Source`, or a `Path`."""

    def read_bytes(self) -> bytes: ...


def read_file(file: Stored) -> Dataset:
    """The file's data set. Raises NotAnalysable where pydicom cannot read it, OSError where there is no file."""
    data = BytesIO(file.read_bytes())  # on a file itself, a length that lies makes pydicom allocate what it says
    try:
        _check_inflated(data)
        return pydicom.dcmread(data)
    except (MemoryError, NotAnalysable):
        raise
    except Exception as error:
        raise NotAnalysable("pixels-unreadable") from error


def _check_inflated(data: BytesIO) -> None:
    """Raises NotAnalysable where a deflated data set holds more than MAX_BYTES; pydicom inflates it at once."""
    read_preamble(data, force=False)
    meta = read_dataset(data, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if str(meta.get("TransferSyntaxUID", "")) == DEFLATED:
        inflating, made = zlib.decompressobj(-zlib.MAX_WBITS), 0
        piece = data.read()
        while piece and not inflating.eof and made <= MAX_BYTES:
            made += len(inflating.decompress(piece, _PIECE_BYTES))
            piece = inflating.unconsumed_tail
        if made > MAX_BYTES:
            raise NotAnalysable("memory")
    data.seek(0)


def syntax_of(dataset: Dataset) -> str:
    """The transfer syntax UID, or nothing where the file names none that is a UID."""
    meta = getattr(dataset, "file_meta", None)
    uid = str(meta.get("TransferSyntaxUID", "")) if meta else ""
    return uid if re.fullmatch(r"[0-9.]{1,64}", uid) else ""


def layout_of(dataset: Dataset) -> Layout:
    """Raises NotAnalysable for colour, sizes that cannot be, and more than MAX_BYTES."""
    try:
        layout, samples = _layout(dataset)
        photometric = str(dataset.get("PhotometricInterpretation", ""))
        high_bit = int(dataset.get("HighBit", layout.stored - 1))
    except MALFORMED as error:
        raise _unreadable(dataset) from error
    if samples in (3, 4) or photometric.startswith(("RGB", "YBR", "PALETTE")):
        raise NotAnalysable("colour")
    is_possible = (
        samples == 1
        and photometric in ("MONOCHROME1", "MONOCHROME2")
        and min(layout.rows, layout.columns, layout.frames) >= 1
        and layout.allocated in (1, 8, 16, 32)
        and 1 <= layout.stored <= layout.allocated
        and high_bit == layout.stored - 1
    )
    if not is_possible:
        raise _unreadable(dataset)
    if layout.values * 4 > MAX_BYTES:
        raise NotAnalysable("memory")
    return layout


def _layout(dataset: Dataset) -> tuple[Layout, int]:
    frames = dataset.get("NumberOfFrames")
    layout = Layout(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        frames=1 if frames in (None, "") else int(frames),
        allocated=int(dataset.BitsAllocated),
        stored=int(dataset.BitsStored),
        is_signed=int(dataset.PixelRepresentation) == 1,
    )
    return layout, int(dataset.get("SamplesPerPixel", 1))


def _unreadable(dataset: Dataset) -> NotAnalysable:
    return NotAnalysable("pixels-unreadable", syntax_of(dataset))


def decode(dataset: Dataset, layout: Layout | None = None) -> Array:
    """Stored values as (frames, rows, columns), of `Layout.dtype`, possibly read-only. Raises NotAnalysable.

    `layout`: the data set's, where it is known already.
    """
    layout = layout or layout_of(dataset)
    syntax = syntax_of(dataset)
    try:
        if syntax in NATIVE:
            return _native(dataset, layout, syntax)
        return _compressed(dataset, layout, syntax)
    except (NotAnalysable, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like
        raise _unreadable(dataset) from error


def _native(dataset: Dataset, layout: Layout, syntax: str) -> Array:
    element = dataset["PixelData"]
    data = element.value
    if element.is_undefined_length or "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise _unreadable(dataset)
    if layout.allocated == 1:
        if 8 * len(data) < layout.values:
            raise _unreadable(dataset)
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=layout.values, bitorder="little")
        return bits.reshape(layout.frames, layout.rows, layout.columns)
    size = layout.allocated // 8
    if len(data) < layout.values * size:
        raise _unreadable(dataset)
    is_big = syntax == BIG_ENDIAN
    if is_big and size == 1 and element.VR == "OW":
        data = np.frombuffer(data, ">u2", count=len(data) // 2).astype("<u2").tobytes()
    stored = np.frombuffer(data, f"{'>' if is_big else '<'}u{size}", count=layout.values)
    if is_big:
        stored = stored.astype(stored.dtype.newbyteorder("="))
    return _signed(stored.reshape(layout.frames, layout.rows, layout.columns), layout)


def _signed(stored: Array, layout: Layout) -> Array:
    """Unsigned words as they were stored, with their unused bits cleared and their sign extended."""
    unused = layout.allocated - layout.stored
    if layout.is_signed:
        signed: Array = stored.view(layout.dtype)
        if unused:
            signed = (signed << unused) >> unused
        return signed
    if unused and int(stored.max()) >> layout.stored:  # overlays in the unused bits (retired)
        stored = stored & np.array(layout.range[1], stored.dtype)
    return stored


def _compressed(dataset: Dataset, layout: Layout, syntax: str) -> Array:
    decoder = DECODERS.get(syntax)
    if decoder is None or not dataset["PixelData"].is_undefined_length:
        raise _unreadable(dataset)
    frames = []
    for frame in _frames(dataset, layout):
        checked = _checked(frame, syntax, layout)
        if checked is None:
            raise _unreadable(dataset)
        values = decoder(checked, layout)
        if values.size != layout.rows * layout.columns or values.dtype.kind not in "iu":
            raise _unreadable(dataset)
        # A decoder gives int16 or uint16 as its stream says; the header's word on the sign is what counts.
        words = values.astype(f"u{max(1, layout.allocated // 8)}", copy=False)
        frames.append(_signed(words.reshape(layout.rows, layout.columns), layout))
    if len(frames) != layout.frames:
        raise _unreadable(dataset)
    return frames[0][None] if len(frames) == 1 else np.stack(frames)


def _frames(dataset: Dataset, layout: Layout) -> list[bytes]:
    """Each frame's bytes. An offset table is asked only where fragments do not tell by themselves."""
    data = dataset.PixelData
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    if offsets[0] and offsets[1]:
        return list(generate_frames(data, number_of_frames=layout.frames, extended_offsets=(offsets[0], offsets[1])))
    stream = BytesIO(data)
    basic_offsets = parse_basic_offsets(stream)
    fragments = list(generate_fragments(stream))
    if layout.frames == 1:
        return [b"".join(fragments)]
    if len(fragments) == layout.frames:
        return fragments
    if len(basic_offsets) == layout.frames:
        return list(generate_frames(data, number_of_frames=layout.frames))
    return codestreams.by_starts(fragments)


def _checked(frame: bytes, syntax: str, layout: Layout, samples: int = 1) -> bytes | None:
    """The frame as a decoder gets it; None where it says of itself that it has another size than the header, other
    channels, or is cut."""
    if syntax in JPEG:
        header = codestreams.jpeg(frame)
    elif syntax in JPEG2000:
        header = codestreams.jpeg2000(frame)
    elif syntax in JPEG_XL:
        header = codestreams.jpeg_xl(frame)
    else:
        return frame  # RLE and deflate are bounded by what is asked of them
    is_so = header is not None and (header.rows, header.columns, header.components) == (
        layout.rows,
        layout.columns,
        samples,
    )
    return header.data if header is not None and is_so else None


def in_colour(dataset: Dataset) -> Array:
    """A coloured image's values as pydicom shows them, (frames, rows, columns x samples). Raises NotAnalysable.

    Frames are checked before a decoder sees them, as those of grey images are.
    """
    try:
        layout, samples = _layout(dataset)
        if layout.values * 4 > MAX_BYTES // 4:
            raise NotAnalysable("memory")
        syntax = syntax_of(dataset)
        if syntax not in NATIVE and not all(
            _checked(each, syntax, layout, samples) for each in _frames(dataset, layout)
        ):
            raise _unreadable(dataset)
        values: Array = pixel_array(dataset)
        return values.reshape(layout.frames, layout.rows, -1)
    except (NotAnalysable, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like
        raise NotAnalysable("colour") from error


def padding_of(dataset: Dataset, layout: Layout) -> tuple[int, int] | None:
    """The least and the greatest stored value that are no image (Pixel Padding Value and Range Limit, PS3.3
    C.7.5.1.1.2); None where there are none that can be stored."""
    value, limit = (_word(dataset, each) for each in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None:
        return None
    ends = [_as_stored(each, layout) for each in (value, value if limit is None else limit)]
    minimum, maximum = max(min(ends), layout.range[0]), min(max(ends), layout.range[1])
    return (minimum, maximum) if minimum <= maximum else None


def _word(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
    except MALFORMED:
        return None
    if isinstance(value, bytes) and len(value) == 2:  # its VR is unknown
        return int.from_bytes(value, "little")
    return value if isinstance(value, int) else None


def _as_stored(value: int, layout: Layout) -> int:
    """A value as the pixels have it. Its VR may have lost its sign, or got one (US for SS), by the bits that are
    allocated or by those that are stored; one that no pixel can have stays as it is."""
    minimum, maximum = layout.range
    for bits in (layout.allocated, layout.stored):
        for other in (value, value - (1 << bits), value + (1 << bits)):
            is_same_word = other == value or bits == layout.allocated or 0 <= value < 1 << bits
            if minimum <= other <= maximum and is_same_word:
                return other
    return value


# Decoders --------------------------------------------------------------------------------------------------
# imagecodecs comes first: of the decoders measured it alone gains from threads. It is imported when it is needed.


def _codec(name: str) -> Callable[[bytes, Layout], Array]:
    def decoded(frame: bytes, layout: Layout) -> Array:
        import imagecodecs

        values: Array = getattr(imagecodecs, f"{name}_decode")(frame)
        return values

    return decoded


def _rle(frame: bytes, layout: Layout) -> Array:
    """PS3.5 annex G: a header of 64 bytes, then one PackBits segment per byte of a value, the highest first."""
    size = layout.allocated // 8
    count, *offsets = np.frombuffer(frame, "<u4", count=16).tolist()
    if count != size:
        raise ValueError("segments differ from bytes allocated")
    pixels = layout.rows * layout.columns
    planes = np.empty((size, pixels), np.uint8)
    ends = [*offsets[1:count], len(frame)]
    for plane, start, end in zip(planes, offsets[:count], ends, strict=True):
        plane[:] = _unpacked(frame[start:end], pixels)
    values: Array = np.ascontiguousarray(planes.T).view(f">u{size}").reshape(-1)
    return values


def _unpacked(segment: bytes, pixels: int) -> NDArray[np.uint8]:
    """The first `pixels` bytes of an RLE segment. Raises ValueError where it holds fewer."""
    import imagecodecs

    try:
        unpacked = imagecodecs.packbits_decode(segment, out=pixels)
    except RuntimeError:  # more than one byte of padding, which reads as further runs
        packed, made = codestreams.unpacked_length(segment, pixels)
        unpacked = imagecodecs.packbits_decode(segment[:packed], out=made)
    if len(unpacked) < pixels:
        raise ValueError("the segment is too short")
    return np.frombuffer(unpacked, np.uint8, count=pixels)


def _deflated(frame: bytes, layout: Layout) -> Array:
    size = (layout.rows * layout.columns * layout.allocated + 7) // 8
    return _plain(zlib.decompressobj(-15).decompress(frame, size + 1), layout)


def _plain(frame: bytes, layout: Layout) -> Array:
    pixels = layout.rows * layout.columns
    if layout.allocated == 1:
        return np.unpackbits(np.frombuffer(frame, np.uint8), count=pixels, bitorder="little")
    return np.frombuffer(frame, f"<u{layout.allocated // 8}", count=pixels)


DECODERS: Final[Mapping[str, Callable[[bytes, Layout], Array]]] = {
    "1.2.840.10008.1.2.4.50": _codec("jpeg8"),
    "1.2.840.10008.1.2.4.51": _codec("jpeg"),
    "1.2.840.10008.1.2.4.57": _codec("ljpeg"),
    "1.2.840.10008.1.2.4.70": _codec("ljpeg"),
    **dict.fromkeys(sorted(JPEG_LS), _codec("jpegls")),
    **dict.fromkeys(sorted(JPEG2000), _codec("jpeg2k")),
    **dict.fromkeys(sorted(JPEG_XL), _codec("jpegxl")),
    RLE: _rle,
    UNCOMPRESSED_FRAMES: _plain,
    DEFLATED_FRAMES: _deflated,
}
