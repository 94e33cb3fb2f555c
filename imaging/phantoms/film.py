"""Draws a frontal chest film, with or without a pleural effusion or a large heart.

The film is a sum of shadows in a body's own coordinates: `x` runs from -1 (the patient's right, the picture's
left) to 1, `y` from -1 (top) to 1, and the shorter side of the picture spans them. Shadows are computed on a
grid of at most `GRID` lines and then enlarged; only the grain is made at full size. A shadow's unit is the
share of the film's grey range, so lung lies near 0.3 and the heart near 0.7.

The body, the findings and the grain have random streams of their own, so one seed is the same body with
and without a finding. A normal heart takes 0.40 to 0.48 of the chest's width and a large one 0.57 to 0.66:
nothing lies in between, and an effusion is never a trace. That makes the truth certain, and the task far
easier than it is with patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

FINDINGS: Final = frozenset({"effusion", "cardiomegaly"})
GREATEST: Final = 4095
"""The largest stored value: 12 bit."""
GRID: Final = 400
"""Lines of the grid on which the shadows are computed."""

Plane = NDArray[np.float32]
"""Values of a grid, (rows, columns)."""


@dataclass(frozen=True)
class Body:
    """The proportions of one patient, in body coordinates unless a comment tells otherwise."""

    centre: tuple[float, float]
    tilt: float  # radians, counted from the x axis towards the y axis
    size: float  # 1 fills the picture
    chest: float  # half width of the rib cage at its widest
    apex: float  # y of the lungs' tops
    domes: tuple[float, float]  # y of the diaphragm's tops: patient's right, left
    recess: float  # how far the costophrenic angles lie below the domes
    heart: float  # the heart's width as a share of the chest's
    heart_lean: float  # share of the heart that lies on the patient's left
    rib_gap: float
    rib_shift: float
    bone: float  # strength of the bones' shadows
    soft: float  # strength of soft tissue
    breasts: float
    bubble: float  # strength of the stomach's gas
    vessels: float


@dataclass(frozen=True)
class Fluid:
    """How high an effusion stands: share of each lung's height, patient's right and left."""

    heights: tuple[float, float]
    density: float


def draw_film(seed: int, findings: frozenset[str], rows: int = 1024, columns: int = 1024) -> NDArray[np.uint16]:
    """A frontal chest film, (rows, columns), 12 bit, bright where little radiation arrived (MONOCHROME2).

    `findings` is a subset of `FINDINGS`; none is a normal film. The same arguments give the same pixels.
    Raises ValueError for an unknown finding or a side shorter than 64 pixels.
    """
    if unknown := findings - FINDINGS:
        raise ValueError(f"no film is drawn with {sorted(unknown)}; findings are {sorted(FINDINGS)}")
    if min(rows, columns) < 64:
        raise ValueError(f"a film of {rows} x {columns} pixels is too small to draw; both sides need 64")
    body = _a_body(np.random.default_rng([seed, 0]), large_heart="cardiomegaly" in findings)
    fluid = _some_fluid(np.random.default_rng([seed, 1])) if "effusion" in findings else None
    shrink = min(1.0, GRID / min(rows, columns))
    x, y = _coordinates(max(1, round(rows * shrink)), max(1, round(columns * shrink)), body)
    shadow = _shadows(x, y, body, fluid, np.random.default_rng([seed, 2]))
    whole = _enlarged(shadow, rows, columns)
    return _expose(whole, np.random.default_rng([seed, 3]))


def _a_body(rng: np.random.Generator, *, large_heart: bool) -> Body:
    """A body; the large heart takes the stream's last value, so all else is the same with either heart."""
    dome = rng.uniform(0.36, 0.50)
    body = Body(
        centre=(rng.uniform(-0.05, 0.05), rng.uniform(-0.06, 0.04)),
        tilt=rng.uniform(-0.04, 0.04),
        size=rng.uniform(0.90, 1.08),
        chest=rng.uniform(0.68, 0.78),
        apex=rng.uniform(-0.80, -0.70),
        domes=(dome, dome + rng.uniform(0.02, 0.07)),
        recess=rng.uniform(0.20, 0.28),
        heart=rng.uniform(0.40, 0.48),
        heart_lean=rng.uniform(0.66, 0.74),
        rib_gap=rng.uniform(0.125, 0.15),
        rib_shift=rng.uniform(0.0, 1.0),
        bone=rng.uniform(0.7, 1.2),
        soft=rng.uniform(0.85, 1.1),
        breasts=rng.uniform(-0.06, 0.10),
        bubble=rng.uniform(-0.10, 0.18),
        vessels=rng.uniform(0.7, 1.2),
    )
    large = rng.uniform(0.57, 0.66)
    return replace(body, heart=large) if large_heart else body


