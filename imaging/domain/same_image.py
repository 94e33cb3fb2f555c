"""What a second object under a SOP Instance UID that its study has already is: one image, a correction, or another.

Pure judgement of what `imaging.inference.compare` reads of the two (docs/architecture.md, "Two objects, one UID").
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from imaging.domain.header import Header
from imaging.domain.settling import VOLUME_MODALITIES

MIN_CORRELATION: Final = 0.99
MAX_DIFFERENCE: Final = 0.02
"""Of the range of values: the mean difference up to which a lossy copy is the same image."""
FLAT_HU: Final = 30.0
"""A CT slice that varies less shows nothing but noise: no edge of a patient, no bone."""
MIN_DECIMAL: Final = 1e-4
"""Of mm, or of a direction cosine: what two programs that round may differ by, however many decimals they write."""

_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 112, 203))
"""Transfer syntaxes whose pixels may have lost something (PS3.5 8.2); the others cannot."""

_NO_ATTRIBUTES: Final = frozenset(
    {
        "sop_instance_uid",
        "sender",
        "is_our_device",
        "not_given",
        "instance_creation_date",
        "instance_creation_time",
        "study_instance_uid",
        "transfer_syntax_uid",
        "rows",
        "columns",
        "number_of_frames",
        "images_in_acquisition",
        "images_in_series",
        "images_in_study",
        "has_pixels",
        "has_rescale",
        "image_position",
        "image_orientation",
        "position_decimals",
        "lossy_image_compression",
        "faults",
    }
)
"""What belongs to the pixels, the place or the encoding, or counts others; all other facts of a header are
attributes."""
_SPACINGS: Final = frozenset({"pixel_spacing", "imager_pixel_spacing"})
"""Geometry of a slice; a film's are attributes."""
_OF_STUDY: Final = frozenset(
    {
        "patient_id",
        "issuer_of_patient_id",
        "patient_name",
        "patient_birth_date",
        "patient_sex",
        "patient_age",
        "study_id",
        "study_date",
        "study_time",
        "accession_number",
        "referring_physician_name",
        "institution_name",
        "study_description",
    }
)
"""Whose and which study it is. A copy that leaves one of these out takes nothing back: a router strips them."""


class Kind(StrEnum):
    """What the second object is to the first. `READABLE`: the pixels of the first cannot be read, its own can."""

    SAME = "same image"
    CORRECTION = "correction"
    READABLE = "readable copy"
    CONFLICT = "conflict"


Numbers = tuple[tuple[float, int], ...]
"""Values with the number of decimals that each was written with."""


@dataclass(frozen=True)
class Copy:
    """One of the two. `unreadable`: why its pixels cannot be read, or empty.

    `geometry`: per kind of value ("position 12") its numbers in mm or as cosines, frame by frame. `shown`: how its
    values turn into what a model sees of them, by keyword; it stays with the pixels.
    """

    header: Header
    unreadable: str = ""
    geometry: Mapping[str, Numbers] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_lossy(self) -> bool:
        """Whether its pixels were compressed with loss at any time (PS3.3 C.7.6.1.1.5)."""
        header = self.header
        return header.lossy_image_compression == "01" or header.transfer_syntax_uid in _LOSSY


@dataclass(frozen=True)
class Likeness:
    """How two copies' values compare, after rescale and inversion.

    `is_equal`: in every value; where the shapes differ nothing else is known. `difference`: the mean one, as a share of
    the range; `distance`: in the values' own units. `spread`: the larger of their standard deviations. `differing`: how
    many values differ, of how many.
    """

    is_equal: bool
    same_shape: bool = True
    correlation: float = 1.0
    difference: float = 0.0
    distance: float = 0.0
    spread: float = 0.0
    differing: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Judgement:
    """`words`: what differs, without any patient's data, in English.

    `header`: the facts to be used from now on. `takes_pixels`: whether the second's file is used.
    """

    kind: Kind
    words: str
    header: Header
    takes_pixels: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the confined process answers it."""
        return vars(self) | {"kind": str(self.kind), "header": self.header.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The judgement that `to_json` wrote."""
        return cls(Kind(data["kind"]), data["words"], Header.from_json(data["header"]), data["takes_pixels"])


def judge(first: Copy, second: Copy, pixels: Likeness | None) -> Judgement:
    """What the second, newer object is. `pixels`: None where the values of one of them cannot be read."""
    if first.unreadable and not second.unreadable:
        header = _corrected(first, second, takes_pixels=True)
        return Judgement(Kind.READABLE, f"the first cannot be read: {first.unreadable}", header, takes_pixels=True)
    contradictions = [*_geometry(first, second), *_pixels(first, second, pixels)]
    if contradictions:
        return Judgement(Kind.CONFLICT, "; ".join(contradictions), first.header)
    is_lossy, was_lossy = second.is_lossy, first.is_lossy
    is_exact = pixels is not None and pixels.is_equal
    gains = pixels is not None and was_lossy and not is_lossy and not is_exact
    takes_pixels = gains or (is_exact and (was_lossy or not is_lossy))
    changed = _changed(first, second, takes_pixels)
    if not changed and not gains:
        text = "same pixels and geometry" if is_exact else "the same within compression loss"
        return Judgement(Kind.SAME, text if pixels else "same header; neither can be read", first.header)
    words = [f"changed: {', '.join(changed)}"] if changed else []
    words += ["without the loss of the first one's compression"] if gains else []
    return Judgement(Kind.CORRECTION, "; ".join(words), _corrected(first, second, takes_pixels), takes_pixels)


