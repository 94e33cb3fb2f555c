"""`resample`: a volume at another spacing."""

from typing import Any

from imaging.domain.tables import Table
from imaging.preparation.step import VOLUME, Options, StepKind


def _options(table: Table) -> dict[str, Any]:
    return {"spacing": table.numbers("spacing", 3, 0.05), "mode": table.choice("mode", ("linear", "nearest"), "linear")}


def _asks(options: Options) -> Options:
    return {"spacing_mm": options["spacing"], "is_nearest": options.get("mode") == "nearest"}


STEP = StepKind(VOLUME, _options, asks=_asks, is_once=True)
