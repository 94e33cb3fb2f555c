"""How a model is run on a machine, as `imaging models tune` measured it: the settings, what each gave, the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from imaging.domain.card import CONTIGUOUS, Card

NEAR: Final = 1.1
"""Settings whose speeds differ by no more are as fast as each other: less is the noise of a machine that does more."""


@dataclass(frozen=True)
class Setup:
    """One way to run a card's network.

    `engine`: a kind of engine. `precision`: of its arithmetic. `threads`: of each run while jobs wait (films run side
    by side then; a lone one has all threads). `batch`: items of one run: films, or patches of a volume.
    `memory_format`: how torch lays images out: "contiguous", or "channels-last", whose sums round otherwise.
    """

    engine: str
    precision: str
    threads: int
    batch: int
    memory_format: str = CONTIGUOUS

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.engine} {self.kind_of_numbers}, {threads}, batch {self.batch}"

    @property
    def kind_of_numbers(self) -> str:
        """Precision and memory format: of what the answers depend, beside the engine."""
        return self.precision if self.memory_format == CONTIGUOUS else f"{self.precision} {self.memory_format}"

    def applied_to(self, card: Card) -> Card:
        """The card, run in this way. Its digest stays: it is the same model, with the same weights."""
        window = card.engine.window
        engine = replace(
            card.engine,
            kind=self.engine,  # type: ignore[arg-type]  # a setup was measured with an engine of this kind
            precision=self.precision,
            threads=self.threads,
            memory_format=self.memory_format,
            is_tuned=True,
            at_once=1 if window is not None else self.batch,
            window=replace(window, batch=self.batch) if window is not None else None,
        )
        return replace(card, engine=engine)


@dataclass(frozen=True)
class Parity:
    """How far a setting's answers are from those of the card's own engine at its own precision.

    `difference`: the largest of a probability; None where none was compared. `crossed`: findings that are present with
    one and not with the other. `dice`: the least of a mask; None where the card has no masks. `on_golden`: whether it
    was the golden case; else drawn images.
    """

    difference: float | None
    crossed: int
    dice: float | None
    on_golden: bool

    @property
    def holds(self) -> bool:
        """Whether the setting may be chosen."""
        is_near = (self.difference or 0.0) <= MAX_DIFFERENCE and not self.crossed
        return is_near and (self.dice is None or self.dice >= MIN_DICE)

    def __str__(self) -> str:
        parts = [f"probabilities within {self.difference:.3g}"] if self.difference is not None else []
        parts += [f"{self.crossed} thresholds crossed"] if self.crossed else []
        parts += [f"Dice {self.dice:.5f}"] if self.dice is not None else []
        return f"{', '.join(parts)} on {'the golden case' if self.on_golden else 'drawn images'}"


MAX_DIFFERENCE: Final = 0.01
MIN_DICE: Final = 0.999


@dataclass(frozen=True)
class Measured:
    """What a setting gave. `per_s`: items a second while jobs wait; `alone_ms`: of one with nothing beside it.

    `gain`: `per_s` by that of the card's own setting, measured in turns with it. `memory_mb`: the most that its process
    held. `why`: why it was not measured, or was left before the end; then figures are absent.
    """

    setup: Setup
    per_s: float | None = None
    alone_ms: float | None = None
    gain: float | None = None
    memory_mb: float | None = None
    parity: Parity | None = None
    why: str = ""

    @property
    def is_eligible(self) -> bool:
        """Whether it was measured, and gives the card's own answers."""
        return self.gain is not None and not self.why and (self.parity is None or self.parity.holds)


@dataclass(frozen=True)
class Tuning:
    """What was measured for a model on a machine. `at`: when, in ISO 8601. `threads`: of all that could be used.

    `made_with`: all that the figures hold for; where one of it changes they hold no longer. `rows`: the first is the
    card's own setting. `chosen`: one of them.
    """

    model: str
    version: str
    at: str
    threads: int
    made_with: Mapping[str, str]
    rows: Sequence[Measured]
    chosen: Setup

    @property
    def own(self) -> Measured:
        """The card's own setting."""
        return self.rows[0]

    @property
    def choice(self) -> Measured:
        """What was measured of the chosen setting."""
        return next(each for each in self.rows if each.setup == self.chosen)

    def to_json(self) -> dict[str, Any]:
        """As the home keeps it and commands print it."""
        return asdict(self) | {"made_with": dict(self.made_with), "rows": [asdict(each) for each in self.rows]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises KeyError and TypeError where it is not of this form."""
        rows = [
            Measured(
                **{
                    **each,
                    "setup": Setup(**each["setup"]),
                    "parity": Parity(**each["parity"]) if each["parity"] else None,
                }
            )
            for each in data["rows"]
        ]
        return cls(**{**data, "rows": rows, "chosen": Setup(**data["chosen"])})


def best(rows: Sequence[Measured]) -> Setup:
    """The setting to run: the fastest of those that give the card's own answers; the card's own where it is as fast.

    `rows`: the first is the card's own setting. Of several that are as fast, that of the smallest batch, since it holds
    less memory, and the fewest threads; and of these, the one that answers a lone job first.
    """
    eligible = [each for each in rows if each.is_eligible]
    fastest = max((each.gain or 0.0 for each in eligible), default=0.0)
    near = [each for each in eligible if (each.gain or 0.0) * NEAR >= fastest]
    if rows[0] in near or not near:
        return rows[0].setup
    return min(near, key=lambda each: (each.setup.batch, each.setup.threads, each.alone_ms or 0.0)).setup
