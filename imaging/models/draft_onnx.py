"""The card of an ONNX file, as far as the file tells it: names, shapes and types, and what its exporter noted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imaging.models.draft import DigestOf, Draft, Section, may_be_added, top
from imaging.models.draft_bundle import MOST_FINDINGS, weighting_of
from imaging.models.network import LAYOUTS_FIRST, LAYOUTS_LAST, NO_TENSORS, Port, Signature
from imaging.models.onnx_facts import OnnxFacts
from imaging.models.rules import ROLE
from imaging.models.to_fill_in import FILL_IN, VIEWS, WEIGHTINGS
from imaging.preparation.repeat_channels import MAX_CHANNELS

BY_PROBABILITY: Final = 'probability = ">=0.8"'
BY_VOLUME: Final = 'volume_ml = ">=5"'
_PLACES: Final = "How the network lies in the patient, and at which spacing. Remove a step that training had not."
_PATCHES: Final = (
    "The network takes any size. Remove this table if it takes whole volumes: it then needs a step pad-multiple where "
    "it halves its input, such as of = 16 for four times."
)
_REPEATED: Final = "The network takes three channels, and an image has one: it is repeated."
_SEVERAL: Final = (
    "Where the channels are several series, remove this step: they need an [[input]] each, and stack under [engine]."
)
_APART: Final[Mapping[int, Sequence[str]]] = {2: VIEWS, 3: WEIGHTINGS}
"""Of several inputs, by their axes, examples of what tells them apart."""
_DECIDED: Final = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})
"""Operators that leave 0..1."""
_NOTED: Final[Mapping[str, tuple[str, ...]]] = {
    "version": ("version", "model_version"),
    "name": ("name", "model_name", "title"),
    "maker": ("maker", "author", "authors", "organization", "publisher"),
    "use": ("use", "intended_use"),
}
"""By a card's key, under which exporters note it."""
_NOTHING: Final = frozenset({"", "none", "unknown", "n/a"})


@dataclass(frozen=True)
class Shape:
    """An input's without its batch. `channels`, and each of `sizes`: None where it is open."""

    is_last: bool
    channels: int | None
    sizes: tuple[int | None, ...]
    batch: int | None

    @property
    def axes(self) -> int:
        """2 of films, 3 of volumes."""
        return len(self.sizes)

    @property
    def layout(self) -> str:
        """As a card calls it."""
        return (LAYOUTS_LAST if self.is_last else LAYOUTS_FIRST)[self.axes]


class NoCard(Exception):
    """Why no card can be begun for a file, in words."""


def draft(model_id: str, file: str, network: Signature, facts: OnnxFacts, beside: Sequence[str] = ()) -> Draft:
    """Its card. `beside`: the files that it takes weights from. Raises NoCard."""
    if not network.inputs or not network.outputs:
        raise NoCard("has no input or no output: export the whole network")
    shapes = [shape_of(each) for each in network.inputs]
    shape = shapes[0]
    if any(each.layout != shape.layout for each in shapes):
        raise NoCard(f"takes {' and '.join(map(str, network.inputs))}: films and volumes do not go together")
    read = _read(network.outputs, shape)
    roles = _roles(network)
    sections = [
        top(model_id, _facts(model_id, facts)),
        *_inputs(roles, shape.axes),
        *_steps(shape),
        _engine(file, network, roles, shape, [each.name for each in read], beside),
    ]
    sections += _window(shape, read)
    sections += _findings(read, facts, shape)
    may = may_be_added(BY_PROBABILITY if shape.axes == 2 else BY_VOLUME)
    return Draft("an ONNX file", model_id, sections, known(network, facts, shape), may)


def _read(outputs: Sequence[Port], shape: Shape) -> list[Port]:
    """The outputs that findings can be read of. Raises NoCard where there is none."""
    tensors = [each for each in outputs if each.kind not in NO_TENSORS]
    read = [each for each in tensors if each.shape is not None and len(each.shape) in (2, 2 + shape.axes)]
    # of one that states no shape, the engine finds it; beside others it is rather what the network needs for itself
    read = read or [each for each in tensors if each.shape is None]
    if not read:
        given = " and ".join(f"{each}{f': {each.kind}' if each.kind in NO_TENSORS else ''}" for each in outputs)
        has_boxes = any(each.shape is not None and each.shape[-1:] in ((4,), (6,)) for each in tensors)
        more = "; for a detector write a card as docs/models.md (Boxes) says" if has_boxes else ""
        raise NoCard(f"gives {given}, of which no finding can be read: expected (batch, channels), or a value for each "
                     f"place of the input{more}")  # fmt: skip
    return read


