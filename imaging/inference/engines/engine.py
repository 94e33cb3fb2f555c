"""What runs weights: the narrow form that each kind of engine has, and what an engine is on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from imaging.domain.card import Card
from imaging.preparation.array import Tensor

Arrays = Mapping[str, Tensor]
"""By name, a batch along the first axis of each."""


@dataclass(frozen=True)
class Identity:
    """What computes an answer, as far as answers may differ by it.

    `name`, `version`: of the library. `provider`: what of it computes. `precision`: of the arithmetic. `device`: the
    kind of processor. `threads`: of one run.
    """

    name: str
    version: str
    provider: str
    precision: str
    device: str
    threads: int

    @property
    def facts(self) -> dict[str, str]:
        """What a report states: the same wherever the same library runs, so that one input gives the same bytes."""
        return {"engine": f"{self.name} {self.version}", "precision": self.precision, "provider": self.provider}

    @property
    def proof(self) -> str:
        """What a golden case has to be run again for, if it changes."""
        return f"{self.name} {self.version} {self.provider} {self.precision} {self.device}"


class Engine(Protocol):
    """A loaded network. Calls from several threads are safe, and one input gives one output on one machine."""

    @property
    def identity(self) -> Identity: ...

    @property
    def max_batch(self) -> int:
        """How many items it had best be given at once."""

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """The network's outputs by their names, float32, in the shapes that the card wants, for its inputs by theirs.

        `is_alone`: no other call is expected meanwhile. Raises PublicError.
        """

    def close(self) -> None:
        """Gives the memory back. Nothing may be run afterwards."""


def threads_of(card: Card, threads: int) -> tuple[int, int]:
    """Of a lone run, and of each that has others beside it. A lone film has all; a volume is always alone."""
    if card.lane.is_side_by_side:
        return threads, min(card.engine.threads or 1, threads)
    own = min(card.engine.threads or threads, threads)
    return own, own
