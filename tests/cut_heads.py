"""A head that was drawn, and ways to cut, double and change its slices before they are sent."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Head:
    """A head's slices from below, and where its bleed lies: the first slice and the one after the last."""

    slices: list[Dataset]
    bleed: tuple[int, int]


Way = Callable[[Head], list[Dataset]]


def each_slice(**values: Any) -> Way:
    """Sets elements, by value or by a function of the slice's number and the slice."""

    def change(head: Head) -> list[Dataset]:
        for number, each in enumerate(head.slices):
            for keyword, value in values.items():
                setattr(each, keyword, value(number, each) if callable(value) else value)
        return head.slices

    return change


def named(each: Dataset, part: str) -> Dataset:
    """The same image as another object."""
    each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = f"{each.SOPInstanceUID}.{part}"
    return each


def doubled(part: str, **values: Any) -> Way:
    """The head, and once more as another series."""

    def change(head: Head) -> list[Dataset]:
        again = [named(copy.deepcopy(each), part) for each in head.slices]
        for number, each in enumerate(again):
            each.SeriesInstanceUID += f".{part}"
            for keyword, value in values.items():
                setattr(each, keyword, value(number, each) if callable(value) else value)
        return [*head.slices, *again]

    return change


def tilted(degrees: float, at: float) -> Way:
    """The slices below `at` (a share of the head) cut anew along planes tilted about the patient's left-right axis."""

    def change(head: Head) -> list[Dataset]:
        image = _image(head.slices)
        limit = int(at * len(head.slices))
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        row, column = np.array([1.0, 0, 0]), np.array([0, c, s])
        for each in head.slices[:limit]:
            centre = np.array([float(value) for value in each.ImagePositionPatient]) + across(each) / 2
            start = centre - (row * across(each)[0] + column * across(each)[1]) / 2
            _put(each, _cut(image, start, row, column, each), start, row, column)
        return head.slices

    return change


def reformatted(row: tuple[float, ...], column: tuple[float, ...], step: float) -> Way:
    """The whole head cut anew along other planes, `step` mm apart."""

    def change(head: Head) -> list[Dataset]:
        image = _image(head.slices)
        a, b = np.array(row), np.array(column)
        size = np.array(image.GetSize()) * np.array(image.GetSpacing())
        origin = np.array(image.GetOrigin())
        middle, normal = origin + (size - np.array(image.GetSpacing())) / 2, np.cross(a, b)
        length = float(abs(normal) @ size)
        made = []
        for number, along in enumerate(np.arange(-length / 2 + step / 2, length / 2, step)):
            each = named(copy.deepcopy(head.slices[0]), str(number))
            start = middle + normal * along - (a + b) * (across(each)[0] / 2)
            _put(each, _cut(image, start, a, b, each), start, a, b)
            each.InstanceNumber = str(number + 1)
            each.SliceThickness = f"{step:g}"
            made.append(each)
        return made

    return change


def _image(slices: list[Dataset]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.stack([each.pixel_array.astype(np.float32) for each in slices]))
    step = float(slices[1].ImagePositionPatient[2]) - float(slices[0].ImagePositionPatient[2])
    image.SetOrigin([float(value) for value in slices[0].ImagePositionPatient])
    image.SetSpacing([float(slices[0].PixelSpacing[1]), float(slices[0].PixelSpacing[0]), step])
    return image


def across(each: Dataset) -> np.ndarray:
    """From the first voxel to the last, along x and y."""
    return np.array([each.Columns - 1, each.Rows - 1, 0]) * float(each.PixelSpacing[0])


def _cut(image: SimpleITK.Image, start: np.ndarray, row: np.ndarray, column: np.ndarray, each: Dataset) -> np.ndarray:
    taken = SimpleITK.ResampleImageFilter()
    taken.SetInterpolator(SimpleITK.sitkLinear)
    taken.SetDefaultPixelValue(24)  # air
    taken.SetSize([each.Columns, each.Rows, 1])
    taken.SetOutputSpacing([float(each.PixelSpacing[1]), float(each.PixelSpacing[0]), 1.0])
    taken.SetOutputOrigin(start.tolist())
    taken.SetOutputDirection(np.column_stack([row, column, np.cross(row, column)]).ravel().tolist())
    plane: np.ndarray = SimpleITK.GetArrayFromImage(taken.Execute(image))[0]
    return np.round(plane).clip(0, 4095).astype("<u2")


def _put(each: Dataset, values: np.ndarray, start: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    each.PixelData = values.tobytes()
    each.ImagePositionPatient = [f"{value:.4f}" for value in start]
    each.ImageOrientationPatient = [f"{value:.6f}" for value in (*row, *column)]
