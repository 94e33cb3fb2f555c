"""A film, and its pixels as codestreams of each syntax."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from inference_cases import write_film

LOSSLESS, JPEG_LS, J2K, HTJ2K, RLE = (f"1.2.840.10008.1.2.{each}" for each in ("4.70", "4.80", "4.90", "4.201", "5"))
ROWS, COLUMNS = 64, 48
DRAWN = (
    np.add.outer(50 * np.arange(ROWS), 9 * np.arange(COLUMNS)) + np.random.default_rng(7).integers(0, 200, (64, 48))
).astype(np.uint16)
ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    LOSSLESS: lambda values: bytes(imagecodecs.ljpeg_encode(values, bitspersample=12)),
    JPEG_LS: lambda values: bytes(imagecodecs.jpegls_encode(values)),
    J2K: lambda values: bytes(imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True)),
    HTJ2K: lambda values: bytes(imagecodecs.htj2k_encode(values)),
}


def written(path: Path, syntax: str, pixel_data: bytes, frames: int = 1) -> Path:
    """A film of these encapsulated items."""
    dataset = pydicom.dcmread(write_film(path, DRAWN).path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pixel_data
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.save_as(path, enforce_file_format=True)
    return path
