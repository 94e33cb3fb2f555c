"""One projection image as grey values: modality, values of interest, and inversion, in this order (PS3.4 N.2).

A film's grey is a share of its range: 0 is black and 1 is white as it is meant to be shown. Large films are never
held as floats: `shrink` takes a few lines of stored values at a time, which costs a third of what it costs Pillow
to reach the same numbers. A film that lies on its side is shrunk as it lies, and only what is left of it is turned.

Padding (Pixel Padding Value and Range) is black, whatever is stored there and whichever way the film is shown.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.domain.grid import FilmGrid
from imaging.domain.image_kind import PROCESSING
from imaging.domain.orientation import AS_IT_IS, Reorientation
from imaging.domain.reasons import NotAnalysable
from imaging.inference.pixels import Layout, decode, layout_of, padding_of
from imaging.preparation.array import Array, middle

Values = NDArray[Any]
Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_SIDE: Final = 32


@dataclass(frozen=True)
class Film:
    """Stored values, (rows, columns) as they lie, and how they become grey: by `table`, or as a clipped straight line.

    With a table, grey = table[stored - table_from]; without, grey = gain * clip(stored, *limits) + offset. `turn`
    brings the film upright. `padding`: the least and the greatest stored value that are no image, where there are any.
    """

    stored: Values
    limits: tuple[float, float]
    gain: float
    offset: float
    table: Grey | None = None
    table_from: int = 0
    turn: Reorientation = AS_IT_IS
    padding: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the upright film."""
        rows, columns = self.stored.shape
        return self.turn.size(rows, columns)

    def array(self, shape: tuple[int, int] | None = None, aspect: str = "stretch") -> Array:
        """The picture with what of it is image, (1, rows, columns): at its own size, or at another.

        `stretch`: to the shape. `pad`: the longer side fits, centred, the rest as dark as the picture's darkest.
        `crop`: the shorter side fits, and of the longer the middle is taken. A film that is shrunk is never made grey
        at full size.
        """
        if shape is None:
            picture, image, grid = self.grey(), self.image(*self.shape), self.grid
        elif aspect == "stretch":
            picture, image, grid = self.shrink(*shape), self.image(*shape), self.grid.resized(shape)
        else:
            picture, image, grid = (_padded_to if aspect == "pad" else _cropped)(self, shape)
        return Array(picture[None], grid, image if image is None or image.any() else None)

    @property
    def grid(self) -> FilmGrid:
        """Where the pixels of the upright film lie as stored."""
        rows, columns = self.shape
        places = [self.turn.stored(*index, rows, columns) for index in ((0, 0), (1, 0), (0, 1))]
        first, below, beside = (np.array(each, np.float64) for each in places)
        return FilmGrid(first, np.stack([below - first, beside - first]), (rows, columns))

    def grey(self) -> Grey:
        """The whole picture, upright."""
        lines = self._lines(0, len(self.stored), self._clips())
        return self.turn.upright(lines if self.table is not None else self._toned(lines))

    def shrink(self, rows: int, columns: int) -> Grey:
        """The upright picture at another size, as Pillow's BILINEAR makes it (a triangle as wide as the pixels are
        shrunk)."""
        clips = self._clips()
        rows, columns = self.turn.size(rows, columns)
        middle = np.empty((rows, self.stored.shape[1]), np.float32)
        for at, (first, last, weights) in enumerate(_triangles(self.stored.shape[0], rows)):
            np.dot(weights, self._lines(first, last, clips), out=middle[at])
        shrunk = np.matmul(middle, _across(self.stored.shape[1], columns))
        return self.turn.upright(shrunk if self.table is not None else self._toned(shrunk))

    def image(self, rows: int, columns: int) -> Mask | None:
        """Which pixels of the upright picture at that size are image, and count in statistics: those in the middle of
        which no padding lies. None: all of them."""
        if self.padding is None:
            return None
        rows, columns = self.turn.size(rows, columns)
        middles = (
            ((np.arange(target) + 0.5) * size / target).astype(np.intp)
            for size, target in zip(self.stored.shape, (rows, columns), strict=True)
        )
        return self.turn.upright(~_within(self.stored[np.ix_(*middles)], self.padding))

    def darkest(self) -> float:
        """The least grey that occurs."""
        if self.padding is not None:
            return 0.0
        if self.table is not None:
            return float(self.grey().min())
        ends = np.clip([float(self.stored.min()), float(self.stored.max())], *self.limits)
        return float((self.gain * ends + self.offset).min())

    def _clips(self) -> bool:
        low, high = self.limits
        return self.table is None and (float(self.stored.min()) < low or float(self.stored.max()) > high)

    def _lines(self, first: int, last: int, clips: bool) -> Grey:
        lines = self.stored[first:last]
        if self.table is not None:
            return self.table[lines.astype(np.intp) - self.table_from]
        values = lines.astype(np.float32)
        if clips:
            np.clip(values, *self.limits, out=values)
        if self.padding is not None and not self._clips_to_black(self.padding):
            np.putmask(values, _within(lines, self.padding), self.limits[0] if self.gain > 0 else self.limits[1])
        return values

    def _clips_to_black(self, padding: tuple[int, int]) -> bool:
        return padding[1] <= self.limits[0] if self.gain > 0 else padding[0] >= self.limits[1]

    def _toned(self, values: Grey) -> Grey:
        values *= np.float32(self.gain)
        values += np.float32(self.offset)
        return values


