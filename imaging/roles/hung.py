"""What is remembered of models that hang, between one worker and the next."""

from pathlib import Path

from imaging.domain.card import Card


class Hung:
    """Models that never ended when they were loaded or tried, each by the digest of its card: a file of the home.

    A native call cannot be interrupted, so that the worker ends; the next one is not to hang as well. The file is
    removed when `imaging serve` starts: then each is tried again.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.hung"

    def note(self, card: Card) -> str:
        """Writes down that a model hung. Returns the words for it."""
        with self._file.open("a") as file:
            file.write(f"{card.id} {card.digest}\n")
        return f"the model {card.id} did not come to an end when it was started"

    def why_not(self, card: Card) -> str:
        """Why a model is not to be tried; empty where it is."""
        if not self._file.exists() or f"{card.id} {card.digest}" not in self._file.read_text().splitlines():
            return ""
        return "it did not come to an end when it was started; it is tried again when `imaging serve` starts"

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)
