"""What a card's tables must be to each other. A card that cannot mean what it says is refused when it is read: whether
its rules can be fulfilled must not come out by a study that is never flagged.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pydicom.uid

from imaging.domain.card import Card, FindingSpec, Input, Step
from imaging.domain.image_kind import FILMS
from imaging.models.steps import GEOMETRY, ONCE, STEPS

Fault = tuple[str, object, str, str]
"""Key, value, the rule that they break, and its name."""

SLICES: Final = frozenset({"CT", "MR", "PT"})
"""Modalities whose images are slices: of a place, with values of their own, and no films."""
NEVER_HAVE: Final[Mapping[str, frozenset[str]]] = {
    "ViewPosition": SLICES,
    "EchoTime": FILMS | SLICES - {"MR"},
    "RepetitionTime": FILMS | SLICES - {"MR"},
    "InversionTime": FILMS | SLICES - {"MR"},
}
"""By a gate's tag: the modalities whose images do not have it (PS3.3 A.1.4)."""
ONE_MODALITY: Final[Mapping[str, str]] = {
    pydicom.uid.CTImageStorage: "CT",
    pydicom.uid.EnhancedCTImageStorage: "CT",
    pydicom.uid.LegacyConvertedEnhancedCTImageStorage: "CT",
    pydicom.uid.MRImageStorage: "MR",
    pydicom.uid.EnhancedMRImageStorage: "MR",
    pydicom.uid.LegacyConvertedEnhancedMRImageStorage: "MR",
    pydicom.uid.PositronEmissionTomographyImageStorage: "PT",
}
"""The modality of images of SOP classes that have but one."""


def contradictions(card: Card) -> Iterator[Fault]:
    """All that does not hold between the tables of a card."""
    is_volume = card.is_volume and not any(_is_together(each) for each in card.inputs)
    for at, each in enumerate(card.inputs):
        for key, value, rule, name in _input_holds(each):
            yield f"input[{at}].{key}", value, rule, name
    yield from _prepare_holds(card.prepare, "volume" if is_volume else "film")
    if card.engine.window is not None and not is_volume:
        roi = list(card.engine.window.roi)
        yield "engine.window.roi", roi, "films are not taken patch by patch: leave it out", "window-dimensions"
    modalities = {modality for each in card.inputs for modality in each.modality}
    for at, finding in enumerate(card.findings):
        for key, value, rule, name in _finding_holds(finding, is_volume, modalities):
            yield f"finding[{at}].{key}", value, rule, name
    times = Counter(finding.code.value for finding in card.findings)
    for code in sorted(code for code, count in times.items() if count > 1):
        yield "finding", code, "two findings have this code", "finding-repeated"


def _is_together(card_input: Input) -> bool:
    """Whether several films are taken at once."""
    modalities = set(card_input.modality)
    return card_input.images != "each" and bool(modalities) and modalities <= FILMS


def _input_holds(card_input: Input) -> Iterator[Fault]:
    if _is_together(card_input):
        rule = 'films are taken one by one, by images = "each"; best and all of them are not yet supported'
        yield "images", card_input.images, rule, "images-unsupported"
    if card_input.images == "each":
        yield from _each_holds(card_input)
    if card_input.weighting and (others := [each for each in card_input.modality if each != "MR"]):
        rule = f"{', '.join(others)} has no weighting: leave it out, or take MR alone"
        yield "weighting", card_input.weighting, rule, "weighting-modality"
    for uid in card_input.sop_class_uids:
        only = ONE_MODALITY.get(uid)
        if only is not None and card_input.modality and only not in card_input.modality:
            rule = f'its images are {only}, which modality does not name: add "{only}" there, or leave the class out'
            yield "sop_class", pydicom.uid.UID(uid).keyword, rule, "sop-class-modality"
    yield from _gates_hold(card_input)


def _each_holds(card_input: Input) -> Iterator[Fault]:
    if slices := [each for each in card_input.modality if each in SLICES]:
        rule = f'takes films, and {", ".join(slices)} are slices: take them by images = "best", as one volume'
        yield "images", "each", rule, "images-slices"
    for key, value in (
        ("slices", card_input.slices), ("extent_mm", card_input.extent_mm), ("max_gap_mm", card_input.max_gap_mm),
        ("prefer", card_input.prefer),
    ):  # fmt: skip
        if value:
            yield key, value, 'is of series, and images = "each" takes films: leave it out', "images-each"


def _gates_hold(card_input: Input) -> Iterator[Fault]:
    for at, gate in enumerate(card_input.gates):
        without = [each for each in card_input.modality if each in NEVER_HAVE.get(gate.tag, ())]
        if without and (gate.absent != "pass" or len(without) == len(card_input.modality)):
            rule = f"{', '.join(without)} never has it, so that none would be taken: leave the gate out"
            yield f"gate[{at}].tag", gate.tag, rule, "gate-modality"


def _prepare_holds(steps: Sequence[Step], dimensions: str) -> Iterator[Fault]:
    """Each step prepares what the model takes, and what changes places comes before what changes values."""
    channels = 1
    for at, step in enumerate(steps):
        channels = step.options["count"] if step.do == "repeat-channels" else channels
        if step.do in STEPS and dimensions not in STEPS[step.do].takes:
            yield f"prepare[{at}].do", step.do, f"does not prepare a {dimensions}", "do-dimensions"
        if step.do == "normalize" and len(step.options["mean"]) not in (1, channels):
            rule = f"is for {len(step.options['mean'])} channels, and here there is {channels}"
            mend = ': put "repeat-channels" before it' if channels == 1 else ""
            yield f"prepare[{at}].mean", list(step.options["mean"]), rule + mend, "mean-channels"
        if step.do == "crop-centre" and len(step.options["shape"]) != (3 if dimensions == "volume" else 2):
            rule = (
                "three sizes are wanted, in the array's order"
                if dimensions == "volume"
                else "rows and columns are wanted"
            )
            yield f"prepare[{at}].shape", list(step.options["shape"]), rule, "shape-dimensions"
        if step.do in ONCE and step.do in {before.do for before in steps[:at]}:
            yield f"prepare[{at}].do", step.do, "stands twice: once is enough", "do-repeated"
    first = {step.do for step in steps[: sum(step.do in GEOMETRY for step in steps)]}
    if late := [step.do for step in steps if step.do in GEOMETRY and step.do not in first]:
        yield "prepare", late, "must come before steps that change values", "prepare-order"


def _finding_holds(finding: FindingSpec, is_volume: bool, modalities: set[str]) -> Iterator[Fault]:
    if (finding.kind == "segment") != is_volume:
        rule = 'of volumes only as = "segment" is supported yet, of films only as = "label"'
        yield "as", finding.kind, rule, "as-dimensions"
    others = sorted(modalities - {"CT"})
    for key, named in (("measure", finding.measure), ("present", finding.present)):
        if "mean_hu" in named and others:
            rule = f"only CT has Hounsfield units, and the card takes {', '.join(others)}: leave it out"
            yield key, "mean_hu", rule, "mean-hu-modality"
