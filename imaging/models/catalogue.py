"""The models that can be served: those shipped, and those of the site's own folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imaging.domain.card import Card
from imaging.domain.modes import modes_of
from imaging.domain.site_words import SiteWords
from imaging.domain.tables import CardError
from imaging.models.folders import cards_in, folder_faults
from imaging.models.reading import read_card


@dataclass(frozen=True)
class Catalogue:
    """`models` by id. `disabled`: each model that is not served, and why.

    It is named by its id, or by its folder where the card says none; where that is not enough, by both.
    """

    models: tuple[Card, ...]
    disabled: Mapping[str, str]

    def model(self, model_id: str) -> Card | None:
        """The served model of that id."""
        return next((card for card in self.models if card.id == model_id), None)

    def why_disabled(self, model_id: str) -> dict[str, str]:
        """Those among the disabled that have this name."""
        return {name: why for name, why in self.disabled.items() if name.partition(" (")[0] == model_id}


def load_models(folders: Sequence[Path], site_words: Sequence[str] = (), model_mode: Sequence[str] = ()) -> Catalogue:
    """All models in the folders: a folder with a `card.toml` is one, and so is each such folder right below it.

    `site_words`: entries of the setting, by which every input reads headers; `model_mode`: entries of that one, each of
    which goes before what a card says. Raises ValueError where one is none.

    A card with faults disables that model alone, and so does a folder without any card. Of two models with one id
    the one from the earlier folder is served; the other is named among the disabled.
    """
    site, modes = SiteWords.of(site_words), modes_of(model_mode)
    models: dict[str, Card] = {}
    disabled: list[tuple[str, Path, str]] = []
    for folder in folders:
        disabled += [(folder.name or str(folder), folder, fault) for fault in folder_faults([folder])]
        for path in cards_in(folder):
            try:
                card = read_card(path.parent)
            except CardError as error:
                disabled.append((error.model_id or path.parent.resolve().name, path.parent, str(error)))
                continue
            if card.id in models:
                other = models[card.id].folder
                why = f"{path}: id = {card.id!r}: {other} has the same id (id-repeated)"
                disabled.append((card.id, path.parent, why))
            else:
                models[card.id] = replace(at_site(card, site), mode=modes.get(card.id, card.mode))
    names = [*models, *(name for name, _, _ in disabled)]
    disabled_by_name = {name if names.count(name) == 1 else f"{name} ({folder})": why for name, folder, why in disabled}
    return Catalogue(tuple(models[each] for each in sorted(models)), disabled_by_name)


def at_site(card: Card, site: SiteWords) -> Card:
    """The card with what this site's own words mean."""
    return replace(card, inputs=tuple(replace(each, site=site) for each in card.inputs))
