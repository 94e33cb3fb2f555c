"""What computed an answer, in full, as the ledger keeps it (docs/results.md)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from imaging import __version__
from imaging.domain.card import Card
from imaging.inference.engines.engine import Identity
from imaging.models.machine import version_of, versions

LIBRARIES: Final = ("numpy", "pydicom", "SimpleITK", "imagecodecs")
"""What reads, resamples and decodes, beside what runs networks."""


def provenance(card: Card, identity: Identity, threads: int, batch: int) -> dict[str, Any]:
    """Of one run. `identity`: of what ran the network; `threads`, `batch`: the most of a run.

    `preparation` has the card's steps with their options; what they did to this study, as far as that differs between
    studies, stands among the answer's facts.
    """
    engine = card.engine
    window = engine.window
    return {
        "engine": identity.name,
        "engine_version": identity.version,
        "provider": identity.provider,
        "precision": identity.precision,
        "memory_format": engine.memory_format,
        "device": identity.device,
        "threads": threads,
        "batch": batch,
        "tuned": engine.is_tuned,
        "libraries": _libraries(),
        "card_sha256": card.digest,
        "weights_sha256": {each.name: each.sha256 for each in engine.files},
        "preparation": [{"do": step.do, **_plain(step.options)} for step in card.prepare],
        "window": {"roi": list(window.roi), "overlap": window.overlap, "blend": window.blend} if window else None,
    }


@lru_cache(1)
def _libraries() -> dict[str, str]:
    named = {name: version_of(name) for name in LIBRARIES}
    return {"imaging": __version__, **versions(), **{name: version for name, version in named.items() if version}}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
