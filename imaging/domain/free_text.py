"""What sites write into headers, read as they mean it: ages, dates, body parts, views.

Each reader tells three things apart: an empty value, one that it understands, and one that it does not. The last never
counts as absent. A value with several meanings has several readings, and all of them have to pass.
"""

import calendar
import math
import re
from collections.abc import Mapping, Set
from datetime import date
from functools import lru_cache
from typing import Final

from imaging.domain.folding import fold

Readings = tuple[float, ...]
"""What a value may mean: nothing where none is given."""

NOT_UNDERSTOOD: Final[Readings] = (math.nan,)
"""A value that is written, but that nobody can be sure of: no bound of a gate holds for it."""
OLDEST: Final = 120.0

_UNITS: Final[Mapping[str, Readings]] = {
    **dict.fromkeys(("", "y", "yo", "yr", "yrs", "year", "years", "yold", "yearold", "yearsold", "yrold", "yrsold",
                     "tuoi", "a", "an", "ans", "annee", "annees", "jahr", "jahre"), (1.0,)),
    **dict.fromkeys(("m", "mo", "mos", "mth", "mths", "month", "months", "monthsold", "mois", "thang", "thangtuoi",
                     "monat", "monate"), (12.0,)),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks", "weeksold", "tuan", "tuantuoi", "semaine", "semaines"),
                    (52.18,)),
    **dict.fromkeys(("d", "day", "days", "daysold", "ngay", "ngaytuoi", "jour", "jours", "tag", "tage"), (365.25,)),
    "t": (1.0, 12.0, 52.18),
    "j": (1.0, 365.25),
}  # fmt: skip
"""How many of a unit make a year. "t" is tuổi, tháng or tuần, "j" Jahre or jours."""

_AGE: Final = re.compile(r"(\d{1,4}(?:[.,]\d{1,2})?)([a-z]*)")


def age_years(text: str) -> Readings:
    """Years of an age as sites write it: "045Y", "6Y", "6", "18M", "6 YEARS", "6 tuổi", "Y006"; "6T" has several.

    Empty where none is given (empty, 000Y, 999Y, more than 120 years); NOT_UNDERSTOOD where it is no age.
    """
    normalized = re.sub(r"[\s./\-]+(?![0-9])|(?<![0-9])[.\s]+", "", fold(text))
    if not normalized:
        return () if not text.strip() else NOT_UNDERSTOOD
    normalized = re.sub(r"^([a-z]+)(\d+)$", r"\2\1", normalized)
    found = _AGE.findall(normalized)
    if "".join(number + unit for number, unit in found) != normalized or any(unit not in _UNITS for _, unit in found):
        return NOT_UNDERSTOOD
    if len(found) > 1 and any(len(_UNITS[unit]) > 1 or not unit for _, unit in found):
        return NOT_UNDERSTOOD
    ages = [sum(_number(n) / _UNITS[unit][0] for n, unit in found)]
    if len(found) == 1:
        number, unit = found[0]
        ages = [_number(number) / each for each in _UNITS[unit]]
        if not _number(number) and _UNITS[unit] == (1.0,):
            return ()
    return tuple(dict.fromkeys(age for age in ages if age <= OLDEST))


def _number(text: str) -> float:
    return float(text.replace(",", "."))


_NO_DATE: Final = re.compile(r"0+|1900(01)?(01)?")


def days(text: str) -> Readings:
    """A date on one scale of days: its first and last day where it names a year or a month, each reading of 02/03/2020.

    Empty where there is none, as 19000101 is none; NOT_UNDERSTOOD where it is no date.
    """
    normalized = text.strip()
    digits = re.sub(r"[.\-/ ]", "", normalized)
    if not normalized or _NO_DATE.fullmatch(digits):
        return ()
    parts = re.fullmatch(r"(\d\d?)[.\-/ ](\d\d?)[.\-/ ](\d{4})", normalized)
    if parts:
        found = {*_days(parts[3], parts[2], parts[1]), *_days(parts[3], parts[1], parts[2])}
    else:
        whole = re.fullmatch(r"(\d{4})(\d\d)?(\d\d)?", digits)
        found = set(_days(whole[1], whole[2] or "", whole[3] or "")) if whole else set()
    return tuple(sorted(found)) or NOT_UNDERSTOOD


