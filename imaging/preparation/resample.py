"""`resample`: a volume at another spacing."""

from typing import Any

from imaging.domain.tables import Table
from imaging.preparation.step import VOLUME, Options, StepKind


def _options(table: Table) -> dict[str, Any]:
    options = {
        "spacing": table.numbers("spacing", 3, 0.05),
        "mode": table.choice("mode", ("linear", "nearest"), "linear"),
    }
    return options | ({"beyond": table.choice("beyond", ("air", "border"))} if table.has("beyond") else {})


def _asks(options: Options) -> Options:
    nearest, repeated = options.get("mode") == "nearest", options.get("beyond") == "border"
    return {"spacing_mm": options["spacing"], "is_nearest": nearest, "is_border_repeated": repeated}


STEP = StepKind(VOLUME, _options, asks=_asks, is_once=True)
