"""What a card's tables must be to each other. A card that cannot mean what it says is refused when it is read: whether
its rules can be fulfilled must not come out by a study that is never flagged.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import pydicom.uid

from imaging.domain.boxes import FORMATS
from imaging.domain.card import BoxesSpec, Card, FilmInput, FindingSpec, Input, SegmentSpec, Step
from imaging.domain.free_text import meant_views, views
from imaging.domain.image_kind import FILMS
from imaging.domain.measures import CENTROID, MEASURES
from imaging.domain.tables import rule_name
from imaging.preparation.registry import STEPS, sizes

Fault = tuple[str, object, str, str]
"""Key, value, the rule that they break, and its name."""

ROLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""Of several: golden cases have a folder for each."""
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
    reference = card.engine.reference or next((each.role for each in card.inputs), "")
    for at, each in enumerate(card.inputs):
        for key, value, rule, name in _input_holds(each):
            yield f"input[{at}].{key}", value, rule, name
        yield from _prepare_holds(card, each) if at == 0 else ()
        if card.engine.window is not None and each.axes != len(card.engine.window.roi):
            roi = list(card.engine.window.roi)
            yield "engine.window.roi", roi, "films are not processed patch by patch: leave it out", "window-dimensions"
        for number, finding in enumerate(card.findings if each.role == reference else ()):
            for key, value, rule, name in _finding_holds(finding, each):
                yield f"finding[{number}].{key}", value, rule, name
    yield from _roles_hold(card)
    yield from _outputs_hold(card)
    yield from _together_holds(card)
    yield from _step_roles_hold(card)
    times = Counter(finding.code.value for finding in card.findings)
    for code in sorted(code for code, count in times.items() if count > 1):
        yield "finding", code, "two findings have this code", "finding-repeated"


def _roles_hold(card: Card) -> Iterator[Fault]:
    """Of several inputs, an image may suit but one: nobody says otherwise which of them it is."""
    for at, each in enumerate(card.inputs):
        if len(card.inputs) > 1 and not ROLE.fullmatch(each.role):
            yield f"input[{at}].role", each.role, f"of several inputs, must match {ROLE.pattern}", "role-form"
        for before in card.inputs[:at]:
            if each.role == before.role:
                yield f"input[{at}].role", each.role, "another input has it", "role-repeated"
            elif each.kind != before.kind:
                yield f"input[{at}]", each.role, "films and volumes do not go together: take one kind", "input-kind"
            elif not _is_apart(each, before):
                yield f"input[{at}]", each.role, f"also takes images of {before.role}: {_APART}", "input-ambiguous"
        if len(card.inputs) > 1 and isinstance(each, FilmInput) and each.images != "best":
            yield f"input[{at}].images", each.images, 'of several inputs, each is one film: "best"', "images-roles"
    yield from _stacks_hold(card)


_APART: Final = "give the two different weightings, modalities or ViewPosition gates, or contrast yes and no"


def _is_apart(one: Input, other: Input) -> bool:
    """Whether no image can suit both."""
    weightings, contrasts = {one.weighting, other.weighting}, {one.contrast, other.contrast}
    if (len(weightings) == 2 and "" not in weightings) or contrasts == {"yes", "no"}:
        return True
    views = [_views_of(each) for each in (one, other)]
    return not set(one.modality) & set(other.modality) or (all(views) and not views[0] & views[1])


def _views_of(card_input: Input) -> set[str]:
    """The views that an input asks for; empty where it asks for none, or for one that is not understood."""
    for gate in card_input.gates:
        if gate.tag == "ViewPosition" and gate.absent != "pass":
            named = [views(each) for each in gate.any]
            return meant_views({view for each in named for view in each}) if all(named) else set()
    return set()


