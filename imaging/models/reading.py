"""Reads `card.toml`, whole or not at all.

A card with faults gives one `CardError` that lists all of them, each as `path: key = value: rule (rule-name)`.
Unknown keys are faults: a key with a typing error must not silently leave a gate open.
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from imaging.domain.card import Card, Engine, FindingSpec, Golden, Step, Window, covering
from imaging.domain.modes import Mode
from imaging.domain.tables import CardError, Faults, Table
from imaging.models.bundle import Bundle, read_bundle
from imaging.models.bundle_parts import IMAGE, PREDICTION
from imaging.models.files import held, inside, weights
from imaging.models.inputs import read_input, uid_of
from imaging.models.installed import hold_installed
from imaging.models.network import Signature, network_faults
from imaging.models.outputs import read_bundled, read_finding, read_triage
from imaging.models.pickles import NotWeights, hold_weights
from imaging.models.rules import contradictions
from imaging.preparation.registry import STEPS

KINDS: Final = ("onnx", "openvino", "bundle")
SECONDS_OF_A_BUNDLE: Final = 600.0
"""Unless its card says another: hundreds of patches of a network that was made for a graphics card."""
ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def read_card(folder: Path) -> Card:
    """The card in `folder`, its weights' digest checked. Raises CardError."""
    path = folder / "card.toml"
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError([f"{path}: {error} (not-readable)"]) from error
    faults = Faults(path)
    card = _card(Table(content, "", faults), folder, raw)
    if faults.lines:
        raise CardError(faults.lines, card.id if ID.fullmatch(card.id) else "")
    return card


def _card(top: Table, folder: Path, raw: bytes) -> Card:
    top.integer("card", None, 1, 1)
    engine_table = top.table("engine")
    is_bundle = engine_table.untaken("kind") == "bundle"
    bundle = read_bundle(engine_table, folder) if is_bundle else None
    data = bundle.facts if bundle is not None else dict.fromkeys(("version", "name", "maker", "use"), "unknown")
    data = data if is_bundle else {}
    device_uid = top.text("device_uid")
    if device_uid and not uid_of(device_uid).is_valid:
        top.fault("device_uid", device_uid, "must be a UID of at most 64 characters (PS3.5 9)", "device-uid-form")
    status = top.choice("status", ("demonstration", "research", "validated-here"))
    modality = bundle.modality if bundle is not None else ()
    inputs = tuple(read_input(each, modality) for each in top.tables("input"))
    wanted = bundle.channels if bundle is not None else 1
    if len(inputs) != wanted and (bundle is not None or not is_bundle):
        many = f"the bundle needs {wanted} of [[input]], in the order of its channels"
        top.fault("input", len(inputs), many if is_bundle else "only one [[input]] is supported yet", "input-count")
    roles = [each.role for each in inputs]
    if is_bundle:
        engine, network = _bundle_engine(engine_table, folder, roles, bundle), None
    else:
        engine, network = _engine(engine_table, folder, roles)
    prepare = _bundle_steps(top, bundle) if is_bundle else tuple(_step(each) for each in top.tables("prepare"))
    findings = tuple(_finding(each, bundle, is_bundle) for each in top.tables("finding"))
    if not findings:
        top.fault("finding", None, "a card needs a [[finding]]", "finding-absent")
    mode = Mode(top.choice("mode", tuple(Mode), Mode.LIVE))
    card = Card(
        id=top.text("id", matching=ID),
        version=top.text("version", data.get("version")),
        name=top.text("name", data.get("name")),
        maker=top.text("maker", data.get("maker")),
        licence=top.text("licence"),
        device_uid=device_uid,
        status=status,  # type: ignore[arg-type]  # the closed set above
        use=top.text("use", data.get("use")),
        not_for=top.texts("not_for", ()),
        inputs=inputs,
        prepare=prepare,
        engine=engine,
        findings=findings,
        triage=tuple(read_triage(each, findings) for each in top.tables("triage")),
        evidence=tuple(each.anything() for each in top.tables("evidence")),
        golden=_golden(top.table("golden"), folder) if top.has("golden") else None,
        folder=folder,
        digest=covering(raw, engine.beside),
        mode=mode,
    )
    top.done()
    for key, value, rule, name in contradictions(card):
        top.fault(key, value, rule, name)
    if network is not None and top.is_faultless:
        for key, value, rule, name in network_faults(card, network):
            top.fault(key, value, rule, name)
    return card


def _step(table: Table) -> Step:
    """A step of the closed set with its options checked by the step's own rules."""
    do = table.text("do")
    if do not in STEPS:
        known = do == "stack"
        rule = "is not yet supported" if known else f"must be one of {', '.join(STEPS)}"
        table.fault("do", do, rule, "do-unsupported" if known else "do-unknown")
        table.anything()
        return Step(do)
    made = Step(do, STEPS[do].options(table))
    table.done()
    return made


def _finding(table: Table, bundle: Bundle | None, is_bundle: bool) -> FindingSpec:
    if not is_bundle:
        return read_finding(table)
    if bundle is None:  # its faults are told; those of the card's own keys as well
        return read_bundled(table, lambda each: int(bool(each.taken("channel"))))
    made = bundle.finding(read_bundled(table, bundle.channel))
    if made.probability and made.activation == "none":
        rule = "the bundle's post-processing has no activation, so its values are not probabilities: remove it"
        table.fault("probability", made.probability, rule, "probability-absent")
    return made


def _bundle_steps(top: Table, bundle: Bundle | None) -> tuple[Step, ...]:
    """The steps of a bundle's preprocessing, their options held as those of a card are."""
    if top.has("prepare"):
        rule = "comes from the bundle's preprocessing: remove it"
        top.fault("prepare", top.taken("prepare"), rule, "bundle-keys")
    if bundle is None:
        return ()
    faults = Faults(bundle.config)
    made = tuple(_step(Table(each.step, each.place, faults)) for each in bundle.steps)
    top.add(faults)
    return made


def _bundle_engine(table: Table, folder: Path, roles: Sequence[str], bundle: Bundle | None) -> Engine:
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
        inputs=dict.fromkeys(roles[:1], IMAGE),
        outputs=(PREDICTION,),
        precision=table.choice("precision", ("f32", "bf16"), "f32"),
        memory_mb=table.integer("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", SECONDS_OF_A_BUNDLE, 0.1, 86_400.0),
        window=bundle.window if bundle is not None else None,
        beside=bundle.files if bundle is not None else (),
        network=bundle.network if bundle is not None else None,
    )
    table.done()
    return made


def _engine(table: Table, folder: Path, roles: Sequence[str]) -> tuple[Engine, Signature | None]:
    kind = table.choice("kind", KINDS)
    hold_installed(table, kind)
    file = table.text("file")
    sha256 = table.text("sha256")
    beside, network = weights(table, folder, file, sha256)
    made = Engine(
        kind=kind,  # type: ignore[arg-type]  # the closed set above
        file=file,
        sha256=sha256,
        inputs=dict.fromkeys(roles, table.text("input")),
        outputs=(table.text("output"),),
        precision=table.choice("precision", ("f32", "bf16", "f16") if kind == "openvino" else ("f32",), "f32"),
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


def _golden(table: Table, folder: Path) -> Golden:
    made = Golden(table.text("input"), table.text("output"), table.number("tolerance", 1e-3, 0.0, 1.0))
    for key, name in (("input", made.input), ("output", made.output)):
        inside(table, key, folder, name)
    table.done()
    return made
