"""Whether a single image may be taken by a card: its gates, and what it says of itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imaging.domain.card import Gate, Input
from imaging.domain.contrast import Cue, agent_cue, contrast
from imaging.domain.free_text import Readings, body_parts, meant_parts, meant_views, views, views_within
from imaging.domain.header import Header, age_at
from imaging.domain.image_kind import (
    FILMS,
    PROCESSING,
    UPRIGHT,
    is_capture,
    is_for_processing,
    is_localizer,
    is_reformat,
    is_secondary_capture,
    made_of_others,
)
from imaging.domain.orientation import is_from_the_side
from imaging.domain.reasons import Reason
from imaging.domain.site_words import SiteWords
from imaging.domain.weighting import has_weighting, times, weighting

Fact = str | float | Readings | None


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
    never = "" if other == "modality" else _never_taken(card_input, header)
    if never or other:
        return Verdict(Scope.OUT, Reason(never or other))
    reason = gate(card_input, header)
    if reason is not None:
        is_plain = reason.code == "view" and _is_other_view(card_input, header)
        return Verdict(Scope.OUT if is_plain else Scope.MISSING, reason)
    return _kind(card_input, header)


def _never_taken(card_input: Input, header: Header) -> str:
    """What an image plainly is that no card takes, or not this one; empty for nothing of that sort."""
    classes = card_input.sop_class_uids
    if is_localizer(header):
        return "localizer"
    if is_for_processing(header) and not PROCESSING & {header.sop_class_uid} & set(classes):
        return "for-processing"
    is_screen = is_capture(header) and not card_input.derived
    is_copy = is_secondary_capture(header) and header.sop_class_uid not in classes
    if is_screen or (is_copy and (classes or header.modality not in FILMS)):
        return "capture"
    return made_of_others(header)


def _kind(card_input: Input, header: Header) -> Verdict:
    """By weighting, contrast and units, which a gate cannot ask."""
    if card_input.weighting:
        has_it = has_weighting(header, card_input.weighting, card_input.site)
        if not has_it:
            why = Reason("sequence", weighting(header, card_input.site))
            return Verdict(Scope.MISSING if has_it is None else Scope.OUT, why)
    if card_input.contrast != "any":
        given = contrast(header, card_input.site)
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

GATES: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[Header, SiteWords], Fact]]]] = {
    "BodyPartExamined": ("body-part", TEXT, lambda header, site: _understood_part(header, site)),
    "ViewPosition": ("view", TEXT, lambda header, site: _understood_view(header, site)),
    "PatientAge": ("age", NUMBER, lambda header, _: age_at(header)),
    "ContrastBolusAgent": ("contrast", TEXT, lambda header, site: _named_agent(header, site)),
    "EchoTime": ("sequence", NUMBER, lambda header, _: times(header).echo),
    "RepetitionTime": ("sequence", NUMBER, lambda header, _: times(header).repetition),
    "InversionTime": ("sequence", NUMBER, lambda header, _: times(header).inversion),
}
"""By a gate's tag (a DICOM keyword): the reason where a header does not pass, how the gate may ask, what it asks of."""

QUALITY_CONTROL: Final = (
    "DAILY QA", "DAILY QC", "QUALITY CONTROL", "QUALITY ASSURANCE", "QC PHANTOM", "QA PHANTOM", "WATER PHANTOM",
    "ACR PHANTOM", "PIQT", "SMARTQC",
)  # fmt: skip
"""What vendors and sites call the study of a test object."""


def gate(card_input: Input, header: Header) -> Reason | None:
    """Why this single image may not be taken; None where it may."""
    if _is_quality_control(header):
        return Reason("quality-control")
    if not card_input.derived and is_reformat(header):
        return Reason("derived")
    site = card_input.site
    for each in card_input.gates:
        code, _, fact = GATES[each.tag]
        if not passes(each, fact(header, site)) or (each.tag in CODED and _contradicts(header, each.tag, site)):
            return Reason(code)
    return None


def _named_agent(header: Header, site: SiteWords) -> str:
    """Contrast/Bolus Agent; empty where it names none ("NONE", "-", "KHÔNG")."""
    is_none = agent_cue(header.contrast_bolus_agent, site) is Cue.NOT_GIVEN
    return "" if is_none else header.contrast_bolus_agent


