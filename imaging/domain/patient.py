"""What tells patients apart where an identifier is missing: their names."""

import unicodedata
from collections.abc import Iterable


def names_agree(patients: Iterable[tuple[str, str]]) -> bool:
    """Whether no name speaks of a second patient; `patients`: Patient ID and Patient's Name of each image.

    A name counts only where there is no identifier: what has the same one is the same patient however it is spelt. An
    absent name contradicts nobody; case, marks and the order of a name's parts make no difference.
    """
    known = {(value, _plain(name)) for value, name in patients if _plain(name)}
    unidentified = {name for value, name in known if not value}
    identified = {name for value, name in known if value}
    return unidentified <= identified if identified else len(unidentified) <= 1


def _plain(name: str) -> tuple[str, ...]:
    """The parts of a name's first group (PS3.5 6.2.1) as they are compared."""
    first = next((group for group in name.split("=") if group.strip(" ^")), "")
    letters = unicodedata.normalize("NFKD", first.casefold().replace("đ", "d"))
    return tuple(
        sorted("".join(" " if each == "^" else each for each in letters if not unicodedata.combining(each)).split())
    )
