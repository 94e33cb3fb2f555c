"""Which models fit a study, which of its instances a model takes, and why it takes none (docs/models.md).

Two steps. A model *fits* a study by modality, SOP class and body part; it then owes one answer. Gates, counts and
geometry decide whether that answer is findings or a reason. Nothing here opens a file: the facts are those of
`Header`, and the same laws of geometry (`stack`) hold the Volume, which knows each frame.

The answers depend on the set of instances alone: their order and repetition change nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from imaging.domain.card import Card, Gate, Input
from imaging.domain.geometry import plane_of, stack
from imaging.domain.header import Header, age_at, same_patient
from imaging.domain.reasons import NotAnalysable, Reason

Fact = str | float | None


@dataclass(frozen=True)
class Selection:
    """The instances that a model takes, by role: films by UID, a series' slices from one end to the other."""

    roles: Mapping[str, tuple[Header, ...]]

    @property
    def headers(self) -> tuple[Header, ...]:
        return tuple(header for headers in self.roles.values() for header in headers)


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


def fits(card: Card, headers: Iterable[Header]) -> bool:
    """Whether the study owes its reader an answer of this model."""
    return any(_matches(card_input, header) for header in headers for card_input in card.inputs)


def select(card: Card, headers: Sequence[Header]) -> Selection | Reason:
    """The instances that the model takes, or why it takes none."""
    try:
        known = _distinct(headers)
        roles = {each.role: _for_role(card, each, known) for each in card.inputs}
        chosen = [header for each in roles.values() for header in each]
        if not same_patient(chosen):
            raise NotAnalysable("mixed-patients")
        _hold_memory(card, chosen)
    except NotAnalysable as refused:
        return refused.reason
    return Selection(roles)


def model_input(card: Card, headers: Sequence[Header]) -> frozenset[str]:
    """UIDs of the instances that a revision for this model consists of.

    Where the model takes none, all that it considered: what arrives later may change the reason.
    """
    selected = select(card, headers)
    if isinstance(selected, Selection):
        return frozenset(header.sop_instance_uid for header in selected.headers)
    return frozenset(header.sop_instance_uid for header in headers for each in card.inputs if _matches(each, header))


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


def _matches(card_input: Input, header: Header) -> bool:
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


def _distinct(headers: Sequence[Header]) -> list[Header]:
    """One header per SOP Instance, by UID. Should two differ, the choice between them is at least repeatable."""
    known: dict[str, Header] = {}
    for header in headers:
        other = known.setdefault(header.sop_instance_uid, header)
        if other is not header and other != header:
            known[header.sop_instance_uid] = min(other, header, key=repr)
    return [known[uid] for uid in sorted(known)]


def _hold_memory(card: Card, headers: Sequence[Header]) -> None:
    """The stored values alone, at two bytes each, must fit into what the card says that a job needs.

    A volume's are held together, films one by one. What the network itself takes nobody knows but the engine.
    """
    sizes = [2 * (each.rows or 0) * (each.columns or 0) * each.number_of_frames for each in headers]
    needed = sum(sizes) if card.is_volume else max(sizes, default=0)
    if needed > card.engine.memory_mb << 20:
        raise NotAnalysable("memory")


def _for_role(card: Card, card_input: Input, headers: Sequence[Header]) -> tuple[Header, ...]:
    candidates = [header for header in headers if _matches(card_input, header)]
    if not candidates:
        if len(card.inputs) > 1:
            raise NotAnalysable("input-missing", card_input.role)
        raise NotAnalysable(_mismatch(card_input, headers))
    if card_input.images == "each":
        return _films(card_input, candidates)
    return _best_series(card_input, candidates)


def _mismatch(card_input: Input, headers: Sequence[Header]) -> str:
    """The first of modality, SOP class, body part that no instance matches."""
    same_modality = [header for header in headers if header.modality in card_input.modality]
    if not same_modality:
        return "modality"
    classes = card_input.sop_class_uids
    return "body-part" if not classes or any(h.image_class_uid in classes for h in same_modality) else "sop-class"


# Films ----------------------------------------------------------------------------------------------------


def _films(card_input: Input, candidates: Sequence[Header]) -> tuple[Header, ...]:
    refused = {header.sop_instance_uid: gate(card_input, header) for header in candidates}
    taken = tuple(header for header in candidates if refused[header.sop_instance_uid] is None)
    if not taken:
        raise NotAnalysable(*_furthest([reason for reason in refused.values() if reason]))
    return taken


PROGRESS: Final = (
    "quality-control", "localizer", "derived", "body-part", "view", "age", "sequence", "contrast", "pixel-size-absent",
    "rescale-absent", "positions-absent", "orientation-invalid", "orientation-mixed", "frames-irregular",
    "frame-of-reference-differs", "positions-repeated", "positions", "too-few-slices", "too-many-slices", "extent",
    "slices-missing", "gap",
)  # fmt: skip
"""The order in which reasons are found. Of several images or series, the one that came furthest speaks."""


