"""Keys that findings of several kinds have."""

import re
from collections.abc import Sequence
from typing import Any, Final

from imaging.domain.card import Calibration
from imaging.domain.codes import Code
from imaging.domain.tables import Table

AT_LEAST: Final = re.compile(r">=\s*(\d+(?:\.\d+)?)")


def read_common(table: Table, channel: int | None = None) -> dict[str, Any]:
    """What each finding that has a channel and a probability may say. `channel`: where it is known already."""
    return {
        **read_subject(table, channel),
        "activation": table.choice("activation", ("sigmoid", "softmax", "none"), "sigmoid"),
        "calibration": _calibration(table.table("calibration")) if table.has("calibration") else None,
        "threshold": table.number("threshold", 0.5, 0.0, 1.0),
        "output": table.text("output", ""),
    }


def read_subject(table: Table, channel: int | None = None) -> dict[str, Any]:
    """What any finding says of itself."""
    return {
        "channel": table.integer("channel", None, 0, 10_000) if channel is None else channel,
        "code": read_code(table.table("code")),
        "chosen": table.text("chosen", ""),
        "site": read_code(table.table("site")) if table.has("site") else None,
    }


def read_code(table: Table) -> Code:
    """A coded concept."""
    made = Code(table.text("scheme"), table.text("value"), table.text("meaning"))
    limits: tuple[tuple[str, str, int], ...] = (
        ("scheme", made.scheme, 16), ("value", made.value, 16), ("meaning", made.meaning, 64),
    )  # fmt: skip
    for key, text, maximum in limits:
        if len(text) > maximum:
            table.fault(key, text, f"has more than {maximum} characters (PS3.3 Table 8.8-1)", f"{key}-length")
    table.done()
    return made


def refuse_keys(table: Table, keys: Sequence[str], rule: str, name: str) -> None:
    """Notes each of the keys that is given as one that has no place in this table."""
    for key in keys:
        if table.has(key):
            table.fault(key, table.taken(key), rule, name)


def _calibration(table: Table) -> Calibration:
    made = Calibration(
        kind=table.choice("kind", ("platt",)),  # type: ignore[arg-type]  # the closed set
        a=table.number("a", None, -1e3, 1e3),
        b=table.number("b", None, -1e3, 1e3),
        data=table.text("data", ""),
    )
    if made.a == 0.0:
        table.fault("a", 0.0, "would give every study one probability: must not be 0", "a-range")
    table.done()
    return made