def _stacks_hold(card: Card) -> Iterator[Fault]:
    """Channels of one input lie on one grid, an image each; and no input is cropped to a grid of its own."""
    done = [(at, step.do) for at, step in enumerate(card.prepare)]
    is_stacked = any(len(roles) > 1 for roles in card.engine.roles.values())
    if is_stacked and any(each.axes == 2 for each in card.inputs):
        rule = "films do not lie over each other, so that they are no channels of one input: give each its own"
        yield "engine.inputs", dict(card.engine.inputs), rule, "stack-films"
    for at, do in done:
        if do == "repeat-channels" and is_stacked:
            yield f"prepare[{at}].do", do, "the channels are the stacked images: leave it out", "do-stacked"
        if do == "crop-foreground" and len(card.engine.roles) > 1:
            yield f"prepare[{at}].do", do, "would crop each input to a grid of its own: leave it out", "do-inputs"


def _input_holds(card_input: Input) -> Iterator[Fault]:
    if isinstance(card_input, FilmInput):
        yield from _film_holds(card_input)
    if card_input.weighting and (others := [each for each in card_input.modality if each != "MR"]):
        rule = f"{', '.join(others)} has no weighting: leave it out, or take only MR"
        yield "weighting", card_input.weighting, rule, "weighting-modality"
    for uid in card_input.sop_class_uids:
        only = ONE_MODALITY.get(uid)
        if only is not None and card_input.modality and only not in card_input.modality:
            rule = f'its images are {only}, which is not in modality: add "{only}" there, or leave the class out'
            yield "sop_class", pydicom.uid.UID(uid).keyword, rule, "sop-class-modality"
    yield from _gates_hold(card_input)


def _film_holds(film: FilmInput) -> Iterator[Fault]:
    if slices := [each for each in film.modality if each in SLICES]:
        rule = f'takes films, and {", ".join(slices)} are slices: take them with images = "best", as one volume'
        yield "images", film.images, rule, "images-slices"


def _together_holds(card: Card) -> Iterator[Fault]:
    """All films of a study are one array, so of one size; and what is found is found of all, at no place of one."""
    if not any(each.is_together for each in card.inputs):
        return
    if sizes(card) is None:
        rule = 'all films of a study are one input, of one size: add do = "resize"'
        yield "prepare", [each.do for each in card.prepare], rule, "images-size"
    for at, each in enumerate(card.findings):
        if each.form != "channels":
            yield f"finding[{at}].as", each.kind, 'with images = "all", an answer has no place on a film', "images-map"


def _gates_hold(card_input: Input) -> Iterator[Fault]:
    for at, gate in enumerate(card_input.gates):
        without = [each for each in card_input.modality if each in NEVER_HAVE.get(gate.tag, ())]
        if without and (gate.absent != "pass" or len(without) == len(card_input.modality)):
            rule = f"{', '.join(without)} never has it, so no image would be taken: leave the gate out"
            yield f"gate[{at}].tag", gate.tag, rule, "gate-modality"


def _prepare_holds(card: Card, card_input: Input) -> Iterator[Fault]:
    """Each step prepares what the model takes, and what changes places comes before what changes values."""
    steps, channels = card.prepare, max((len(roles) for roles in card.engine.roles.values()), default=1)
    known = [(at, step, STEPS[step.do]) for at, step in enumerate(steps) if step.do in STEPS]
    for at, step, kind in known:
        channels = kind.channels(step.options) if kind.channels is not None else channels
        if card_input.kind not in kind.takes:
            yield f"prepare[{at}].do", step.do, f"does not prepare a {card_input.kind}", "do-dimensions"
        of, count = (card_input, channels) if not step.roles else _some(card, step, channels)
        for key, value, rule, name in kind.faults(step.options, of, count):
            yield f"prepare[{at}].{key}", value, rule, name
        if kind.is_once and step.do in {before.do for before in steps[:at]}:
            yield f"prepare[{at}].do", step.do, "occurs twice; once is enough", "do-repeated"
    geometry = [step.do for _, step, kind in known if kind.is_geometry]
    first = {step.do for step in steps[: len(geometry)]}
    if late := [do for do in geometry if do not in first]:
        yield "prepare", late, "must come before steps that change values", "prepare-order"


