"""Reads two objects under one SOP Instance UID and says what the second, newer one is (`imaging.domain.same_image`).

Compared are values after rescale, or of films after inversion, a few lines at a time, so that no image is held as
floats. Colour, which no model takes, is compared as pydicom shows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.domain.reasons import NotAnalysable
from imaging.domain.same_image import Copy, Judgement, Likeness, Numbers, is_film, judge
from imaging.domain.source import Source
from imaging.inference.pixels import MALFORMED, decode, in_colour, layout_of, read_file, syntax_of

Array = NDArray[Any]

LINES: Final = 256
"""Of an image that are compared at once."""

MAX_SCALE: Final = 1e9
"""Of rescale values; greater ones are none."""

_SHOWN: Final = (
    "WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleType",
)  # fmt: skip
_TABLES: Final = ("ModalityLUTSequence", "VOILUTSequence")
"""What a model's input depends on beside the values themselves and a header's facts."""

_DESCRIBING: Final = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip
"""What pixels mean, where they can only be compared as they are encoded."""

_PLACES: Final = (
    ("position", "ImagePositionPatient", "PlanePositionSequence"),
    ("orientation", "ImageOrientationPatient", "PlaneOrientationSequence"),
    ("spacing", "PixelSpacing", "PixelMeasuresSequence"),
)


@dataclass(frozen=True)
class _Read:
    """An object's stored values, (frames, rows, columns) or with samples, and per frame slope, intercept, inversion.

    `span`: the least and the greatest value that can be stored. `scales`: None for a frame without rescale values.
    """

    copy: Copy
    values: Array | None = None
    scales: tuple[tuple[float, float] | None, ...] = ()
    is_inverted: bool = False
    span: tuple[int, int] = (0, 0)
    encoded: str = ""


def compare(first: Source, second: Source) -> Judgement:
    """What the second object is to the first. Raises OSError where a file cannot be had."""
    one, other = _read(first), _read(second)
    return judge(one.copy, other.copy, _likeness(one, other))


def _read(source: Source) -> _Read:
    header = source.header
    try:
        dataset = read_file(source)
    except NotAnalysable as refused:
        return _Read(Copy(header, str(refused)))
    geometry, shown = _geometry(dataset, is_film(header)), _shown(dataset)
    try:
        return _decoded(dataset, Copy(header, "", geometry, shown))
    except MemoryError:
        why = "memory"
    except NotAnalysable as refused:
        why = str(refused)
    return _Read(Copy(header, why, geometry, shown), encoded=_encoded(dataset))


def _encoded(dataset: Dataset) -> str:
    """A digest of pixels that cannot be read, with all that says what they are; empty where there are none."""
    try:
        data = dataset.get("PixelData")
        described = [repr(dataset.get(keyword)) for keyword in _DESCRIBING]
    except MALFORMED:
        return ""
    return " ".join((syntax_of(dataset), *described, sha256(data).hexdigest())) if data else ""


def _decoded(dataset: Dataset, copy: Copy) -> _Read:
    try:
        layout = layout_of(dataset)
    except NotAnalysable as refused:
        if refused.reason.code != "colour":
            raise
        return _Read(copy, in_colour(dataset))
    frames = decode(dataset, layout)
    try:
        scales = tuple(_scales(dataset, layout.frames))
    except MALFORMED as error:
        raise NotAnalysable("units-unknown") from error
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1" and copy.header.modality != "CT"
    return _Read(copy, frames, scales, inverted, layout.range)


def _places(dataset: Dataset, frames: int, sequence: str) -> Iterator[list[Dataset]]:
    """Where each frame's values of a kind stand: its own group, that of all, the object (PS3.3 C.7.6.16)."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
    for at in range(frames):
        own = [*groups[at : at + 1], *shared]
        yield [*(item[0] for group in own if (item := group.get(sequence))), dataset]


def _scales(dataset: Dataset, frames: int) -> Iterator[tuple[float, float] | None]:
    for places in _places(dataset, frames, "PixelValueTransformationSequence"):
        rescale = [_first(places, name) for name in ("RescaleSlope", "RescaleIntercept")]
        slope, intercept = (None if each is None else float(each) for each in rescale)
        if slope is None and intercept is None:
            yield None
            continue
        scale = 1.0 if slope is None else slope, intercept or 0.0
        if not all(abs(each) <= MAX_SCALE for each in scale):  # nor is NaN, which equals everything below
            raise NotAnalysable("units-unknown")
        yield scale


def _first(places: list[Dataset], keyword: str) -> Any:
    return next((value for place in places if (value := place.get(keyword)) not in (None, "")), None)


def _geometry(dataset: Dataset, film: bool) -> dict[str, Numbers]:
    """Per kind and frame; a film's spacing is an attribute, which its header has."""
    found: dict[str, Numbers] = {}
    try:
        frames = max(1, min(int(dataset.get("NumberOfFrames") or 1), 1 << 16))
        for kind, keyword, sequence in _PLACES:
            if film and kind == "spacing":
                continue
            for at, places in enumerate(_places(dataset, frames, sequence)):
                if value := _first(places, keyword):
                    found[f"{kind} {at}"] = tuple((float(each), _decimals(each)) for each in value)
    except MALFORMED:
        pass  # what is no number gives no place, as the header has it
    return found


