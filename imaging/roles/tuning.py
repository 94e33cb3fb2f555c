"""Measures in which way a model is run best on this machine: each way in a confined process of its own, in turns with
the card's own way, so that whatever else the machine does meanwhile slows both.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from imaging.confined.analyser import ConfinedAnalyser
from imaging.confined.client import Confined
from imaging.domain.card import Card
from imaging.domain.faults import PublicError, fingerprint
from imaging.domain.tuning import Measured, Parity, Setup, Tuning, best
from imaging.models import candidates
from imaging.models.tuning import made_with

ROUNDS: Final = 5
ENOUGH: Final = 2
SLOW: Final = 0.6
"""Of the card's own speed: a way that reaches less in each of its first rounds is not measured further."""
SHORTEST_S: Final = 0.2
LONGEST_S: Final = 3.0
"""Of a turn."""

Say = Callable[[str], None]


class CannotTune(PublicError):
    """The card's own way cannot be run: there is nothing to compare with."""


def tune(card: Card, *, threads: int, memory_mb: float | None, seconds: float, at: datetime, say: Say) -> Tuning:
    """Measures for so many seconds, or little more, and chooses. `memory_mb`: the limit of a worker. `say`: progress.

    Raises CannotTune.
    """
    with _Tuner(card, threads, memory_mb, seconds, say) as tuner:
        rows = tuner.rows()
        chosen = tuner.proven(rows)
    return Tuning(card.id, card.version, at.isoformat(timespec="seconds"), threads, made_with(card), rows, chosen)


@dataclass
class _Running:
    """A way that is loaded, in its process."""

    setup: Setup
    confined: Confined
    analyser: ConfinedAnalyser
    speeds: list[dict[str, float]] = field(default_factory=list)

    def turn(self, turn_s: float, limit_s: float) -> float:
        """Measures once more; returns items a second. Raises PublicError, MemoryError."""
        self.speeds.append(dict(self.analyser.speed(turn_s, limit_s)))
        return self.speeds[-1]["per_s"]

    def measured(self, gain: float, parity: Parity | None = None) -> Measured:
        """The medians of its turns."""
        per_s, alone_ms, memory_mb = (
            round(statistics.median(each[name] for each in self.speeds), 2)
            for name in ("per_s", "alone_ms", "memory_mb")
        )
        return Measured(self.setup, per_s, alone_ms, round(gain, 3), memory_mb, parity)


