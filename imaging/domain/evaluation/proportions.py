"""Shares and ratios of shares, with their intervals of 95 %."""

import math
from dataclasses import dataclass
from typing import Final

Interval = tuple[float, float]

Z95: Final = 1.959963984540054
"""How many standard errors on either side hold 95 %."""


@dataclass(frozen=True)
class Share:
    """`hits` of `total`."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """None where there is nothing to be a share of."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's score interval (1927)."""
        return wilson(self.hits, self.total) if self.total else None


def wilson(hits: int, total: int) -> Interval:
    """Wilson's score interval of a share. `total` is at least 1."""
    share, square = hits / total, Z95 * Z95
    middle = share + square / (2 * total)
    half = Z95 * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@dataclass(frozen=True)
class Ratio:
    """A likelihood ratio. `is_corrected`: a half was added to each of the four counts, as one of them is 0."""

    value: float
    interval: Interval
    is_corrected: bool = False


def likelihood_ratio(hits: Share, alarms: Share) -> Ratio | None:
    """LR+: how many times as often the finding is called with it (`hits`) as without it (`alarms`).

    The interval is that of its logarithm (Simel, Samsa and Matchar 1991). Without a hit or without a false alarm the
    ratio would be 0 or infinite and its interval undefined: a half is then added to each count (Haldane, Anscombe).
    None where studies of one kind are missing.
    """
    if not hits.total or not alarms.total:
        return None
    is_corrected = not hits.hits or not alarms.hits
    add = 0.5 if is_corrected else 0.0
    found, with_it = hits.hits + add, hits.total + 2 * add
    false, without = alarms.hits + add, alarms.total + 2 * add
    ratio = (found / with_it) / (false / without)
    error = math.sqrt(1 / found - 1 / with_it + 1 / false - 1 / without)
    low, high = ratio * math.exp(-Z95 * error), ratio * math.exp(Z95 * error)
    return Ratio(ratio, (low, high), is_corrected)