def _window(shape: Shape, read: Sequence[Port]) -> list[Section]:
    """The sizes of a volume that the network takes, or those that somebody has to tell; labels have no window."""
    if shape.axes != 3:
        return []
    if None not in shape.sizes:
        return [Section("[engine.window]", "engine.window", {"roi": list(shape.sizes)})]
    if any(each.shape is not None and len(each.shape) == 2 for each in read):
        return []
    return [Section("[engine.window]", "engine.window", {"roi": FILL_IN}, [_PATCHES])]


def shape_of(given: Port) -> Shape:
    """The shape of an input, with its axes told apart as far as they can be. Raises NoCard."""
    if given.shape is None or len(given.shape) not in (4, 5):
        wanted = "(batch, channels, rows, columns) for films, (batch, channels, and three sizes) for volumes"
        said = f"has the input {given}" if given.shape is not None else f"states no shape of its input {given.name}"
        raise NoCard(f"{said}; expected {wanted}: export the network with such inputs")
    batch, first, *middle, last = given.shape
    is_last = last is not None and last <= MAX_CHANNELS and (first is None or first > MAX_CHANNELS)
    if is_last:
        return Shape(True, last, (first, *middle), batch)
    return Shape(False, first, (*middle, last), batch)


def _facts(model_id: str, facts: OnnxFacts) -> dict[str, str | None]:
    lowered = {key.lower(): " ".join(value.split()) for key, value in facts.notes.items()}
    said = {
        key: next((lowered[each] for each in names if lowered.get(each, "").lower() not in _NOTHING), "")
        for key, names in _NOTED.items()
    }
    said["version"] = said["version"] or (str(facts.model_version) if facts.model_version else "")
    said["name"] = said["name"] or model_id
    return {key: value[:200] or FILL_IN for key, value in said.items()}


def _roles(network: Signature) -> dict[str, str]:
    """By role, the network's name of the input that it plays."""
    names = [each.name for each in network.inputs]
    if len(names) == 1:
        return {"image": names[0]}
    roles = [re.sub(r"[^a-z0-9]+", "-", each.lower()).strip("-") for each in names]
    are_roles = len(set(roles)) == len(roles) and all(ROLE.fullmatch(each) for each in roles)
    return dict(zip(roles if are_roles else [f"image-{at}" for at in range(1, len(names) + 1)], names, strict=True))


def _inputs(roles: Mapping[str, str], axes: int) -> list[Section]:
    made = []
    for at, role in enumerate(roles):
        values: dict[str, Any] = {"role": role}
        if axes == 2:
            values["images"] = "each" if len(roles) == 1 else "best"
        elif len(roles) > 1:
            weighting, contrast = weighting_of(role, roles) or (FILL_IN, "any")
            values |= {"weighting": weighting} | ({} if contrast == "any" else {"contrast": contrast})
        values |= {"modality": FILL_IN, "gate": FILL_IN}
        apart = _APART[axes][at % len(_APART[axes])] if len(roles) > 1 else ""
        made.append(Section("[[input]]", f"input[{at}]", values, about=apart))
    return made


def _steps(shape: Shape) -> list[Section]:
    """Preparation, as far as shapes tell it. How values were scaled is never in the file."""
    steps: list[tuple[dict[str, Any], list[str]]] = []
    if shape.axes == 2:
        sizes = FILL_IN if None in shape.sizes else list(shape.sizes)
        steps.append(({"do": "resize", "shape": sizes, "aspect": FILL_IN}, []))
    else:
        steps += [({"do": "orient", "to": FILL_IN}, [_PLACES]), ({"do": "resample", "spacing": FILL_IN}, [])]
    steps.append(({"do": FILL_IN}, []))
    count = shape.channels
    if count == 3 and shape.axes == 2:
        steps.append(({"do": "repeat-channels", "count": count}, [_REPEATED]))
    elif count is not None and count > 1:
        steps.append(({"do": "repeat-channels", "count": FILL_IN}, [_SEVERAL]))
    return [Section("[[prepare]]", f"prepare[{at}]", step, notes, str(count)) for at, (step, notes) in enumerate(steps)]


