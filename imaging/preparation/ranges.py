"""The ranges that values lie in on their way through the steps: a step for another range leaves next to nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from imaging.domain.card import FilmInput, Input
from imaging.domain.image_kind import FILMS

MIN_SHARE: Final = 0.05
"""Of 0..1, or of a window: what an image's values must take of it at least to be more than one grey."""
FINEST: Final = 1 / 400
"""Of the values' range: a window, or a deviation, that is finer makes two greys of an image. About 10 HU."""


@dataclass(frozen=True)
class Range:
    """The range that values lie in. `label`: what they are, in words."""

    low: float
    high: float
    label: str

    @property
    def width(self) -> float:
        """How far apart the ends are."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.label}, {self.low:g} to {self.high:g}"


FILM: Final = Range(0.0, 1.0, "a film's values, black to white as shown")
CT: Final = Range(-1024.0, 3071.0, "a CT's Hounsfield units")
OTHER: Final = Range(0.0, 4095.0, "stored values of 12 bits, after rescale")


def entering(card_input: Input) -> Iterator[Range]:
    """What enters the first step, for each modality that the input takes."""
    for each in sorted(card_input.modality):
        is_film = isinstance(card_input, FilmInput) or each in FILMS
        yield FILM if is_film else CT if each == "CT" else OTHER
