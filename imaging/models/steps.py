"""The closed set of preparation steps, and the options that each has.

What a step does stands in `imaging.inference.prepare`, under the same name; a test holds the two together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from imaging.models.tables import Table


@dataclass(frozen=True)
class Rule:
    """`options` takes a step's keys out of its table; `takes` says what it can prepare: film, volume."""

    options: Callable[[Table], dict[str, Any]]
    takes: tuple[str, ...]


MOST_CHANNELS: Final = 16
"""That an input may have: each is a whole image more."""
BOTH: Final = ("film", "volume")


def _resize(table: Table) -> dict[str, Any]:
    rows, columns = table.numbers("shape", 2, 1, whole=True)
    aspect = table.choice("aspect", ("stretch", "pad", "crop"), "stretch")
    if not table.flag("antialias", True):
        table.fault("antialias", False, "only antialias = true is supported", "antialias-unsupported")
    return {"shape": (int(rows), int(columns)), "aspect": aspect}


def _zscore(table: Table) -> dict[str, Any]:
    return {"nonzero": table.flag("nonzero", False)}


def _orient(table: Table) -> dict[str, Any]:
    to = table.text("to")
    if to and sorted(_OPPOSITE.get(letter, letter) for letter in to) != ["A", "R", "S"]:
        rule = 'must be one letter each of R or L, A or P, S or I, in the array\'s order, such as "RAS"'
        table.fault("to", to, rule, "to-form")
    return {"to": to}


_OPPOSITE: Final[Mapping[str, str]] = {"L": "R", "P": "A", "I": "S"}


def _resample(table: Table) -> dict[str, Any]:
    return {"spacing": table.numbers("spacing", 3, 0.05), "mode": table.choice("mode", ("linear", "nearest"), "linear")}


def _window(table: Table) -> dict[str, Any]:
    return _span(table, "low", "high")


def _span(table: Table, low: str, high: str, least_of: float = -1e6, most_of: float = 1e6) -> dict[str, Any]:
    least, most = table.number(low, None, least_of, most_of), table.number(high, None, least_of, most_of)
    if least >= most:
        table.fault(low, least, f"must be less than {high}", f"{low}-range")
    return {low: least, high: most}


def _percentile(table: Table) -> dict[str, Any]:
    return _span(table, "lower", "upper", 0.0, 100.0)


def _scale(table: Table) -> dict[str, Any]:
    factor = table.number("factor", 1.0, -1e6, 1e6)
    if factor == 0.0:
        table.fault("factor", factor, "would make all values one: must not be 0", "factor-range")
    return {"factor": factor, "offset": table.number("offset", 0.0, -1e6, 1e6)}


def _normalize(table: Table) -> dict[str, Any]:
    mean, std = table.one_or_more("mean", -1e6, 1e6), table.one_or_more("std", 1e-6, 1e6)
    if len(mean) != len(std):
        table.fault("std", list(std), f"has {len(std)} numbers, and mean has {len(mean)}", "std-length")
        std = (1.0,) * len(mean)
    return {"mean": mean, "std": std}


def _crop_centre(table: Table) -> dict[str, Any]:
    said = table.untaken("shape")
    count = 2 if isinstance(said, list) and len(said) == 2 else 3  # which of them the card takes is asked later
    return {"shape": tuple(int(n) for n in table.numbers("shape", count, 1, whole=True))}


def _pad_multiple(table: Table) -> dict[str, Any]:
    return {"of": table.whole("of", None, 2, 512)}


def _repeat_channels(table: Table) -> dict[str, Any]:
    return {"count": table.whole("count", 3, 2, MOST_CHANNELS)}


STEPS: Final[Mapping[str, Rule]] = {
    "resize": Rule(_resize, ("film",)),
    "zscore": Rule(_zscore, BOTH),
    "window": Rule(_window, BOTH),
    "percentile": Rule(_percentile, BOTH),
    "scale": Rule(_scale, BOTH),
    "normalize": Rule(_normalize, BOTH),
    "repeat-channels": Rule(_repeat_channels, BOTH),
    "orient": Rule(_orient, ("volume",)),
    "resample": Rule(_resample, ("volume",)),
    "crop-centre": Rule(_crop_centre, BOTH),
    "pad-multiple": Rule(_pad_multiple, ("volume",)),
}
GEOMETRY: Final = frozenset({"resize", "orient", "resample"})
"""Steps that are done in one pass over the stored values, so that they come before all others."""
ONCE: Final = GEOMETRY | {"repeat-channels"}
"""Steps that a card may have but once."""
