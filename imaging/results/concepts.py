"""The coded concepts that reports are written in: each stands once, with the meaning that PS3.16 gives it.

Meanings come from PS3.16 by way of pydicom's dictionary, never from memory: PixelMed compares those of baseline
groups letter by letter. Codes of our own (99IMAGING) have at most 16 characters. docs/results.md, "Codes".
"""

from collections.abc import Mapping
from typing import Final

from imaging.domain.codes import PRIVATE_SCHEME, Code
from imaging.domain.findings import TriageClass
from imaging.domain.languages import Language
from imaging.domain.reasons import REASONS
from imaging.results import sentences


def _dcm(value: str, meaning: str) -> Code:
    return Code("DCM", value, meaning)


def _own(value: str, meaning: str) -> Code:
    return Code(PRIVATE_SCHEME, value, meaning)


def _own_in_words(value: str, meanings: Mapping[Language, str]) -> Mapping[Language, Code]:
    return {language: _own(value, meaning) for language, meaning in meanings.items()}


IMAGING_MEASUREMENT_REPORT: Final = _dcm("126000", "Imaging Measurement Report")
LANGUAGE: Final = _dcm("121049", "Language of Content Item and Descendants")
OBSERVER_TYPE: Final = _dcm("121005", "Observer Type")
DEVICE: Final = _dcm("121007", "Device")
DEVICE_OBSERVER_UID: Final = _dcm("121012", "Device Observer UID")
DEVICE_OBSERVER_NAME: Final = _dcm("121013", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER: Final = _dcm("121014", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL_NAME: Final = _dcm("121015", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER: Final = _dcm("121016", "Device Observer Serial Number")
PROCEDURE_REPORTED: Final = _dcm("121058", "Procedure reported")
IMAGE_LIBRARY: Final = _dcm("111028", "Image Library")
IMAGE_LIBRARY_GROUP: Final = _dcm("126200", "Image Library Group")
SOURCE: Final = Code("SCT", "260753009", "Source")
MODALITY: Final = _dcm("121139", "Modality")
IMAGING_MEASUREMENTS: Final = _dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP: Final = _dcm("125007", "Measurement Group")
QUALITATIVE_EVALUATIONS: Final = Code("UMLS", "C0034375", "Qualitative Evaluations")
TRACKING_IDENTIFIER: Final = _dcm("112039", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER: Final = _dcm("112040", "Tracking Unique Identifier")
FINDING: Final = _dcm("121071", "Finding")
FINDING_SITE: Final = Code("SCT", "363698007", "Finding Site")
ALGORITHM_NAME: Final = _dcm("111001", "Algorithm Name")
ALGORITHM_PARAMETERS: Final = _dcm("111002", "Algorithm Parameters")
ALGORITHM_VERSION: Final = _dcm("111003", "Algorithm Version")
ALGORITHM_MANUFACTURER: Final = _dcm("122405", "Algorithm Manufacturer")
PROBABILITY: Final = _dcm("122157", "Probability")
THRESHOLD: Final = _dcm("122411", "Threshold Value")
IMAGE_REGION: Final = _dcm("111030", "Image Region")
SOURCE_OF_MEASUREMENT: Final = _dcm("121112", "Source of Measurement")
SUMMARY: Final = _dcm("111017", "CAD Processing and Findings Summary")
PRIORITY: Final = Code("SCT", "260870009", "Priority")
PROCESSING_EQUIPMENT: Final = _dcm("109102", "Processing Equipment")

TRIAGE: Final = _own("triage", "Triage")
RESULT: Final = _own("result", "Result")
NOT_ANALYSED: Final = _own("not-analysed", "Not analysed")
NOTICE: Final = _own("notice", "Notice")
IN_PART: Final = _own("in-part", "Analysed in part")
PLACES: Final = _own("places", "Places")
FAILED: Final = _own("failed", "Processing failed")

NOT_A_DIAGNOSIS: Final = _own_in_words("not-a-diagnosis", sentences.NOT_A_DIAGNOSIS)
NEAR_CHANCE: Final = _own_in_words("near-chance", sentences.NEAR_CHANCE)
UNPROVEN: Final = _own_in_words("unproven", sentences.UNPROVEN)
"""Notices: the code is one, its meaning is in the words of each language."""

PRESENT: Final = Code("SCT", "52101004", "Present")
ABSENT: Final = Code("SCT", "272519000", "Absent")
UNDETERMINED: Final = Code("SCT", "373068000", "Undetermined")

ALL_WITHOUT_FINDINGS: Final = _dcm("111241", "All algorithms succeeded; without findings")
ALL_WITH_FINDINGS: Final = _dcm("111242", "All algorithms succeeded; with findings")
PART_WITHOUT_FINDINGS: Final = _dcm("111243", "Not all algorithms succeeded; without findings")
PART_WITH_FINDINGS: Final = _dcm("111244", "Not all algorithms succeeded; with findings")
NONE_SUCCEEDED: Final = _dcm("111245", "No algorithms succeeded; without findings")

PRIORITIES: Final[Mapping[TriageClass, Code]] = {
    TriageClass.STAT: Code("RADLEX", "RID49480", "ACR Category 1 Actionable Finding"),
    TriageClass.URGENT: Code("RADLEX", "RID49481", "ACR Category 2 Actionable Finding"),
    TriageClass.ROUTINE: Code("RADLEX", "RID49482", "ACR Category 3 Actionable Finding"),
    TriageClass.NONE: Code("RADLEX", "RID50261", "Non-actionable"),
}

LANGUAGES: Final[Mapping[Language, Code]] = {
    "en": Code("RFC5646", "en", "English"),
    "vi": Code("RFC5646", "vi", "Vietnamese"),
    "fr": Code("RFC5646", "fr", "French"),
}

IMAGING_PROCEDURE: Final = Code("SCT", "363679005", "Imaging procedure")
_X_RAY: Final = Code("LN", "43468-8", "XR unspecified body region")
PROCEDURES: Final[Mapping[str, Code]] = {
    "CR": _X_RAY,
    "DX": _X_RAY,
    "CT": Code("LN", "25045-6", "CT unspecified body region"),
    "MR": Code("LN", "25056-3", "MRI unspecified body region"),
}
"""What was imaged, by modality (CID 100); elsewhere IMAGING_PROCEDURE."""

MODALITIES: Final[Mapping[str, Code]] = {
    "CR": _dcm("CR", "Computed Radiography"),
    "DX": _dcm("DX", "Digital Radiography"),
    "CT": _dcm("CT", "Computed Tomography"),
    "MR": _dcm("MR", "Magnetic Resonance"),
}
"""CID 29."""

_UNIT_MEANINGS: Final[Mapping[str, str]] = {
    "1": "no units",
    "{0:1}": "range: 0:1",
    "%": "Percent",
    "ml": "milliliter",
    "mm": "mm",
    "mm2": "square millimeter",
    "[hnsf'U]": "Hounsfield unit",
    "{pixels}": "pixels",
    "cm": "centimeter",
    "d": "day",
    "wk": "week",
    "mo": "month",
    "a": "year",
    "g": "gram",
    "kg": "kilogram",
    "ms": "millisecond",
}

_LONG_REASONS: Final[Mapping[str, str]] = {
    "pixels-unreadable": "pixels-unread",
    "positions-repeated": "positions-twice",
    "orientation-mixed": "orient-mixed",
    "orientation-invalid": "orient-invalid",
    "pixel-size-absent": "no-pixel-size",
    "frame-of-reference-differs": "frame-differs",
}
"""Code values of the reasons that are longer than the 16 characters of Code Value."""

REASON_CODES: Final[Mapping[str, Code]] = {
    reason: _own(_LONG_REASONS.get(reason, reason), reason.replace("-", " ").capitalize()) for reason in sorted(REASONS)
}
"""Why a study was not analysed, as the report codes it."""


def unit(ucum: str) -> Code:
    """A UCUM unit: `unit("ml")`."""
    return Code("UCUM", ucum, _UNIT_MEANINGS.get(ucum, ucum))


def of_what_was_seen(is_over: bool, is_in_part: bool) -> bool | None:
    """Whether a finding is present: what was not found is undetermined where images are missing."""
    return None if is_in_part and not is_over else is_over


def verdict(present: bool | None) -> Code:
    """CID 240."""
    return UNDETERMINED if present is None else PRESENT if present else ABSENT
