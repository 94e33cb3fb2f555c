"""Whether contrast was given, as a header says it: read word by word, for the sign that stands at each word for it.

A description is a row of words. Those for contrast ("contrast", "injection", "tiêm thuốc", "KM", "C+") are each read
with what stands before them ("without", "avec", "trước khi") and behind ("-", ": no"). What the words leave open is
doubtful, never given and never native; so is a word for contrast behind one that nobody knows.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

from imaging.domain.folding import fold
from imaging.domain.free_text import BODY_PARTS, PARTS
from imaging.domain.header import Header
from imaging.domain.site_words import NONE, SiteWords

_KEPT: Final = 256
"""Texts whose reading is kept: slices of a series all have the same."""


class Cue(StrEnum):
    """What a text says of contrast."""

    GIVEN = "given"
    NOT_GIVEN = "not given"
    DOUBTFUL = "doubtful"
    SILENT = "silent"


def contrast(header: Header, site: SiteWords = NONE) -> bool | None:
    """Whether contrast was given; None where that is open: doubtful words, or facts that contradict each other.

    What is written of the injection and the series' description decide, and have to agree. The description of the
    study is heard only where they are silent: a study "without contrast" speaks for all its series, one "with" holds
    native series too, so that it leaves a silent one in doubt.
    """
    if "contrast" in header.frames_differ:
        return None
    cues = {_injection(header, site), description_cue(header.series_description, site)}
    plain = cues & {Cue.GIVEN, Cue.NOT_GIVEN}
    if plain:
        return None if len(plain) == 2 else plain == {Cue.GIVEN}
    if Cue.DOUBTFUL in cues or description_cue(header.study_description, site) is Cue.GIVEN:
        return None
    return False


def _injection(header: Header, site: SiteWords) -> Cue:
    """By what was injected: its name, its code, its volume, and whether frames say that it was there."""
    cues = {agent_cue(header.contrast_bolus_agent, site)}
    if header.contrast_agent_code:
        cues.add(agent_cue(header.contrast_agent_code, site))
    if header.contrast_volume:
        cues.add(Cue.GIVEN)
    if header.contrast_administered:
        # The module of a multi-frame object names the agent for all frames; each frame says whether it was there.
        return Cue.GIVEN if header.contrast_administered == "YES" else Cue.NOT_GIVEN
    plain = cues & {Cue.GIVEN, Cue.NOT_GIVEN}
    if len(plain) == 1:
        return plain.pop()
    return Cue.DOUBTFUL if plain or Cue.DOUBTFUL in cues else Cue.SILENT


# Agents ---------------------------------------------------------------------------------------------------

_NO_AGENT: Final = frozenset((
    "no", "none", "n", "non", "nil", "not", "null", "off", "khong", "k", "ko", "sans", "n a", "na", "aucun", "aucune",
    "neant", "ohne", "kein", "keine", "keines", "negative", "neg", "false", "not given", "not used", "not applicable",
    "not administered", "khong co", "khong dung", "khong su dung", "chua", "pas",
))  # fmt: skip
_YES: Final = frozenset(("yes", "y", "oui", "co", "ja", "true", "positive", "pos", "on", "c", "c+"))
_UNKNOWN: Final = frozenset((
    "unknown", "unk", "inconnu", "khong ro", "khong biet", "other", "unspecified", "not specified", "not stated",
    "unbekannt", "?", "??", "???", "x",
))  # fmt: skip


@lru_cache(_KEPT)
def agent_cue(text: str, site: SiteWords = NONE) -> Cue:
    """What Contrast/Bolus Agent says: a name means given, "NONE", "-", "SANS", "KHÔNG", "0" that there was none."""
    folded = " ".join(fold(text).split())
    if not folded:
        return Cue.SILENT
    if folded in _UNKNOWN:
        return Cue.DOUBTFUL
    normalized = " ".join(re.sub(r"[^a-z0-9+.]+", " ", folded).replace(". ", " ").strip(" .").split())
    if normalized in _UNKNOWN:
        return Cue.DOUBTFUL
    if normalized in _NO_AGENT or not re.search(r"[^\W_]", folded) or re.fullmatch(r"[0.]+( ?(ml|cc))?", normalized):
        return Cue.NOT_GIVEN
    if normalized in _YES:
        return Cue.GIVEN
    if re.fullmatch(r"[0-9.]+", normalized):
        return Cue.DOUBTFUL
    if description_cue(folded, site) is Cue.NOT_GIVEN:
        return Cue.NOT_GIVEN
    # It stands where an agent's name is due: what merely names contrast names it as given.
    described = description_cue(f"with {folded}", site)
    return Cue.GIVEN if described is Cue.SILENT else described


# Descriptions ---------------------------------------------------------------------------------------------

_BY_CLASS: Final[dict[str, Iterable[str]]] = {
    "without": ("without", "wo", "sans", "ohne", "sin", "bez", "senza", "zonder", "sem", "minus"),
    "no": ("no", "non", "not", "khong", "ko", "k", "chua", "kein", "keine", "nein", "nil", "none", "never", "pas",
           "aucun", "aucune"),
    "before": ("pre", "before", "prior", "avant", "vor", "truoc"),
    "after": ("post", "after", "apres", "nach", "sau", "following"),
    "with": ("with", "w", "avec", "mit", "plus", "com", "+"),
    "have": ("co",),
    "joint": ("and", "or", "und", "oder", "et", "ou", "va", "hoac", "puis", "then", "roi", "&", "/"),
    "filler": ("khi", "de", "d", "du", "la", "le", "l", "the", "any", "given", "used", "done",
               "administered", "dung", "su", "intravenous", "po", "s",
               "oral", "orale", "uong", "to", "of"),
    "native": ("native", "nativ", "nativer", "natives", "natif", "plain", "unenhanced", "nonenhanced",
               "ncct", "nect", "ncect", "nchct", "nc", "uninjected", "unenh", "spc"),
    "strong": ("kontrastmittel", "km", "gad", "gd", "gbca", "ce", "pdc", "omnipaque", "ultravist", "visipaque",
               "iohexol", "iopamidol", "iopromide", "iodixanol", "xenetix", "iomeron", "telebrix", "isovue", "optiray",
               "dotarem", "magnevist", "omniscan", "prohance", "multihance", "primovist", "clariscan", "contr",
               "injected", "injecte", "injectee", "injectes", "canquang"),
    "sure": ("cta", "apc", "ctv", "cect", "ctp", "dce", "dsc", "phasegiven", "cemra", "perfusion", "perf"),
    "weak": ("iv", "ivc", "inj", "injection", "injections", "inject", "tiem", "thuoc", "enhanced", "enhancement",
             "enhance", "bolus", "mra", "mrv", "produit", "agent", "arterial", "arteriel", "arterielle", "portal",
             "portale", "tsa", "polygone", "venous", "veineux", "veineuse", "nephrographic", "tardif", "tardive",
             "delayed", "delay"),
    "short": ("c", "con", "cont", "enh"),
}  # fmt: skip
"""Words by what they are. `sure`: nobody names it who did not inject; `weak`: leaves it open without a word before it;
`short`: means contrast only with one."""

_CLASS: Final = {word: name for name, words in _BY_CLASS.items() for word in words}
_NOUNS: Final = ("sure", "strong", "weak", "short")
_SIGNS: Final = ("without", "no", "before", "after", "with", "have", "joint", "filler")
_STEMS: Final = (("contrast", "strong"), ("kontrast", "strong"), ("gado", "strong"), ("injekt", "strong"),
                 ("angio", "sure"))  # fmt: skip

_GLUED: Final = re.compile(
    r"(non|pre|post|sans|avec|apres|avant|without|with|wo|khong|co|truoc|sau|ohne|mit|nach|vor|no|ko|k)"
    r"(contrast\w*|kontrast\w*|cont|con|gado\w*|gad|gd|inj\w*|tiem|thuoc|canquang|iv|km|enhanced|cta)"
)
_PHASE: Final = (
    r"(?:arterial|arteriel\w*|venous|veineu\w*|portal\w*|porto|delay\w*|tardi\w*|late|nephro\w*|parench\w*|dong mach|"
    r"tinh mach|muon)"
)
_WRITTEN: Final = tuple((re.compile(pattern), word) for pattern, word in (
    (r"[_^=:]", " "),
    (r"\( ?\+ ?\)", " +s "),
    (r"\( ?- ?\)", " -s "),
    (r"(?<![a-z0-9])i ?\+(?![a-z0-9])", " with iv "),
    (r"(?<![a-z0-9])i-(?![a-z0-9])", " without iv "),
    (r"\bi\.? ?v\.(?=\W|$)", " iv "),
    (r"\bc\.? ?e\.(?=\W|$)", " ce "),
    (r"\bangiom\w*", " known "),
    (r"\bmach mau\b", " angio "),
    (r"\bdong mach\b(?! (?:phase|temps|thi))(?<!thi dong mach)", " arterial "),
    (r"\b[ctl][ -]?spine\b|\bc[ -]?arm\b", " spine "),
    (r"\bphase[ -]contrast\b|\bnon[ -]?ionic\b|\b(?:edge|high|low)[ -](?:contrast|enhanc\w*)", " known "),
    (r"\b(?:thuoc )?(?:can|doi) quang(?: tu)?\b", " canquang "),
    (r"\btiem (?:thuoc )?canquang|\btiem +canquang|\btiem thuoc\b", " canquang "),
    (rf"\b{_PHASE} (?:{_PHASE} )?(?:phase|temps|thi)\b|\b(?:temps|thi|phase) {_PHASE}\b", " phasegiven "),
    (r"\bp ?& ?c\b", " with and without "),
    (r"\+ ?/ ?-|±|- ?/ ?\+", " with and without "),
    (r"(?<![a-z0-9])c ?\+", " with c "),
    (r"\+ ?c(?![a-z0-9-])", " with c "),
    (r"(?<![a-z0-9])c-(?![a-z0-9])", " without c "),
    (r"(?<![a-z0-9])- ?c(?![a-z0-9+-])", " without c "),
    (r"(?<=[a-z])\+(?![a-z0-9])|(?<=[a-z]) \+ *$", " +s "),
    (r"(?<=[a-z])-(?![a-z0-9])|(?<=[a-z]) - *$", " -s "),
    (r"\bw ?/ ?w ?/? ?o\b|\bwwo\b", " with and without "),
    (r"\bw ?[/\\ -] ?o(?:ut)?\b", " without "),
    (r"\bw ?/", " with "),
))  # fmt: skip
"""What is written with marks, in words. "+s" and "-s": a mark behind a word."""

_AROUND: Final = frozenset((
    "ct", "tdm", "scanner", "irm", "mr", "mri", "clvt", "chup", "xq", "ax", "axial", "axiale", "tra", "sag", "sagittal",
    "cor", "coronal", "t1", "t2", "t1w", "t2w", "flair", "se", "tse", "fse", "fs", "fatsat", "fat", "sat", "mprage",
    "vibe", "lava", "bravo", "space", "cube", "gre", "spgr", "stir", "dixon", "3d", "2d", "routine", "std", "standard",
    "soft", "bone", "thin", "thick", "mm", "helical", "spiral", "mpr", "recon", "adult", "stroke", "series", "phase",
    "temps", "thi", "head", "tete", "so", "nao", "cerebral", "cerebrale", "iv", "known", "spine", "ap", "tap",
    "delayed", "arterial", "venous", "vessel", "ven", "art", "tissue", "brain", "dynamic", "dyn", "mag", "wb", "st",
    "te", "tr", "study", "exam", "protocol", "w", "wi",
))  # fmt: skip
"""Words that say nothing of contrast and may stand before a word for it."""

_AFTER_SOMETHING_ELSE: Final = frozenset((
    "op", "operation", "operative", "operatoire", "trauma", "traumatic", "traumatique", "concussion",
    "concussive", "stroke", "tpa", "lysis", "thrombectomy", "clip", "clipping", "coil", "coiling", "embolization",
    "ictal", "mortem", "partum", "fossa", "surgery", "surgical", "chirurgie", "fall", "arrest", "anoxic", "evd",
    "drain", "shunt", "craniotomy", "craniectomy", "processing", "processed", "proc", "rt", "radiation", "chemo",
    "treatment", "tx", "biopsy", "intubation", "rehab", "covid", "inf", "infectious", "avp", "mva", "tbi", "mo",
    "phau", "mo", "chan", "thuong", "dot", "quy", "ant", "anterior", "auricular",
))  # fmt: skip
"""What a study is done after, or a part lies behind, that is no injection: "post op"."""


@lru_cache(_KEPT)
def description_cue(description: str, site: SiteWords = NONE) -> Cue:
    """What a description says of contrast."""
    words = _words(site.applied(description, "contrast"))
    classes = [_class_of(word) for word in words]
    found: list[Cue] = []
    at = 0
    while at < len(words):
        cue, at = _read(words, classes, at)
        found.append(cue)
    plain = set(found) - {Cue.SILENT}
    if Cue.DOUBTFUL in plain or len(plain) > 1:
        return Cue.DOUBTFUL
    return plain.pop() if plain else Cue.SILENT


def _read(words: Sequence[str], classes: Sequence[str], at: int) -> tuple[Cue, int]:
    """What the words from here on say first, and where the rest begins."""
    if classes[at] == "native":
        return Cue.DOUBTFUL if at and classes[at - 1] == "no" else Cue.NOT_GIVEN, at + 1
    if classes[at] not in (*_SIGNS, *_NOUNS):
        return Cue.SILENT, at + 1
    noun = _run(classes, at, _SIGNS)
    end = _run(classes, noun, (*_NOUNS, "filler"))
    signs = words[at:noun]
    if end == noun:
        return _alone(signs, words[noun : noun + 1]), noun
    kind, behind = _kinds(classes[noun:end]), _behind(words, classes, end)
    if not signs or _signs(signs) is Cue.SILENT:
        before = words[noun - 1] if noun else ""
        return _of_noun(before, kind, behind, words), end
    return _of_signs(signs, kind, behind), end


def _words(text: str) -> list[str]:
    normalized = f" {fold(text)} "
    for pattern, word in _WRITTEN:
        normalized = pattern.sub(word, normalized)
    found: list[str] = []
    for word in re.findall(r"[+-]s\b|[^\W_]+|[+&/]", normalized):
        glued = _GLUED.fullmatch(word)
        found += glued.groups() if glued and _class_of(word) not in ("native", "sure") else [word]
    return found


def _class_of(word: str) -> str:
    named = _CLASS.get(word)
    return named or next((name for stem, name in _STEMS if word.startswith(stem)), "")


def _run(classes: Sequence[str], at: int, kinds: Sequence[str]) -> int:
    """Where a row of words of these kinds ends."""
    while at < len(classes) and classes[at] in kinds:
        at += 1
    return at


def _kinds(classes: Sequence[str]) -> str:
    """The strongest word for contrast of a row."""
    return next(kind for kind in _NOUNS if kind in classes)


def _behind(words: Sequence[str], classes: Sequence[str], at: int) -> Cue:
    """What a mark or a "no" behind a word for contrast says: "IV+", "KM-", "contrast: none"."""
    mark = words[at] if at < len(words) else ""
    if mark == "+s":
        return Cue.GIVEN
    if mark == "-s":
        return Cue.NOT_GIVEN
    if not mark or classes[at] not in ("no", "without"):
        return Cue.SILENT
    if _run(classes, at + 1, ("filler",)) == len(words):
        return Cue.NOT_GIVEN
    return Cue.DOUBTFUL if classes[at] == "no" else Cue.SILENT


def _of_noun(before: str, kind: str, behind: Cue, words: Sequence[str]) -> Cue:
    """A word for contrast that no sign stands before."""
    if behind is not Cue.SILENT:
        return behind
    if kind == "short" or ({"tof", "asl"} & set(words) and kind in ("sure", "weak")):
        return Cue.SILENT
    if kind == "weak":
        return Cue.DOUBTFUL
    if kind == "sure":
        return Cue.GIVEN
    is_known = not before or before in _AROUND or before[0].isdigit() or before.upper() in (*PARTS, *BODY_PARTS)
    is_denied = {"without", "no", "before"} & {
        _class_of(word) for word in words
    }  # perhaps this: "without head contrast"
    return Cue.DOUBTFUL if is_denied or not (is_known or _class_of(before)) else Cue.GIVEN


def _of_signs(signs: Sequence[str], kind: str, behind: Cue) -> Cue:
    """A word for contrast with the signs before it."""
    cue = _signs(signs)
    if "oral" in signs or "orale" in signs or "uong" in signs:
        cue = Cue.DOUBTFUL
    if behind is not Cue.SILENT and behind is not cue:
        return Cue.DOUBTFUL
    if kind == "sure" and cue is Cue.NOT_GIVEN and not {_class_of(each) for each in signs} & {"before"}:
        return Cue.DOUBTFUL  # "non-angio" says what it is not
    return cue


def _signs(signs: Sequence[str]) -> Cue:
    """What a row of signs says together: "with and without" leaves it open, "không có" does not."""
    kinds = [_class_of(each) for each in signs]
    inner = [kind for kind in kinds if kind != "filler"]
    while inner and inner[0] == "joint":
        inner = inner[1:]
    positive = {"with", "after", "have"} & set(inner)
    negative = {"without", "no", "before"} & set(inner)
    if not positive or not negative:
        return Cue.GIVEN if positive else Cue.NOT_GIVEN if negative else Cue.SILENT
    is_both = "joint" in inner[1:-1] or "+" in signs or positive | negative >= {"with", "without"}
    return Cue.DOUBTFUL if is_both or "after" in positive or "before" in negative else Cue.NOT_GIVEN


def _alone(signs: Sequence[str], following: Sequence[str]) -> Cue:
    """Signs without a word for contrast behind them: "HEAD W/O", "T1 POST", "POST OP", "without gap"."""
    kinds = {_class_of(each) for each in signs}
    cue = _signs(signs)
    if cue is Cue.DOUBTFUL:
        return cue
    is_end = not following or following[0] in _AROUND or re.fullmatch(r"[0-9]+(mm)?", following[0])
    last = signs[-1]
    if "after" in kinds and "sau" not in signs:
        if following and following[0] in _AFTER_SOMETHING_ELSE:
            return Cue.SILENT
        return Cue.GIVEN if is_end and last == "post" else Cue.DOUBTFUL
    if not following and ("without" in kinds or "before" in kinds):
        return Cue.NOT_GIVEN
    if not following and last in ("with", "avec", "mit"):
        return Cue.DOUBTFUL
    return Cue.SILENT
