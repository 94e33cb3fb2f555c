"""What `imaging models tune` found, as a home keeps it: a file for each model, valid for what it was made with."""

import errno
import json
import os
from pathlib import Path
from typing import Final

from imaging.domain.card import Card
from imaging.domain.tuning import Tuning
from imaging.models.machine import processor, versions

FOLDER: Final = "tuning"
MAX_FILE: Final = 1 << 20
"""Bytes."""


def made_with(card: Card) -> dict[str, str]:
    """All that figures and parity hold for: the card, its weights, the processor, and the versions of the libraries
    that run networks here.
    """
    return {"card": card.digest, "weights": card.engine.digest, "processor": processor(), **versions()}


def read(home: Path, card: Card) -> Tuning | None:
    """What was measured for the card in this home; None where nothing was, or where it holds no longer: the card, its
    weights, a library or the processor is another.

    A library that was installed since changes nothing of it. `card`: as `read_card` gives it. A file that cannot be
    read counts as none.
    """
    try:
        with _file(home, card).open("rb") as file:
            found = Tuning.from_json(json.loads(file.read(MAX_FILE)))
        holds = made_with(card).items() >= found.made_with.items()
        return found if holds and found.choice.is_eligible else None
    except (OSError, ValueError, KeyError, TypeError, StopIteration, AttributeError):
        return None


def is_outdated(home: Path, card: Card) -> bool:
    """Whether something was measured that holds no longer."""
    return _file(home, card).exists() and read(home, card) is None


def write(home: Path, card: Card, tuning: Tuning) -> Path:
    """Keeps what was measured; returns the file. The home is made where it is not there. Raises OSError."""
    make_folder(home)
    path = _file(home, card)
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(tuning.to_json(), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    return path


def make_folder(home: Path) -> None:
    """Makes the folder in which a home keeps it, and the home. Raises OSError where nothing can be written there."""
    folder = home / FOLDER
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def as_tuned(home: Path, card: Card) -> Card:
    """The card as it is run in this home: as it was tuned here, else as it says itself."""
    tuning = read(home, card)
    return tuning.chosen.applied_to(card) if tuning is not None else card


def _file(home: Path, card: Card) -> Path:
    return home / FOLDER / f"{card.id}.json"
