"""Where models lie: a model's own folder, or a folder of such. Nothing here opens a card."""

from collections.abc import Sequence
from pathlib import Path


def cards_in(folder: Path) -> list[Path]:
    """The cards of a folder: its own, and those right below it, by name."""
    return [*folder.glob("card.toml"), *sorted(folder.glob("*/card.toml"))]


def folder_faults(folders: Sequence[Path]) -> list[str]:
    """What keeps folders from having any model: who names such a one has asked wrongly."""
    faults = []
    for folder in folders:
        if not folder.is_dir():
            faults.append(f"{folder}: there is no such folder (models-folder)")
        elif not cards_in(folder):
            wanted = "a model's folder, or one that holds such folders, is wanted"
            faults.append(f"{folder}: there is no card.toml; {wanted} (models-folder)")
    return faults
