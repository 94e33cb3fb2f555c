"""Reads the tables of a card whose network is an ONNX file, which the card describes by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from imaging.domain.card import Engine, FindingSpec, Input, WeightsFile, Window
from imaging.domain.tables import Table
from imaging.models.files import weights
from imaging.models.inputs import read_input
from imaging.models.installed import hold_installed
from imaging.models.network import LAYOUTS_FIRST, LAYOUTS_LAST, PRECISIONS, Signature
from imaging.models.outputs import read_finding
from imaging.models.parts import Parts, read_step

OPENVINO: Final = ("f32", "bf16", "f16")
"""Precisions in which OpenVINO computes, whatever the file is of."""
MAX_INPUTS: Final = 16
MAX_PATCHES: Final = 64
"""Of a volume that run at once."""


def read(top: Table, table: Table, folder: Path) -> Parts:
    """The parts of a card; their faults are noted. `table`: its `[engine]`."""
    inputs = tuple(read_input(each) for each in top.tables("input"))
    if not 1 <= len(inputs) <= MAX_INPUTS:
        top.fault("input", len(inputs), f"must be 1 to {MAX_INPUTS} of [[input]]", "input-count")
    prepare = tuple(read_step(each) for each in top.tables("prepare"))
    findings = tuple(read_finding(each) for each in top.tables("finding"))
    engine, network = _engine(table, folder, inputs, findings)
    return Parts(inputs, engine, prepare, findings, network=network)


def _engine(
    table: Table, folder: Path, inputs: Sequence[Input], findings: Sequence[FindingSpec]
) -> tuple[Engine, Signature | None]:
    kind: Literal["onnx", "openvino"] = "openvino" if table.taken("kind") == "openvino" else "onnx"
    hold_installed(table, kind)
    file = table.text("file")
    sha256 = table.text("sha256")
    found, network = weights(table, folder, file, sha256)
    beside = _held(table, found)
    roles = [each.role for each in inputs]
    made = Engine(
        kind=kind,
        file=file,
        sha256=sha256,
        inputs=_fed(table, roles),
        outputs=_outputs(table, findings),
        precision=_precision(table, file, network) if kind == "onnx" else table.choice("precision", OPENVINO, "f32"),
        batch=table.integer("batch", 1, 1, 1024),
        memory_mb=table.integer("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", 60.0, 0.1, 86_400.0),
        window=_window(table.table("window"), _fixed_batch(network)) if table.has("window") else None,
        beside=beside,
        reference=_reference(table, inputs),
        is_channels_last=_is_channels_last(table, inputs),
    )
    table.done()
    return made, network


def _fed(table: Table, roles: Sequence[str]) -> Mapping[str, str]:
    """By role the network's name of the input that it plays; roles of one name are its channels, in this order."""
    if table.has("inputs"):
        for key in (each for each in ("input", "stack") if table.has(each)):
            table.fault(key, table.taken(key), "inputs says it of each role: remove it", "inputs-twice")
        return _by_role(table.table("inputs"), roles)
    name = table.text("input")
    if not table.has("stack"):
        if len(roles) > 1:
            rule = 'of several inputs, each needs its name: inputs = {role = "name"}, or stack = [roles] for one input'
            table.fault("inputs", None, rule, "inputs-absent")
        return dict.fromkeys(roles, name)
    stack = table.texts("stack", among=roles)
    if sorted(stack) != sorted(roles):
        rule = f"must name each role once, in the order of the network's channels: {', '.join(roles)}"
        table.fault("stack", list(stack), rule, "stack-roles")
        return dict.fromkeys(roles, name)
    return dict.fromkeys(stack, name)


def _by_role(table: Table, roles: Sequence[str]) -> Mapping[str, str]:
    """In the order that the card has them in."""
    order = [each for each in table.keys if each in roles]
    made = {role: table.text(role) for role in (*order, *(each for each in roles if each not in order))}
    table.done("role-unknown", f"is not the role of an [[input]]: {', '.join(roles)}")
    return made


def _reference(table: Table, inputs: Sequence[Input]) -> str:
    if not table.has("reference"):
        return ""
    role = table.choice("reference", [each.role for each in inputs] or [""])
    if any(each.axes == 2 for each in inputs):
        table.fault("reference", role, "films are not laid over each other: remove it", "reference-films")
    return role


def _outputs(table: Table, findings: Sequence[FindingSpec]) -> tuple[str, ...]:
    """The network's outputs that findings are read of; the first is that of findings which name none."""
    named = list(dict.fromkeys(each.output for each in findings if each.output))
    if findings and all(each.output for each in findings):
        if table.has("output"):
            name = table.text("output")
            if name not in named:
                table.fault("output", name, "is read by no finding: each names another output", "output-unread")
        return tuple(named)
    first = table.text("output")
    return (first, *(each for each in named if each != first))


def _precision(table: Table, file: str, network: Signature | None) -> str:
    """What the file is; a card may say it, and then says the same."""
    if network is None:
        return table.choice("precision", PRECISIONS, PRECISIONS[0])
    precision = table.choice("precision", PRECISIONS, network.precision)
    if precision != network.precision:
        rule = f"{file} is {network.precision}, and runs as it is: leave the key out, or export it anew"
        table.fault("precision", precision, rule, "precision-differs")
    return network.precision


def _is_channels_last(table: Table, inputs: Sequence[Input]) -> bool:
    axes = inputs[0].axes if inputs else 2
    return table.choice("layout", (LAYOUTS_FIRST[axes], LAYOUTS_LAST[axes]), LAYOUTS_FIRST[axes]) == LAYOUTS_LAST[axes]


def _held(table: Table, beside: Sequence[WeightsFile]) -> tuple[WeightsFile, ...]:
    """Files beside the weights' own, held against the digests of them that the card states."""
    stated = table.table("external")
    made = []
    for each in beside:
        is_on_card = stated.has(each.name)
        if is_on_card and (digest := stated.text(each.name)) != each.sha256:
            stated.fault(each.name, digest, f"{each.name} has the digest {each.sha256}", "sha256-differs")
        made.append(replace(each, is_on_card=is_on_card))
    stated.done("external-unused", "is not a file that the network takes weights from")
    return tuple(made)


def _fixed_batch(network: Signature | None) -> int:
    """How many patches the network takes at once, where its file fixes that; else 1."""
    shapes = [each.shape for each in network.inputs if each.shape] if network is not None else []
    return min(next((shape[0] for shape in shapes if shape[0] is not None), 1), MAX_PATCHES)


def _window(table: Table, batch: int) -> Window:
    roi = table.numbers("roi", 3, 1, whole=True)
    made = Window(
        roi=(int(roi[0]), int(roi[1]), int(roi[2])),
        overlap=table.number("overlap", 0.25, 0.0, 0.9),
        blend=table.choice("blend", ("gaussian", "constant"), "gaussian"),  # type: ignore[arg-type]
        batch=table.integer("batch", batch, 1, MAX_PATCHES),
    )
    table.done()
    return made
