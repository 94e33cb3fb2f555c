"""`orient`: a volume's axes in the order, and toward the directions, of three letters; or as they are stored."""

from collections.abc import Mapping
from typing import Any, Final

from imaging.domain.tables import Table
from imaging.preparation.step import VOLUME, StepKind

COLUMN_FIRST: Final = "column-row-slice"
"""As they are stored, the other way round: as ITK's readers give a volume to who asks for no directions."""
_OPPOSITE: Final[Mapping[str, str]] = {"L": "R", "P": "A", "I": "S"}


def _options(table: Table) -> dict[str, Any]:
    to = table.text("to")
    if to and to != COLUMN_FIRST and sorted(_OPPOSITE.get(letter, letter) for letter in to) != ["A", "R", "S"]:
        rule = "must be one letter each of R or L, A or P, S or I, in the array's order, such as "
        rule += f'"RAS", or "{COLUMN_FIRST}"'
        table.fault("to", to, rule, "to-form")
    return {"to": to}


STEP = StepKind(VOLUME, _options, asks=lambda options: {"toward": options["to"]}, is_once=True)
