"""Whether a single image may be taken by a card: its gates, and what it says of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imaging.domain.card import Gate, Input
from imaging.domain.header import Header, age_at
from imaging.domain.reasons import Reason
from imaging.domain.turning import is_from_the_side
from imaging.domain.words import body_parts, names_agent, speaks_of_contrast, views

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
    """What an image is to an input of a card."""
    other = mismatch(card_input, header)
    if other:
        return Verdict(Scope.OUT, Reason(other))
    if header.is_localizer:
        return Verdict(Scope.OUT, Reason("localizer"))
    if _is_made_of_others(header) or (not card_input.derived and _is_capture(header)):
        return Verdict(Scope.OUT, Reason("derived"))
    reason = gate(card_input, header)
    if reason is not None:
        is_plain = reason.code == "view" and views(_understood_view(header)) == {"OTHER"} and not _contradicts(header)
        return Verdict(Scope.OUT if is_plain else Scope.MISSING, reason)
    return _kind(card_input, header)


def _kind(card_input: Input, header: Header) -> Verdict:
    """By weighting, contrast and units, which a gate cannot ask."""
    if card_input.weighting:
        said = weighting(header)
        if said != card_input.weighting:
            is_plain = bool(_weighting_by_times(header)) or excludes(header, card_input.weighting)
            return Verdict(Scope.OUT if is_plain else Scope.MISSING, Reason("sequence", said))
    if card_input.contrast != "any":
        given = contrast(header)
        if given is None:
            return Verdict(Scope.MISSING, Reason("contrast"))
        if given != (card_input.contrast == "yes"):
            return Verdict(Scope.OUT, Reason("contrast"))
    if header.modality == "CT" and header.number_of_frames == 1 and not header.has_rescale and not _is_enhanced(header):
        return Verdict(Scope.MISSING, Reason("rescale-absent"))
    return Verdict(Scope.IN)


def _is_enhanced(header: Header) -> bool:
    """Whether the units stand in functional groups, which only the volume reads (Enhanced CT)."""
    return header.sop_class_uid.startswith("1.2.840.10008.5.1.4.1.1.2.")


# Gates ----------------------------------------------------------------------------------------------------

TEXT: Final = ("any",)
NUMBER: Final = ("min", "max")
"""The keys of a gate that can hold for text and for numbers; the others would let everything pass."""

GATES: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[Header], Fact]]]] = {
    "BodyPartExamined": ("body-part", TEXT, lambda header: _understood_part(header)),
    "ViewPosition": ("view", TEXT, lambda header: _understood_view(header)),
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

UPRIGHT: Final = frozenset({"CR", "DX", "RG"})
"""Of these, those of which front and back in the plane make a lateral; they are ordinary in a mammogram or of teeth."""

QUALITY_CONTROL: Final = (
    "DAILY QA", "DAILY QC", "QUALITY CONTROL", "QUALITY ASSURANCE", "QC PHANTOM", "QA PHANTOM", "WATER PHANTOM",
    "ACR PHANTOM", "PIQT", "SMARTQC",
)  # fmt: skip
"""What vendors and sites call the study of a test object."""


def gate(card_input: Input, header: Header) -> Reason | None:
    """Why this single image may not be taken; None where it may."""
    if _is_quality_control(header):
        return Reason("quality-control")
    if not card_input.derived and _is_reformat(header):
        return Reason("derived")
    for each in card_input.gates:
        code, _, fact = GATES[each.tag]
        if not passes(each, fact(header)) or (each.tag in CODED and _contradicts(header, each.tag)):
            return Reason(code)
    return None


def _understood_part(header: Header) -> str:
    """The body part in words, or as it is coded where the words are not understood."""
    is_understood = body_parts(header.body_part_examined, BODY_PARTS)
    return header.body_part_examined if is_understood else header.region_code or header.body_part_examined


def _understood_view(header: Header) -> str:
    """The view in words, or as it is coded; a film that shows front and back side by side is none from the front."""
    if header.modality in UPRIGHT and is_from_the_side(header.patient_orientation):
        return "LATERAL"
    return header.view_position if views(header.view_position) else header.view_code or header.view_position


CODED: Final = frozenset({"BodyPartExamined", "ViewPosition"})
"""What a header may say in words and in a code."""


def _contradicts(header: Header, tag: str = "ViewPosition") -> bool:
    """Whether what is said in words and what is coded are two things."""
    if tag == "ViewPosition":
        said, coded = views(header.view_position), views(header.view_code)
        said = {"PA", "AP"} & coded if "FRONTAL" in said and coded & {"PA", "AP"} else said
    else:
        said, coded = (body_parts(each, BODY_PARTS) for each in (header.body_part_examined, header.region_code))
    return bool(said and coded and not said & coded)


def passes(gate: Gate, fact: Fact) -> bool:
    """Whether a header's value passes. `doubt` refuses: no check on the pixels is shipped yet.

    `absent` speaks of empty values only; one that is not understood never passes.
    """
    if fact is None or fact == "":
        return gate.absent == "pass"
    if isinstance(fact, str):
        return not gate.any or _names(gate, fact)
    return (gate.min is None or fact >= gate.min) and (gate.max is None or fact <= gate.max)


def _names(gate: Gate, text: str) -> bool:
    """Whether a text names one of what the gate asks for, and nothing else."""
    if _plain(text) in {_plain(each) for each in gate.any}:
        return True
    if gate.tag == "BodyPartExamined":
        said, wanted = body_parts(text, BODY_PARTS), _parts_of(gate)
        return bool(said) and said <= wanted
    if gate.tag == "ViewPosition":
        wanted = {view for each in gate.any for view in views(each)} - {"OTHER"}
        said = views(text)
        return bool(said) and said <= (wanted | {"FRONTAL"} if {"PA", "AP"} <= wanted else wanted)
    return False


def _parts_of(gate: Gate) -> set[str]:
    return {part for each in gate.any for part in body_parts(each, BODY_PARTS)}


def matches(card_input: Input, header: Header) -> bool:
    """Whether an image is of the modality, SOP class and body part that the input is for, or may be."""
    return not mismatch(card_input, header)


def mismatch(card_input: Input, header: Header) -> str:
    """The first of modality, SOP class and plainly stated body part that is not the input's; empty for none."""
    if header.modality not in card_input.modality:
        return "modality"
    if card_input.sop_class_uids and header.image_class_uid not in card_input.sop_class_uids:
        return "sop-class"
    said = body_parts(header.body_part_examined, BODY_PARTS)
    asked = [each for each in card_input.gates if each.tag == "BodyPartExamined" and each.any]
    is_other = any(
        said and not said & _parts_of(each) and not _names(each, header.body_part_examined) for each in asked
    )
    return "body-part" if is_other and not _contradicts(header, "BodyPartExamined") else ""


