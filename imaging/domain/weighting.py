"""What weighting an MR image has: by its times and Scanning Sequence, and by words where these leave it open.

Times exclude weightings, and some prove one; a name alone never overrules them. Times are in ms here, whatever unit the
sender wrote them in.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from imaging.domain.folding import fold
from imaging.domain.header import Header
from imaging.domain.site_words import NONE, SiteWords

WEIGHTINGS: Final = frozenset(("t1", "t2", "pd", "flair"))
OTHER: Final = "other"
"""A sequence that a description names and that is none of these: diffusion, T2*, angiography."""

_TIMES: Final = ("echo_time", "repetition_time", "inversion_time", "scanning_sequence", "diffusion_b_value")


@dataclass(frozen=True)
class Times:
    """Echo, repetition and inversion time in ms; an inversion time of 0 is none."""

    echo: float | None
    repetition: float | None
    inversion: float | None


def times(header: Header) -> Times:
    """The times of an image in ms. They are taken for seconds where they cannot be milliseconds.

    No inversion is as short as 10 ms; no repetition is shorter than its echo, nor as short as 20 ms in a spin echo; and
    only the ultrashort echoes of gradient sequences last less than 1 ms.
    """
    echo, repetition, inversion = header.echo_time, header.repetition_time, header.inversion_time or None
    kinds = set(header.scanning_sequence)
    is_gradient = bool(kinds & {"GR", "RM"}) and "SE" not in kinds
    if inversion is not None and inversion <= 10:
        inversion *= 1000
    if echo is not None and 0 < echo < 1 and not is_gradient:
        echo *= 1000
    if repetition is not None and 0 < repetition <= 20 and ((echo or 0.0) > repetition or "SE" in kinds):
        repetition *= 1000
    return Times(echo, repetition, inversion)


def _kinds(header: Header) -> set[str]:
    """Scanning Sequence, without "research mode", which may be any."""
    return set(header.scanning_sequence) - {"RM", ""}


def possible(header: Header) -> frozenset[str]:
    """The weightings that times, Scanning Sequence and diffusion weighting leave open; none for a diffusion image."""
    kinds = _kinds(header)
    is_diffusion = (
        bool(header.diffusion_b_value)
        or "diffusion_b_value" in header.frames_differ
        or "DIFFUSION" in header.image_type
    )
    if is_diffusion or "EP" in kinds:
        return frozenset()
    measured = times(header)
    is_gradient, is_inverted = "GR" in kinds and "SE" not in kinds, "IR" in kinds or measured.inversion is not None
    out = set[str]()
    if is_gradient:
        out |= {"t2", "flair"}
    if kinds and not is_inverted:
        out.add("flair")
    if measured.echo is not None:
        out |= {"flair", "t2"} if measured.echo < 50 else {"t1", "pd"} if measured.echo >= 60 else set()
    if measured.repetition is not None:
        out |= {"flair"} if measured.repetition < 2500 else set()
        out |= {"t2", "pd"} if measured.repetition < 1000 else set()
        out |= {"t1"} if measured.repetition >= 1800 and not is_inverted and not is_gradient else set()
    if measured.inversion is not None:
        out |= {"t2", "pd"} if measured.inversion >= 400 else set()
        out |= {"flair"} if measured.inversion < 1000 else set()
    return WEIGHTINGS - out


def proven(header: Header, name: frozenset[str]) -> str:
    """The one weighting that times and Scanning Sequence leave no doubt of; empty where they do.

    A long echo without an inversion time is T2 only where Scanning Sequence says that nothing was inverted, or the
    `name` says T2: some senders leave the inversion time of a FLAIR out.
    """
    value, kinds, is_open = times(header), _kinds(header), possible(header)
    if value.echo is None or value.repetition is None or differs(header):
        return ""
    is_gradient = "GR" in kinds and "SE" not in kinds
    if "flair" in is_open and value.echo >= 60 and value.inversion is not None and value.inversion >= 1400:
        return "flair"
    is_short = value.repetition <= 1200 or (value.inversion is not None and value.inversion >= 400)
    if "t1" in is_open and value.echo <= (10 if is_gradient else 30) and is_short:
        return "t1"
    if is_gradient or value.inversion is not None or value.repetition < 1800:
        return ""
    if "t2" in is_open and value.echo >= 60:
        return "t2" if name == {"t2"} or "flair" not in is_open else ""
    return "pd" if "pd" in is_open and value.echo <= 30 and "IR" not in kinds else ""


def differs(header: Header) -> bool:
    """Whether the frames of an object differ in what tells their weighting."""
    return bool(set(_TIMES) & set(header.frames_differ))


_OTHERS: Final = re.compile(
    r"\b(?:dwi|dti|diff\w*|ep2d|epi|adc|tracew?|tensor|ivim|khuech tan|b ?(?:500|800|1000|2000)|swi|swan|swip|hemo|"
    r"t2star|t2 ?star|(?:fl2d|gre) t2|t2 (?:fl2d|gre)|"
    r"tof|mra|mrv|angio\w*|asl|perf\w*|dsc|dce|bold|fmri|csi|spectro\w*|mrs|ciss|"
    r"fiesta|localizer|loc|scout|survey|mag|pha|minip|mip|ute|petra|zte)\b|t2\*"
)
_NEGATED: Final = re.compile(r"\b(?:no|non|not|without|w/o|sans|khong|ohne) (?=flair\b|t1\b|t2\b|pd\b)(\w+)")
_FLAIR: Final = re.compile(
    r"flair|dark[ -]?fluid|\btirm da\w*|\bxoa dich\b|\b(?:xoa|trieu tieu) (?:tin hieu )?dich\b|"
    r"\bsuppression (?:du |de )?(?:liquide|lcr|lcs)\b"
)
_T1: Final = re.compile(r"t1(?![0-9])|mp ?-?rage|\bbravo\b|\bvibe\b|\b[ft]?spgr\b|\btfe t1\b")
_T2: Final = re.compile(r"t2(?![0-9])")
_PD: Final = re.compile(
    r"\bpd(?:w|fs|tse)?\b|\bdp\b|\bproton ?dens\w*|\bdensite (?:de )?protons?|\bmat do proton\b|\brho\b"
)


@lru_cache(256)  # slices of a series all have the same
def named(description: str, site: SiteWords = NONE) -> frozenset[str]:
    """The weightings that a description names; `other` for sequences that are none of them, whatever else it says."""
    normalized = " ".join(fold(site.applied(description, "weighting")).replace("_", " ").split())
    normalized = _NEGATED.sub(" ", normalized)
    if _OTHERS.search(normalized):
        return frozenset({OTHER})
    is_t1, is_t2 = bool(_T1.search(normalized)), bool(_T2.search(normalized))
    if _FLAIR.search(normalized):
        return frozenset({"t1" if is_t1 and not is_t2 else "flair"})  # "T1 FLAIR" is T1, "T2 FLAIR" is FLAIR
    found = {"t1": is_t1, "t2": is_t2, "pd": bool(_PD.search(normalized))}
    return frozenset(name for name, is_stated in found.items() if is_stated)


def has_weighting(header: Header, wanted: str, site: SiteWords = NONE) -> bool | None:
    """Whether an image has this weighting; None where it may, and nothing says so for certain."""
    if wanted not in possible(header):
        return False
    if differs(header):
        return None
    by_name = named(header.series_description, site)
    by_times = proven(header, by_name)
    if by_times and by_times != wanted:
        return False
    if by_name and wanted not in by_name and (OTHER in by_name or "flair" in by_name):
        return None
    return True if by_times or by_name == {wanted} else None


def weighting(header: Header, site: SiteWords = NONE) -> str:
    """What the image has, to be told in a reason: `t1`, `t2`, `flair`, `pd`, or nothing where that is open."""
    return next((each for each in sorted(WEIGHTINGS) if has_weighting(header, each, site)), "")
