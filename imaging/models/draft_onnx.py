"""The card of an ONNX file, as far as the file tells it: names, shapes and types, and what its exporter noted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imaging.models.draft import SHA256, Draft, Section, may_be_added, top
from imaging.models.network import Port, Signature
from imaging.models.onnx_facts import OnnxFacts
from imaging.models.to_fill_in import FILL_IN
from imaging.preparation.repeat_channels import MAX_CHANNELS

MOST_FINDINGS: Final = 16
BY_PROBABILITY: Final = 'probability = ">=0.8"'
BY_VOLUME: Final = 'volume_ml = ">=5"'
_DECIDED: Final = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})
"""Operators that leave 0..1."""
_PLACES: Final = "How the network lies in the patient, and at which spacing. Remove a step that training had not."
_NOTED: Final[Mapping[str, tuple[str, ...]]] = {
    "version": ("version", "model_version"),
    "name": ("name", "model_name", "title"),
    "maker": ("maker", "author", "authors", "organization", "publisher"),
    "use": ("use", "intended_use"),
}
"""By a card's key, under which exporters note it."""
_PLACEHOLDERS: Final = frozenset({"", "none", "unknown", "n/a"})


@dataclass(frozen=True)
class Shape:
    """The first input's: without batch. `channels`, and each of `sizes`: None where it is open."""

    layout: str
    channels: int | None
    sizes: tuple[int | None, ...]
    batch: int | None


class NoCard(Exception):
    """Why no card can be begun for a file, in words."""


def draft(model_id: str, file: str, network: Signature, facts: OnnxFacts) -> Draft:
    """Its card. Raises NoCard."""
    if not network.inputs or not network.outputs:
        raise NoCard("has no input or no output: export the whole network")
    given = network.inputs[0]
    shape = shape_of(given)
    is_film = len(shape.sizes) == 2
    among = [each for each in network.outputs if _is_read(each, len(shape.sizes))] or list(network.outputs)
    output = among[0] if len(among) == 1 else None
    engine: dict[str, Any] = {"kind": "onnx", "file": file, "sha256": SHA256, "input": given.name}
    engine["output"] = output.name if output is not None else FILL_IN
    engine |= {"batch": shape.batch} if shape.batch not in (None, 1) else {}
    sections = [
        top(model_id, _facts(model_id, facts)),
        _input(is_film=is_film),
        *_steps(shape, is_film=is_film),
        Section("[engine]", "engine", engine, about=among[0].name),
    ]
    if not is_film and None not in shape.sizes:
        sections.append(Section("[engine.window]", "engine.window", {"roi": list(shape.sizes)}))
    sections += _findings(output, facts, is_film=is_film)
    may = may_be_added(BY_PROBABILITY if is_film else BY_VOLUME)
    return Draft("an ONNX file", model_id, file, sections, known(network, facts, shape), may)


def shape_of(given: Port) -> Shape:
    """The shape of an input, with its axes told apart as far as they can be. Raises NoCard."""
    if given.shape is None or len(given.shape) not in (4, 5):
        wanted = "(batch, channels, rows, columns) for films, (batch, channels, and three sizes) for volumes"
        said = f"has the input {given}" if given.shape is not None else f"states no shape of its input {given.name}"
        raise NoCard(f"{said}; expected {wanted}: export the network with such an input")
    batch, first, *middle, last = given.shape
    is_last = last is not None and last <= MAX_CHANNELS and (first is None or first > MAX_CHANNELS)
    letters = "HW" if len(given.shape) == 4 else "DHW"
    if is_last:
        return Shape(f"N{letters}C", last, (first, *middle), batch)
    return Shape(f"NC{letters}", first, (*middle, last), batch)


def _is_read(port: Port, axes: int) -> bool:
    """Whether findings can be read of an output, by its shape: labels of a film, maps of a volume."""
    return port.shape is None or len(port.shape) == (2 if axes == 2 else 5)