def _some_fluid(rng: np.random.Generator) -> Fluid:
    """An effusion on the right, on the left, or on both sides."""
    side = rng.choice(["right", "left", "both"], p=[0.4, 0.35, 0.25])
    right, left = rng.uniform(0.24, 0.52, size=2)
    heights = (right if side != "left" else 0.0, left if side != "right" else 0.0)
    return Fluid(heights=heights, density=rng.uniform(0.30, 0.38))


def _coordinates(rows: int, columns: int, body: Body) -> tuple[Plane, Plane]:
    """The body's x and y at every pixel centre."""
    half = min(rows, columns) / 2
    across = ((np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / half)[None, :]
    down = ((np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / half)[:, None]
    across, down = across - body.centre[0], down - body.centre[1]
    cosine, sine = np.cos(body.tilt) / body.size, np.sin(body.tilt) / body.size
    x = (across * cosine + down * sine).astype(np.float32)
    y = (down * cosine - across * sine).astype(np.float32)
    return x, y


def _shadows(x: Plane, y: Plane, body: Body, fluid: Fluid | None, rng: np.random.Generator) -> Plane:
    """All shadows together."""
    lungs = _lungs(x, y, body)
    air = np.maximum(*lungs)
    film = _soft_tissue(x, y, body)
    film -= 0.42 * air * _cloud(x.shape, 5, rng, 0.93, 1.07)
    film += _vessels(x, y, body, rng) * air * (1 - 0.75 * _heart(x, y, body))
    film += _middle(x, y, body) * np.float32(body.soft)
    film += _bones(x, y, body, air)
    film -= _gas(x, y, body)
    if fluid is not None:
        film += _fluid(x, y, body, fluid, lungs)
    return _plane(1.0 - np.exp(-1.7 * np.clip(film * _cloud(x.shape, 4, rng, 0.96, 1.04), 0.0, None)))


def _soft_tissue(x: Plane, y: Plane, body: Body) -> Plane:
    """Neck, shoulders, chest wall, breasts and belly, without the lungs' air."""
    side = np.abs(x)
    half_width = 0.24 + 0.86 * _step(y, -0.86, 0.07) - 0.14 * _step(y, -0.35, 0.16)
    inside = _step(half_width - side, 0.0, 0.015)
    depth = np.sqrt(np.clip(1.0 - (side / (half_width + 0.05)) ** 2, 0.02, 1.0))
    tissue = 0.34 + 0.30 * depth + 0.06 * _step(y, body.domes[0], 0.10)
    breasts = max(body.breasts, 0.0) * _blob((side - 0.46) / 0.30, (y - 0.30) / 0.27, 0.10)
    return _plane(inside * (tissue * body.soft + breasts))


def _lungs(x: Plane, y: Plane, body: Body) -> tuple[Plane, Plane]:
    """How much of each pixel is the patient's right and left lung, 0 to 1."""
    return _lung(-x, y, body, body.domes[0]), _lung(x, y, body, body.domes[1])


def _lung(out: Plane, y: Plane, body: Body, dome: float) -> Plane:
    """One lung, with `out` counted from the spine outwards."""
    wall = _step(_chest_wall(y, body) - out, 0.0, 0.010)
    inner = _step(out, 0.11 + 0.05 * _step(-y, 0.42, 0.10), 0.014)
    floor = _step(_diaphragm(out, body, dome) - y, 0.0, 0.010)
    return _plane(wall * inner * floor)


def _chest_wall(y: Plane, body: Body) -> Plane:
    """Half the width of the rib cage's inside at every height."""
    down = np.clip((y - body.apex) / (body.domes[0] + body.recess - body.apex), 0.0, 1.0)
    return _plane(body.chest * np.sqrt(np.clip(1.0 - (1.0 - down) ** 2.2, 0.0, 1.0)) * (0.94 + 0.06 * down))


def _diaphragm(out: Plane, body: Body, dome: float) -> Plane:
    """y of the diaphragm, which falls from its dome to the costophrenic angle."""
    away = out / body.chest - 0.42
    return _plane(dome + body.recess * np.where(away > 0, (away / 0.56) ** 2, (away / 0.60) ** 2 * 0.35))


def _middle(x: Plane, y: Plane, body: Body) -> Plane:
    """Heart, great vessels, hila and windpipe."""
    above = 1 - 0.92 * _step(y - _diaphragm(np.abs(x), body, body.domes[1]), 0.01, 0.03)
    band = _step(0.13 + 0.04 * _step(y, -0.2, 0.12) - np.abs(x - 0.01), 0.0, 0.02) * _step(y, -0.95, 0.1)
    arch = _blob((x - 0.13) / 0.10, (y + 0.36) / 0.10, 0.16)
    pulmonary = _blob((x - 0.14) / 0.11, (y + 0.17) / 0.12, 0.25)
    solid = np.maximum.reduce([_heart(x, y, body), 0.75 * band, 0.78 * arch, 0.74 * pulmonary]) * above
    hila = _blob((x + 0.20) / 0.10, (y + 0.06) / 0.17, 0.6) + _blob((x - 0.22) / 0.09, (y + 0.10) / 0.15, 0.6)
    windpipe = _step(0.05 - np.abs(x + 0.005), 0.0, 0.014) * _step(-0.26 - y, 0.0, 0.05)
    return _plane(0.30 * solid + 0.05 * hila - 0.09 * windpipe)


def _heart(x: Plane, y: Plane, body: Body) -> Plane:
    """The heart: a wide left part that points down and a narrow right part."""
    width = 2 * body.chest * body.heart
    left, right = width * body.heart_lean, width * (1 - body.heart_lean)
    base = body.domes[1] + 0.02
    tall = 0.34 + 0.28 * body.heart
    middle = base - 0.75 * tall
    leaning = middle + 0.30 * tall * np.clip(x / left, 0.0, 1.0)
    reach = np.where(x > 0, left, right).astype(np.float32)
    round_part = (np.abs(x) / reach) ** 2.2 + (np.abs(y - leaning) / tall) ** 2.2
    return _step(1.0 - round_part, 0.0, 0.035)


def _bones(x: Plane, y: Plane, body: Body, air: Plane) -> Plane:
    """Spine, ribs, collar bones and shoulder blades."""
    side = np.abs(x)
    cage = _step(_chest_wall(y, body) + 0.05 - side, 0.0, 0.012) * _step(y, body.apex - 0.06, 0.03)
    cage *= _step(body.domes[0] + body.recess + 0.12 - y, 0.0, 0.06)
    back = _ribs(side, y, body, slope=0.10, drop=0.30, thickness=0.30)
    front = _ribs(side, y, body, slope=-0.62, drop=0.12, thickness=0.34) * _step(side, 0.30, 0.06)
    vertebra = 0.5 + 0.5 * np.cos(2 * np.pi * y / 0.125)
    spine = _step(0.075 - side, 0.0, 0.012) * (0.75 + 0.25 * vertebra)
    collar = _step(0.026 - np.abs(y - (-0.66 - 0.20 * side + 0.10 * np.sin(5 * side))), 0.0, 0.008)
    collar *= _step(side, 0.09, 0.015) * _step(0.80 - side, 0.0, 0.03)
    blade = _blob((side - 0.86 - 0.10 * y) / 0.17, (y + 0.28) / 0.42, 0.05) * (1 - 0.4 * air)
    shoulder = _blob((side - 0.98) / 0.16, (y + 0.68) / 0.15, 0.08)
    ribs = cage * (0.062 * back + 0.036 * front) * _step(side, 0.06, 0.02)
    return _plane(body.bone * (ribs + 0.045 * spine + 0.10 * collar + 0.06 * blade + 0.12 * shoulder))


def _ribs(side: Plane, y: Plane, body: Body, slope: float, drop: float, thickness: float) -> Plane:
    """Bands that repeat down the chest and fall outwards, brighter at their edges."""
    falling = y - slope * side - drop * (side / body.chest) ** 4
    phase = falling / body.rib_gap + body.rib_shift
    off_centre = np.abs(phase - np.round(phase)) / thickness
    band = _step(1.0 - off_centre, 0.0, 0.09)
    return _plane(band * (0.65 + 0.5 * np.clip(off_centre, 0.0, 1.0) ** 3))


def _vessels(x: Plane, y: Plane, body: Body, rng: np.random.Generator) -> Plane:
    """Lung markings: streaks that leave the hila, wander, and fade towards the chest wall."""
    out, down = np.abs(x) - 0.12, y + 0.06 - 0.25 * (np.abs(x) - 0.12)
    radius = np.sqrt(out * out + down * down) + 0.02
    turn = np.arctan2(down, out) + 0.5 * np.sign(x)
    streaks = np.zeros_like(x)
    for count, sharp, near in ((6, 6, 0.10), (11, 5, 0.22), (19, 4, 0.40)):
        bent = turn + _cloud(x.shape, 6, rng, -0.45, 0.45) + rng.uniform(0, 2 * np.pi)
        wave = 0.5 + 0.5 * np.cos(count * bent)
        streaks += wave**sharp * np.exp(-(((radius - near) / (0.5 * near + 0.05)) ** 2))
    return _plane(0.055 * body.vessels * streaks * _cloud(x.shape, 24, rng, 0.3, 1.5))


def _gas(x: Plane, y: Plane, body: Body) -> Plane:
    """The stomach's bubble under the left dome."""
    return _plane(max(body.bubble, 0.0)) * _blob((x - 0.36) / 0.17, (y - body.domes[1] - 0.17) / 0.09, 0.15)


def _fluid(x: Plane, y: Plane, body: Body, fluid: Fluid, lungs: tuple[Plane, Plane]) -> Plane:
    """Fluid over the diaphragm, its upper border rising towards the chest wall (the meniscus)."""
    shadow = np.zeros_like(x)
    for out, lung, dome, height in zip((-x, x), lungs, body.domes, fluid.heights, strict=True):
        if height == 0.0:
            continue
        bottom = dome + body.recess
        reach = np.clip(out / body.chest, 0.0, 1.05)
        top = bottom - height * (bottom - body.apex) * (0.62 + 0.45 * reach**3)
        shadow += lung * _step(y - top, 0.0, 0.035)
    return _plane(fluid.density * shadow)


def _expose(film: Plane, rng: np.random.Generator) -> NDArray[np.uint16]:
    """The stored values: contrast curve, collimation and grain differ from film to film."""
    low, high, curve = rng.uniform(-0.02, 0.08), rng.uniform(0.80, 0.90), rng.uniform(0.95, 1.35)
    grey = np.clip((film - low) / (high - low), 0.0, 1.0) ** np.float32(curve)
    grain = rng.standard_normal(film.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.012))
    grey = np.clip(grey + grain * (0.5 + grey), 0.0, 1.0)
    edges = np.clip(rng.uniform(-0.03, 0.03, size=4), 0.0, 1.0) * np.repeat(film.shape, 2)
    top, bottom, left, right = edges.astype(int)
    open_field = np.zeros(film.shape, dtype=np.bool_)
    open_field[top : film.shape[0] - bottom, left : film.shape[1] - right] = True
    return np.asarray(np.where(open_field, grey, 0.0) * GREATEST + 0.5, dtype=np.uint16)


def _step(value: ArrayLike, edge: ArrayLike, softness: float) -> Plane:
    """0 below `edge`, 1 above it, rising smoothly over twice `softness`."""
    t = np.clip((_plane(value) - _plane(edge)) / np.float32(2 * softness) + np.float32(0.5), 0.0, 1.0)
    return _plane(t * t * (3 - 2 * t))


def _blob(x: ArrayLike, y: ArrayLike, softness: float) -> Plane:
    """1 inside the unit circle of the scaled coordinates, 0 outside."""
    return _step(1.0 - (_plane(x) ** 2 + _plane(y) ** 2), 0.0, softness)


def _cloud(shape: tuple[int, ...], cells: int, rng: np.random.Generator, low: float, high: float) -> Plane:
    """Smooth random values between about `low` and `high`, with `cells` independent ones a side."""
    coarse = rng.uniform(low, high, size=(cells, cells)).astype(np.float32)
    return _enlarged(coarse, shape[0], shape[1])


def _enlarged(values: Plane, rows: int, columns: int) -> Plane:
    return np.asarray(Image.fromarray(values).resize((columns, rows), Image.Resampling.BICUBIC), dtype=np.float32)


def _plane(values: ArrayLike) -> Plane:
    """The values as float32."""
    return np.asarray(values, dtype=np.float32)
