"""Whether a single image may be taken by a card: its gates, and what it says of itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imaging.domain.card import Gate, Input
from imaging.domain.header import Header, age_at
from imaging.domain.reasons import Reason

Fact = str | float | None


class Scope(StrEnum):
    """What an image is to a card."""

    IN = "in"
    MISSING = "missing"
    OUT = "out"


@dataclass(frozen=True)
class Verdict:
    """Where an image stands, and why it is not taken; no reason where it is."""

    scope: Scope
    reason: Reason | None = None


def judge(card_input: Input, header: Header) -> Verdict:
    if not matches(card_input, header):
        return Verdict(Scope.OUT, Reason("modality"))
    reason = gate(card_input, header)
    if reason is None and card_input.weighting:
        said = weighting(header)
        reason = Reason("sequence", said) if said != card_input.weighting else None
    if reason is None and card_input.contrast != "any" and has_contrast([header]) != (card_input.contrast == "yes"):
        reason = Reason("contrast")
    if reason is None and header.modality == "CT" and header.number_of_frames == 1 and not header.has_rescale:
        reason = Reason("rescale-absent")
    if reason is None:
        return Verdict(Scope.IN)
    return Verdict(Scope.OUT if reason.code in ("localizer", "view", "contrast", "sequence") else Scope.MISSING, reason)


# Gates ----------------------------------------------------------------------------------------------------

TEXT: Final = ("any",)
NUMBER: Final = ("min", "max")
"""The keys of a gate that can hold for text and for numbers; the others would let everything pass."""

GATES: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[Header], Fact]]]] = {
    "BodyPartExamined": ("body-part", TEXT, lambda header: header.body_part_examined),
    "ViewPosition": ("view", TEXT, lambda header: header.view_position),
    "PatientAge": ("age", NUMBER, age_at),
    "ContrastBolusAgent": ("contrast", TEXT, lambda header: header.contrast_bolus_agent),
    "EchoTime": ("sequence", NUMBER, lambda header: header.echo_time),
    "RepetitionTime": ("sequence", NUMBER, lambda header: header.repetition_time),
    "InversionTime": ("sequence", NUMBER, lambda header: header.inversion_time),
}
"""By a gate's tag (a DICOM keyword): the reason where a header does not pass, how the gate may ask, what it asks of."""

# fmt: off
BODY_PARTS: Final = frozenset((
    "ABDOMEN", "ABDOMENPELVIS", "ADRENAL", "ANKLE", "AORTA", "ARM", "AXILLA", "BACK", "BLADDER", "BRAIN", "BREAST",
    "CALF", "CAROTID", "CEREBELLUM", "CERVIX", "CHEEK", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "CLAVICLE",
    "COCCYX", "COLON", "CORONARYARTERY", "CSPINE", "CTSPINE", "DUODENUM", "EAR", "ELBOW", "ESOPHAGUS", "EXTREMITY",
    "EYE", "FACE", "FEMUR", "FINGER", "FOOT", "FOREARM", "GALLBLADDER", "HAND", "HEAD", "HEADNECK", "HEART", "HIP",
    "HUMERUS", "IAC", "ILEUM", "JAW", "KIDNEY", "KNEE", "LEG", "LIVER", "LOWERLEG", "LSPINE", "LSSPINE", "LUNG",
    "MANDIBLE", "MAXILLA", "MEDIASTINUM", "NASOPHARYNX", "NECK", "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV",
    "NOSE", "ORBIT", "OVARY", "PANCREAS", "PATELLA", "PELVIS", "PROSTATE", "RADIUS", "RECTUM", "RIB", "SCAPULA",
    "SCROTUM", "SELLA", "SHOULDER", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THIGH", "THORAX",
    "THUMB", "THYROID", "TLSPINE", "TOE", "TMJ", "TRACHEA", "TSPINE", "ULNA", "UTERUS", "WHOLEBODY", "WRIST",
    "ZYGOMA",
))
# fmt: on
"""Body parts as PS3.16 annex L writes them. Other text is doubtful: a gate's matter, not ours."""

FILMS: Final = frozenset({"CR", "DX", "MG", "IO", "PX", "RG"})
"""Projection images, whose ImageType says DERIVED of every processed film (PS3.3 C.8.11.3)."""

