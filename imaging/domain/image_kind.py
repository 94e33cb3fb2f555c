"""What sort of image an instance is, where its header says so plainly: an original, or one made of others, and how.

DERIVED and SECONDARY alone tell nothing: lossy copies and films say it of originals.
"""

import re
from typing import Final

from imaging.domain.header import Header

FILMS: Final = frozenset({"CR", "DX", "MG", "IO", "PX", "RG"})
"""Projection images, whose ImageType says DERIVED of every processed film (PS3.3 C.8.11.3)."""

UPRIGHT: Final = frozenset({"CR", "DX", "RG"})
"""Of these, those of which front and back in the plane make a lateral; they are ordinary in a mammogram or of teeth."""

PROCESSING: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.1.{kind}.1" for kind in (1, 2, 3))
"""SOP Classes of raw films: DX, MG, IO For Processing."""

_CAPTURE_CLASS: Final = "1.2.840.10008.5.1.4.1.1.7"

_LOCALIZERS: Final = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW"))
_PROJECTIONS: Final = frozenset((
    "PROJECTION IMAGE", "MIP", "MINIP", "MNIP", "MAX IP", "MIN IP", "MAXIP", "VR", "VRT", "VOLREN", "VOLUME RENDERING",
    "VOLUME RENDER", "SURFACE RENDER", "SSD", "MPR MIP", "THIN MIP", "MAXIMUM", "MINIMUM", "3D RENDERING",
))  # fmt: skip
_AVERAGES: Final = frozenset(("AVERAGE", "AVG", "MEAN"))
_SUBTRACTIONS: Final = frozenset(("SUBTRACT", "SUBTRACTION", "SUB", "SUBTRACTED", "BONE SUBTRACTION", "DSA"))
_MAPS: Final = frozenset((
    "ADC", "EADC", "FA", "COLFA", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "TMAX", "T MAX", "TRACEW", "TRACE",
    "ISOTROPIC", "FRACTIONAL ANISO", "TENSOR", "PERFUSION MAP", "PBP", "TTD", "TTS", "KTRANS", "PHASE MAP", "QUANTITY",
    "PERMEABILITY", "STD DEVIATION", "IAUC", "PEI", "MTE", "MSI",
))  # fmt: skip
_CAPTURES: Final = frozenset((
    "SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN SHOT", "SCREEN CAPTURE", "SCREENCAPTURE", "CAPTURE", "DOSE",
    "DOSE INFO", "DOSE REPORT", "PROT", "SNAPSHOT", "REPORT", "GSPS",
))  # fmt: skip
_REFORMATS: Final = frozenset((
    "MPR", "REFORMATTED", "REFORMAT", "CURVED", "CPR", "OBLIQUE MPR", "CSA MPR", "MPR THICK", "CURVED MPR", "MPVR",
))  # fmt: skip


def made_of_others(header: Header) -> str:
    """The reason of the closed list by which an image is not what it was made of: no card of ours takes one for it.

    `projection`, `subtraction` or `map`; empty for none. A thick reformat is called AVERAGE too: its place decides.
    """
    terms = _image_type_terms(header)
    is_derived = "DERIVED" in header.image_type[:1]
    if terms & _PROJECTIONS or (is_derived and terms & _AVERAGES and not terms & _REFORMATS):
        return "projection"
    if terms & _SUBTRACTIONS:
        return "subtraction"
    is_phase = header.modality == "MR" and "P" in header.image_type[2:3]
    is_map = any(each.endswith(" MAP") for each in terms) or (is_derived and "PERFUSION" in terms)
    return "map" if is_phase or is_map or terms & _MAPS else ""


def is_localizer(header: Header) -> bool:
    """PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1."""
    return bool(_image_type_terms(header) & _LOCALIZERS)


def is_capture(header: Header) -> bool:
    """Whether it shows a screen, by its Image Type."""
    return bool(_image_type_terms(header) & _CAPTURES)


def is_secondary_capture(header: Header) -> bool:
    """Whether its SOP Class is one of the Secondary Capture classes."""
    return header.sop_class_uid == _CAPTURE_CLASS or header.sop_class_uid.startswith(f"{_CAPTURE_CLASS}.")


def is_for_processing(header: Header) -> bool:
    """Whether it holds raw values of a detector: by what it says itself, else by its SOP Class."""
    intent = header.presentation_intent_type
    return intent == "FOR PROCESSING" or (not intent and header.sop_class_uid in PROCESSING)


def is_reformat(header: Header) -> bool:
    """Whether a slice was computed from others, and shows the same all the same."""
    if header.modality in FILMS:
        return False
    if _image_type_terms(header) & _REFORMATS:
        return True
    return "SECONDARY" in header.image_type[1:2] and header.lossy_image_compression != "01"


def _image_type_terms(header: Header) -> set[str]:
    """The values of Image Type, and how a volume was computed, without the marks between their words."""
    return {re.sub("[^A-Z0-9]+", " ", each.upper()).strip() for each in (*header.image_type, header.volume_technique)}
