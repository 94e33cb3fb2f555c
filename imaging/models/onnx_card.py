"""Reads the tables of a card whose network is an ONNX file, which the card describes by itself."""

from collections.abc import Sequence
from pathlib import Path

from imaging.domain.card import Engine, FindingSpec, Window
from imaging.domain.tables import Table
from imaging.models.files import weights
from imaging.models.inputs import read_input
from imaging.models.network import Signature
from imaging.models.outputs import read_finding
from imaging.models.parts import Parts, read_step


def read(top: Table, table: Table, folder: Path) -> Parts:
    """The parts of a card; their faults are noted. `table`: its `[engine]`."""
    inputs = tuple(read_input(each) for each in top.tables("input"))
    if len(inputs) != 1:
        top.fault("input", len(inputs), "only one [[input]] is supported yet", "input-count")
    findings = tuple(read_finding(each) for each in top.tables("finding"))
    engine, network = _engine(table, folder, [each.role for each in inputs], findings)
    prepare = tuple(read_step(each) for each in top.tables("prepare"))
    return Parts(inputs, engine, prepare, findings, network=network)


def _engine(
    table: Table, folder: Path, roles: Sequence[str], findings: Sequence[FindingSpec]
) -> tuple[Engine, Signature | None]:
    table.taken("kind")
    file = table.text("file")
    sha256 = table.text("sha256")
    beside, network = weights(table, folder, file, sha256)
    made = Engine(
        kind="onnx",
        file=file,
        sha256=sha256,
        inputs=dict.fromkeys(roles, table.text("input")),
        outputs=_outputs(table, findings),
        precision=table.choice("precision", ("f32",), "f32"),
        batch=table.integer("batch", 1, 1, 1024),
        memory_mb=table.integer("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", 60.0, 0.1, 86_400.0),
        window=_window(table.table("window")) if table.has("window") else None,
        beside=beside,
    )
    table.done()
    return made, network


def _outputs(table: Table, findings: Sequence[FindingSpec]) -> tuple[str, ...]:
    """The names of all that is read: of `output` where a finding names none of its own, and of what they name."""
    needs_one = not findings or not all(each.output for each in findings)
    first = table.text("output", None if needs_one else "")
    named = [name for each in findings for name in (each.output, *each.further_outputs)]
    if first and not needs_one and first not in named:
        table.fault("output", first, "is read by no finding: leave it out", "output-unused")
    return tuple(dict.fromkeys(each for each in (first, *named) if each)) or ("",)


def _window(table: Table) -> Window:
    roi = table.numbers("roi", 3, 1, whole=True)
    made = Window(
        roi=(int(roi[0]), int(roi[1]), int(roi[2])),
        overlap=table.number("overlap", 0.25, 0.0, 0.9),
        blend=table.choice("blend", ("gaussian", "constant"), "gaussian"),  # type: ignore[arg-type]
        batch=table.integer("batch", 1, 1, 64),
    )
    table.done()
    return made
