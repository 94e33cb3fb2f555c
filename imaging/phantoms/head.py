"""A drawn head CT, with or without bleeding inside the skull.

No patient is behind it: every voxel is geometry and random numbers. Anatomy, noise and
harmless dense spots (pineal, plexus, falx, basal ganglia: what a detector must not take for
blood) depend on the seed alone; a bleed is added to that very head and changes nothing
farther than `REACH_MM` from itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.phantoms.skull import SIDES, Ellipsoid, Head, Point, Tissue, draw_skull, either_side
from imaging.phantoms.volume import Bools, Floats, Grid, Phantom, blur, fullest, smooth_noise

FIELD_OF_VIEW_MM: Final = 240.0
HEIGHT_MM: Final = 150.0
WIDEST_GAP_MM: Final = 7.0  # few slices cover less of the head rather than lie far apart
REACH_MM: Final = 14.0  # oedema and blur around a bleed end within this
BLEED_ML: Final = (1.5, 60.0)
RANGE_ML: Final = {"subdural": (5.0, 60.0), "subarachnoid": (1.5, 20.0), "intraventricular": (1.5, 20.0)}
LOWEST_MM: Final = -38.0  # bleeds stay above the skull base

HU: Final = np.zeros(len(Tissue), np.float32)
HU[[*Tissue]] = (-1000, 30, -90, 950, 500, 8, 38, 30, 52)

Score = tuple[Floats, Bools]  # the fullest voxels of the first, among the second, are filled


def head_grid(slices: int, size: int) -> Grid:
    """`slices` axial slices of size x size pixels."""
    pixel = FIELD_OF_VIEW_MM / size
    return Grid((slices, size, size), (min(WIDEST_GAP_MM, HEIGHT_MM / slices), pixel, pixel))


def draw_head(seed: int, bleed: bool, slices: int = 24, size: int = 256) -> Phantom:
    """A head CT in HU. The same arguments give the same values; the same seed, the same head."""
    grid = head_grid(slices, size)
    head = draw_skull(np.random.default_rng((seed, 1)), grid)
    rng = np.random.default_rng((seed, 2))
    hu = _tissue_hu(rng, head) + _dense_spots(rng, head)
    kind, mask = "normal", np.zeros(grid.shape, np.bool_)
    if bleed:
        kind, mask = _bleed_into(np.random.default_rng((seed, 3)), head, hu)
    values = _as_scanned(rng, head, hu)
    return Phantom(values, grid.spacing_mm, mask, float(mask.sum()) * grid.voxel_ml, kind)


def _tissue_hu(rng: np.random.Generator, head: Head) -> Floats:
    texture = smooth_noise(rng, head.grid, 5)
    hu = HU[head.tissue]
    hu += head.in_brain * (np.float32(1.6) * texture + np.float32(1.2) * smooth_noise(rng, head.grid, 35))
    hu += ((head.tissue == Tissue.BONE) | (head.tissue == Tissue.MARROW)) * (np.float32(90) * texture)
    return hu


def _dense_spots(rng: np.random.Generator, head: Head) -> Floats:
    """Chalk where it is often seen and harmless, in HU above the tissue around it."""
    plexus = 18 + 3 * head.body.ventricles
    sites: list[tuple[float, float, list[Point]]] = [
        (0.70, 3.0, [(0, 30, 8)]),
        (0.65, 4.0, [(side * plexus, 33, 16) for side in SIDES]),
        (0.35, 4.0, [(0, rng.uniform(-50, 20), rng.uniform(40, 58))]),
        (0.25, 3.5, [(side * 20, -2, 8) for side in SIDES]),
    ]
    dense = np.zeros(head.grid.shape, np.float32)
    for fraction, largest, centres in sites:
        seen, radius, above = rng.random() < fraction, rng.uniform(1.5, largest), rng.uniform(60, 260)
        for centre in centres if seen else ():
            tall = max(radius, 0.6 * head.grid.spacing_mm[0])
            part, value = head.inside(Ellipsoid(centre, (radius, 1.3 * radius, tall)))
            dense[part] = np.where((value < 1) & (head.tissue[part] >= Tissue.CSF), above, dense[part])
    return dense


def _bleed_into(rng: np.random.Generator, head: Head, hu: Floats) -> tuple[str, Bools]:
    """Choose a kind of bleed, write its HU into `hu` and return kind and mask."""
    kind = str(rng.choice(sorted(BLEEDS)))
    minimum, maximum = RANGE_ML.get(kind, BLEED_ML)
    ml = float(np.exp(rng.uniform(np.log(minimum), np.log(maximum))))
    level = rng.uniform(55, 80) * (0.85 if kind == "subarachnoid" else 1.0)
    score, allowed = BLEEDS[kind](rng, head)
    mask = fullest(score, allowed, max(1, round(ml / head.grid.voxel_ml)))
    if kind == "intraparenchymal":
        hu -= 11 * _rim(mask, head.grid) * (head.in_brain & ~mask)
    hu[mask] = (level + 3 * smooth_noise(rng, head.grid, 10))[mask]
    return kind, mask


def _rim(mask: Bools, grid: Grid) -> Floats:
    """Oedema: 1 beside the mask, falling to 0 within about 7 mm in plane."""
    near = mask.astype(np.float32)
    for _ in range(max(1, min(6, round(5 / grid.spacing_mm[1])))):
        near = blur(near, (1, 2), 1 / 3)
    return np.clip(3 * near, 0, 1)


def _room(head: Head) -> Bools:
    return (head.inner > 0) & (head.tissue >= Tissue.CSF) & (head.z > LOWEST_MM)


def _toward(rng: np.random.Generator, side: int) -> Floats:
    """A unit vector from the head's origin to the side, a little forward, back or up."""
    way = np.array((side, rng.uniform(-0.6, 0.6), rng.uniform(0.05, 0.65)), np.float32)
    return way / np.float32(np.linalg.norm(way))