QUALITY_CONTROL: Final = (
    "DAILY QA", "DAILY QC", "QUALITY CONTROL", "QUALITY ASSURANCE", "QC PHANTOM", "QA PHANTOM", "WATER PHANTOM",
    "ACR PHANTOM", "PIQT", "SMARTQC",
)  # fmt: skip
"""What vendors and sites call the study of a test object."""


def gate(card_input: Input, header: Header) -> Reason | None:
    """Why this single image may not be taken; None where it may."""
    if _is_quality_control(header):
        return Reason("quality-control")
    if header.is_localizer:
        return Reason("localizer")
    if not card_input.derived and _is_derived(header):
        return Reason("derived")
    for each in card_input.gates:
        code, _, fact = GATES[each.tag]
        if not passes(each, fact(header)):
            return Reason(code)
    return None


def passes(gate: Gate, fact: Fact) -> bool:
    """Whether a header's value passes. `doubt` refuses: no check on the pixels is shipped yet."""
    if fact is None or fact == "":
        return gate.absent == "pass"
    if isinstance(fact, str):
        return not gate.any or _plain(fact) in {_plain(each) for each in gate.any}
    return (gate.min is None or fact >= gate.min) and (gate.max is None or fact <= gate.max)


def matches(card_input: Input, header: Header) -> bool:
    if header.modality not in card_input.modality:
        return False
    if card_input.sop_class_uids and header.image_class_uid not in card_input.sop_class_uids:
        return False
    part = _plain(header.body_part_examined)
    if part not in BODY_PARTS:
        return True
    wanted = [{_plain(each) for each in one.any} for one in card_input.gates if one.tag == "BodyPartExamined"]
    return all(part in any_of for any_of in wanted if any_of)


def _plain(text: str) -> str:
    return text.strip().upper()


def _is_quality_control(header: Header) -> bool:
    if header.quality_control_image.strip().upper() in ("YES", "BOTH"):
        return True
    said = f"{header.study_description} {header.series_description}".upper()
    return any(name in said for name in QUALITY_CONTROL)


def _is_derived(header: Header) -> bool:
    if "SECONDARY" in header.image_type[1:2]:
        return True
    return header.modality not in FILMS and "DERIVED" in header.image_type[:1]


def weighting(header: Header) -> str:
    """`t1`, `t2`, `flair`, `pd`, or nothing: by the times, and by the description where these do not tell."""
    said = header.series_description.lower()
    by_times = _weighting_by_times(header)
    if by_times:
        return "flair" if by_times == "t2" and "flair" in said else by_times
    return next((name for name, words in _WEIGHTINGS if any(word in said for word in words)), "")


_WEIGHTINGS: Final = (
    ("flair", ("flair", "dark fluid", "dark-fluid")),
    ("t1", ("t1", "mprage", "bravo")),
    ("t2", ("t2",)),
)


def _weighting_by_times(header: Header) -> str:
    """By Echo, Repetition and Inversion Time, in ms; of gradient echoes only what is certain."""
    echo, repetition, inversion = header.echo_time, header.repetition_time, header.inversion_time
    if echo is None or repetition is None:
        return ""
    is_planar, is_gradient = "EP" in header.scanning_sequence, "GR" in header.scanning_sequence
    is_spin_echo = not inversion and not is_gradient and not is_planar
    if echo >= 60 and inversion is not None and inversion >= 1400:
        return "flair"
    if echo <= 30 and not is_planar and (repetition <= 1200 or (inversion is not None and inversion >= 400)):
        return "t1"
    if is_spin_echo and repetition >= 1800:
        return "t2" if echo >= 60 else "pd" if echo <= 30 else ""
    return ""


CONTRAST: Final = re.compile(r"\+c(?![a-z])|(?<![a-z])c\+|contrast|post ?con|(?<![a-z])gd(?![a-z])|post ?gad")
"""Words of a description that speak of an agent. "HEAD+CSPINE" does not."""


def has_contrast(series: Sequence[Header]) -> bool:
    """Whether an agent is named, or the description speaks of one."""
    agents = {_plain(header.contrast_bolus_agent) for header in series}
    if agents - {"", "NO", "NONE", "N", "NO CONTRAST", "WITHOUT CONTRAST", "WITHOUT", "NATIVE", "OFF"}:
        return True
    said = f" {series[0].series_description.lower()} ".replace("_", " ")
    if any(word in said for word in ("without", "non contrast", "non-contrast", "noncontrast", "no contrast", "w/o")):
        return False
    return CONTRAST.search(said) is not None