class _Tuner:
    """The card's own way, running, and others beside it one after another."""

    def __init__(self, card: Card, threads: int, memory_mb: float | None, seconds: float, say: Say) -> None:
        self._card, self._threads, self._memory_mb, self._say = card, threads, memory_mb, say
        self._until = time.monotonic() + seconds
        self._own_setup = candidates.own(card, threads)
        self._start_s = 0.0
        """What it takes to start a process, to load a network and to run what is known."""
        self._parities: dict[tuple[str, str], Parity] = {}

    def __enter__(self) -> "_Tuner":
        self._say(f"{self._card.id}: {self._own_setup}: the card's own")
        began = time.monotonic()
        try:
            self._reference = self._observed()
            self._start_s = time.monotonic() - began
            self._until -= self._start_s  # in which the choice is compared once more
            self._own = self._start(self._own_setup)
            try:
                self._own.turn(self._turn_s(self._count()), self._limit_s)
            except BaseException:
                self._own.confined.close()
                raise
        except MemoryError:
            raise CannotTune(f"{self._card.id}: {_NO_MEMORY}") from None
        except Exception as error:
            raise CannotTune(f"{self._card.id} cannot be run as its card says: {fingerprint(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._own.confined.close()

    def _observed(self) -> Any:
        """What parity is measured against."""
        running = self._start(candidates.reference(self._card, self._threads))
        try:
            return running.analyser.observe(self._limit_s)
        finally:
            running.confined.close()

    def _start(self, setup: Setup) -> _Running:
        """Loads a way in a process of its own. Raises PublicError, MemoryError."""
        confined = Confined([self._card], threads=self._threads, memory_mb=self._memory_mb)
        try:
            analyser = ConfinedAnalyser(confined, self._card, setup=setup)
            analyser.warm()
            return _Running(setup, confined, analyser)
        except BaseException:
            confined.close()
            raise

    @property
    def _left_s(self) -> float:
        return self._until - time.monotonic()

    @property
    def _limit_s(self) -> float:
        """What one request may take: what is left, and in any case what the card allows a job."""
        return max(self._left_s, self._card.engine.seconds)

    def _count(self) -> int:
        """How many ways there are."""
        firsts = [self._own_setup, *candidates.others(self._card, self._threads)]
        return sum(1 + len(list(candidates.variants(each, self._card, self._threads))) for each in firsts)

    def _turn_s(self, ways: int) -> float:
        """Of each turn, where so many ways are still to be measured."""
        each = self._left_s / max(1, ways) - self._start_s
        return min(LONGEST_S, max(SHORTEST_S, each / (2 * ROUNDS)))

    def rows(self) -> list[Measured]:
        """What came of each way, in the order in which they were tried: the card's own first. Engines and precisions
        come first, then other threads and batches of the fastest of them, as far as the time goes.
        """
        firsts, ways = candidates.others(self._card, self._threads), self._count()
        rows: list[Measured] = []
        for setup in firsts:
            rows.append(self._measured(setup, ways - len(rows)))
        own = [Measured(self._own_setup, gain=1.0)]
        ranked = sorted((each for each in own + rows if each.is_eligible), key=lambda each: -(each.gain or 0.0))
        more = [each for row in ranked for each in candidates.variants(row.setup, self._card, self._threads)]
        for number, setup in enumerate(more):
            rows.append(self._measured(setup, len(more) - number))
        return [self._own.measured(1.0), *rows]

    def _measured(self, setup: Setup, ways: int) -> Measured:
        """What a way gives; whatever happens to it is its row's."""
        if self._left_s < self._start_s:
            return self._told(Measured(setup, why="not measured: the time was over (--seconds)"))
        try:
            running = self._start(setup)
        except MemoryError:
            return self._told(Measured(setup, why=_NO_MEMORY))
        except Exception as error:  # noqa: BLE001 (a way that cannot be loaded is one that is not chosen)
            return self._told(Measured(setup, why=fingerprint(error)))
        try:
            return self._told(self._in_turns(running, ways))
        finally:
            running.confined.close()

    def _in_turns(self, running: _Running, ways: int) -> Measured:
        parity: Parity | None = None
        try:
            parity = self._parity(running)
            if not parity.holds:
                return Measured(running.setup, parity=parity)
            gains = self._gains(running, self._turn_s(ways))
        except MemoryError:
            return Measured(running.setup, parity=parity, why=_NO_MEMORY)
        except Exception as error:  # noqa: BLE001 (likewise)
            return Measured(running.setup, parity=parity, why=fingerprint(error))
        return running.measured(statistics.median(gains), parity)

    def _parity(self, running: _Running) -> Parity:
        """Threads and batches change next to nothing of it: asked once for an engine and its precision, and again of
        what is chosen."""
        which = (running.setup.engine, running.setup.kind_of_numbers)
        if which not in self._parities:
            if which == (self._own_setup.engine, self._own_setup.kind_of_numbers) == self._of_reference:
                return Parity(0.0, 0, None, self._card.golden is not None)
            self._parities[which] = running.analyser.parity(self._reference, self._limit_s)
        return self._parities[which]

    @property
    def _of_reference(self) -> tuple[str, str]:
        setup = candidates.reference(self._card, self._threads)
        return setup.engine, setup.kind_of_numbers

    def _gains(self, running: _Running, turn_s: float) -> list[float]:
        """In each round, how many times as fast as the card's own way it is."""
        gains: list[float] = []
        while len(gains) < (ENOUGH if all(each < SLOW for each in gains) else ROUNDS):
            own = self._own.turn(turn_s, self._limit_s)
            gains.append(running.turn(turn_s, self._limit_s) / own)
            if self._left_s < 0:
                break
        return gains

    def _told(self, row: Measured) -> Measured:
        self._say(f"{self._card.id}: {row.setup}: {told(row)}")
        return row

    def proven(self, rows: list[Measured]) -> Setup:
        """The best way whose own answers, with its threads and batch, are those of the card's. Rows that fail are
        changed to say so.
        """
        while (chosen := best(rows)) != self._own_setup:
            at = next(at for at, each in enumerate(rows) if each.setup == chosen)
            try:
                running = self._start(chosen)
                try:
                    rows[at] = replace(rows[at], parity=running.analyser.parity(self._reference, self._limit_s))
                finally:
                    running.confined.close()
            except Exception as error:  # noqa: BLE001 (it is not chosen)
                rows[at] = replace(rows[at], why=fingerprint(error))
            if rows[at].is_eligible:
                return chosen
            self._told(rows[at])
        return chosen


_NO_MEMORY: Final = "it needs more memory than a worker has (--worker-memory-mb)"


def told(row: Measured) -> str:
    """A row in words."""
    if row.why:
        return row.why
    if row.parity is not None and not row.parity.holds:
        return f"failed parity: {row.parity}"
    return f"{row.per_s:.3g}/s, {row.gain:.2f} times the card's own; alone {row.alone_ms:.0f} ms"
