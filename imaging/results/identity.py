"""Patient and study as a result states them: the source's words, as far as the standard lets them be written.

What identifies is copied or refused, never mended; what describes is cut, emptied or has its unreadable characters
shown as "?" (PS3.5 6.1.2.3), so that a badly written header still gets its answer. docs/results.md, "What the
source lacks".
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from imaging.domain.header import Header
from imaging.domain.uids import is_usable
from imaging.results.report import CannotReport

LOST: Final = "\ufffd"
"""What a decoder leaves where it could not read a character."""

_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


@dataclass(frozen=True)
class Identity:
    """Whose the result is. Each value fits its VR (PS3.5 6.2)."""

    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    study_id: str
    study_date: str
    study_time: str
    study_description: str
    accession_number: str
    referring_physician_name: str


def identity(header: Header) -> Identity:
    """Clean what a source image says of patient and study.

    Raises CannotReport where patient or study stays in doubt: a Study Instance UID that identifies nothing; a
    Patient ID or issuer over 64 characters, of several values, or with characters that could not be read. An illegal
    but usable Study UID is copied: identity beats form.
    """
    if not is_usable(header.study_instance_uid):
        raise CannotReport("Study Instance UID is empty or unusable")
    return Identity(
        study_instance_uid=header.study_instance_uid,
        patient_id=_identifier("Patient ID", header.patient_id),
        issuer_of_patient_id=_identifier("Issuer of Patient ID", header.issuer_of_patient_id),
        patient_name=person_name(header.patient_name),
        patient_birth_date=_date(header.patient_birth_date),
        patient_sex=_sex(header.patient_sex),
        study_id=_short(header.study_id),
        study_date=_date(header.study_date),
        study_time=_time(header.study_time),
        study_description=line(header.study_description),
        accession_number=_order_number(header.accession_number),
        referring_physician_name=person_name(header.referring_physician_name),
    )


def readable(text: str) -> str:
    """NFC, without control characters; what could not be decoded shows as "?"."""
    plain = "".join(each for each in text if unicodedata.category(each) not in ("Cc", "Cs"))
    return unicodedata.normalize("NFC", plain).replace(LOST, "?").strip()


def line(text: str, limit: int = 64) -> str:
    """One LO value: a backslash would begin a second one; cut at a code point."""
    return readable(text).replace("\\", "/")[:limit].rstrip()


def person_name(text: str) -> str:
    """One PN value: at most three groups of 64 characters and five components (PS3.5 6.2.1); all groups stay."""
    groups = readable(text.partition("\\")[0]).split("=")[:3]
    return "=".join(_name_group(each) for each in groups)


def _name_group(text: str) -> str:
    parts = text.split("^")
    return "^".join([*parts[:4], " ".join(parts[4:])] if len(parts) > 5 else parts)[:64].rstrip()


def _identifier(keyword: str, text: str) -> str:
    """Copied but for padding and normal form: two spellings of one identifier must stay two."""
    value = unicodedata.normalize("NFC", text.strip())
    if len(value) > 64:
        raise CannotReport(f"{keyword} has {len(value)} characters; LO has at most 64 (PS3.5 6.2)")
    if "\\" in value or readable(value) != value:
        raise CannotReport(f"{keyword} has several values, control characters, or some that could not be decoded")
    return value


def _short(text: str) -> str:
    return line(text, 16)


def _order_number(text: str) -> str:
    """Empty where it cannot be written whole: part of an order's number may be another order's."""
    value = unicodedata.normalize("NFC", text.strip())
    return value if readable(value) == value and "\\" not in value and len(value) <= 16 else ""


def _date(text: str) -> str:
    value = text.strip()
    try:
        datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return ""
    return value if re.fullmatch("[0-9]{8}", value) else ""


def _time(text: str) -> str:
    value = text.strip()
    return value if _TIME.fullmatch(value) else ""


def _sex(text: str) -> str:
    value = text.strip().upper()
    return value if value in ("M", "F", "O") else ""
