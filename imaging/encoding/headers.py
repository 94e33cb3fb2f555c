"""From a data set's bytes to the header facts that the pipeline decides by."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import tag_for_keyword

from imaging.domain.header import Header
from imaging.domain.own_results import is_device
from imaging.domain.peers import is_plain_title
from imaging.domain.uids import is_usable
from imaging.encoding.elements import Elements, decimal_string, read_elements
from imaging.encoding.groups import PER_FRAME, SHARED, facts_of_frames

MAX_TEXT: Final = 1024
"""Characters of a text value that are kept; longer ones are a fault of the header."""


EXACT: Final = 6
"""Decimals of a position from which on it counts as exact."""


class Unreadable(Exception):
    """The data set cannot be understood; the text says what, where. Answered with a status in 0xC000-0xCFFF."""


class Mismatch(Exception):
    """Data set and command disagree; the text says in what. Answered with status 0xA900."""


def _tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return int(found)


_SOP_CLASS, _SOP_INSTANCE = _tag("SOPClassUID"), _tag("SOPInstanceUID")
_STUDY, _SERIES = _tag("StudyInstanceUID"), _tag("SeriesInstanceUID")
_VIEW_CODE, _REGION_CODE = _tag("ViewCodeSequence"), _tag("AnatomicRegionSequence")
_AGENT_CODE = _tag("ContrastBolusAgentSequence")
_CODE_VALUE, _CODE_MEANING = _tag("CodeValue"), _tag("CodeMeaning")
_PATIENT_ID = _tag("PatientID")

_TEXT: Final = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "referring_physician_name": "ReferringPhysicianName",
    "institution_name": "InstitutionName",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "contrast_bolus_agent": "ContrastBolusAgent",
    "convolution_kernel": "ConvolutionKernel",
}
_PLAIN: Final = {
    "modality": "Modality",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_date": "SeriesDate",
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionTime",
    "content_date": "ContentDate",
    "instance_creation_date": "InstanceCreationDate",
    "instance_creation_time": "InstanceCreationTime",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "quality_control_image": "QualityControlImage",
    "lossy_image_compression": "LossyImageCompression",
    "presentation_intent_type": "PresentationIntentType",
    "volume_technique": "VolumeBasedCalculationTechnique",
}
_LISTS: Final = {
    "image_type": "ImageType",
    "scanning_sequence": "ScanningSequence",
    "patient_orientation": "PatientOrientation",
}
_SHORTS: Final = {"rows": "Rows", "columns": "Columns"}
_INTEGERS: Final = {
    "series_number": "SeriesNumber",
    "instance_number": "InstanceNumber",
    "acquisition_number": "AcquisitionNumber",
    "temporal_position": "TemporalPositionIdentifier",
    "images_in_acquisition": "ImagesInAcquisition",
    "images_in_series": "NumberOfSeriesRelatedInstances",
    "images_in_study": "NumberOfStudyRelatedInstances",
}
_DECIMALS: Final = {
    "repetition_time": "RepetitionTime",
    "echo_time": "EchoTime",
    "inversion_time": "InversionTime",
    "contrast_volume": "ContrastBolusVolume",
}
_VECTORS: Final = {
    "pixel_spacing": ("PixelSpacing", 2),
    "imager_pixel_spacing": ("ImagerPixelSpacing", 2),
    "image_position": ("ImagePositionPatient", 3),
    "image_orientation": ("ImageOrientationPatient", 6),
}
_OTHERS: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SpecificCharacterSet",
    "ViewCodeSequence",
    "AnatomicRegionSequence",
    "ContrastBolusAgentSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "EchoPulseSequence",
    "EchoPlanarPulseSequence",
    "DiffusionBValue",
    "NumberOfFrames",
    "RescaleSlope",
    "AcquisitionDateTime",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "ImageLaterality",
    "Laterality",
)
_DELIMITERS: Final = {0x0D, 0x0A, 0x09, 0x0C, 0x5E, 0x3D, 0x5C}
"""Where the default character set comes back (PS3.5 6.1.2.5.3)."""

_LEFT_BY_PYDICOM: Final = "\x1b$)A"
"""The escape sequence of ISO 2022 IR 58, which it leaves in the text that it decodes."""

_KEYWORDS = [*_TEXT.values(), *_PLAIN.values(), *_LISTS.values(), *_SHORTS.values(), *_INTEGERS.values()]
_KEYWORDS += [*_DECIMALS.values(), *(keyword for keyword, _ in _VECTORS.values()), *_OTHERS]
_WANTED: Final = frozenset(_tag(keyword) for keyword in _KEYWORDS)

_VIEWS: Final = {
    "272479007": "PA",
    "R-10214": "PA",
    "R-40888": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
    "399033003": "FRONTAL",
    "R-10202": "FRONTAL",
    "399067008": "LATERAL",
    "R-102CD": "LATERAL",
}
"""View codes (SCT, and SRT as old equipment writes it) as View Position says them; PS3.16 CID 4010. Of others the
meaning is read."""

_REGIONS: Final = {
    "T-D3000": "CHEST",
    "T-D3200": "CHEST",
    "43799004": "CHEST",
    "T-28000": "CHEST",
    "39607008": "CHEST",
    "51185008": "CHEST",
    "816094009": "CHEST",
    "T-D1100": "HEAD",
    "69536005": "HEAD",
    "T-A0100": "BRAIN",
    "12738006": "BRAIN",
    "T-11100": "SKULL",
    "89546000": "SKULL",
    "T-D1600": "NECK",
    "45048000": "NECK",
    "T-D4000": "ABDOMEN",
    "818981001": "ABDOMEN",
    "816092008": "PELVIS",
    "T-D8700": "HAND",
    "85562004": "HAND",
    "T-D9200": "KNEE",
    "72696002": "KNEE",
    "T-D9700": "FOOT",
    "56459004": "FOOT",
    "T-D2220": "SHOULDER",
    "16982005": "SHOULDER",
    "T-D2500": "HIP",
    "29836001": "HIP",
    "T-D04FF": "SPINE",
    "421060004": "SPINE",
}
"""Region codes as Body Part Examined says them; PS3.16 Annex L. Of others the meaning is read."""


def read_header(
    data: bytes | memoryview,
    transfer_syntax_uid: str,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
    sender: str = "",
) -> Header:
    """The header facts of an encoded data set.

    `sop_class_uid`, `sop_instance_uid`: what the command (or file meta information) says; empty: take the data
    set's. `sender`: the AE title that sent it. Raises Unreadable where the object cannot be identified, Mismatch where
    the data set says otherwise.
    """
    found = read_elements(data, transfer_syntax_uid, _WANTED)
    identity = _identity(found, sop_class_uid, sop_instance_uid)
    faults = [found.fault] if found.fault else []
    values = _Values(found, faults)
    return Header(
        **identity,
        transfer_syntax_uid=transfer_syntax_uid,
        **values.all(),
        sender=sender if is_plain_title(sender) else "",
        faults=tuple(faults),
    )


def _identity(found: Elements, sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    identifiers = {
        "sop_class_uid": _uid(found, _SOP_CLASS),
        "sop_instance_uid": _uid(found, _SOP_INSTANCE),
        "study_instance_uid": _uid(found, _STUDY),
        "series_instance_uid": _uid(found, _SERIES),
    }
    for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, _PATIENT_ID):
        if tag in found.repeated:
            raise Unreadable(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) is duplicated, with different values")
    for name, uid in identifiers.items():
        if not uid:
            raise Unreadable(f"the data set has no {_KEYWORD[name]}" + (f": {found.fault}" if found.fault else ""))
    for name, uid in identifiers.items():
        if not is_usable(uid):
            raise Unreadable(
                f"{_KEYWORD[name]} is not a UID: expected digits and dots, at most 64 characters (PS3.5 9.1)"
            )
    for name, commanded in (("sop_class_uid", sop_class_uid), ("sop_instance_uid", sop_instance_uid)):
        if commanded and commanded != identifiers[name]:
            raise Mismatch(f"{_KEYWORD[name]} in the command differs from the one in the data set")
    return identifiers


_KEYWORD: Final = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
}


def _uid(found: Elements, tag: int) -> str:
    return found.values.get(tag, b"").decode("latin-1").rstrip("\0 ")


class _Values:
    """Decodes what was found, each kind by its own rule; what cannot be decoded is absent and a fault."""

    def __init__(self, found: Elements, faults: list[str]) -> None:
        self._found, self._faults = found, faults
        self._encodings = self._known_encodings()

    def all(self) -> dict[str, Any]:
        found = self._each(_TEXT, self._text) | self._each(_PLAIN, self._plain) | self._each(_LISTS, self._list)
        found |= self._each(_SHORTS, lambda keyword: self._found.number(_tag(keyword)))
        found |= self._each(_INTEGERS, self._integer) | self._each(_DECIMALS, self._decimal)
        found |= {name: self._vector(keyword, size) for name, (keyword, size) in _VECTORS.items()}
        if not found["acquisition_time"]:
            moment = self._plain("AcquisitionDateTime")  # YYYYMMDDHHMMSS.FFFFFF&ZZXX (PS3.5 6.2)
            found["acquisition_date"] = found["acquisition_date"] or moment[:8]
            found["acquisition_time"] = re.split("[+-]", moment[8:])[0]
        device = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber")
        found["is_our_device"] = is_device(*map(self._plain, device))
        found["position_decimals"] = self._decimals("ImagePositionPatient")
        found["number_of_frames"] = max(1, self._integer("NumberOfFrames") or 1)
        found["has_rescale"] = self._decimal("RescaleSlope") is not None
        found["has_pixels"] = self._found.pixels_at is not None
        found["laterality"] = self._plain("ImageLaterality") or self._plain("Laterality")
        found["view_code"] = self._coded(_VIEW_CODE, _VIEWS)
        found["region_code"] = self._coded(_REGION_CODE, _REGIONS)
        found["view_position"] = found["view_position"] or found["view_code"]
        found["body_part_examined"] = found["body_part_examined"].upper() or found["region_code"].upper()
        found["contrast_agent_code"] = self._coded(_AGENT_CODE, {})
        found["diffusion_b_value"] = self._found.double(_tag("DiffusionBValue"))
        if {SHARED, PER_FRAME} & self._found.values.keys():
            pulses = self._plain("EchoPulseSequence"), self._plain("EchoPlanarPulseSequence")
            found |= facts_of_frames(self._found, found, *pulses)
        return found

    def _each(self, table: Mapping[str, str], rule: Callable[[str], Any]) -> dict[str, Any]:
        return {name: rule(keyword) for name, keyword in table.items()}

    def _raw(self, keyword: str) -> bytes:
        return self._found.values.get(_tag(keyword), b"")

    def _plain(self, keyword: str) -> str:
        return _clean(self._raw(keyword)[:MAX_TEXT].decode("latin-1"))[:64].strip()

    def _list(self, keyword: str) -> tuple[str, ...]:
        text = self._raw(keyword)[:MAX_TEXT].decode("latin-1")
        return tuple(_clean(each).strip() for each in text.split("\\")) if text.strip("\0 ") else ()

    def _text(self, keyword: str) -> str:
        raw = self._raw(keyword)
        if len(raw) > 4 * MAX_TEXT:
            self._faults.append(f"{keyword} has {len(raw)} bytes")
            raw = raw[: 4 * MAX_TEXT]
        decoded = unicodedata.normalize("NFC", self._decoded(raw))
        if "�" in decoded or "\x1b" in decoded:
            self._faults.append(f"{keyword} cannot be decoded with its Specific Character Set")
        return _clean(decoded)[:MAX_TEXT].strip()

    def _decoded(self, raw: bytes) -> str:
        if not self._raw("SpecificCharacterSet") and not raw.isascii():
            # Bytes beyond ASCII mean nothing without a declaration; in practice they are UTF-8 or cannot be known.
            return raw.decode("utf-8", errors="replace")
        try:
            return str(decode_bytes(raw, self._encodings, _DELIMITERS)).replace(_LEFT_BY_PYDICOM, "")
        except (LookupError, UnicodeError, ValueError):
            return raw.decode("ascii", errors="replace")

    def _known_encodings(self) -> list[str]:
        terms = [term.strip() for term in self._raw("SpecificCharacterSet")[:MAX_TEXT].decode("latin-1").split("\\")][
            :16
        ]
        terms = [term.rstrip("\0") for term in terms]
        known = [term for term in terms if term in python_encoding]
        if len(known) < len(terms) and terms != ["ISO_IR 6"]:
            self._faults.append("Specific Character Set has an unknown term")
        return list(convert_encodings(known or [""]))

    def _decimal(self, keyword: str) -> float | None:
        values = self._numbers(keyword)
        return values[0] if values else None

    def _vector(self, keyword: str, size: int) -> tuple[float, ...] | None:
        values = self._numbers(keyword)
        return tuple(values) if values and len(values) == size else None

    def _numbers(self, keyword: str) -> list[float] | None:
        text = self._raw(keyword)[:256].decode("latin-1").strip("\0 ")
        if not text:
            return None
        values = [decimal_string(each) for each in text.split("\\")]
        return None if None in values else [each for each in values if each is not None]

    def _decimals(self, keyword: str) -> int:
        """The most decimals that any of the values was written with; six where an exponent tells otherwise."""
        text = self._raw(keyword)[:256].decode("latin-1").strip("\0 ").lower()
        if not text or "e" in text:
            return EXACT
        return min(EXACT, max(len(each.strip().partition(".")[2]) for each in text.split("\\")))

    def _integer(self, keyword: str) -> int | None:
        text = self._raw(keyword)[:32].decode("latin-1").strip("\0 ")
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or abs(int(text)) >= 1 << 31:
            return None
        return int(text)

    def _coded(self, tag: int, table: Mapping[str, str]) -> str:
        """What the first code of a sequence means: by the table, else in its own words."""
        item = self._found.first_item(tag, {_CODE_VALUE, _CODE_MEANING})
        code = item.get(_CODE_VALUE, b"").decode("latin-1").strip("\0 ")
        meaning = _clean(self._decoded(item.get(_CODE_MEANING, b"")[:MAX_TEXT]))[:64].strip()
        return table.get(code) or meaning or code[:16]


def _clean(text: str) -> str:
    """Without control characters, which no name needs and no terminal should see."""
    return "".join(" " if each in "\r\n\t\f" else each for each in text if each >= " " or each in "\r\n\t\f").replace(
        "\x7f", ""
    )