def of_study(before: Header, first: Header, now: Header) -> Header:
    """What a study is shown by, where one of its images was corrected from `first` to `now`."""
    if before.sop_instance_uid == now.sop_instance_uid:
        return now
    mended = {name: getattr(now, name) for name in _OF_STUDY if getattr(now, name) != getattr(first, name)}
    return replace(before, **mended)


def is_film(header: Header) -> bool:
    """Whether the image stands for itself, so that its spacing and orientation are no more than words."""
    return header.modality not in VOLUME_MODALITIES


def agree(one: Numbers, other: Numbers) -> bool:
    """Whether two lists of numbers are the same within the decimals that the coarser was written with."""
    return len(one) == len(other) and all(
        abs(a - b) <= 1.000001 * max(10.0 ** -min(of_a, of_b), MIN_DECIMAL)
        for (a, of_a), (b, of_b) in zip(one, other, strict=True)
    )


def _geometry(first: Copy, second: Copy) -> Iterable[str]:
    """Where the two lie differently. A place that the first does not give is mended by the second, not contradicted."""
    names = {name.partition(" ")[0] for name, known in first.geometry.items() if known != second.geometry.get(name)}
    for kind in sorted(names):
        known = {name: each for name, each in first.geometry.items() if name.partition(" ")[0] == kind}
        differing = [name for name, each in known.items() if not agree(each, second.geometry.get(name, ()))]
        if differing:
            of = f" in {len(differing)} of {len(known)} frames" if len(known) > 1 else ""
            pair = f"{_written(known[differing[0]])} and {_written(second.geometry.get(differing[0], ()))}"
            yield f"{kind}{of}: {pair}"


def _written(numbers: Numbers) -> str:
    return "\\".join(f"{value:.{min(decimals, 6)}f}" for value, decimals in numbers) or "none"


def _pixels(first: Copy, second: Copy, pixels: Likeness | None) -> Iterable[str]:
    """Where the values differ. A copy that nobody can read is doubted only where an answer rests on the other."""
    if pixels is None:
        if second.unreadable and not first.unreadable:
            yield f"the second cannot be read: {second.unreadable}"
        elif _shape(first.header) != _shape(second.header):
            yield f"size: {_size(first.header)} and {_size(second.header)}"
        return
    if not pixels.same_shape:
        yield f"size: {_size(first.header)} and {_size(second.header)}"
    elif not pixels.is_equal and not ((first.is_lossy or second.is_lossy) and _is_alike(first.header, pixels)):
        fraction = f"correlation {pixels.correlation:.3f}, mean difference {100 * pixels.difference:.2g} % of the range"
        yield f"pixels: {pixels.differing[0]} of {pixels.differing[1]} values differ, {fraction}"


def _is_alike(header: Header, pixels: Likeness) -> bool:
    """Whether values differ by no more than compression loses. Air is noise, of which no codec keeps much."""
    if header.modality == "CT" and pixels.spread <= FLAT_HU:
        return pixels.distance <= FLAT_HU
    return pixels.correlation >= MIN_CORRELATION and pixels.difference <= MAX_DIFFERENCE


def _shape(header: Header) -> tuple[Any, ...]:
    return header.rows, header.columns, header.number_of_frames


def _size(header: Header) -> str:
    frames = f"{header.number_of_frames} x " if header.number_of_frames != 1 else ""
    return f"{frames}{header.rows} x {header.columns}"


def _attributes(first: Copy, second: Copy) -> set[str]:
    """The facts that are attributes of these two. Image Type stays with the pixels where either lost some."""
    names = set(vars(first.header)) - _NO_ATTRIBUTES
    if not (is_film(first.header) and is_film(second.header)):
        names -= _SPACINGS
    if first.is_lossy or second.is_lossy:
        names.discard("image_type")
    return names


def _changed(first: Copy, second: Copy, takes_pixels: bool) -> list[str]:
    """The names of what the second says otherwise; what it leaves out of `_OF_STUDY` it does not take back.

    A place that only the second gives is one of them, and where its file is used, how its values are shown.
    """
    changed = set()
    for name in _attributes(first, second):
        before, now = getattr(first.header, name), getattr(second.header, name)
        if before != now and (now or name not in _OF_STUDY):
            changed.add(name)
    if takes_pixels:
        changed |= {name.partition(" ")[0] for name in second.geometry.keys() - first.geometry.keys()}
        changed |= {
            name for name in first.shown.keys() | second.shown if first.shown.get(name) != second.shown.get(name)
        }
    return sorted(changed)


def _corrected(first: Copy, second: Copy, takes_pixels: bool) -> Header:
    """The newer attributes on the facts of the pixels that are used."""
    known = {name: each for name in _OF_STUDY if (each := getattr(first.header, name))}
    if takes_pixels:
        return replace(
            second.header, **{name: each for name, each in known.items() if not getattr(second.header, name)}
        )
    names: Sequence[str] = sorted(_attributes(first, second) - {"image_type"})
    newer = {name: getattr(second.header, name) for name in names}
    return replace(first.header, **{k: v for k, v in newer.items() if v or k not in known})
