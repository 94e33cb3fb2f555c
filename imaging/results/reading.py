"""A structured report read back from its bytes, as the verifier's rules ask for it.

It knows the standard, nothing of our builder: what it finds here was found in the file.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

from pydicom import DataElement, Dataset, dcmread
from pydicom.errors import InvalidDicomError

from imaging.domain.codes import Code
from imaging.domain.findings import ImageRef


class Unreadable(Exception):
    """The bytes are no DICOM file that pydicom reads to its end."""


@dataclass(frozen=True)
class Item:
    """A content item: what it is named, how it hangs on its parent, and its value as plain Python.

    `value`: a Code, a text, a UID; (number, unit) of a NUM, both as text; (SOP Class UID, SOP Instance UID) of an
    IMAGE; (graphic type, coordinates) of a SCOORD or SCOORD3D; None where it is absent or of another type.
    """

    name: Code | None
    value_type: str
    relation: str
    value: Any
    children: tuple["Item", ...]
    data: Dataset

    def all_of(self, name: Code) -> list["Item"]:
        """The children of this concept name."""
        return [each for each in self.children if each.is_named(name)]

    def values(self, name: Code) -> list[Any]:
        """The values of the children of this concept name."""
        return [each.value for each in self.all_of(name)]

    def is_named(self, name: Code) -> bool:
        """Whether this is its concept name; meanings are not compared."""
        return self.name is not None and (self.name.scheme, self.name.value) == (name.scheme, name.value)

    def below(self) -> Iterator["Item"]:
        """All items below it, depth first."""
        for child in self.children:
            yield child
            yield from child.below()


class Reading:
    """A whole SR. Raises Unreadable."""

    def __init__(self, data: bytes) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they quote values: a source's illegal UID must not reach a log
                self.dataset = dcmread(BytesIO(data))
                self.elements = [*_elements(self.dataset)]
                self.root = _item(self.dataset)
        except (InvalidDicomError, ValueError, TypeError, KeyError, EOFError, AttributeError, OSError) as error:
            raise Unreadable(type(error).__name__) from error

    def get(self, keyword: str) -> str:
        """A top-level value as text; empty where it is absent."""
        value = self.dataset.get(keyword)
        return "" if value is None else str(value)

    def items(self, keyword: str) -> Sequence[Dataset]:
        """The items of a sequence of the document; none where it is missing."""
        return list(self.dataset.get(keyword) or [])

    @cached_property
    def named_images(self) -> list[tuple[str, str]]:
        """(SOP Class UID, SOP Instance UID) wherever the content names one."""
        return [each.value for each in self.root.below() if each.value_type == "IMAGE" and each.value]


def references(studies: Sequence[Dataset]) -> Iterator[tuple[str, ImageRef]]:
    """(Study Instance UID, instance) for each that a Hierarchical SOP Instance Reference names (PS3.3 C.17.2.1)."""
    for study in studies:
        for series in study.get("ReferencedSeriesSequence") or []:
            for each in series.get("ReferencedSOPSequence") or []:
                yield (
                    str(study.get("StudyInstanceUID", "")),
                    ImageRef(
                        str(each.get("ReferencedSOPClassUID", "")),
                        str(each.get("ReferencedSOPInstanceUID", "")),
                        str(series.get("SeriesInstanceUID", "")),
                    ),
                )


def code_of(item: Dataset) -> Code:
    """The code of a Code Sequence item; what it lacks is empty."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(item.get("CodingSchemeDesignator") or ""), str(value), str(item.get("CodeMeaning") or ""))


def is_code(item: Dataset) -> bool:
    """Whether an item of a sequence is a code sequence's."""
    return any(each in item for each in ("CodeValue", "LongCodeValue", "URNCodeValue", "CodeMeaning"))


def texts(element: DataElement) -> list[str]:
    """The values of an element, as text."""
    if element.value is None or element.value == "":
        return []
    return [str(each) for each in (element.value if element.VM > 1 else [element.value])]


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def _item(data: Dataset) -> Item:
    return Item(
        _first_code(data, "ConceptNameCodeSequence"),
        str(data.get("ValueType", "")),
        str(data.get("RelationshipType", "")),
        _value(data),
        tuple(_item(each) for each in data.get("ContentSequence") or []),
        data,
    )


def _first_code(data: Dataset, keyword: str) -> Code | None:
    items = data.get(keyword)
    return code_of(items[0]) if items else None


def _value(data: Dataset) -> Any:
    match data.get("ValueType"):
        case "CODE":
            return _first_code(data, "ConceptCodeSequence")
        case "TEXT":
            return str(data.get("TextValue") or "") or None
        case "UIDREF":
            return str(data.get("UID") or "") or None
        case "PNAME":
            return str(data.get("PersonName") or "") or None
        case "NUM":
            return _number(data)
        case "IMAGE":
            values = data.get("ReferencedSOPSequence") or [Dataset()]
            pair = str(values[0].get("ReferencedSOPClassUID", "")), str(values[0].get("ReferencedSOPInstanceUID", ""))
            return pair if all(pair) else None
        case "SCOORD" | "SCOORD3D":
            return str(data.get("GraphicType", "")), tuple(map(float, data.get("GraphicData") or ()))
        case _:
            return None


def _number(data: Dataset) -> tuple[str, str] | None:
    measured = data.get("MeasuredValueSequence") or []
    if len(measured) != 1 or measured[0].get("NumericValue") is None:
        return None
    unit = _first_code(measured[0], "MeasurementUnitsCodeSequence")
    return str(measured[0].NumericValue), unit.value if unit and unit.scheme == "UCUM" else ""