def _days(year: str, month: str, day: str) -> Readings:
    try:
        if day:
            return (float(date(int(year), int(month), int(day)).toordinal()),)
        first = date(int(year), int(month or 1), 1)
        last_month = int(month or 12)
        last = date(int(year), last_month, calendar.monthrange(int(year), last_month)[1])
    except (ValueError, calendar.IllegalMonthError):
        return ()
    return float(first.toordinal()), float(last.toordinal())


def plain_date(text: str) -> str:
    """A date as YYYYMMDD: "20200101", "2020.01.01", "2020-01-01"; empty for none, and for 19000101, which is none."""
    found = days(text)
    return f"{date.fromordinal(int(found[0])):%Y%m%d}" if len(found) == 1 and found is not NOT_UNDERSTOOD else ""


# Body parts and views -------------------------------------------------------------------------------------

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
"""Body parts as PS3.16 annex L writes them. Other text is a gate's matter."""

PARTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("CHEST", "THORAX", "TORAX", "NGUC", "PHOI", "POUMON", "POUMONS", "PULMON", "PULMONAIRE", "LUNG",
                     "LUNGS", "THORACIQUE", "THORACIC", "CXR", "PCXR", "TIMPHOI"), "CHEST"),
    **dict.fromkeys(("HEAD", "BRAIN", "SKULL", "CRANE", "CRANIUM", "CRANIAL", "CRANIENNE", "TETE", "SO", "SONAO", "NAO",
                     "DAU", "CEREBRAL", "CEREBRALE", "CEREBRUM", "ENCEPHALE", "ENCEPHALIQUE", "KOPF", "SCHAEDEL",
                     "SCHADEL", "NEUROCRANIUM"), "HEAD"),
    **dict.fromkeys(("ABDOMEN", "ABD", "ABDO", "ABDOMINAL", "ABDOMINALE", "BUNG", "OBUNG", "KUB", "ASP"), "ABDOMEN"),
    **dict.fromkeys(("NECK", "CO", "COU", "HALS"), "NECK"),
    **dict.fromkeys(("KNEE", "GOI", "GENOU", "KHOPGOI"), "KNEE"),
    **dict.fromkeys(("HAND", "MAIN", "BANTAY"), "HAND"),
    **dict.fromkeys(("FOOT", "FEET", "PIED", "BANCHAN"), "FOOT"),
    **dict.fromkeys(("WRIST", "POIGNET", "COTAY"), "WRIST"),
    **dict.fromkeys(("ANKLE", "CHEVILLE", "COCHAN"), "ANKLE"),
    **dict.fromkeys(("SHOULDER", "EPAULE", "VAI"), "SHOULDER"),
    **dict.fromkeys(("ELBOW", "COUDE", "KHUYU"), "ELBOW"),
    **dict.fromkeys(("HIP", "HANCHE", "HANG", "KHOPHANG"), "HIP"),
    **dict.fromkeys(("SPINE", "RACHIS", "COTSONG", "CSPINE", "TSPINE", "LSPINE"), "SPINE"),
    **dict.fromkeys(("RIB", "COTES", "XUONGSUON"), "RIB"),
    **dict.fromkeys(("PELVIS", "PELVIC", "PELVIEN", "BASSIN", "CHAU", "KHUNGCHAU"), "PELVIS"),
}  # fmt: skip
"""Words of Vietnamese, French and English for the regions that cards ask for and those that stand beside them."""

_WHOLE: Final[Mapping[str, frozenset[str]]] = {
    "HEADNECK": frozenset(("HEAD", "NECK")),
    "NECKCHEST": frozenset(("NECK", "CHEST")),
    "NECKCHESTABDOMEN": frozenset(("NECK", "CHEST", "ABDOMEN")),
    "NECKCHESTABDPELV": frozenset(("NECK", "CHEST", "ABDOMEN", "PELVIS")),
    "CHESTABDOMEN": frozenset(("CHEST", "ABDOMEN")),
    "CHESTABDPELVIS": frozenset(("CHEST", "ABDOMEN", "PELVIS")),
    "ABDOMENPELVIS": frozenset(("ABDOMEN", "PELVIS")),
    "WHOLEBODY": frozenset((*PARTS.values(), *BODY_PARTS)),
}
"""What the terms for several regions hold."""

