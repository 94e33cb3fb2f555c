"""Confined processes that tests ask for attacks."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imaging.confined.client import Confined
from imaging.domain.card import Card

HOSTILE = Path(__file__).with_name("hostile.py")
ROOT = HOSTILE.parents[1]


def hostile(kept: Path, without: Sequence[str] = (), cards: Sequence[Card] = (), **options: Any) -> Confined:
    """One that has the real one's limits, without some that a kernel may lack."""

    def command(fd: str) -> list[str]:
        return [sys.executable, "-I", str(HOSTILE), str(ROOT), fd, *without]

    return Confined(cards, threads=1, memory_mb=options.pop("memory_mb", None), kept=kept, command=command, **options)


def attack(process: Confined, what: str, of: object = "") -> Any:
    """What comes of it: "done", or the name of the error."""
    return process.ask(what, {"of": str(of)})
