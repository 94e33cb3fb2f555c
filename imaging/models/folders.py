"""Where models lie: a model's own folder, or a folder of such. Of a card nothing is read here but its id."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelsFolder:
    """A folder as `--models` names it: "DIR" in place of the shipped models, "+DIR" (`is_added`) beside them."""

    path: Path
    is_added: bool = False

    @classmethod
    def parse(cls, text: str) -> "ModelsFolder":
        """The folder that `[+]DIR` names."""
        return cls(Path(text.removeprefix("+")).expanduser(), text.startswith("+"))


def to_serve(named: Sequence[ModelsFolder]) -> list[Path]:
    """The folders whose models are served, absolute; the shipped one first, where none is named or any is added."""
    folders = [each.path.absolute() for each in named]
    return [shipped_folder(), *folders] if not named or any(each.is_added for each in named) else folders


def shipped_folder() -> Path:
    """Where the shipped models lie: in the wheel beside the package's modules, in a checkout at its root."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def cards_in(folder: Path) -> list[Path]:
    """The cards of a folder: its own, and those right below it, by name."""
    return [*folder.glob("card.toml"), *sorted(folder.glob("*/card.toml"))]


def ids_in(folders: Sequence[Path]) -> list[str]:
    """The ids that the cards of the folders say, whether they can be served or not; a card without one has its
    folder's name.
    """
    return [_id_of(path) for folder in folders for path in cards_in(folder)]


def _id_of(path: Path) -> str:
    try:
        said = tomllib.loads(path.read_text()).get("id")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        said = None
    return said if isinstance(said, str) else path.parent.resolve().name


def folder_faults(folders: Sequence[Path]) -> list[str]:
    """What keeps folders from having any model: who names such a one has asked wrongly."""
    faults = []
    for folder in folders:
        if not folder.is_dir():
            faults.append(f"{folder}: no such folder (models-folder)")
        elif not cards_in(folder):
            wanted = "expected the folder of a model, or of several models"
            faults.append(f"{folder}: no card.toml; {wanted} (models-folder)")
    return faults