def _furthest(reasons: Sequence[Reason]) -> tuple[str, str]:
    last = max(reasons, key=lambda reason: (PROGRESS.index(reason.code), reason.detail))
    return last.code, last.detail


# Series ---------------------------------------------------------------------------------------------------


def _best_series(card_input: Input, candidates: Sequence[Header]) -> tuple[Header, ...]:
    by_series: dict[str, list[Header]] = {}
    for header in candidates:
        by_series.setdefault(header.series_instance_uid, []).append(header)
    ranked, reasons = [], []
    for uid, series in by_series.items():
        try:
            taken = _slices(card_input, series)
        except NotAnalysable as refused:
            reasons.append(refused.reason)
        else:
            ranked.append((_rank(card_input, taken), uid, taken))
    if not ranked:
        raise NotAnalysable(*_furthest(reasons))
    return min(ranked, key=lambda each: each[:2])[2]


def _slices(card_input: Input, series: Sequence[Header]) -> tuple[Header, ...]:
    """The instances of a series that make its volume, from one end to the other. Raises NotAnalysable."""
    refused = [gate(card_input, header) for header in series]
    taken = [header for header, reason in zip(series, refused, strict=True) if reason is None]
    if not taken:
        raise NotAnalysable(*_furthest([reason for reason in refused if reason]))
    _sequence(card_input, taken)
    if any(header.number_of_frames > 1 for header in taken):
        return _multi_frame(taken)
    if any(header.modality == "CT" and not header.has_rescale for header in taken):
        raise NotAnalysable("rescale-absent")
    planes = [plane_of(header) for header in taken]
    chosen, _ = stack(planes, card_input, [(h.acquisition_number, h.echo_time) for h in taken])
    return tuple(taken[index] for index in chosen)


def _multi_frame(series: Sequence[Header]) -> tuple[Header, ...]:
    """A multi-frame instance is a series' volume by itself; only the Volume sees where its frames lie."""
    several = [header for header in series if header.number_of_frames > 1]
    return (min(several, key=lambda header: (-header.number_of_frames, header.instance_number or 0)),)


def _sequence(card_input: Input, series: Sequence[Header]) -> None:
    if card_input.weighting:
        said = weighting(series[0])
        if said != card_input.weighting:
            raise NotAnalysable("sequence", said)
    if card_input.contrast != "any" and has_contrast(series) != (card_input.contrast == "yes"):
        raise NotAnalysable("contrast")


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


SOFT_KERNELS: Final = ("STANDARD", "STD", "SOFT", "BRAIN", "HEAD", "FC2", "UA", "UB", "H3", "J3", "B3", "HR3", "HC3")
SHARP_KERNELS: Final = (
    "BONE", "EDGE", "LUNG", "DETAIL", "SHARP", "FC3", "FC8", "YA", "YB", "YC", "H6", "H7", "B6", "B7",
)  # fmt: skip


def _prefers(wish: str, series: Sequence[Header]) -> float:
    """How well a series meets one wish of `prefer`; less is better."""
    kernel = series[0].convolution_kernel.upper()
    if wish == "kernel:soft":
        return 0.0 if kernel.startswith(SOFT_KERNELS) else 2.0 if kernel.startswith(SHARP_KERNELS) else 1.0
    if wish == "kernel:sharp":
        return 0.0 if kernel.startswith(SHARP_KERNELS) else 1.0
    if wish == "original":
        return float("ORIGINAL" not in series[0].image_type[:1])
    if series[0].image_orientation is None or series[0].image_position is None:
        return 1.0
    normal = np.cross(series[0].image_orientation[:3], series[0].image_orientation[3:])
    if wish in PLANES:
        return float(np.argmax(np.abs(normal)) != PLANES[wish])
    along = sorted(float(normal @ np.array(h.image_position)) for h in series if h.image_position)
    gap = (along[-1] - along[0]) / max(len(along) - 1, 1)
    return gap if wish == "thin" else -gap


PLANES: Final = {"sagittal": 0, "coronal": 1, "axial": 2}
PREFERENCES: Final = frozenset({*PLANES, "kernel:soft", "kernel:sharp", "original", "thin", "thick"})
"""What a card's `prefer` may ask for; the first wish counts most."""


def _rank(card_input: Input, series: Sequence[Header]) -> tuple[tuple[float, ...], int, int]:
    """Less is better: wishes in their order, more slices, lower series number. The UID comes last, in the caller."""
    wishes = tuple(round(_prefers(wish, series), 3) for wish in card_input.prefer)
    number = min((header.series_number for header in series if header.series_number is not None), default=1 << 31)
    return wishes, -len(series), number
