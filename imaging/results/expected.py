"""What an answer must read as: derived from the report anew, for the verifier, and what may stand in a value at all.

It shares the concepts, the derivation of UIDs and the choice of images with the builder, which takes from here what the
class and the number of an instance are. All else is told twice.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydicom.uid import Comprehensive3DSRStorage

from imaging.domain.codes import Code
from imaging.domain.findings import State, TriageClass
from imaging.domain.uids import is_legal, is_usable
from imaging.results import concepts
from imaging.results.report import Report
from imaging.results.sentences import IN_CONFLICT, MISSING, UNDETERMINED

AS_CHOSEN: Final = 1e-8
"""How near a threshold must be to the card's: it is written in ten digits."""

SR_CLASS: Final = str(Comprehensive3DSRStorage)
LIMITS: Final[Mapping[str, int]] = {"PN": 64, "LO": 64, "SH": 16, "CS": 16, "DS": 16, "IS": 12}
"""Characters at most, per value or name group (PS3.5 6.2)."""

FORMS: Final = {
    "DA": (r"\d{8}", "%Y%m%d"),
    "TM": (r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", ""),
    "DT": (r"\d{14}\.\d{6}[+-]\d{4}", "%Y%m%d%H%M%S.%f%z"),
}


def key(code: Code) -> tuple[str, str]:
    """A code without its meaning, which is not the code (PS3.3 8.3)."""
    return code.scheme, code.value


def study_uid(report: Report) -> str:
    """The Study Instance UID that the report has to have."""
    return report.header.study_instance_uid


def moments(report: Report) -> tuple[str, str, str]:
    """The report's date, time and date-time, as DA, TM and DT."""
    at = report.at
    return f"{at:%Y%m%d}", f"{at:%H%M%S.%f}", f"{at:%Y%m%d%H%M%S.%f%z}"[:26]


def summary_code(report: Report) -> Code:
    """The code of CAD Processing and Findings Summary (CID 6047) that the answer has to have."""
    if report.outcome.state is not State.ANALYSED:
        return concepts.NONE_SUCCEEDED
    found = [each for each in report.outcome.findings if each.present is True]
    if report.outcome.coverage.missed or report.outcome.conflicts:
        return concepts.PART_WITH_FINDINGS if found else concepts.PART_WITHOUT_FINDINGS
    return concepts.ALL_WITH_FINDINGS if found else concepts.ALL_WITHOUT_FINDINGS


SAID_OF_MODEL: Final = frozenset({"card", "weights"})
"""Facts of an answer that a report states once and whole, with its model: `card_sha256`, `weights_sha256`."""


def parameters(report: Report) -> dict[str, str]:
    """The study's Algorithm Parameters that come from the answer, and from what its JSON counts."""
    values = {name: value for name, value in report.outcome.facts.items() if name not in SAID_OF_MODEL}
    values["images_in_conflict"] = str(report.outcome.conflicts)
    for name, counts in report.outcome.coverage.to_json().items():
        if isinstance(counts, int):
            values[f"images_{name}"] = str(counts)
        else:
            by_reason = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            values[f"images_{name}"] = f"{sum(counts.values())}: {by_reason}" if counts else "0"
    if not report.is_analysed:
        values["reason"] = report.outcome.why or str(report.outcome.state)
    return values


def in_part_sentence(report: Report) -> str:
    """What a report of a study seen in part says in words; empty where all was seen, or nothing."""
    counts = report.outcome.coverage.to_json()
    text, missed = "", sum(counts["missing"].values())
    if missed:
        by_reason = ", ".join(f"{reason} {count}" for reason, count in counts["missing"].items())
        of = counts["used"] + missed
        text += MISSING[report.language].format(missing=missed, images=of, reasons=by_reason) + " "
    if report.outcome.conflicts:
        text += IN_CONFLICT[report.language].format(images=report.outcome.conflicts) + " "
    return text + UNDETERMINED[report.language] if text and report.is_analysed else ""


def priority_code(report: Report) -> Code:
    """The code of the answer's triage class."""
    return concepts.PRIORITIES[report.outcome.triage or TriageClass.NONE]


def reason_code(report: Report) -> Code:
    """The code of why there is no answer."""
    if report.outcome.state is State.FAILED:
        return concepts.FAILED
    return concepts.REASON_CODES[(report.outcome.why or "").split(":")[0]]  # the builder let no other through


def instance_number(report: Report) -> str:
    """The result's number where it is one that IS can hold."""
    text = report.result
    return str(int(text)) if text.isascii() and text.isdecimal() and int(text) < 2**31 else "1"


def may_stand(uid: str, report: Report) -> bool:
    """Legal, or a source's own: identity beats form."""
    return _is_sound(uid) or (is_usable(uid) and uid in _source_uids(report))


def _is_sound(uid: str) -> bool:
    """Legal, of two components at least, and under 2.25 only what a UUID can be (PS3.5 9.1, B.2)."""
    if not is_legal(uid) or "." not in uid:
        return False
    return not uid.startswith("2.25.") or (uid[5:].isdecimal() and int(uid[5:]) < 1 << 128)


def _source_uids(report: Report) -> set[str]:
    header, images = report.header, report.images
    own = {header.study_instance_uid, header.series_instance_uid, header.frame_of_reference_uid}
    return own.union(*((each.sop_instance_uid, each.series_instance_uid) for each in images))


def is_date(vr: str, value: str) -> bool:
    """Whether a DA, TM or DT names a time that exists."""
    form, pattern = FORMS[vr]
    if not re.fullmatch(form, value, re.ASCII):
        return False
    try:
        datetime.strptime(value if pattern else value[:6], pattern or "%H%M%S"[: len(value[:6])])
    except ValueError:
        return False
    return True


def is_number(value: str) -> bool:
    """Whether a DS or IS is a finite number."""
    return math.isfinite(to_float(value))


def to_float(value: str) -> float:
    """Its number; NaN where it is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def is_close(stated: float, value: float, fraction: float = 5.1e-4) -> bool:
    """Whether a number is the one that was written: by default within what writing it in four digits changes."""
    return math.isclose(stated, value, rel_tol=fraction, abs_tol=1e-12)


def has_controls(value: str) -> bool:
    """Whether there is a control character that no text VR allows (PS3.5 6.1.3)."""
    return any(unicodedata.category(each) == "Cc" for each in value if each not in "\n\r\t\f")
