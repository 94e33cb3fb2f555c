"""What there is to know of a kind of step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from imaging.domain.card import Input
from imaging.domain.tables import Table
from imaging.preparation.array import Array
from imaging.preparation.ranges import Range

Options = Mapping[str, Any]
Sizes = tuple[int, ...]
Fault = tuple[str, object, str, str]
"""Key of the step, value, the rule that they break, and its name."""

FILM: Final = ("film",)
VOLUME: Final = ("volume",)
BOTH: Final = (*FILM, *VOLUME)


def _no_faults(options: Options, card_input: Input, channels: int) -> Iterator[Fault]:
    yield from ()


def _same_range(values: Range, options: Options) -> tuple[str, Range | None]:
    return "", values


@dataclass(frozen=True)
class StepKind:
    """A kind of step.

    `takes`: the kinds of input that it can prepare. `options` takes its keys out of a step's table. `run` changes an
    array. A step of geometry has `asks` in its place: what it asks of a film or volume when that is made into an array,
    in one pass with the others, so that such steps come before all others. `is_once`: a card may have but one.

    `faults`: what does not hold of its options, for an input, where there are so many channels. `channels` and `sizes`:
    how many there are afterwards, and the sizes that an array of any study then has; None where it leaves them as they
    are. `range`: what is odd about it where values lie in a range, and the range of what it leaves; None: the image's
    own statistics, which nobody knows beforehand.
    """

    takes: tuple[str, ...]
    options: Callable[[Table], dict[str, Any]]
    run: Callable[..., Array] | None = None
    asks: Callable[[Options], Options] | None = None
    is_once: bool = False
    faults: Callable[[Options, Input, int], Iterator[Fault]] = _no_faults
    channels: Callable[[Options], int] | None = None
    sizes: Callable[[Options, Sizes | None], Sizes | None] | None = None
    range: Callable[[Range, Options], tuple[str, Range | None]] = _same_range

    @property
    def is_of_values(self) -> bool:
        """Whether the step changes values where they are, and nothing else: it may be of some channels alone."""
        return self.range is not _same_range

    @property
    def is_geometry(self) -> bool:
        """Whether the step changes the grid, and not only the values."""
        return self.asks is not None


def span(table: Table, low: str, high: str, least_of: float = -1e6, most_of: float = 1e6) -> dict[str, Any]:
    """Two numbers, the first less than the second."""
    minimum, maximum = table.number(low, None, least_of, most_of), table.number(high, None, least_of, most_of)
    if minimum >= maximum:
        table.fault(low, minimum, f"must be less than {high}", f"{low}-range")
    return {low: minimum, high: maximum}
