"""What sites write into headers, read as they mean it: ages, dates, body parts, views, contrast.

Each reader tells three things apart: an empty value, one that it understands, and one that it does not. The last never
counts as absent.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from imaging.domain.folding import fold

NOT_UNDERSTOOD: Final = math.nan
"""An age that is written, but that nobody can be sure of: no bound of a gate holds for it."""
OLDEST: Final = 120.0

_AGE: Final = re.compile(r"(?:([ymwd])\s*(\d{1,3})|(\d{1,4})\s*([a-z]*)\.?)")
_UNITS: Final = {
    "": 1.0, "y": 1.0, "yo": 1.0, "yr": 1.0, "yrs": 1.0, "year": 1.0, "years": 1.0, "tuoi": 1.0, "a": 1.0, "an": 1.0,
    "ans": 1.0, "j": 1.0, "m": 12.0, "mo": 12.0, "mos": 12.0, "month": 12.0, "months": 12.0, "mois": 12.0,
    "thang": 12.0, "w": 52.18, "week": 52.18, "weeks": 52.18, "tuan": 52.18, "d": 365.25, "day": 365.25,
    "days": 365.25, "ngay": 365.25, "jour": 365.25, "jours": 365.25,
}  # fmt: skip
"""How many of a unit make a year. "t" is none of them: it may be a year (tuổi) or a month (tháng)."""


def age_years(text: str) -> float | None:
    """Years of an age as sites write it: "045Y", "6Y", "6", "18M", "6 YEARS", "6 tuổi", "Y006".

    None where none is given (empty, 000Y, 999Y, more than 120 years); NOT_UNDERSTOOD where it is no age.
    """
    said = fold(text).strip()
    if not said:
        return None
    found = _AGE.fullmatch(said)
    unit = (found[1] or found[4]) if found else None
    if found is None or unit not in _UNITS:
        return NOT_UNDERSTOOD
    number = int(found[2] or found[3])
    age = number / _UNITS[unit]
    return None if age > OLDEST or (number == 0 and unit in ("", "y")) else age


def plain_date(text: str) -> str:
    """A date as YYYYMMDD: "20200101", "2020.01.01", "2020-01-01"; empty for none, and for 19000101, which is none."""
    said = re.sub(r"[.\-/ ]", "", text.strip())
    try:
        datetime.strptime(said, "%Y%m%d")
    except ValueError:
        return ""
    return said if re.fullmatch("[0-9]{8}", said) and said != "19000101" else ""


# Body parts and views -------------------------------------------------------------------------------------

_PARTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("CHEST", "THORAX", "TORAX", "NGUC", "PHOI", "POUMON", "POUMONS", "PULMON", "LUNG", "LUNGS",
                     "THORACIQUE", "THORACIC"), "CHEST"),
    **dict.fromkeys(("HEAD", "BRAIN", "SKULL", "CRANE", "CRANIUM", "TETE", "SO", "NAO", "DAU", "CEREBRAL", "CEREBRALE",
                     "ENCEPHALE", "KOPF", "SCHAEDEL"), "HEAD"),
    **dict.fromkeys(("ABDOMEN", "BUNG"), "ABDOMEN"),
    **dict.fromkeys(("NECK", "CO", "COU"), "NECK"),
    **dict.fromkeys(("KNEE", "GOI", "GENOU"), "KNEE"),
    **dict.fromkeys(("HAND", "MAIN"), "HAND"),
    **dict.fromkeys(("PELVIS", "BASSIN", "CHAU"), "PELVIS"),
}  # fmt: skip
"""Words of Vietnamese, French and English for the regions that cards ask for and those that stand beside them."""

_VIEWS: Final[Mapping[str, str]] = {
    "PA": "PA", "AP": "AP", "FRONTAL": "FRONTAL", "FACE": "FRONTAL", "THANG": "FRONTAL",
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL", "LATERALE", "PROFIL", "NGHIENG", "LLD", "RLD", "DECUBITUS", "LLO",
                     "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE", "LORDOTIC"), "OTHER"),
}  # fmt: skip

_TOGETHER: Final = (
    (r"ANTERO ?POSTERIOR|ANTERIOR POSTERIOR|\bA P\b", "AP"),
    (r"POSTERO ?ANTERIOR|POSTERIOR ANTERIOR|\bP A\b", "PA"),
)


def _tokens(text: str) -> list[str]:
    said = re.sub(r"[^A-Z0-9]+", " ", fold(text).upper()).strip()
    for pattern, word in _TOGETHER:
        said = re.sub(pattern, word, said)
    return said.split()


def body_parts(text: str, known: frozenset[str]) -> set[str]:
    """The regions that a text names, each by one word; `known`: those of the standard, which stand for themselves."""
    return {_PARTS.get(word, word) for word in _tokens(text) if word in _PARTS or word in known}


def views(text: str) -> set[str]:
    """The views that a text names: PA, AP, FRONTAL, or OTHER."""
    return {_VIEWS[word] for word in _tokens(text) if word in _VIEWS}


# Contrast -------------------------------------------------------------------------------------------------

_NO_AGENT: Final = frozenset((
    "", "no", "none", "n", "non", "nil", "no contrast", "without contrast", "without", "native", "off", "khong", "sans",
    "0", "n a", "na", "no iv", "khong tiem", "khong thuoc", "khong co", "aucun", "ohne", "negative", "neg",
))  # fmt: skip
_DOUBTFUL_AGENT: Final = frozenset(("unknown", "unk", "inconnu", "khong ro", "other"))

_BOTH: Final = re.compile(
    r"\bwith (?:and|or|&|\+) ?without\b|\bwithout (?:and|or|&|\+) ?with\b|\bw/?o? ?(?:and|&|\+) ?w/?o?\b|"
    r"\bavec (?:et|ou) sans\b|\bsans (?:et|ou|puis) avec\b|\bco (?:va|hoac) khong\b|\bkhong (?:va|hoac) co\b|"
    r"\btruoc va sau (?:khi )?tiem\b"
)
_WITHOUT: Final = re.compile(
    r"\bwithout(?: iv| i\.v\.)?(?: contrast| injection)?|\bw/o(?: iv)?(?: contrast)?|\bnon[ -]?contrast|\bno contrast|"
    r"\bnon[ -]?inject\w*|\bkhong (?:co )?(?:tiem|can quang|thuoc)(?: thuoc| can quang)*|\bnon inj\b|"
    r"\biv ?-(?!\w)|\bsans (?:injection|inj|iv|ivc|contraste|produit|pdc)(?: de contraste)?|"
    r"\bnativ\w*|\bohne km\b|\bplain\b"
)
_WITH: Final = re.compile(
    r"\+ ?c(?![a-z])|(?<![a-z])c\+|contrast|\bpost ?con|(?<![a-z])gd(?![a-z])|\bgad|\bco tiem|\bsau (?:khi )?tiem|"
    r"\btiem thuoc|\bcan quang|\bavec (?:injection|inj|iv|ivc|contraste|produit|pdc)|\bapres (?:injection|inj|gado)|"
    r"\binjecte|\bmit km\b|\bkm\b|\bcta\b|\bangio|\bc\.?e\.?ct\b|\b(?:art|arterial|venous|portal|delayed) phase\b|"
    r"\bw/? ?(?:iv )?contrast|\biv ?\+"
)
_MAYBE: Final = re.compile(r"\bpost\b|\binjection\b|\biv\b|\btiem\b")


def names_agent(text: str) -> bool | None:
    """Whether a Contrast/Bolus Agent names one; None where that cannot be told."""
    said = " ".join(re.sub(r"[^a-z0-9]+", " ", fold(text)).split())
    if said in _DOUBTFUL_AGENT:
        return None
    return said not in _NO_AGENT


def speaks_of_contrast(description: str) -> bool | None:
    """Whether a description says that contrast was given; None where its words leave that open."""
    said = " ".join(fold(description).replace("_", " ").split())
    if _BOTH.search(said):
        return None
    left, denied = _WITHOUT.subn(" ", said)
    if _WITH.search(left):
        return None if denied else True
    return None if not denied and _MAYBE.search(left) else False
