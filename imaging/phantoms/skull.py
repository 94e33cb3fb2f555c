"""The head that both drawings fill with their own grey values: which tissue lies where.

Made of ellipsoids and depth below the scalp in a head frame that a random pose turns and
shifts against the scanner: x left, y posterior, z superior, mm, origin amid the brain. One
random stream, always drawn in the same order, so one seed is one head whatever it holds.
Crude on purpose: no jaw, no neck, no vessels, and brain down to the last slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from imaging.phantoms.volume import Bools, Floats, Grid, smooth_noise

Block = tuple[slice, slice, slice]
Point = tuple[float, float, float]
SIDES = (-1, 1)  # right, left


class Tissue(IntEnum):
    """What a voxel is made of; the number indexes a table of grey values."""

    AIR = 0
    SKIN = 1
    FAT = 2
    BONE = 3
    MARROW = 4
    CSF = 5
    GREY = 6
    WHITE = 7
    DURA = 8


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """Centre and half axes in mm, head frame; `yaw` turns it about z, in radians."""

    centre: Point
    radii: Point
    yaw: float = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """How the head lies in the scanner: head = turn @ (scanner - shift)."""

    turn: Floats
    shift: NDArray[np.float64]

    @staticmethod
    def draw(rng: np.random.Generator) -> Pose:
        """A few degrees of yaw, roll and pitch and a few mm off the isocentre."""
        yaw, roll, pitch = rng.normal(0, (0.08, 0.04, 0.06))
        about_z = _rotation(yaw, 0, 1)
        about_y = _rotation(roll, 2, 0)
        about_x = _rotation(pitch, 1, 2)
        return Pose((about_z @ about_y @ about_x).astype(np.float32), rng.normal(0, (3.0, 4.0, 4.0)))


def _rotation(angle: float, first: int, second: int) -> NDArray[np.float64]:
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[second, first] = np.sin(angle)
    turn[first, second] = -np.sin(angle)
    return turn


@dataclass(frozen=True, slots=True)
class Body:
    """What differs from one head to the next; lengths in mm."""

    half: Point  # half axes of the scalp, x y z
    egg: float  # how much wider the back is
    scalp: float
    bone: float
    ventricles: float  # 1 is middling
    atrophy: float  # 0..1: wider sulci and fissures

    @staticmethod
    def draw(rng: np.random.Generator) -> Body:
        """A grown-up's head."""
        return Body(
            half=(rng.normal(76, 4), rng.normal(94, 5), rng.normal(88, 4)),
            egg=rng.uniform(0.02, 0.12),
            scalp=rng.uniform(3.5, 7.5),
            bone=rng.uniform(4.5, 10),
            ventricles=float(np.exp(rng.uniform(np.log(0.6), np.log(1.8)))),
            atrophy=rng.uniform(0, 1),
        )


@dataclass(slots=True)
class Head:
    """A head on a grid, being drawn; all arrays [slice, row, column].

    `x`, `y`, `z`: voxel centres in the head frame, mm. `depth`: mm below the scalp, negative
    outside. `inner`: mm below the inner table of the skull. `tissue`: values of `Tissue`.
    """

    grid: Grid
    pose: Pose
    body: Body
    x: Floats
    y: Floats
    z: Floats
    depth: Floats
    inner: Floats
    tissue: NDArray[np.uint8]
    ventricles: Bools

    @property
    def in_brain(self) -> Bools:
        """Grey and white matter."""
        return np.isin(self.tissue, (Tissue.GREY, Tissue.WHITE))

    def away_from(self, point: Point) -> Floats:
        """Distance in mm of every voxel from a point of the head frame."""
        x, y, z = (np.float32(value) for value in point)
        squares: Floats = (self.x - x) ** 2 + (self.y - y) ** 2 + (self.z - z) ** 2
        return np.sqrt(squares)

    def block(self, centre: Sequence[float], reach_mm: float) -> Block:
        """The part of the grid within `reach_mm` of a point of the head frame, per axis."""
        place = self.pose.turn.T @ np.asarray(centre, np.float32) + self.pose.shift
        ends = (
            np.searchsorted(self.grid.axis(axis), (place[2 - axis] - reach_mm, place[2 - axis] + reach_mm))
            for axis in range(3)
        )
        first, second, third = (slice(int(low), int(high)) for low, high in ends)
        return first, second, third

    def inside(self, shape: Ellipsoid) -> tuple[Block, Floats]:
        """The block around an ellipsoid, and there a value below 1 inside it."""
        part = self.block(shape.centre, max(shape.radii) + 4)
        right, back, up = (
            coordinate[part] - np.float32(middle)
            for coordinate, middle in zip((self.x, self.y, self.z), shape.centre, strict=True)
        )
        cosine, sine = np.float32(np.cos(shape.yaw)), np.float32(np.sin(shape.yaw))
        along, across = cosine * right + sine * back, cosine * back - sine * right
        a, b, c = (np.float32(radius) for radius in shape.radii)
        return part, (along / a) ** 2 + (across / b) ** 2 + (up / c) ** 2

    def fill(self, shapes: Iterable[Ellipsoid], tissue: Tissue, over: Sequence[Tissue]) -> None:
        """Paint `tissue` into the shapes wherever one of the tissues `over` lies."""
        for shape in shapes:
            part, value = self.inside(shape)
            here = self.tissue[part]
            here[(value < 1) & np.isin(here, over)] = tissue


