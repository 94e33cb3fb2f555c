"""How an error of ours is named where patients' data must not go: logs, the ledger, the page."""

import traceback
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]


class PublicError(Exception):
    """A fault of ours, or of a model's, whose text says what is wrong and holds no patient's data: it may be shown,
    sent and logged. Of any other error only the fingerprint may.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not memory enough; engines say so by their text alone."""
    text = str(error)
    return isinstance(error, MemoryError) or any(each in text for each in _NO_MEMORY)


_NO_MEMORY: Final = ("Failed to allocate memory", "bad_alloc", "can't allocate memory", "CUDA out of memory")
"""As ONNX Runtime, C++ and torch say it."""


def fingerprint(error: BaseException) -> str:
    """An error's type and the last line of ours that it passed. Never its text, which may quote a patient's data.

    What may be told is told as it stands.
    """
    if isinstance(error, PublicError):
        return str(error)
    files = [(Path(frame.filename).resolve(), frame) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(file, frame) for file, frame in files if file.is_relative_to(_PACKAGE)]
    if not ours:
        return type(error).__name__
    file, frame = ours[-1]
    return f"{type(error).__name__} at {file.relative_to(_PACKAGE)}:{frame.lineno} in {frame.name}"
