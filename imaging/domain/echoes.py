"""Associations that asked whether we are there, and nothing else: monitors make thousands of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

VERIFICATION: Final = "1.2.840.10008.1.1"


@dataclass
class Echoes:
    """Those of one Application Entity. `last_at`: when the newest began."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    last_at: str
    count: int = 0


def is_echo(association: Mapping[str, Any]) -> bool:
    """Whether an association has ended, proposed Verification alone, was taken, and brought nothing."""
    contexts = association["contexts"]
    is_all = all((each["abstract_syntax"], each["result"]) == (VERIFICATION, "accepted") for each in contexts)
    return bool(contexts and is_all and association["ended_at"]) and not association["stored"] + association["refused"]


def grouped(echoes: Iterable[Mapping[str, Any]]) -> list[Echoes]:
    """One for each Application Entity, from associations with the newest first."""
    found: dict[tuple[str, str, str], Echoes] = {}
    for each in echoes:
        who = each["calling_ae_title"], each["called_ae_title"], each["address"]
        found.setdefault(who, Echoes(*who, each["started_at"])).count += 1
    return list(found.values())
