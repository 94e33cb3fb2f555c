"""A drawn film, and files of such."""

from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from imaging.phantoms.study import film_study


def drawn() -> Dataset:
    """A small film, the same each time."""
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    return film_study(1, frozenset(), now, run="commands", rows=128, columns=128).instances[0]


def write(file: Path, dataset: Dataset) -> None:
    """Writes an image as a file."""
    dataset.save_as(file, enforce_file_format=True)