def _cropped(film: Film, shape: tuple[int, int]) -> tuple[Grey, Mask | None, FilmGrid]:
    scale = max(wanted / size for wanted, size in zip(shape, film.shape, strict=True))
    rows, columns = (max(wanted, round(size * scale)) for wanted, size in zip(shape, film.shape, strict=True))
    part, image = middle((rows, columns), shape), film.image(rows, columns)
    grid = film.grid.resized((rows, columns)).moved([each.start for each in part], shape)
    return film.shrink(rows, columns)[part], None if image is None else image[part], grid


def _padded_to(film: Film, shape: tuple[int, int]) -> tuple[Grey, Mask | None, FilmGrid]:
    scale = min(wanted / size for wanted, size in zip(shape, film.shape, strict=True))
    rows, columns = (max(1, min(wanted, round(size * scale))) for wanted, size in zip(shape, film.shape, strict=True))
    canvas = np.full(shape, film.darkest(), np.float32)
    place = middle(shape, (rows, columns))
    canvas[place] = film.shrink(rows, columns)
    grid = film.grid.resized((rows, columns)).moved([-each.start for each in place], shape)
    image = film.image(rows, columns)
    if image is None:
        return canvas, None, grid
    whole = np.ones(shape, np.bool_)
    whole[place] = image
    return canvas, whole, grid


@lru_cache(maxsize=64)
def _triangles(size: int, target: int) -> tuple[tuple[int, int, Grey], ...]:
    """For each target pixel the first and the last (exclusive) source pixel and their weights, as Pillow has them."""
    scale = size / target
    width = max(scale, 1.0)
    parts = []
    for at in range(target):
        centre = (at + 0.5) * scale
        first, last = max(0, int(centre - width + 0.5)), min(size, int(centre + width + 0.5))
        weights = np.maximum(0.0, 1.0 - np.abs((np.arange(first, last) - centre + 0.5) / width))
        parts.append((first, last, (weights / weights.sum()).astype(np.float32)))
    return tuple(parts)


@lru_cache(maxsize=64)
def _across(size: int, target: int) -> Grey:
    """The same as a matrix, (size, target)."""
    matrix = np.zeros((size, target), np.float32)
    for at, (first, last, weights) in enumerate(_triangles(size, target)):
        matrix[first:last, at] = weights
    return matrix


def read_film(dataset: Dataset, turn: Reorientation = AS_IT_IS) -> Film:
    """The film in a data set, brought upright by `turn`. Raises NotAnalysable."""
    layout = layout_of(dataset)
    if layout.frames != 1:
        raise NotAnalysable("frames-irregular", str(layout.frames))
    if min(layout.rows, layout.columns) < MIN_SIDE:
        raise NotAnalysable("pixels-unreadable", f"{layout.rows} x {layout.columns}")
    stored = decode(dataset, layout)[0]
    try:
        film = _film_of(dataset, layout, stored)
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise NotAnalysable("units-unknown") from error
    film = _padded(film, padding_of(dataset, layout))
    _check_contrast(film)
    return replace(film, turn=turn)


def _within(values: Values, ends: tuple[int, int]) -> Mask:
    found: Mask = values == ends[0] if ends[0] == ends[1] else (values >= ends[0]) & (values <= ends[1])
    return found


def _padded(film: Film, padding: tuple[int, int] | None) -> Film:
    """The film with its padding black; a film that has none of it stays as it is."""
    if padding is None or not _within(film.stored, padding).any():
        return film
    if film.table is None:
        return replace(film, padding=padding)
    table = film.table.copy()
    table[padding[0] - film.table_from : padding[1] + 1 - film.table_from] = 0.0
    return replace(film, table=table, padding=padding)