def _facts(model_id: str, facts: OnnxFacts) -> dict[str, str | None]:
    lowered = {key.lower(): " ".join(value.split()) for key, value in facts.notes.items()}
    said = {key: next((lowered[each] for each in names if lowered.get(each, "").lower() not in _PLACEHOLDERS), "")
            for key, names in _NOTED.items()}  # fmt: skip
    said["version"] = said["version"] or (str(facts.model_version) if facts.model_version else "")
    said["name"] = said["name"] or model_id
    return {key: value[:200] or FILL_IN for key, value in said.items()}


def _input(*, is_film: bool) -> Section:
    if is_film:
        values = {"role": "film", "images": "each", "modality": FILL_IN, "gate": FILL_IN}
    else:
        values = {"role": "volume", "modality": FILL_IN, "gate": FILL_IN}
    return Section("[[input]]", "input[0]", values)


def _steps(shape: Shape, *, is_film: bool) -> list[Section]:
    """Preparation, as far as shapes tell it. How values were scaled is never in the file."""
    steps: list[dict[str, Any]] = []
    if is_film:
        sizes = FILL_IN if None in shape.sizes else list(shape.sizes)
        steps.append({"do": "resize", "shape": sizes, "aspect": FILL_IN})
    else:
        steps += [{"do": "orient", "to": FILL_IN}, {"do": "resample", "spacing": FILL_IN}]
    steps.append({"do": FILL_IN})
    count = shape.channels
    if count is not None and count > 1:
        steps.append({"do": "repeat-channels", "count": count})
    notes = {"orient": [_PLACES]}
    if count is not None and count > 1:
        notes["repeat-channels"] = [f"The network takes {count} channels, and an image has one: it is repeated."]
    return [
        Section("[[prepare]]", f"prepare[{at}]", step, notes.get(str(step["do"]), [])) for at, step in enumerate(steps)
    ]


def _findings(output: Port | None, facts: OnnxFacts, *, is_film: bool) -> list[Section]:
    makes = facts.makes.get(output.name, "") if output is not None else ""
    activation = "none" if makes in _DECIDED or (output is not None and _is_whole(output)) else FILL_IN
    rest: dict[str, Any] = {"as": "label" if is_film else "segment", "code": FILL_IN, "activation": activation}
    if is_film:
        rest |= {"threshold": FILL_IN}
    else:
        rest |= {"mask_at": FILL_IN, "measure": ["volume_ml"], "present": FILL_IN}
    count = output.shape[1] if output is not None and output.shape is not None and len(output.shape) > 1 else None
    names = facts.channel_names(count) if count is not None else []
    if count is None or count > MOST_FINDINGS:
        among = f"{count} channels" if count is not None else "channels"
        notes = [f"A [[finding]] for each channel that is of interest here, of {among}, counted from 0"]
        notes += [f"The file calls them: {', '.join(f'{at} {name}' for at, name in enumerate(names))}"] if names else []
        return [Section("[[finding]]", "finding[0]", {"channel": FILL_IN, **rest}, notes)]
    made = []
    for at in range(count):
        notes = [f"The file calls this channel {names[at]!r}."] if names else []
        notes += ["Remove the channels that are no finding, such as the background."] if count > 1 and at == 0 else []
        made.append(
            Section("[[finding]]", f"finding[{at}]", {"channel": at, **rest}, notes, names[at] if names else "")
        )
    return made


def _is_whole(port: Port) -> bool:
    return port.kind.startswith(("int", "uint", "bool"))


def known(network: Signature, facts: OnnxFacts, shape: Shape) -> dict[str, Any]:
    """What the file tells, as JSON."""
    told: dict[str, Any] = {
        "kind": "onnx",
        "inputs": [_port(each) for each in network.inputs],
        "outputs": [{**_port(each), "made_by": facts.makes.get(each.name)} for each in network.outputs],
        "layout": shape.layout,
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
