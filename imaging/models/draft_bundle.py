"""The card of a MONAI bundle, as far as the bundle tells it."""

import re
from collections.abc import Collection, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from imaging.domain.tables import Faults, Table
from imaging.models.bundle import Bundle, read_bundle
from imaging.models.draft import DigestOf, Draft, Section, may_be_added, top
from imaging.models.pickles import NotWeights, hold_weights
from imaging.models.rules import ROLE
from imaging.models.to_fill_in import FILL_IN, WEIGHTINGS

MOST_FINDINGS: Final = 16
"""Channels that get a [[finding]] each. Of more than that, nobody wants all: one says how they are named."""
BY_VOLUME: Final = 'volume_ml = ">=5"'
_LICENCE: Final = re.compile("licen[cs]e", re.IGNORECASE)
_MAX_TITLE: Final = 2000
"""Bytes in which a text's title is looked for."""
BACKGROUND: Final = "background"
_SERIES: Final[Mapping[str, tuple[str, str]]] = {
    "t1": ("t1", "any"), "t1c": ("t1", "yes"), "t1ce": ("t1", "yes"), "t1gd": ("t1", "yes"), "t1n": ("t1", "no"),
    "t2": ("t2", "any"), "t2w": ("t2", "any"), "t1w": ("t1", "any"), "pd": ("pd", "any"), "flair": ("flair", "any"),
    "t2f": ("flair", "any"), "t2flair": ("flair", "any"), "t2-flair": ("flair", "any"),
}  # fmt: skip
"""By how channels of input are called: weighting and contrast."""


def read(path: Path) -> tuple[Bundle | None, list[str]]:
    """The bundle in a folder, and why it cannot be run. What is not installed keeps nobody from adding it: that is said
    of the card.
    """
    faults = Faults(path)
    bundle = read_bundle(Table({"folder": path.name}, "", faults), path.parent)
    lines = [each for each in faults.lines if not each.endswith(("(engine-absent)", "(engine-old)"))]
    if bundle is None:
        return None, lines or faults.lines
    file = path.parent / bundle.weights
    if not file.is_file():
        named = bundle.weights.removeprefix(f"{path.name}/")
        lines.append(f"{file}: is missing: download the bundle's weights to {named} (weights-missing)")
    elif file.suffix != ".safetensors":
        try:
            hold_weights(file)
        except NotWeights as error:
            lines.append(f"{file}: {error} (weights-refused)")
    return bundle, lines


def draft(model_id: str, bundle: Bundle, files: Mapping[str, Path]) -> Draft:
    """Its card. What the bundle says of name, version, maker, use and modality is read from it, and not said twice.

    `files`: the bundle's, by their names in it. Raises OSError.
    """
    told = {key: None for key in ("version", "name", "maker", "use") if key in bundle.facts}
    engine = {"kind": "bundle", "folder": bundle.weights.partition("/")[0], "sha256": DigestOf(bundle.weights)}
    sections = [top(model_id, told), *_inputs(bundle), Section("[engine]", "engine", engine), *_findings(bundle)]
    facts = known(bundle)
    if licences := {name: _begins(path) for name, path in files.items() if _LICENCE.search(name.rpartition("/")[2])}:
        facts["licences"] = licences
    return Draft("a MONAI bundle", model_id, sections, facts, may_be_added(BY_VOLUME))


def _begins(path: Path) -> str:
    """The title of a text, its first two lines: whether that licence covers the weights is for a person to judge."""
    with path.open("rb") as file:
        lines = file.read(_MAX_TITLE).decode("utf-8", "replace").splitlines()
    return " ".join([" ".join(each.split()) for each in lines if each.strip()][:2])[:200]


def _inputs(bundle: Bundle) -> list[Section]:
    modality: dict[str, Any] = {} if bundle.modality else {"modality": FILL_IN}
    if bundle.channels == 1:
        return [Section("[[input]]", "input[0]", {"role": "image", **modality, "gate": FILL_IN})]
    made, roles = [], _roles(bundle)
    for at, (role, example) in enumerate(zip(roles, cycle(WEIGHTINGS), strict=False)):
        weighting, contrast = weighting_of(role, roles) or (FILL_IN, "any")
        values = {"role": role, **modality, "weighting": weighting}
        values |= {"gate": FILL_IN} if contrast == "any" else {"contrast": contrast, "gate": FILL_IN}
        made.append(Section("[[input]]", f"input[{at}]", values, about=example))
    return made


def weighting_of(role: str, roles: Collection[str]) -> tuple[str, str] | None:
    """The weighting and contrast of a series, by what it is called among others; None where that does not tell."""
    kind = _SERIES.get(role)
    has_contrast = any(_SERIES.get(each) == ("t1", "yes") for each in roles)
    return ("t1", "no") if kind == ("t1", "any") and has_contrast else kind


def _roles(bundle: Bundle) -> list[str]:
    """A name for each channel of the input, as the metadata calls it where that may be a role."""
    names = [re.sub(r"[^a-z0-9]+", "-", each.lower()).strip("-") for each in bundle.series]
    are_roles = len(set(names)) == len(names) and all(ROLE.fullmatch(each) for each in names)
    return names if are_roles else [f"series-{number}" for number in range(1, bundle.channels + 1)]


def _findings(bundle: Bundle) -> list[Section]:
    rest: dict[str, Any] = {"code": FILL_IN, "measure": ["volume_ml"], "present": FILL_IN}
    wanted = [name for name in bundle.labels if name.lower() != BACKGROUND]
    if wanted and len(wanted) <= MOST_FINDINGS:
        return [
            Section("[[finding]]", f"finding[{at}]", {"channel": name, **rest}, about=name)
            for at, name in enumerate(wanted)
        ]
    count = bundle.network.options.get("out_channels")
    among = ", ".join(wanted) if wanted else f"0 to {count - 1}" if isinstance(count, int) else "counted from 0"
    notes = [f"A [[finding]] for each channel that is of interest here. Channels: {among}"]
    about = wanted[0] if wanted else ""
    return [Section("[[finding]]", "finding[0]", {"channel": FILL_IN, **rest}, notes, about)]


def known(bundle: Bundle) -> dict[str, Any]:
    """What the bundle tells, as JSON."""
    made = bundle.outputs
    masks: dict[str, Any] = {"by": made.pick, "activation": made.activation}
    masks |= {"at": made.mask_at} if made.pick == "threshold" else {}
    masks |= {"inverted": "masks, nearest" if made.carried == "mask" else f"{made.carried}, linear"}
    if made.largest is None or made.largest:
        masks["largest_component"] = "all" if made.largest is None else sorted(made.largest)
    window = bundle.window
    return {
        "kind": "bundle",
        **bundle.facts,
        "modality": list(bundle.modality),
        "inputs": list(bundle.series) or ["image"],
        "network": {"name": bundle.network.name, **bundle.network.options},
        "preparation": [dict(each.step) for each in bundle.steps],
        "window": "the whole volume" if window is None else {"roi": list(window.roi), "overlap": window.overlap,
                                               "blend": window.blend, "batch": window.batch},
        "outputs": {str(number): name for name, number in bundle.labels.items()},
        "masks": masks,
    }  # fmt: skip