def _check_contrast(film: Film) -> None:
    """Refuses a film of one grey. Padding is no part of what is asked."""
    image = film.stored if film.padding is None else film.stored[~_within(film.stored, film.padding)]
    if not image.size:
        raise NotAnalysable("pixels-blank")
    minimum, maximum = int(image.min()), int(image.max())
    low, high = film.limits
    seen = film.table[minimum - film.table_from : maximum - film.table_from + 1] if film.table is not None else None
    if minimum == maximum or (maximum <= low or minimum >= high if seen is None else float(np.ptp(seen)) == 0.0):
        raise NotAnalysable("pixels-blank")


def _film_of(dataset: Dataset, layout: Layout, stored: Values) -> Film:
    """Chooses between table and straight line."""
    is_inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    shows = str(dataset.get("SOPClassUID", "")) not in PROCESSING
    modality_table = _first_item(dataset, "ModalityLUTSequence")
    interest = _first_item(dataset, "VOILUTSequence") if shows else None
    window = _window(dataset) if shows and interest is None else None
    if modality_table is not None or interest is not None or (window and window[2] == "SIGMOID"):
        return _by_table(dataset, layout, stored, modality_table, interest, window, is_inverted)
    slope, intercept = _rescale(dataset)
    minimum, maximum = (slope * end + intercept for end in layout.range)
    low, high = window[:2] if window else (min(minimum, maximum), max(minimum, maximum))
    ends = sorted(((low - intercept) / slope, (high - intercept) / slope))
    gain, offset = slope / (high - low), (intercept - low) / (high - low)
    if is_inverted:
        gain, offset = -gain, 1.0 - offset
    return Film(stored, (ends[0], ends[1]), gain, offset)


def _by_table(
    dataset: Dataset,
    layout: Layout,
    stored: Values,
    modality_table: Dataset | None,
    interest: Dataset | None,
    window: tuple[float, float, str] | None,
    is_inverted: bool,
) -> Film:
    if layout.stored > 16:
        raise ValueError("a table of more than 16 bits")
    minimum, maximum = layout.range
    values = np.arange(minimum, maximum + 1, dtype=np.float64)
    if modality_table is not None:
        values, low, high = _looked_up(modality_table, values, layout.is_signed)
    else:
        slope, intercept = _rescale(dataset)
        values = slope * values + intercept
        low, high = float(values.min()), float(values.max())
    if interest is not None:
        values, low, high = _looked_up(interest, values, layout.is_signed or low < 0)
        grey = (values - low) / (high - low)
    elif window and window[2] == "SIGMOID":
        width = window[1] - window[0]
        grey = 1 / (1 + np.exp(np.clip(-4 * (values - (window[0] + window[1]) / 2) / width, -700, 700)))
    else:
        low, high = window[:2] if window else (low, high)
        grey = np.clip((values - low) / (high - low), 0, 1)
    if is_inverted:
        grey = 1 - grey
    return Film(stored, (float(minimum), float(maximum)), 1.0, 0.0, grey.astype(np.float32), minimum)


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


def _looked_up(item: Dataset, values: NDArray[np.float64], is_signed: bool) -> tuple[NDArray[np.float64], float, float]:
    """Values through a LUT item (PS3.3 C.11.1, C.11.2), with the least and the greatest that its bits allow."""
    count, first, bits = (int(each) for each in item.LUTDescriptor)
    count = count or 65536
    if is_signed and first > 0x7FFF:
        first -= 0x10000
    data = item["LUTData"].value
    table = (
        np.frombuffer(data, "<u2" if len(data) >= 2 * count else "u1") if isinstance(data, bytes) else np.array(data)
    )
    if not 1 <= bits <= 16 or table.size < count:
        raise ValueError("the table is shorter than its descriptor says")
    at = np.clip(np.round(values) - first, 0, count - 1).astype(np.intp)
    return table[:count].astype(np.float64)[at], 0.0, float((1 << bits) - 1)


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope = dataset.get("RescaleSlope")
    intercept = dataset.get("RescaleIntercept")
    slope, intercept = (
        1.0 if slope in (None, "") else float(slope),
        0.0 if intercept in (None, "") else float(intercept),
    )
    if not (1e-9 <= abs(slope) <= 1e9 and abs(intercept) <= 1e9):
        raise ValueError("a rescale slope or intercept that cannot be")
    return slope, intercept


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """The first window as the values that become black and white (PS3.3 C.11.2.1.2), and its function.

    None where there is none, or where it is no window: widths of 0, text for a number.
    """
    try:
        centre, width = (_first_number(dataset.get(each)) for each in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError, IndexError):
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if centre is None or width is None or not math.isfinite(centre + width):
        return None
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return (centre - width / 2, centre + width / 2, function) if width > 0 else None


def _first_number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])
