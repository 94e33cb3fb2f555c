"""A plain picture is the film that it shows, or is refused by a name."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from imaging.domain.pictures import is_picture
from imaging.domain.reasons import NotAnalysable
from imaging.inference import pictures
from imaging.inference.film import read_film
from imaging.inference.pictures import film_of

GENERATOR = np.random.default_rng(5)
GREY = GENERATOR.integers(0, 256, (48, 40), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 4096, (48, 40)).astype(np.uint16)


def file_of(values: NDArray[Any], kind: str = "PNG", mode: str = "", **options: Any) -> bytes:
    stream = BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def grey_of(data: bytes, window: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """What a network is prepared from."""
    return read_film(dcmread(BytesIO(film_of(data, window)))).grey()


def refused(data: bytes) -> str:
    with pytest.raises(NotAnalysable) as error:
        film_of(data)
    return str(error.value.reason)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_eight_bits_are_black_to_white_whatever_they_stand_for(mode: str) -> None:
    for window in (None, (0.0, 4095.0), (-1000.0, 400.0)):
        assert np.allclose(grey_of(file_of(GREY, mode=mode), window), GREY / 255, atol=1e-6)


def test_a_grey_jpeg_has_the_values_that_its_decoder_gives_in_grey_and_in_colours() -> None:
    for mode in ("L", "RGB"):
        data = file_of(GREY, "JPEG", mode)
        shown = np.asarray(Image.open(BytesIO(data)).convert("L"))
        assert np.allclose(grey_of(data), shown / 255, atol=1e-6)


def test_sixteen_bits_are_values_and_the_window_says_which_are_black_and_white() -> None:
    data = file_of(DEEP)
    assert np.allclose(grey_of(data), DEEP / 65535, atol=1e-6)
    assert np.allclose(grey_of(data, (0.0, 4095.0)), DEEP / 4095, atol=1e-6)
    assert np.allclose(grey_of(data, (500.0, 3000.0)), np.clip((DEEP - 500.0) / 2500, 0, 1), atol=1e-6)


def test_a_window_of_sixteen_bits_gives_what_a_dicom_film_with_that_window_gives() -> None:
    film = dcmread(BytesIO(film_of(file_of(DEEP))))
    film.WindowCenter, film.WindowWidth = 1800.5, 2601  # LINEAR: 500 is black, 3100 white
    assert np.allclose(read_film(film).grey(), grey_of(file_of(DEEP), (500.0, 3100.0)), atol=1e-6)


def test_an_odd_count_of_bytes_is_padded_as_dicom_wants_it() -> None:
    assert np.allclose(grey_of(file_of(GREY[:47, :39])), GREY[:47, :39] / 255, atol=1e-6)


def test_colour_and_what_is_transparent_are_refused_by_name() -> None:
    colour = np.stack([GREY, GREY, 255 - GREY], axis=-1)
    assert refused(file_of(colour)) == "colour"
    assert refused(file_of(colour, "JPEG")) == "colour"
    assert refused(file_of(GREY, "JPEG", "CMYK")) == "colour"
    see_through = np.stack([GREY, GREY, GREY, np.full_like(GREY, 128)], axis=-1)
    assert refused(file_of(see_through)) == "colour: transparent"


def test_what_is_cut_or_no_picture_is_unreadable() -> None:
    png, jpeg = file_of(GREY), file_of(GREY, "JPEG")
    assert [refused(each) for each in (png[:200], png[:20], png[:16] + bytes(99))] == ["pixels-unreadable: PNG"] * 3
    assert [refused(each) for each in (jpeg[:200], jpeg[:3], b"")] == ["pixels-unreadable: JPEG"] * 3
    assert (is_picture(png), is_picture(jpeg), is_picture(b"DICM"), is_picture(b"")) == (True, True, False, False)


def test_a_size_beyond_the_limit_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, mode in (("PNG", "L"), ("JPEG", "L"), ("JPEG", "RGB")):
        data = file_of(GREY, kind, mode)
        monkeypatch.setattr(pictures, "MAX_BYTES", 4 * 48 * 40 - 4)
        assert refused(data) == "memory"
    huge = bytearray(file_of(GREY))
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    monkeypatch.undo()
    assert refused(bytes(huge)) == "memory"
    huge[16:24] = (2_000_000_000).to_bytes(4, "big") * 2
    assert refused(bytes(huge)) == "pixels-unreadable: PNG"
