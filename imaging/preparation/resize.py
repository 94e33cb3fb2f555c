"""`resize`: a film at another size. What it does with another aspect stands in `imaging.inference.film`."""

from typing import Any

from imaging.domain.tables import Table
from imaging.preparation.step import FILM, StepKind


def _options(table: Table) -> dict[str, Any]:
    rows, columns = table.numbers("shape", 2, 1, whole=True)
    aspect = table.choice("aspect", ("stretch", "pad", "crop"), "stretch")
    if not table.flag("antialias", True):
        table.fault("antialias", False, "only antialias = true is supported", "antialias-unsupported")
    return {"shape": (int(rows), int(columns)), "aspect": aspect}


STEP = StepKind(
    FILM, _options, asks=lambda options: options, is_once=True, sizes=lambda options, before: options["shape"]
)
