"""A plain picture, PNG or JPEG, as the film that it shows.

An 8-bit picture (or of fewer bits) is what somebody saw: its black and its white are those of the film. A 16-bit
picture holds values, of which a window says what is shown black and white; without one, its range does. Either way the
network gets what it gets of a DICOM film with that window, because it is made one: a data set in memory.

A picture in colours of which all are grey is grey; any other colour, and anything transparent, is refused (`colour`).
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from imaging.domain.pictures import PNG, Window
from imaging.domain.reasons import NotAnalysable
from imaging.domain.source import Source
from imaging.inference import codestreams
from imaging.inference.pixels import MAX_BYTES

Pixels = NDArray[Any]

_HEADER_ENDS: Final = 26
"""Where a PNG's signature and what its IHDR says of size, bits and colour end."""
_MAX_SIDE: Final = 65535
"""Of a DICOM image (Rows and Columns are US)."""


@dataclass(frozen=True)
class PictureSource(Source):
    """A picture whose bytes are those of a DICOM film. `picture`: the file; `window`: black and white."""

    picture: Source
    window: Window | None = None

    def read_bytes(self) -> bytes:
        """The film as a Part 10 file. Raises NotAnalysable, OSError."""
        return film_of(self.picture.read_bytes(), self.window)


def film_of(data: bytes, window: Window | None = None) -> bytes:
    """A picture's file as a Part 10 file with its grey values. Raises NotAnalysable."""
    pixels = _grey(_decoded(data))
    bits = 8 * pixels.itemsize
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = "2.25.0"
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.Rows, film.Columns = pixels.shape
    film.BitsAllocated, film.BitsStored, film.HighBit = bits, bits, bits - 1
    if window is not None and bits == 16:
        low, high = window
        film.WindowCenter, film.WindowWidth = f"{(low + high) / 2:.10g}", f"{high - low:.10g}"
        film.VOILUTFunction = "LINEAR_EXACT"
    film.PixelData = pixels.astype(f"<u{pixels.itemsize}").tobytes()
    film.PixelData += bytes(len(film.PixelData) % 2)
    film["PixelData"].VR = "OB" if bits == 8 else "OW"
    stream = BytesIO()
    film.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _decoded(data: bytes) -> Pixels:
    """(rows, columns), or with a last axis of channels. Nothing is decoded before its size is known."""
    import imagecodecs

    is_png = data.startswith(PNG)
    bytes_of = _size_of_png(data) if is_png else _size_of_jpeg(data)
    if bytes_of > MAX_BYTES // 4:
        raise NotAnalysable("memory")
    try:
        pixels: Pixels = imagecodecs.png_decode(data) if is_png else imagecodecs.jpeg_decode(data)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what they like
        raise _unreadable(is_png) from error
    if pixels.dtype not in ((np.uint8, np.uint16) if is_png else (np.uint8,)) or pixels.ndim not in (2, 3):
        raise _unreadable(is_png)
    return pixels


def _unreadable(is_png: bool) -> NotAnalysable:
    return NotAnalysable("pixels-unreadable", "PNG" if is_png else "JPEG")


def _size_of_png(data: bytes) -> int:
    """Bytes that it decodes to at most, by its IHDR (ISO/IEC 15948 11.2.2)."""
    if len(data) < _HEADER_ENDS or data[12:16] != b"IHDR":
        raise _unreadable(is_png=True)
    columns, rows, depth = struct.unpack(">IIB", data[16:25])
    return _size(rows, columns, 4 * max(1, depth // 8), is_png=True)


def _size_of_jpeg(data: bytes) -> int:
    header = codestreams.jpeg(data)
    if header is None:
        raise _unreadable(is_png=False)
    if header.components not in (1, 3):
        raise NotAnalysable("colour")
    return _size(header.rows, header.columns, header.components, is_png=False)


def _size(rows: int, columns: int, each: int, *, is_png: bool) -> int:
    if not (0 < rows <= _MAX_SIDE and 0 < columns <= _MAX_SIDE):
        raise _unreadable(is_png)
    return rows * columns * each


def _grey(pixels: Pixels) -> Pixels:
    """(rows, columns) of what may be grey, with an opaque alpha channel or none. Raises NotAnalysable."""
    if pixels.ndim == 2:
        return pixels
    channels = pixels.shape[2]
    if channels in (2, 4) and (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
        raise NotAnalysable("colour", "transparent")
    colours = pixels[..., : channels - 1] if channels in (2, 4) else pixels
    if (colours != colours[..., :1]).any():
        raise NotAnalysable("colour")
    grey: Pixels = np.ascontiguousarray(colours[..., 0])
    return grey