_VIEWS: Final[Mapping[str, str]] = {
    "PA": "PA", "AP": "AP", **dict.fromkeys(("FRONTAL", "FRONTALE", "FACE", "THANG"), "FRONTAL"),
    "LL": "LL", "RL": "RL",
    **dict.fromkeys(("LAT", "LATERAL", "LATERALE", "LATL", "PROFIL", "NGHIENG"), "LATERAL"),
    **dict.fromkeys(("LLD", "RLD", "DECUB", "DECUBITUS", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE", "OBL",
                     "OBLIQ", "CHECH", "LORDOTIC", "LORDOTIQUE", "AXIAL", "TANGENTIAL", "MLO", "CC"), "OTHER"),
}  # fmt: skip

_SIDES: Final[Mapping[str, frozenset[str]]] = {"FRONTAL": frozenset(("PA", "AP")), "LATERAL": frozenset(("LL", "RL"))}
"""What a view leaves open."""

_TOGETHER: Final = tuple((re.compile(pattern), word) for pattern, word in (
    (r"\bANTERO ?POSTERIOR|\bANTERIOR POSTERIOR|\bA P\b|\bTRUOC SAU\b|\bANT POST\b", "AP"),
    (r"\bPOSTERO ?ANTERIOR|\bPOSTERIOR ANTERIOR|\bP A\b|\bSAU TRUOC\b|\bPOST ANT\b", "PA"),
    (r"\bTIM PHOI\b", "TIMPHOI"), (r"\bSO NAO\b", "SONAO"), (r"\bBAN TAY\b", "BANTAY"),
    (r"\bBAN CHAN\b", "BANCHAN"), (r"\bCO TAY\b", "COTAY"), (r"\bCO CHAN\b", "COCHAN"),
    (r"\bCOT SONG\b", "COTSONG"), (r"\bKHUNG CHAU\b", "KHUNGCHAU"), (r"\bXUONG SUON\b", "XUONGSUON"),
    (r"\bO BUNG\b", "OBUNG"), (r"\b[CTL] SPINE\b", "SPINE"),
))  # fmt: skip
"""Words that mean one thing together."""


def _tokens(text: str) -> list[str]:
    normalized = re.sub(r"[^A-Z0-9]+", " ", fold(text).upper()).strip()
    for pattern, word in _TOGETHER:
        normalized = pattern.sub(word, normalized)
    return normalized.split()


@lru_cache(256)  # slices of a series all have the same
def body_parts(text: str) -> frozenset[str]:
    """The regions that a text names, each by one word."""
    found = frozenset(_part(word) for word in _tokens(text)) - {""}
    return found - {"FACE"} or found  # beside another region it is French for the view: "thorax face"


def meant_parts(parts: Set[str]) -> set[str]:
    """The single regions that are meant: HEADNECK is a head as well."""
    return {part for each in parts for part in _WHOLE.get(each, (each,))}


def _part(word: str) -> str:
    """The region that a word names: by our table, else by the standard's terms, which stand for themselves."""
    for each in (word, word.removesuffix("S")):
        if each in PARTS or each in BODY_PARTS:
            return PARTS.get(each, each)
    return ""


@lru_cache(256)
def views(text: str) -> frozenset[str]:
    """The views that a text names: PA, AP or FRONTAL, LL, RL or LATERAL, or OTHER."""
    return frozenset(_VIEWS[word] for word in _tokens(text) if word in _VIEWS)


def meant_views(views_named: Set[str]) -> set[str]:
    """The views that are meant by what is said: FRONTAL is PA or AP, LATERAL is LL or RL."""
    return {side for view in views_named for side in _SIDES.get(view, (view,))}


def views_within(views_named: Set[str]) -> set[str]:
    """What a view may be called that is certainly one of those asked for; of OTHER ones only the very words count."""
    inner = {side for view in views_named & set(_SIDES) for side in _SIDES[view]}
    wider = {view for view, sides in _SIDES.items() if sides <= views_named}
    return {*views_named, *inner, *wider} - {"OTHER"}
