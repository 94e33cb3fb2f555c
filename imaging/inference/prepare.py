"""A film or a volume as its network takes it, by the card's steps (docs/models.md, "prepare").

Arrays carry a channel first: films are (1, rows, columns), volumes (1, slice, row, column) or, after `orient`,
in the order of its letters: RAS is (1, R, A, S), the index growing toward right, anterior, superior. Spacing and shapes
are in the array's order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Step
from imaging.inference.film import Film
from imaging.inference.volume import Grid, Volume

Tensor = NDArray[np.float32]
Mask = NDArray[np.bool_]


def prepare_film(film: Film, steps: Sequence[Step]) -> Tensor:
    """(channels, rows, columns). A film that is shrunk first is never made grey at full size."""
    if steps and steps[0].do == "resize":
        (picture, image), steps = _resize(film, **steps[0].options), steps[1:]
    else:
        picture, image = film.grey(), film.image(*film.shape)
    if image is not None and not image.any():
        image = None
    values = picture[None]
    for step in steps:
        if step.do == "crop-centre":
            part = _middle(values.shape[1:], step.options["shape"])
            values, image = values[(slice(None), *part)], None if image is None else image[part]
        else:
            values = _changed(values, step, image)
    return np.ascontiguousarray(values)


def _resize(film: Film, shape: tuple[int, int], aspect: str) -> tuple[Tensor, Mask | None]:
    """The picture, and what of it is no padding of the film's.

    `stretch`: to the shape. `pad`: the longer side fits, centred, the rest as dark as the picture's darkest. `crop`:
    the shorter side fits, and of the longer the middle is taken.
    """
    if aspect == "stretch":
        return film.shrink(*shape), film.image(*shape)
    rows, columns = film.shape
    if aspect == "crop":
        scale = max(shape[0] / rows, shape[1] / columns)
        outer = max(shape[0], round(rows * scale)), max(shape[1], round(columns * scale))
        part, image = _middle(outer, shape), film.image(*outer)
        return film.shrink(*outer)[part], None if image is None else image[part]
    scale = min(shape[0] / rows, shape[1] / columns)
    inner = max(1, min(shape[0], round(rows * scale))), max(1, min(shape[1], round(columns * scale)))
    canvas = np.full(shape, film.darkest(), np.float32)
    top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
    place = slice(top, top + inner[0]), slice(left, left + inner[1])
    canvas[place] = film.shrink(*inner)
    image = film.image(*inner)
    if image is None:
        return canvas, None
    whole = np.ones(shape, np.bool_)
    whole[place] = image
    return canvas, whole


def _middle(sizes: Sequence[int], wanted: Sequence[int]) -> tuple[slice, ...]:
    """The middle part, of at most the sizes wanted."""
    first = [max(0, (size - least) // 2) for size, least in zip(sizes, wanted, strict=True)]
    return tuple(slice(start, start + least) for start, least in zip(first, wanted, strict=True))


@dataclass(frozen=True)
class PreparedVolume:
    """`values`: (channels, *grid.shape)."""

    values: Tensor
    grid: Grid


def prepare_volume(volume: Volume, steps: Sequence[Step], beside: Sequence[Volume] = ()) -> PreparedVolume:
    """Geometry first (orient, resample), in one pass, then the other steps in their order.

    `beside`: other stacks of the same acquisition. The network sees them around this one, since half a head ends for it
    in a wall of air; what it finds there is theirs.
    """
    geometry = [step for step in steps if step.do in ("orient", "resample")]
    resample: Mapping[str, Any] = next((step.options for step in geometry if step.do == "resample"), {})
    toward = next((str(step.options["to"]) for step in geometry if step.do == "orient"), "")
    grid = volume.grid(toward=toward, spacing_mm=resample.get("spacing"), beside=beside)
    values = volume.resample(grid, is_nearest=resample.get("mode") == "nearest")
    if beside:
        _fill_around(values, grid, volume, beside)
    prepared = PreparedVolume(values[None], grid)
    for step in steps:
        if step.do in SHAPES:
            prepared = SHAPES[step.do](prepared, **step.options)
        elif step not in geometry:
            prepared = replace(prepared, values=_changed(prepared.values, step))
    return prepared


def _fill_around(values: Tensor, grid: Grid, volume: Volume, beside: Sequence[Volume]) -> None:
    """Where the volume does not reach: what those beside it hold there, plane by plane of the grid."""
    for at, plane in enumerate(values):
        index = np.indices(plane.shape).reshape(2, -1).T
        places = grid.to_patient(np.column_stack([np.full(len(index), at), index]))
        open_ = ~volume.region.covers(places, 0.0)
        flat = plane.reshape(-1)
        for other in beside:
            wanted = np.flatnonzero(open_)
            seen = other.sampled(places[wanted])
            known = ~np.isnan(seen)
            flat[wanted[known]] = seen[known]
            open_[wanted[known]] = False


# Steps that change values ------------------------------------------------------------------------------------


def _changed(values: Tensor, step: Step, image: Mask | None = None) -> Tensor:
    """`image`: what statistics are taken of, (rows, columns) of a film; None: everything."""
    change = VALUES[step.do]
    return change(values, image=image, **step.options) if step.do in OF_STATISTICS else change(values, **step.options)


def _zscore(values: Tensor, nonzero: bool = False, image: Mask | None = None) -> Tensor:
    """Mean 0 and deviation 1 per channel; with `nonzero` of what is not 0, and the rest stays 0."""
    done = np.zeros_like(values)
    for target, channel in zip(done, values, strict=True):
        changed = channel != 0 if nonzero else np.ones(channel.shape, np.bool_)
        asked = changed if image is None else changed & image
        if asked.any():
            chosen = channel[asked] if nonzero or image is not None else channel
            mean, deviation = chosen.mean(dtype=np.float64), chosen.std(dtype=np.float64)
            changing = channel[changed] if nonzero else channel
            target[changed] = ((changing - mean) / max(deviation, 1e-6)).reshape(-1)
    return done


def _window(values: Tensor, low: float, high: float) -> Tensor:
    return _scaled(np.clip(values, low, high), 1 / (high - low), -low / (high - low))


def _percentile(values: Tensor, lower: float, upper: float, image: Mask | None = None) -> Tensor:
    """Clipped at two percentiles and brought to 0..1, per channel."""
    done = np.empty_like(values)
    for target, channel in zip(done, values, strict=True):
        low, high = np.percentile(channel if image is None else channel[image], [lower, upper])
        target[:] = (np.clip(channel, low, high) - low) / max(high - low, 1e-6)
    return done


def _scale(values: Tensor, factor: float, offset: float) -> Tensor:
    return _scaled(values, factor, offset)


def _normalize(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(value - mean) / std, each channel with its own, or all with one."""
    each = (-1, *([1] * (values.ndim - 1)))
    done: Tensor = values - np.array(mean, np.float32).reshape(each)
    done /= np.array(std, np.float32).reshape(each)
    return done


