"""Boxes of a network's input, brought back to the images that it was made of, and to the patient.

A box is given on the arrays' axes, in their pixels or voxels, the centre of the first at 0.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from imaging.domain.places import Place
from imaging.inference.prepared import FilmItem, Item, StackItem

Vector = NDArray[np.float64]


def place_of(item: Item, low: Vector, high: Vector, score: float | None = None) -> Place | None:
    """Where a box lies, cut to the images; None where it lies on none of them."""
    if isinstance(item, FilmItem):
        return _on_film(item, low, high, score)
    assert isinstance(item, StackItem)
    return _in_stack(item, low, high, score)


def _on_film(item: FilmItem, low: Vector, high: Vector, score: float | None) -> Place | None:
    (top, left), (bottom, right) = _ordered(item.grid.to_pixels(np.stack([low, high])))
    box = _cut(np.array([[left, top, right, bottom]]), item.size)[0]
    if _is_empty(box):
        return None
    image = (item.images[0].sop_instance_uid, 1)
    return Place(image, _four(box), _middle(box), (image,), score)


def _in_stack(item: StackItem, low: Vector, high: Vector, score: float | None) -> Place | None:
    volume = item.volume
    slices, boxes = volume.rectangles(low, high, item.grid)
    boxes = _cut(boxes, (volume.values.shape[1], volume.values.shape[2]))
    inside = ~_is_empty(boxes)
    slices, boxes = slices[inside], boxes[inside]
    if not len(slices):
        return None
    frames = volume.frames or (1,) * len(volume.images)
    corners = item.grid.to_patient(np.array(list(product(*zip(low, high, strict=True)))))
    middle = corners.mean(axis=0) @ volume.laid.normal
    best = int(np.abs(volume.laid.along_mm[slices] - middle).argmin())
    images = tuple((volume.images[at].sop_instance_uid, frames[at]) for at in slices)
    return Place(
        image=images[best],
        box=_four(boxes[best]),
        centre=_middle(boxes[best]),
        images=images,
        score=score,
        corners_mm=tuple((round(x, 2), round(y, 2), round(z, 2)) for x, y, z in corners.tolist()),
        frame_of_reference_uid=volume.frame_of_reference_uid,
    )


def _ordered(corners: Vector) -> tuple[Vector, Vector]:
    return corners.min(axis=0), corners.max(axis=0)


def _cut(boxes: Vector, size: tuple[int, int]) -> Vector:
    """(n, 4) as (left, top, right, bottom), cut to the outer edges of an image of so many rows and columns."""
    rows, columns = size
    return np.clip(boxes, -0.5, np.array([columns, rows, columns, rows]) - 0.5)


def _is_empty(boxes: Vector) -> NDArray[np.bool_]:
    empty: NDArray[np.bool_] = (boxes[..., 2] <= boxes[..., 0]) | (boxes[..., 3] <= boxes[..., 1])
    return empty


def _four(box: Vector) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(each, 2) for each in box.tolist())
    return left, top, right, bottom


def _middle(box: Vector) -> tuple[float, float]:
    left, top, right, bottom = box.tolist()
    return round((left + right) / 2, 2), round((top + bottom) / 2, 2)
