"""What a library says of an error, by as much of it as may be told."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from imaging.domain.faults import PublicError, is_out_of_memory

MAX_TEXT: Final = 500
"""Characters of a library's words that are told."""


@contextmanager
def in_its_words(what: str, redact: Callable[[str], str]) -> Iterator[None]:
    """Raises PublicError with what the library says of an error, redacted. Lack of memory stays what it is."""
    try:
        yield
    except PublicError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(redact(str(error)).split())
        raise PublicError(f"{what}: {text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + '...'}") from error


def without_values(text: str) -> str:
    """What a library says of a failed run, without numbers that are no shape: they may come from the pixels."""
    return _NUMBER.sub(lambda match: match["shape"] or "#", text)


_NUMBER: Final = re.compile(
    r"(?P<shape>[{[][\d,\s?]*[}\]]|\b\d+ by \d+\b)"  # as libraries write shapes
    r"|(?<![A-Za-z_\d./])-?\d[\d.]*(?:[eE][-+]?\d+)?"  # any other number that stands by itself
)