def either_side(rng: np.random.Generator) -> int:
    """Right (-1) or left (1)."""
    return int(rng.choice(SIDES))


def draw_skull(rng: np.random.Generator, grid: Grid) -> Head:
    """A head with scalp, skull, brain, fluid spaces and the base of the skull."""
    head = _bare_head(rng, grid)
    _layer_scalp_and_bone(head)
    _fold_brain(rng, head)
    _set_deep_grey(head)
    _fill_ventricles(rng, head)
    _stretch_dura(head)
    _build_base(rng, head)
    return head


def _bare_head(rng: np.random.Generator, grid: Grid) -> Head:
    """Depths on the grid, before any tissue is laid."""
    pose, body = Pose.draw(rng), Body.draw(rng)
    x, y, z = _head_coordinates(grid, pose)
    half_x, half_y, half_z = body.half
    width = half_x * (1 + body.egg * y / half_y)
    below = z < 0
    height = np.where(below, np.float32(150), np.float32(half_z))  # hardly narrows downward
    ratio = np.sqrt((x / width) ** 2 + (y / np.float32(half_y)) ** 2 + (z / height) ** 2) + np.float32(1e-4)
    distance = np.sqrt(x**2 + y**2 + np.where(below, np.float32(0.3), np.float32(1)) * z**2)
    depth = (1 / ratio - 1) * distance + np.float32(0.6) * smooth_noise(rng, grid, 60)
    depth = np.where(ratio < 0.25, np.float32(60), depth)
    thickness = body.scalp + body.bone * (1 + np.float32(0.16) * smooth_noise(rng, grid, 45))
    nothing = np.zeros(grid.shape, np.uint8)
    return Head(grid, pose, body, x, y, z, depth, depth - thickness, nothing, np.zeros(grid.shape, np.bool_))


def _head_coordinates(grid: Grid, pose: Pose) -> tuple[Floats, Floats, Floats]:
    """Head frame x, y, z of every voxel; the isocentre lies 8 mm below the head's origin."""
    up = grid.axis(0)[:, None, None] + np.float32(8 - pose.shift[2])
    back = grid.axis(1)[None, :, None] - np.float32(pose.shift[1])
    left = grid.axis(2)[None, None, :] - np.float32(pose.shift[0])
    first, second, third = ((row[0] * left + row[1] * back) + row[2] * up for row in pose.turn)
    return first, second, third


def _layer_scalp_and_bone(head: Head) -> None:
    depth, inner, scalp = head.depth, head.inner, np.float32(head.body.scalp)
    tissue = head.tissue
    tissue[depth > 0] = Tissue.SKIN
    tissue[(depth > 1.6) & (depth < scalp)] = Tissue.FAT
    bone = (depth >= scalp) & (inner < 0)
    tissue[bone] = Tissue.BONE
    thickness = depth - inner - scalp
    middle = np.abs((depth - scalp) / np.maximum(thickness, 1) - np.float32(0.5)) < 0.19
    tissue[bone & middle & (thickness > 4.5)] = Tissue.MARROW
    tissue[inner >= 0] = Tissue.CSF


def _fold_brain(rng: np.random.Generator, head: Head) -> None:
    """White matter under a grey ribbon, sulci where a smooth noise crosses zero, fissures."""
    atrophy, inner, tissue = head.body.atrophy, head.inner, head.tissue
    fold = np.abs(smooth_noise(rng, head.grid, 9))
    gap = 1.0 + 2.2 * atrophy
    sulcus = (fold < 0.10 + 0.13 * atrophy) & (inner < 12 + 5 * atrophy)
    brain = (inner > gap) & ~sulcus
    tissue[brain] = Tissue.WHITE
    tissue[brain & (inner - gap < 4 + 5 * np.exp(-5 * fold))] = Tissue.GREY
    between = (head.z > -15) & (inner > 0) & (inner < 28) & (np.abs(head.x) < 0.8 + 1.2 * atrophy)
    tissue[between] = Tissue.CSF
    soft = (Tissue.GREY, Tissue.WHITE)
    sylvian = [Ellipsoid((side * 48, -14, 2), (13, 3 + 3 * atrophy, 15), -side * 0.35) for side in SIDES]
    head.fill(sylvian, Tissue.CSF, soft)


