"""Reads the tables of a card whose network is a MONAI bundle, which says most of it by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from imaging.domain.card import Engine, FindingSpec, Step
from imaging.domain.tables import Faults, Table
from imaging.models.bundle import Bundle, read_bundle
from imaging.models.bundle_parts import IMAGE, PREDICTION
from imaging.models.files import held
from imaging.models.inputs import read_input
from imaging.models.outputs import read_bundled
from imaging.models.parts import Parts, read_step
from imaging.models.pickles import NotWeights, hold_weights

SECONDS: Final = 600.0
"""Unless its card says another: hundreds of patches of a network that was made for a graphics card."""
UNKNOWN: Final = dict.fromkeys(("version", "name", "maker", "use"), "unknown")
"""Of a bundle that cannot be read: its own faults are told, and not that the card lacks what it would have said."""


def read(top: Table, table: Table, folder: Path) -> Parts:
    """The parts of a card; their faults are noted. `table`: its `[engine]`."""
    bundle = read_bundle(table, folder)
    inputs = tuple(read_input(each, bundle.modality if bundle is not None else ()) for each in top.tables("input"))
    if bundle is not None and len(inputs) != bundle.channels:
        rule = f"the bundle needs {bundle.channels} of [[input]], in the order of its channels"
        top.fault("input", len(inputs), rule, "input-count")
    engine = _engine(table, folder, [each.role for each in inputs], bundle)
    prepare = _steps(top, bundle)
    findings = tuple(_finding(each, bundle) for each in top.tables("finding"))
    return Parts(inputs, engine, prepare, findings, bundle.facts if bundle is not None else UNKNOWN)


def _finding(table: Table, bundle: Bundle | None) -> FindingSpec:
    if bundle is None:  # its faults are told; those of the card's own keys as well
        return read_bundled(table, lambda each: int(bool(each.taken("channel"))))
    made = bundle.finding(read_bundled(table, bundle.channel))
    if made.probability and made.activation == "none":
        rule = "the bundle's post-processing has no activation, so its values are not probabilities: remove it"
        table.fault("probability", made.probability, rule, "probability-absent")
    return made


def _steps(top: Table, bundle: Bundle | None) -> tuple[Step, ...]:
    """The steps of a bundle's preprocessing, their options held as those of a card are."""
    if top.has("prepare"):
        rule = "comes from the bundle's preprocessing: remove it"
        top.fault("prepare", top.taken("prepare"), rule, "bundle-keys")
    if bundle is None:
        return ()
    faults = Faults(bundle.config)
    made = tuple(read_step(Table(each.step, each.place, faults)) for each in bundle.steps)
    top.add(faults)
    return made


def _engine(table: Table, folder: Path, roles: Sequence[str], bundle: Bundle | None) -> Engine:
    table.taken("kind")
    sha256 = table.text("sha256")
    path = held(table, folder, bundle.weights, sha256) if bundle is not None else None
    if path is not None and path.suffix != ".safetensors":
        try:
            hold_weights(path)
        except (NotWeights, OSError) as error:
            table.fault("file", bundle.weights if bundle is not None else "", str(error), "weights-refused")
    made = Engine(
        kind="torch",
        file=bundle.weights if bundle is not None else "",
        sha256=sha256,
        inputs=dict.fromkeys(roles, IMAGE),
        outputs=(PREDICTION,),
        precision=table.choice("precision", ("f32", "bf16"), "f32"),
        memory_mb=table.integer("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", SECONDS, 0.1, 86_400.0),
        window=bundle.window if bundle is not None else None,
        beside=bundle.files if bundle is not None else (),
        network=bundle.network if bundle is not None else None,
    )
    table.done()
    return made
