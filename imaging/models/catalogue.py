"""The models that can be served: those shipped, and those of the site's own folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.domain.card import Card
from imaging.models.folders import cards_in, folder_faults
from imaging.models.reading import read_card
from imaging.models.tables import CardError


@dataclass(frozen=True)
class Catalogue:
    """`models` by id. `disabled`: the id (or the folder's name) of each model that is not served, and why."""

    models: tuple[Card, ...]
    disabled: Mapping[str, str]

    def model(self, model_id: str) -> Card | None:
        """The served model of that id."""
        return next((card for card in self.models if card.id == model_id), None)


def shipped_folder() -> Path:
    """Where the shipped models lie: in the wheel beside the package's modules, in a checkout at its root."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def load_models(folders: Sequence[Path]) -> Catalogue:
    """All models in the folders: a folder with a `card.toml` is one, and so is each such folder right below it.

    A card with faults disables that model alone, and so does a folder without any card. Of two models with one id
    the one from the earlier folder is served; the other is named among the disabled.
    """
    models: dict[str, Card] = {}
    disabled: dict[str, str] = {}
    for folder in folders:
        for fault in folder_faults([folder]):
            disabled[folder.name or str(folder)] = fault
        for path in cards_in(folder):
            try:
                card = read_card(path.parent)
            except CardError as error:
                disabled[path.parent.resolve().name] = str(error)
                continue
            if card.id in models:
                other = models[card.id].folder
                disabled[f"{card.id} ({path.parent})"] = f"{path}: id = {card.id!r}: {other} has it too (id-repeated)"
            else:
                models[card.id] = card
    return Catalogue(tuple(models[each] for each in sorted(models)), disabled)