def _set_deep_grey(head: Head) -> None:
    """Caudate, lentiform nucleus and thalamus on both sides."""
    for side in SIDES:
        nuclei = (
            Ellipsoid((side * 14, -12, 18), (4.5, 10, 11), -side * 0.25),
            Ellipsoid((side * 24, -2, 8), (7, 15, 11), side * 0.25),
            Ellipsoid((side * 10, 16, 10), (8, 13, 9), -side * 0.4),
        )
        head.fill(nuclei, Tissue.GREY, (Tissue.WHITE,))


def _fill_ventricles(rng: np.random.Generator, head: Head) -> None:
    """Lateral (rarely alike on both sides), third and fourth ventricle, basal cisterns."""
    size = head.body.ventricles
    uneven = 1 + rng.normal(0, 0.13)
    shapes = [
        Ellipsoid((0, 2, 6), (1.8 * size, 14, 9)),
        Ellipsoid((0, 42, -32), (7 * size**0.5, 5 * size**0.5, 7)),
    ]
    for side in SIDES:
        k = size * (uneven if side > 0 else 1 / uneven)
        shapes += [
            Ellipsoid((side * (7 + 2 * k), -24, 18), (4.2 * k, 13, 9 * k), -side * 0.35),
            Ellipsoid((side * (8 + 3 * k), 4, 27), (5 * k, 25, 6.5 * k), side * 0.15),
            Ellipsoid((side * (17 + 3 * k), 33, 18), (6.5 * k, 13, 9 * k), side * 0.5),
            Ellipsoid((side * 32, 10, -12), (3 * k, 11, 4 * k), side * 0.3),
        ]
    soft = (Tissue.GREY, Tissue.WHITE)
    for shape in shapes:
        part, value = head.inside(shape)
        head.ventricles[part] |= (value < 1) & np.isin(head.tissue[part], soft)
    head.tissue[head.ventricles] = Tissue.CSF
    cistern = Ellipsoid((0, -4, -24), (24, 11, 7))
    head.fill((cistern,), Tissue.CSF, soft)


def _stretch_dura(head: Head) -> None:
    """The falx, and the free edge of the tentorium as an inverted V."""
    falx = (np.abs(head.x) < 0.9) & (head.inner < 24) & (head.inner > -1) & (head.z > -15)
    head.tissue[falx & (np.abs(head.y) > 20)] = Tissue.DURA
    sheet = np.abs(head.z + 12 - 0.35 * np.abs(head.x) - 0.25 * (head.y - 40)) < 1.4
    head.tissue[sheet & (head.inner >= 0) & (head.y > 25) & (np.abs(head.x) > 14)] = Tissue.DURA


def _build_base(rng: np.random.Generator, head: Head) -> None:
    """Petrous bones, clivus, orbits, and the air of sinuses and mastoids."""
    front = -head.body.half[1]
    everything = tuple(tissue for tissue in Tissue if tissue is not Tissue.AIR)
    bone = (Tissue.BONE,)
    for side in SIDES:
        petrous = Ellipsoid((side * 42, 24, -52), (34, 9, 12), -side * 0.55)
        head.fill((petrous,), Tissue.BONE, everything)
        places = [(side * rng.uniform(46, 64), rng.uniform(26, 40), -52.0) for _ in range(6)]
        head.fill((Ellipsoid(place, (4, 4, 4)) for place in places), Tissue.AIR, bone)
        socket = Ellipsoid((side * 32, front + 32, -54), (21, 27, 19), side * 0.25)
        head.fill((socket,), Tissue.BONE, everything)
        fat = Ellipsoid((side * 32, front + 32, -54), (19, 24, 17), side * 0.25)
        head.fill((fat,), Tissue.FAT, bone)
        eye = Ellipsoid((side * 32, front + 22, -54), (12, 12, 12))
        head.fill((eye,), Tissue.CSF, (Tissue.FAT, Tissue.BONE))
    clivus = (Ellipsoid((0, -12, -56), (17, 15, 14)), Ellipsoid((0, 10, -62), (12, 14, 12)))
    head.fill(clivus, Tissue.BONE, everything)
    frontal = Ellipsoid((0, front + 11, -22), (rng.uniform(5, 20), 3, rng.uniform(5, 12)))
    sinuses = (Ellipsoid((0, -16, -58), (11, 10, 9)), Ellipsoid((0, -66, -60), (9, 24, 14)), frontal)
    head.fill(sinuses, Tissue.AIR, (Tissue.BONE, Tissue.FAT, Tissue.CSF, Tissue.WHITE, Tissue.MARROW))