def _epidural(rng: np.random.Generator, head: Head) -> Score:
    """A lens: the part of a ball about a point of the inner table that lies inside the skull."""
    side = either_side(rng)
    way = _toward(rng, side)
    along = head.x * way[0] + head.y * way[1] + head.z * way[2]
    near_axis = head.x**2 + head.y**2 + head.z**2 - along**2 < 100
    edge = float(np.where(near_axis & (head.inner > 0), along, 0).max()) + rng.uniform(2, 8)
    away = head.away_from((way[0] * edge, way[1] * edge, way[2] * edge))
    return np.float32(0.5) * smooth_noise(rng, head.grid, 14) - away, _room(head) & (head.x * side > 2)


def _subdural(rng: np.random.Generator, head: Head) -> Score:
    """A crescent along the inner table; spread wider, it would be thinner than a pixel and unseen."""
    side = either_side(rng)
    way = _toward(rng, side)
    edge = np.float32(rng.uniform(0.78, 0.9))  # cosine of the crescent's half angle
    length = np.sqrt(head.x**2 + head.y**2 + head.z**2 + 1)
    cosine = (head.x * way[0] + head.y * way[1] + head.z * way[2]) / length
    depth = head.inner + np.float32(0.4) * smooth_noise(rng, head.grid, 14)
    return -depth / np.clip(cosine - edge, 0.01, 1), _room(head) & (head.x * side > 2) & (cosine > edge)


def _intraparenchymal(rng: np.random.Generator, head: Head) -> Score:
    """A wobbly ellipsoid in the brain of one half."""
    side = either_side(rng)
    centre = (side * rng.uniform(14, 44), rng.uniform(-48, 48), rng.uniform(-5, 44))
    stretch = rng.uniform(0.75, 1.3, 3).astype(np.float32)
    offsets = (head.x - centre[0], head.y - centre[1], head.z - centre[2])
    squares = sum((k * offset) ** 2 for k, offset in zip(stretch, offsets, strict=True))
    wobble = 1 + np.float32(0.09) * smooth_noise(rng, head.grid, 14)
    allowed = head.in_brain & (head.inner > 4) & (head.z > LOWEST_MM) & (head.x * side > 1)
    return -np.sqrt(np.asarray(squares, np.float32)) * wobble, allowed


def _subarachnoid(rng: np.random.Generator, head: Head) -> Score:
    """Blood in sulci, fissures and cisterns about a point."""
    centre = (either_side(rng) * rng.uniform(5, 45), rng.uniform(-25, 25), rng.uniform(-22, 15))
    fluid = (head.tissue == Tissue.CSF) & ~head.ventricles & (head.inner > 0) & (head.inner < 70)
    away = head.away_from(centre)
    return np.float32(4) * smooth_noise(rng, head.grid, 14) - away, fluid & (head.z > LOWEST_MM)


def _intraventricular(rng: np.random.Generator, head: Head) -> Score:
    """Blood that has settled at the back of one lateral ventricle, the patient lying supine."""
    side = either_side(rng)
    noise = np.float32(1.5) * smooth_noise(rng, head.grid, 14)
    return head.y + noise, head.ventricles & (head.x * side > -1) & (head.z > 2)


BLEEDS: Final[Mapping[str, Callable[[np.random.Generator, Head], Score]]] = {
    "epidural": _epidural,
    "intraparenchymal": _intraparenchymal,
    "intraventricular": _intraventricular,
    "subarachnoid": _subarachnoid,
    "subdural": _subdural,
}


def _as_scanned(rng: np.random.Generator, head: Head, hu: Floats) -> NDArray[np.int16]:
    """What a scanner makes of it: partial volume, beam hardening, head rest and noise."""
    hu = np.where(_head_rest(rng, head), np.float32(-350), hu)
    hu = blur(blur(hu, (1, 2)), (0,), 0.1)
    _harden_beam(rng, head, hu)
    noise = blur(rng.standard_normal(head.grid.shape, np.float32), (1, 2), 0.2) * np.float32(2.1)
    noise *= np.float32(0.6) + np.float32(0.4) * np.clip(head.depth / 50, 0, 1.2)
    hu += np.float32(rng.uniform(2.6, 5.5)) * noise
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _harden_beam(rng: np.random.Generator, head: Head, hu: Floats) -> None:
    """Brighter below the skull (cupping), a dark bar between the petrous bones."""
    cupping = np.exp(-np.clip(head.inner, 0, None) / np.float32(rng.uniform(4, 9)))
    hu += (head.inner > 0) * (np.float32(rng.uniform(2, 9)) * cupping)
    part = head.block((0, 24, -50), 60)
    across, back, up = head.x[part] / 38, (head.y[part] - 24) / 7, (head.z[part] + 50) / 9
    bar = np.exp(-(up**2) - back**2 - (across**2) ** 2)
    hu[part] -= (head.inner[part] > 0) * (np.float32(rng.uniform(2, 14)) * bar)


def _head_rest(rng: np.random.Generator, head: Head) -> Bools:
    """A thin shell behind the head, in four of five scans."""
    back = head.grid.axis(1)[None, :, None] - 6
    left = head.grid.axis(2)[None, None, :]
    shell = (np.abs(np.hypot(left, back) - 114) < 1.3) & (back > 49)
    rest: Bools = shell & (head.depth < 0) & bool(rng.random() < 0.8)
    return rest