def _some(card: Card, step: Step, channels: int) -> tuple[Input, int]:
    """The first input that a step prepares, and how many channels of one input it prepares of so many."""
    inputs = [each for each in card.inputs if step.is_of(each.role)] or list(card.inputs)
    stacked = max(len([role for role in roles if step.is_of(role)]) for roles in card.engine.roles.values())
    return inputs[0], stacked if any(len(roles) > 1 for roles in card.engine.roles.values()) else channels


def _step_roles_hold(card: Card) -> Iterator[Fault]:
    """A step of some inputs is of those that there are, and leaves them on the grid of the others."""
    known = [each.role for each in card.inputs]
    for at, step in enumerate(card.prepare):
        for role in (each for each in step.roles if each not in known):
            yield f"prepare[{at}].roles", role, f"is not the role of an [[input]]: {', '.join(known)}", "role-unknown"
        if step.roles and step.do in STEPS and not STEPS[step.do].is_of_values:
            rule = "changes more than values, so that it is of all inputs: leave roles out"
            yield f"prepare[{at}].do", step.do, rule, "do-roles"


def _finding_holds(finding: FindingSpec, card_input: Input) -> Iterator[Fault]:
    if finding.kind not in card_input.findings:
        rule = f"is not supported for a {card_input.kind}"
        yield "as", finding.kind, rule, "as-dimensions"
    if isinstance(finding, BoxesSpec) and FORMATS[finding.format].axes != card_input.axes:
        known = ", ".join(name for name, form in FORMATS.items() if form.axes == card_input.axes)
        rule = f"has {FORMATS[finding.format].axes} axes, a {card_input.kind} {card_input.axes}: use one of {known}"
        yield "decode.format", finding.format, rule, "format-dimensions"
    if isinstance(finding, SegmentSpec):
        yield from _segment_holds(finding, card_input)


def _segment_holds(finding: SegmentSpec, card_input: Input) -> Iterator[Fault]:
    is_film = isinstance(card_input, FilmInput)
    if is_film and finding.min_ml:
        yield "min_ml", finding.min_ml, "is of volumes: a film has no millilitres", "min-ml-dimensions"
    if is_film and CENTROID in finding.measure:
        rule = "is in the patient, of volumes: on a film each component has its centre in pixels anyway"
        yield "measure", CENTROID, rule, "measure-dimensions"
    for key, named in (("measure", finding.measure), ("present", tuple(finding.present))):
        for name in (each for each in named if each in MEASURES):
            if card_input.kind not in MEASURES[name].inputs:
                yield key, name, f"is not measured of a {card_input.kind}", f"{rule_name(key)}-dimensions"
                continue
            only = MEASURES[name].modality
            if only and (others := sorted(set(card_input.modality) - {only})):
                rule = f"only CT has Hounsfield units, but the card takes {', '.join(others)}: leave it out"
                yield key, name, rule, f"{rule_name(name)}-modality"


def _outputs_hold(card: Card) -> Iterator[Fault]:
    """What is read of one output is of one form; and patches are put together of maps alone."""
    for output in card.engine.outputs:
        forms = sorted({each.form for each in card.read_of(output)})
        if len(forms) > 1:
            rule = f"the network's output {output} is read as {' and as '.join(forms)}: it has one form"
            yield "finding", [each.kind for each in card.read_of(output)], rule, "output-forms"
    if len(card.inputs) > 1 and any(isinstance(each, FilmInput) for each in card.inputs):
        for at, each in enumerate(card.findings):
            if each.form != "channels":
                rule = "of several films, which of them it lies on is not known: use label or number"
                yield f"finding[{at}].as", each.kind, rule, "films-places"
    if card.engine.window is not None:
        for at, each in enumerate(card.findings):
            if not each.is_map:
                rule = f"a {each.kind} is of the whole input, and patches are put together of masks alone: leave it out"
                yield "engine.window", list(card.engine.window.roi), f"finding[{at}]: {rule}", "window-form"