def _scaled(values: Tensor, factor: float, offset: float) -> Tensor:
    done: Tensor = np.multiply(values, np.float32(factor))
    done += np.float32(offset)
    return done


def _repeat_channels(values: Tensor, count: int) -> Tensor:
    return np.repeat(values, count, axis=0)


VALUES: Final[Mapping[str, Callable[..., Tensor]]] = {
    "zscore": _zscore,
    "window": _window,
    "percentile": _percentile,
    "scale": _scale,
    "normalize": _normalize,
    "repeat-channels": _repeat_channels,
}
OF_STATISTICS: Final = frozenset({"zscore", "percentile"})


# Steps that change a volume's shape ---------------------------------------------------------------------------


def _crop_centre(prepared: PreparedVolume, shape: tuple[int, int, int]) -> PreparedVolume:
    """The middle part of at most `shape` voxels."""
    part = _middle(prepared.grid.shape, shape)
    values = prepared.values[(slice(None), *part)]
    return PreparedVolume(values, prepared.grid.moved([each.start for each in part], values.shape[1:]))


def _pad_multiple(prepared: PreparedVolume, of: int) -> PreparedVolume:
    """Padded at the end of each axis to the next multiple, with the least value."""
    wide = [(0, 0), *((0, -size % of) for size in prepared.grid.shape)]
    values = np.pad(prepared.values, wide, constant_values=float(prepared.values.min()))
    return PreparedVolume(values, prepared.grid.moved((0, 0, 0), values.shape[1:]))


SHAPES: Final[Mapping[str, Callable[..., PreparedVolume]]] = {
    "crop-centre": _crop_centre,
    "pad-multiple": _pad_multiple,
}