def _engine(
    file: str, network: Signature, roles: Mapping[str, str], shape: Shape, read: Sequence[str], beside: Sequence[str]
) -> Section:
    values: dict[str, Any] = {"kind": "onnx", "file": file, "sha256": DigestOf(file)}
    values |= {"external": {each: DigestOf(each) for each in beside}} if beside else {}
    values |= {"input": next(iter(roles.values()))} if len(roles) == 1 else {"inputs": dict(roles)}
    values |= {"output": read[0]} if len(read) == 1 else {}
    values |= {"layout": shape.layout} if shape.is_last else {}
    values |= {"precision": network.precision} if network.precision != "f32" else {}
    values |= {"batch": shape.batch} if shape.batch not in (None, 1) else {}
    return Section("[engine]", "engine", values)


def _findings(read: Sequence[Port], facts: OnnxFacts, shape: Shape) -> list[Section]:
    counts = [_channels(each, shape) for each in read]
    if any(each is None for each in counts) or sum(each or 0 for each in counts) > MOST_FINDINGS:
        return [_one_of_many(read, facts, shape)]
    made: list[Section] = []
    for port, count in zip(read, counts, strict=True):
        names = facts.channel_names(count or 0)
        for channel in range(count or 0):
            notes = [f"The file calls this channel {names[channel]!r}."] if names else []
            notes += [_REMOVE] if not made and sum(each or 0 for each in counts) > 1 else []
            output = {"output": port.name} if len(read) > 1 else {}
            values = {"channel": channel, **output, **_finding(port, facts, shape)}
            about = names[channel] if names else f"{port.name} {channel}" if len(read) > 1 else ""
            made.append(Section("[[finding]]", f"finding[{len(made)}]", values, notes, about))
    return made


_REMOVE: Final = "Remove the channels that are no finding, such as the background."


def _one_of_many(read: Sequence[Port], facts: OnnxFacts, shape: Shape) -> Section:
    counts = {each.name: _channels(each, shape) for each in read}
    among = ", ".join(f"{name} with {'any' if count is None else count}" for name, count in counts.items())
    notes = [f"A [[finding]] for each channel that is of interest here, counted from 0. Outputs and channels: {among}"]
    names = facts.channel_names(counts[read[0].name] or 0)
    notes += [f"The file calls them: {', '.join(f'{at} {name}' for at, name in enumerate(names))}"] if names else []
    output = {"output": FILL_IN} if len(read) > 1 else {}
    values = {"channel": FILL_IN, **output, **_finding(read[0], facts, shape)}
    return Section("[[finding]]", "finding[0]", values, notes, read[0].name if output else "")


def _finding(port: Port, facts: OnnxFacts, shape: Shape) -> dict[str, Any]:
    """What is said of each of an output's channels."""
    is_decided = facts.makes.get(port.name) in _DECIDED or port.kind.startswith(("int", "uint", "bool"))
    is_map = len(port.shape) > 2 if port.shape is not None else shape.axes == 3
    rest: dict[str, Any] = {"as": "segment" if is_map else "label", "code": FILL_IN}
    rest["activation"] = "none" if is_decided else FILL_IN
    if not is_map:
        return {**rest, "threshold": FILL_IN}
    measure = "area_mm2" if shape.axes == 2 else "volume_ml"
    return {**rest, "mask_at": FILL_IN, "measure": [measure], "present": FILL_IN}


def _channels(port: Port, shape: Shape) -> int | None:
    """How many an output has."""
    if port.shape is None:
        return None
    return port.shape[-1] if len(port.shape) > 2 and shape.is_last else port.shape[1]


def known(network: Signature, facts: OnnxFacts, shape: Shape) -> dict[str, Any]:
    """What the file tells, as JSON."""
    told: dict[str, Any] = {
        "kind": "onnx",
        "inputs": [_port(each) for each in network.inputs],
        "outputs": [{**_port(each), "made_by": facts.makes.get(each.name)} for each in network.outputs],
        "layout": shape.layout,
        "precision": network.precision,
        "opset": dict(facts.opsets),
        "ir_version": facts.ir_version,
        "producer": facts.producer,
        "model_version": facts.model_version,
        "doc": " ".join(facts.text.split())[:500],
        "metadata": dict(facts.notes),
    }
    return {key: value for key, value in told.items() if value not in ("", {}, 0)}


def _port(port: Port) -> dict[str, Any]:
    shape: Sequence[int | None] | None = port.shape
    return {"name": port.name, "type": port.kind or None, "shape": list(shape) if shape is not None else None}
