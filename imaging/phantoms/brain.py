"""A drawn brain MR (FLAIR), with or without a lesion.

No patient is behind it. Anatomy, coil shading, noise and the small white-matter spots of
healthy ageing (which a detector must not count) depend on the seed alone; a lesion is added
to that very brain and, ghosts aside, changes nothing farther than a pixel's blur from itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.phantoms.skull import Ellipsoid, Head, Tissue, draw_skull, either_side
from imaging.phantoms.volume import Bools, Floats, Grid, Phantom, blur, fullest, smooth_noise

FIELD_OF_VIEW_MM: Final = 230.0
HEIGHT_MM: Final = 144.0
WIDEST_GAP_MM: Final = 7.0
LESION_ML: Final = (1.5, 60.0)

FLAIR: Final = np.zeros(len(Tissue), np.float32)
FLAIR[[*Tissue]] = (0, 260, 430, 30, 170, 60, 400, 310, 170)
SPOT, OEDEMA, RING, CORE, STROKE = (np.float32(level) for level in (600, 680, 620, 240, 700))


def brain_grid(slices: int, size: int) -> Grid:
    """`slices` axial slices of size x size pixels."""
    pixel = FIELD_OF_VIEW_MM / size
    return Grid((slices, size, size), (min(WIDEST_GAP_MM, HEIGHT_MM / slices), pixel, pixel))


def draw_brain(seed: int, lesion: bool, slices: int = 24, size: int = 256) -> Phantom:
    """A FLAIR volume. The same arguments give the same values; the same seed, the same brain."""
    grid = brain_grid(slices, size)
    head = draw_skull(np.random.default_rng((seed, 11)), grid)
    rng = np.random.default_rng((seed, 12))
    texture = smooth_noise(rng, grid, 5)
    signal = FLAIR[head.tissue] * (1 + np.float32(0.035) * texture)
    signal[_ageing_spots(rng, head)] = SPOT
    kind, mask = "normal", np.zeros(grid.shape, np.bool_)
    if lesion:
        kind, mask = _lesion_into(np.random.default_rng((seed, 13)), head, signal)
    values = _as_scanned(rng, grid, signal)
    return Phantom(values, grid.spacing_mm, mask, float(mask.sum()) * grid.voxel_ml, kind)


def _ageing_spots(rng: np.random.Generator, head: Head) -> Bools:
    """Up to 13 spots of 1 to 3 mm radius in the white matter."""
    spots = np.zeros(head.grid.shape, np.bool_)
    for _ in range(int(rng.integers(0, 14))):
        centre = (either_side(rng) * rng.uniform(18, 40), rng.uniform(-40, 45), rng.uniform(15, 50))
        radius = rng.uniform(1.2, 2.8)
        tall = max(radius, 0.55 * head.grid.spacing_mm[0])
        part, value = head.inside(Ellipsoid(centre, (radius, radius * rng.uniform(1, 1.6), tall)))
        spots[part] |= value < 1
    spots[head.tissue != Tissue.WHITE] = False
    return spots


def _lesion_into(rng: np.random.Generator, head: Head, signal: Floats) -> tuple[str, Bools]:
    """Choose tumour or stroke, write it into `signal` and return kind and mask."""
    kind = "stroke" if rng.random() < 0.35 else "tumour"
    ml = float(np.exp(rng.uniform(np.log(LESION_ML[0]), np.log(LESION_ML[1]))))
    draw = _stroke if kind == "stroke" else _tumour
    return kind, draw(rng, head, signal, ml)


def _voxels(ml: float, grid: Grid) -> int:
    return max(1, round(ml / grid.voxel_ml))


def _place(rng: np.random.Generator, head: Head) -> tuple[Floats, Bools, tuple[float, float]]:
    """Distance in mm from a random point of one half, that half's brain, and the point's (x, y)."""
    side = either_side(rng)
    x, y, z = side * rng.uniform(18, 44), rng.uniform(-44, 44), rng.uniform(0, 44)
    return head.away_from((x, y, z)), head.in_brain & (head.inner > 2) & (head.x * side > 1), (x, y)


def _tumour(rng: np.random.Generator, head: Head, signal: Floats, ml: float) -> Bools:
    """A dark core in a bright ring, in oedema that spreads as fingers through white matter."""
    away, allowed, _ = _place(rng, head)
    knobbly = -away * (1 + np.float32(0.10) * smooth_noise(rng, head.grid, 16))
    fraction, hollow = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6)
    tumour = fullest(knobbly, allowed, _voxels(ml * fraction, head.grid))
    core = fullest(knobbly, allowed, _voxels(ml * fraction * hollow, head.grid))
    fingers = -away * (1 + np.float32(0.16) * smooth_noise(rng, head.grid, 10))
    fingers -= np.float32(5) * (head.tissue == Tissue.GREY)
    mask = fullest(np.where(tumour, np.float32(1e3), fingers), allowed, _voxels(ml, head.grid))
    uneven = 1 + np.float32(0.06) * smooth_noise(rng, head.grid, 5)
    for part, level in ((mask, OEDEMA), (tumour, RING), (core, CORE)):
        signal[part] = level * uneven[part]
    return mask


def _stroke(rng: np.random.Generator, head: Head, signal: Floats, ml: float) -> Bools:
    """A wedge that reaches the cortex, even in signal."""
    away, allowed, (x, y) = _place(rng, head)
    turned = np.abs(np.arctan2(head.y - np.float32(0.3 * y), head.x) - np.float32(np.arctan2(0.7 * y, x)))
    score = -away * (1 + np.float32(0.08) * smooth_noise(rng, head.grid, 16)) - 8 * turned
    mask = fullest(score + np.float32(3) * (head.inner < 18), allowed, _voxels(ml, head.grid))
    signal[mask] = (STROKE * (1 + np.float32(0.05) * smooth_noise(rng, head.grid, 5)))[mask]
    return mask


def _as_scanned(rng: np.random.Generator, grid: Grid, signal: Floats) -> NDArray[np.int16]:
    """What a scanner makes of it: blur, coil shading, a ghost, gain, and noise as magnitude."""
    shading = 1 + np.float32(rng.uniform(0.05, 0.16)) * smooth_noise(rng, grid, 95)
    signal = blur(blur(signal, (1, 2)), (0,), 0.1) * np.clip(shading, 0.5, 1.6)
    axis = int(rng.integers(1, 3))
    ghost = np.roll(signal, grid.shape[axis] // 2, axis)
    signal = (signal + np.float32(rng.uniform(0, 0.05)) * ghost) * np.float32(rng.uniform(0.7, 1.3))
    deviation = np.float32(rng.uniform(8, 22))
    real, imaginary = (deviation * rng.standard_normal(grid.shape, np.float32) for _ in range(2))
    magnitude: Floats = np.hypot(signal + real, imaginary)
    return np.clip(np.rint(magnitude), 0, 4095).astype(np.int16)
