"""Reads the tables of a card whose network is an ONNX file, which the card describes by itself."""

from collections.abc import Sequence
from pathlib import Path

from imaging.domain.card import Engine, Window
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
    engine, network = _engine(table, folder, [each.role for each in inputs])
    prepare = tuple(read_step(each) for each in top.tables("prepare"))
    findings = tuple(read_finding(each) for each in top.tables("finding"))
    return Parts(inputs, engine, prepare, findings, network=network)


def _engine(table: Table, folder: Path, roles: Sequence[str]) -> tuple[Engine, Signature | None]:
    table.taken("kind")
    file = table.text("file")
    sha256 = table.text("sha256")
    beside, network = weights(table, folder, file, sha256)
    made = Engine(
        kind="onnx",
        file=file,
        sha256=sha256,
        inputs=dict.fromkeys(roles, table.text("input")),
        outputs=(table.text("output"),),
        precision=table.choice("precision", ("f32",), "f32"),
        batch=table.integer("batch", 1, 1, 1024),
        memory_mb=table.integer("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", 60.0, 0.1, 86_400.0),
        window=_window(table.table("window")) if table.has("window") else None,
        beside=beside,
    )
    table.done()
    return made, network


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
