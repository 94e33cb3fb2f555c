"""What a worker is configured with, and what it has before its own modules are loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.confined.client import Confined
from imaging.domain.languages import Language
from imaging.domain.tuning import Setup
from imaging.models import tuning
from imaging.models.catalogue import Catalogue, load_models
from imaging.models.copies import Copies
from imaging.models.devices import CPU


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is told. `destinations`: each name with the outcomes that it takes. `device`: "cpu" or "cuda:N"."""

    name: str
    home: str
    database: str
    models: Sequence[str]
    destinations: Sequence[tuple[str, Sequence[str]]]
    memory_mb: float
    threads: int
    language: Language
    site_words: Sequence[str] = ()
    model_mode: Sequence[str] = ()
    ignore_patient_orientation: Sequence[str] = ()
    device: str = CPU


@dataclass(frozen=True)
class Begun:
    """A worker's models, how those are run that were tuned here, the copies of their weights, and the process that runs
    them. `outdated`: models whose tuning holds no longer.
    """

    catalogue: Catalogue
    setups: Mapping[str, Setup]
    outdated: Sequence[str]
    copies: Copies
    confined: Confined


def begin(config: WorkerConfig) -> Begun:
    """Reads the models' cards and starts the process; it is not waited for."""
    catalogue = load_models([Path(each) for each in config.models], config.site_words, config.model_mode)
    kept = Path(config.home) / "models"
    copies = Copies(kept)  # first: the process may read what is there when it starts
    confined = Confined(
        catalogue.models, threads=config.threads, memory_mb=config.memory_mb, kept=kept, device=config.device
    )
    home = Path(config.home)
    tuned = catalogue.models if config.device == CPU else ()  # nothing is measured on other devices yet
    tunings = {card.id: tuning.read(home, card) for card in tuned}
    setups = {model: found.chosen for model, found in tunings.items() if found is not None}
    outdated = [card.id for card in catalogue.models if tuning.is_outdated(home, card)]
    return Begun(catalogue, setups, outdated, copies, confined)
