"""Reads `[[input]]`: which images a model takes."""

import re
from collections.abc import Sequence
from typing import Any, Final

import pydicom.config
import pydicom.uid

from imaging.domain.card import FilmInput, Gate, Input, VolumeInput
from imaging.domain.gates import GATES
from imaging.domain.image_kind import FILMS
from imaging.domain.ranking import PREFERENCES
from imaging.domain.stack_gates import MAX_SLICES
from imaging.domain.tables import Table, rule_name

IMAGES: Final = ("all", "each", "best")
"""Which of a study's images are one input."""
CODE_STRING: Final = re.compile(r"[A-Z0-9_]{1,16}")


def read_input(table: Table, modality: Sequence[str] = ()) -> Input:
    """One input, of the kind that its `images` and its modalities make it. `modality`: where the card names none."""
    modality = _modality(table) if table.has("modality") or not modality else tuple(modality)
    are_films = bool(modality) and set(modality) <= FILMS
    if are_films and not table.has("images"):
        table.fault("images", None, f"of films, must be one of {', '.join(IMAGES)}", "images-absent")
    images = table.choice("images", IMAGES, "all")
    common: dict[str, Any] = {
        "role": table.text("role"),
        "modality": modality,
        "sop_class_uids": _sop_classes(table),
        "gates": tuple(_gate(each) for each in table.tables("gate")),
        "contrast": table.choice("contrast", ("any", "yes", "no"), "any"),
        "weighting": table.choice("weighting", ("", "t1", "t2", "pd", "flair"), ""),
        "derived": table.flag("derived", False),
        "images": images,
    }
    is_film = images == "each" or are_films
    series = _of_series(table)
    made = FilmInput(**common) if is_film else VolumeInput(**common, **series)
    if is_film:
        for key, value in series.items():
            if value and key != "missing":
                table.fault(key, value, "is of series, and this input takes films: leave it out", "images-each")
    table.done()
    return made


def _of_series(table: Table) -> dict[str, Any]:
    """What a card may ask of a whole series, and of no film."""
    slices = _range(table, "slices", whole=True)
    return {
        "slices": (int(slices[0]), int(min(slices[1], MAX_SLICES))) if slices else None,
        "extent_mm": _range(table, "extent_mm"),
        "max_gap_mm": table.number("max_gap_mm", None, 0.01, 1000.0) if table.has("max_gap_mm") else None,
        "missing": table.choice("missing", ("refuse", "interpolate"), "refuse"),
        "prefer": table.texts("prefer", (), PREFERENCES),
    }


def _modality(table: Table) -> tuple[str, ...]:
    is_given = table.has("modality")
    modality = table.texts("modality")
    if is_given and not modality:
        table.fault("modality", [], 'must contain at least one, such as ["CT"]', "modality-empty")
    for each in modality:
        if not CODE_STRING.fullmatch(each):
            table.fault("modality", each, 'must be written as in images, such as "CT"', "modality-form")
    return modality


def _range(table: Table, key: str, *, whole: bool = False) -> tuple[float, float] | None:
    if not table.has(key):
        return None
    inner = table.table(key)
    minimum, maximum = inner.number("min", 0.0, 0.0, 1e6), inner.number("max", 1e6, 0.0, 1e6)
    if minimum > maximum:
        table.fault(key, [minimum, maximum], "min must not exceed max", f"{rule_name(key)}-range")
    if whole and (minimum % 1 or maximum % 1):
        table.fault(key, [minimum, maximum], "must be whole numbers", f"{rule_name(key)}-type")
    inner.done()
    return minimum, maximum


def _sop_classes(table: Table) -> tuple[str, ...]:
    """UIDs of the keywords (or UIDs) in `sop_class`."""
    uids = []
    for name in table.texts("sop_class", ()):
        uid = getattr(pydicom.uid, name, name)
        if not isinstance(uid, str) or uid_of(uid).type != "SOP Class":
            table.fault("sop_class", name, "is not a SOP Class in PS3.6", "sop-class-unknown")
        uids.append(str(uid))
    return tuple(uids)


def uid_of(text: str) -> pydicom.uid.UID:
    """The text as a UID, whether it is a legal one or not."""
    return pydicom.uid.UID(text, validation_mode=pydicom.config.IGNORE)  # a fault of ours says it, not a warning


def _gate(table: Table) -> Gate:
    tag = table.text("tag")
    if tag not in GATES:
        table.fault("tag", tag, f"must be one of {', '.join(GATES)}", "tag-unknown")
        table.anything()
        return Gate(tag)
    made = Gate(
        tag=tag,
        any=table.texts("any", ()),
        min=table.number("min", None, -1e6, 1e6) if table.has("min") else None,
        max=table.number("max", None, -1e6, 1e6) if table.has("max") else None,
        absent=table.choice("absent", ("refuse", "pass", "doubt"), "refuse"),  # type: ignore[arg-type]
    )
    if not made.any and made.min is None and made.max is None:
        table.fault("any", None, "a gate needs any, min or max", "gate-empty")
    if made.min is not None and made.max is not None and made.min > made.max:
        table.fault("min", made.min, f"must not exceed max, which is {made.max:g}", "gate-range")
    _, keys, _ = GATES[tag]
    for key, value in (("any", made.any), ("min", made.min), ("max", made.max)):
        if key not in keys and value not in ((), None):
            table.fault(key, value, f"{tag} takes {' and '.join(keys)}", "gate-kind")
    table.done()
    return made
