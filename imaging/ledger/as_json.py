"""Rows and times as commands print them."""

from datetime import datetime
from typing import Any


def row_json(row: Any) -> dict[str, Any]:
    """A row of a query, by column; its times are text (ISO 8601, milliseconds)."""
    return {key: time_json(value) if isinstance(value, datetime) else value for key, value in row._mapping.items()}


def time_json(at: datetime | None) -> str | None:
    """ISO 8601 with milliseconds."""
    return None if at is None else at.isoformat(timespec="milliseconds")