def _understood_part(header: Header, site: SiteWords) -> str:
    """The body part in words, or as it is coded where the words are not understood.

    Never by a description: protocols are chosen for their exposure, and "CHEST PA" is what many a rib and abdomen on
    a portable is called.
    """
    parts = site.applied(header.body_part_examined, "part")
    return parts if body_parts(parts) else header.region_code or parts


def _understood_view(header: Header, site: SiteWords) -> str:
    """The view in words, or as it is coded; a film that shows front and back side by side is none from the front."""
    if header.modality in UPRIGHT and is_from_the_side(header.patient_orientation):
        return "LATERAL"
    parts = site.applied(header.view_position, "view")
    return parts if views(parts) else header.view_code or parts


CODED: Final = frozenset({"BodyPartExamined", "ViewPosition"})
"""What a header may say in words and in a code."""


def _contradicts(header: Header, tag: str, site: SiteWords) -> bool:
    """Whether what is said in words and what is coded are two things."""
    if tag == "ViewPosition":
        texts = site.applied(header.view_position, "view"), header.view_code
        parts, coded = (meant_views(views(each)) for each in texts)
    else:
        texts = site.applied(header.body_part_examined, "part"), header.region_code
        parts, coded = (meant_parts(body_parts(each)) for each in texts)
    return bool(parts and coded and not parts & coded)


def _is_other_view(card_input: Input, header: Header) -> bool:
    """Whether the view is plainly stated, and none that the card asks for."""
    parts = meant_views(views(_understood_view(header, card_input.site)))
    gates = [each for each in card_input.gates if each.tag == "ViewPosition" and each.any]
    is_other = any(not parts & meant_views({view for name in each.any for view in views(name)}) for each in gates)
    return bool(parts) and is_other and not _contradicts(header, "ViewPosition", card_input.site)


def view_place(card_input: Input, header: Header) -> int:
    """Which of the views that the card's gate names an image shows, counted from 0; beyond them where it is none."""
    named = [each for gate in card_input.gates if gate.tag == "ViewPosition" for each in gate.any]
    shown = meant_views(views(_understood_view(header, card_input.site)))
    alike = (at for at, each in enumerate(named) if shown & meant_views(views(each)))
    return next(alike, len(named))


def passes(gate: Gate, fact: Fact) -> bool:
    """Whether a header's value passes. `doubt` refuses: no check on the pixels is shipped yet.

    `absent` speaks of empty values only; one that is not understood never passes, one with several readings only if
    each of them does.
    """
    if fact in (None, "", ()):
        return gate.absent == "pass"
    if isinstance(fact, str):
        return not gate.any or _names(gate, fact)
    readings = fact if isinstance(fact, tuple) else (fact,)
    return all(
        each is not None and (gate.min is None or each >= gate.min) and (gate.max is None or each <= gate.max)
        for each in readings
    )


def _names(gate: Gate, text: str) -> bool:
    """Whether a text names one of what the gate asks for, and nothing else."""
    if _plain(text) in {_plain(each) for each in gate.any}:
        return True
    if gate.tag == "BodyPartExamined":
        parts = body_parts(text)
        return bool(parts) and parts <= _parts_of(gate)
    if gate.tag == "ViewPosition":
        parts = views(text)
        return bool(parts) and parts <= views_within({view for each in gate.any for view in views(each)})
    return False


def _parts_of(gate: Gate) -> set[str]:
    return {part for each in gate.any for part in body_parts(each)}


def matches(card_input: Input, header: Header) -> bool:
    """Whether an image is of the modality, SOP class and body part that the input is for, or may be."""
    return not mismatch(card_input, header)


def mismatch(card_input: Input, header: Header) -> str:
    """The first of modality, SOP class and plainly stated body part that is not the input's; empty for none."""
    if header.modality not in card_input.modality:
        return "modality"
    if card_input.sop_class_uids and header.image_class_uid not in card_input.sop_class_uids:
        return "sop-class"
    text = _understood_part(header, card_input.site)
    parts = body_parts(text)
    gates = [each for each in card_input.gates if each.tag == "BodyPartExamined" and each.any]
    is_other = any(parts and not meant_parts(parts) & meant_parts(_parts_of(each)) for each in gates)
    return "body-part" if is_other and not _contradicts(header, "BodyPartExamined", card_input.site) else ""


def _plain(text: str) -> str:
    return text.strip().upper()


def _is_quality_control(header: Header) -> bool:
    if header.quality_control_image.strip().upper() in ("YES", "BOTH"):
        return True
    text = f"{header.study_description} {header.series_description}".upper()
    return any(name in text for name in QUALITY_CONTROL)