def _decimals(value: Any) -> int:
    """The decimals of a DS value as it was written."""
    text = str(getattr(value, "original_string", value)).strip().lower()
    return 6 if "e" in text else min(6, len(text.partition(".")[2]))


def _shown(dataset: Dataset) -> dict[str, str]:
    found = {keyword: str(value) for keyword in _SHOWN if (value := _value(dataset, keyword)) not in (None, "")}
    for keyword in _TABLES:
        items = [_value(item, each) for item in _value(dataset, keyword) or [] for each in ("LUTDescriptor", "LUTData")]
        if items:
            found[keyword] = sha256(repr(items).encode()).hexdigest()
    if _value(dataset, "RescaleSlope") not in (None, ""):
        found["RescaleSlope"] = "given"
    return found


def _value(dataset: Dataset, keyword: str) -> Any:
    """An element's value; what is no value of its VR is none."""
    try:
        return dataset.get(keyword)
    except MALFORMED:
        return None


def _likeness(one: _Read, other: _Read) -> Likeness | None:
    if one.values is None or other.values is None:
        is_equal = bool(one.encoded) and one.encoded == other.encoded
        return Likeness(is_equal=True) if is_equal else None
    if one.values.shape != other.values.shape:
        return Likeness(is_equal=False, same_shape=False)
    is_alike = (one.scales, one.is_inverted, one.span) == (other.scales, other.is_inverted, other.span)
    if is_alike and np.array_equal(one.values, other.values):
        return Likeness(is_equal=True)
    is_lossy = one.copy.is_lossy or other.copy.is_lossy
    as_shares = is_lossy and is_film(one.copy.header) and one.span != other.span
    sums = _Sums()
    for at in range(len(one.values)):
        # A rescale that the first left out is mended by the second: both mean the same stored values then.
        theirs = other.scales[at] if other.scales else None
        ours = (one.scales[at] if one.scales else None) or theirs
        for line in range(0, one.values.shape[1], LINES):
            lines = slice(line, line + LINES)
            a, b = one.values[at, lines], other.values[at, lines]
            sums.add(_in_units(a, one, ours, as_shares), _in_units(b, other, theirs, as_shares))
    return sums.likeness(of_second=one.copy.is_lossy and not other.copy.is_lossy)


def _in_units(lines: Array, read: _Read, scale: tuple[float, float] | None, as_shares: bool) -> NDArray[np.float64]:
    """Values as they are compared: inverted within what can be stored, then rescaled."""
    values = lines.astype(np.float64)
    low, high = read.span
    if read.is_inverted:
        np.subtract(low + high, values, out=values)
    if as_shares and high > low:
        return (values - low) / (high - low)
    if scale is not None and scale != (1.0, 0.0):
        slope, intercept = scale
        values *= slope
        values += intercept
    return values


class _Sums:
    """What correlation and mean difference are made of, part by part."""

    def __init__(self) -> None:
        self._count, self._differing, self._distance = 0, 0, 0.0
        self._sums = np.zeros(5)
        self._zero: tuple[float, float] | None = None
        self._ends = [[np.inf, -np.inf], [np.inf, -np.inf]]

    def add(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        distance = np.abs(a - b)
        for ends, values in zip(self._ends, (a, b), strict=True):
            ends[:] = min(ends[0], float(values.min())), max(ends[1], float(values.max()))
        largest = max(abs(end) for ends in self._ends for end in ends)
        # Slopes such as 2.059 leave dust in the last bits of what is equal.
        self._differing += int(np.count_nonzero(distance > 1e-9 * max(1.0, largest)))
        if self._zero is None:
            self._zero = float(a.mean()), float(b.mean())  # sums of squares far from zero would lose what varies
        a, b = a - self._zero[0], b - self._zero[1]
        self._count += a.size
        self._distance += float(distance.sum())
        self._sums += (a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum())

    def likeness(self, of_second: bool) -> Likeness:
        if not self._differing:
            return Likeness(is_equal=True)
        low, high = self._ends[1 if of_second else 0]
        mean_a, mean_b, square_a, square_b, product = self._sums / self._count
        spread = np.sqrt(max(0.0, square_a - mean_a**2) * max(0.0, square_b - mean_b**2))
        correlation = float((product - mean_a * mean_b) / spread) if spread > 0 else 0.0
        reach = high - low if high > low else max(1.0, abs(high))
        distance, widest = self._distance / self._count, max(square_a - mean_a**2, square_b - mean_b**2)
        return Likeness(
            is_equal=False,
            correlation=correlation,
            difference=distance / reach,
            distance=distance,
            spread=float(np.sqrt(max(0.0, widest))),
            differing=(self._differing, self._count),
        )