def _plain(text: str) -> str:
    return text.strip().upper()


def _is_quality_control(header: Header) -> bool:
    if header.quality_control_image.strip().upper() in ("YES", "BOTH"):
        return True
    said = f"{header.study_description} {header.series_description}".upper()
    return any(name in said for name in QUALITY_CONTROL)


MADE_OF_OTHERS: Final = frozenset((
    "PROJECTION IMAGE", "MIP", "MINIP", "MNIP", "MAX_IP", "MIN_IP", "VRT", "VOLREN", "VOLUME RENDERING", "ADC", "FA",
    "SUBTRACT", "SUBTRACTION", "SUB", "CBF", "CBV", "MTT", "TTP", "TMAX", "PERFUSION", "T1 MAP", "T2 MAP", "TRACEW",
))  # fmt: skip
CAPTURES: Final = frozenset(("SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE", "CAPTURE", "DOSE", "PROT"))
REFORMATS: Final = frozenset(
    ("MPR", "REFORMATTED", "CURVED", "CPR", "OBLIQUE MPR", "CSA MPR", "MPR_THICK", "MPR THICK")
)


def _is_made_of_others(header: Header) -> bool:
    """A projection, a map, a subtraction, a phase image: no card of ours takes one for what it is made of."""
    is_phase = header.modality == "MR" and "P" in header.image_type[2:3]
    return is_phase or bool(MADE_OF_OTHERS & set(header.image_type))


def _is_capture(header: Header) -> bool:
    return bool(CAPTURES & set(header.image_type))


def _is_reformat(header: Header) -> bool:
    """Whether a slice was computed from others. DERIVED alone tells nothing: lossy copies and films say it too."""
    if header.modality in FILMS:
        return False
    if REFORMATS & set(header.image_type):
        return True
    return "SECONDARY" in header.image_type[1:2] and header.lossy_image_compression != "01"


def weighting(header: Header) -> str:
    """`t1`, `t2`, `flair`, `pd`, or nothing: by the times, and by the description where these do not tell."""
    said = header.series_description.lower()
    by_times = _weighting_by_times(header)
    if by_times:
        return "flair" if by_times == "t2" and "flair" in said else by_times
    said = said.replace("no flair", "")
    if "t1" in said and "flair" in said:
        return "t1"
    return next((name for name, words in _WEIGHTINGS if any(word in said for word in words)), "")


def excludes(header: Header, wanted: str) -> bool:
    """Whether times or Scanning Sequence exclude a weighting, also where they tell none: a diffusion image, say."""
    echo, repetition, inversion = header.echo_time, header.repetition_time, header.inversion_time
    kinds = set(header.scanning_sequence)
    if echo is None or repetition is None or echo < 1 or repetition < 20:  # in seconds, perhaps
        return False
    if wanted == "flair":
        is_inverted = bool(inversion) or "IR" in kinds
        return repetition < 2500 or echo < 50 or (bool(kinds) and not is_inverted)
    if wanted == "t1":
        return echo >= 60
    return wanted == "t2" and (echo < 50 or bool(inversion and inversion >= 1400))


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


def contrast(header: Header) -> bool | None:
    """Whether contrast was given: by the agent that is named, else by the description; None where that is open."""
    agent = names_agent(header.contrast_bolus_agent)
    if agent or (agent is None and not header.series_description):
        return agent
    said = speaks_of_contrast(header.series_description)
    return None if agent is None and said is False else said


def has_contrast(series: Sequence[Header]) -> bool:
    """Whether any image of a series is known to be one with contrast."""
    return any(contrast(header) for header in series)
