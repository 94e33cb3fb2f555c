"""What we make, as it is known again when a PACS sends it back: by its class and by the device that it names."""

from typing import Final

from imaging.domain.header import Header
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID

DEVICE: Final = "imaging"
"""Manufacturer and Manufacturer Model Name of every object that we make; its serial is IMPLEMENTATION_CLASS_UID."""

_CLASSES: Final = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{each}"
    for each in (
        *(f"88.{number}" for number in (11, 22, 33, 34, 35, 50, 59, 65)),  # SR, key objects, CAD
        *(f"11.{number}" for number in range(1, 13)),  # presentation states
        "66.4",  # segmentation
        *("7", "7.1", "7.2", "7.3", "7.4"),  # secondary capture
        "104.1",  # encapsulated PDF
    )
)
"""SOP Classes of results (PS3.6 A)."""


def is_device(manufacturer: str, model_name: str, serial: str) -> bool:
    """Whether these name us; a PACS that empties the serial number still leaves the other two."""
    names = {each.strip().casefold() for each in (manufacturer, model_name)}
    return names == {DEVICE} and serial.strip() in ("", IMPLEMENTATION_CLASS_UID)


def is_result_class(header: Header) -> bool:
    """Whether an object is of a class that results have. Images are nobody's report."""
    return header.sop_class_uid in _CLASSES


def is_ours(header: Header) -> bool:
    """Whether an object says of itself that we made it, whatever identifiers it bears by now."""
    return is_result_class(header) and header.is_our_device
