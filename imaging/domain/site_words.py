"""What a site's own words mean: `CHEST=nguc thang`, `no-contrast=tron`. Read beside those that everybody writes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imaging.domain.folding import fold
from imaging.domain.free_text import BODY_PARTS

VIEWS: Final = ("PA", "AP", "FRONTAL", "LATERAL")
CONTRAST: Final = {"contrast": "contrast", "no-contrast": "native"}
WEIGHTINGS: Final = ("t1", "t2", "pd", "flair")
"""What words may mean, besides a body part of PS3.16; of contrast with the word that descriptions are read by."""


@dataclass(frozen=True)
class SiteWord:
    """One entry. `kind`: what question it answers ("part", "view", "contrast", "weighting"); `phrase`: folded words."""

    kind: str
    meaning: str
    phrase: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "SiteWord":
        """An entry of the setting. Raises ValueError, which says the form wanted."""
        meaning, equals, words = (each.strip() for each in text.partition("="))
        phrase = tuple(_words_of(words))
        if not equals or not meaning:
            raise ValueError("is not of the form MEANING=WORDS, such as CHEST=nguc thang or no-contrast=tron")
        if not phrase:
            raise ValueError(f"has no words for {meaning}; expected MEANING=WORDS, such as CHEST=nguc thang")
        if meaning.lower() in CONTRAST:
            return cls("contrast", CONTRAST[meaning.lower()], phrase)
        if meaning.lower() in WEIGHTINGS:
            return cls("weighting", meaning.lower(), phrase)
        if meaning.upper() in VIEWS:
            return cls("view", meaning.upper(), phrase)
        if meaning.upper() in BODY_PARTS:
            return cls("part", meaning.upper(), phrase)
        known = ", ".join((*VIEWS, *CONTRAST, *WEIGHTINGS))
        raise ValueError(f"has the meaning {meaning!r}; expected {known} or a body part of PS3.16 such as CHEST")


@dataclass(frozen=True)
class SiteWords:
    """A site's words, in the order in which they are looked for: the longer phrase first."""

    entries: tuple[SiteWord, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str]) -> "SiteWords":
        """Those of the setting's entries. Raises ValueError."""
        entries = {SiteWord.parse(each) for each in texts}
        return cls(tuple(sorted(entries, key=lambda each: (-len(each.phrase), each.phrase, each.meaning))))

    def applied(self, text: str, kind: str) -> str:
        """A text with the site's words for this question replaced by those that everybody understands."""
        mine = [each for each in self.entries if each.kind == kind]
        if not mine:
            return text
        meanings = {" ".join(each.phrase): each.meaning for each in mine}
        phrases = "|".join(r"[\W_]+".join(map(re.escape, each.phrase)) for each in mine)
        found = re.compile(rf"(?<![^\W_])(?:{phrases})(?![^\W_])")
        return found.sub(lambda match: f" {meanings[' '.join(_words_of(match[0]))]} ", fold(text))


NONE: Final = SiteWords()


def contradictions(entries: Sequence[SiteWord]) -> list[str]:
    """Phrases that are said to mean two things of one kind."""
    meanings: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for each in entries:
        meanings.setdefault((each.kind, each.phrase), set()).add(each.meaning)
    return sorted(" ".join(phrase) for (_, phrase), texts in meanings.items() if len(texts) > 1)


def _words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", fold(text))
