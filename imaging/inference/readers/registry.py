"""The readers by the kind of input that each reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from imaging.domain.card import Card, FilmInput, Input, VolumeInput
from imaging.domain.gates import Verdict
from imaging.domain.source import Source
from imaging.inference.prepared import Prepared
from imaging.inference.readers import films, stacked, volumes


class Reader(Protocol):
    """Reads and prepares what an input takes of a study."""

    def __call__(
        self,
        card: Card,
        card_input: Input,
        sources: Sequence[Source],
        verdict_by_uid: Mapping[str, Verdict],
        threads: int,
    ) -> Prepared:
        """`verdict_by_uid`: what each instance is to the input, by UID. Raises NotAnalysable where nothing can be
        used.
        """


READERS: Final[Mapping[str, Reader]] = {FilmInput.kind: films.read, VolumeInput.kind: volumes.read}

SEVERAL: Final[Mapping[str, Callable[..., Prepared]]] = {
    FilmInput.kind: films.read_roles,
    VolumeInput.kind: stacked.read,
}
"""The readers of cards of several inputs, which are all of one kind."""


def read(
    card: Card, sources: Sequence[Source], verdict_by_uid: Mapping[str, Mapping[str, Verdict]], threads: int
) -> Prepared:
    """What a card takes of a study. `verdict_by_uid`: by role, what each instance is to it. Raises NotAnalysable."""
    if len(card.inputs) > 1:
        several = SEVERAL[card.inputs[0].kind]
        return several(card, sources, verdict_by_uid, threads)
    (card_input,) = card.inputs
    return READERS[card_input.kind](card, card_input, sources, verdict_by_uid[card_input.role], threads)
