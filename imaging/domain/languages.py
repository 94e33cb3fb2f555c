"""The languages of pages and reports, by their tags (RFC 5646).

Their texts stand in `imaging/web/catalogues` (pages) and `imaging.results.sentences` (reports); what is understood of
other people's objects, in any language, in `imaging.domain.free_text`.
"""

from typing import Final, Literal, get_args

Language = Literal["vi", "fr", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
