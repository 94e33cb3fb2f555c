"""Reads `card.toml`, whole or not at all.

A card with faults gives one `CardError` that lists all of them, each as `path: key = value: rule (rule-name)`.
Unknown keys are faults: a key with a typing error must not silently leave a gate open.
"""

import hashlib
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

import pydicom.config
import pydicom.uid

from imaging.domain.card import Calibration, Card, Engine, FindingSpec, Gate, Golden, Input, Step, TriageRule, Window
from imaging.domain.codes import Code
from imaging.domain.findings import TriageClass
from imaging.domain.fitting import PREFERENCES
from imaging.domain.gates import GATES
from imaging.domain.image_kind import FILMS
from imaging.models.steps import GEOMETRY, STEPS
from imaging.models.tables import CardError, Faults, Table, rule_name

MEASURES: Final = ("volume_ml", "max_diameter_mm", "centroid", "mean_hu")
CONDITIONS: Final = ("volume_ml", "max_diameter_mm", "mean_hu")
ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
AT_LEAST: Final = re.compile(r">=\s*(\d+(?:\.\d+)?)")


def read_card(folder: Path) -> Card:
    """The card in `folder`, its weights' digest checked. Raises CardError."""
    path = folder / "card.toml"
    try:
        raw = path.read_bytes()
        said = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError([f"{path}: {error} (not-readable)"]) from error
    faults = Faults(path)
    card = _card(Table(said, "", faults), folder, hashlib.sha256(raw).hexdigest())
    if faults.lines:
        raise CardError(faults.lines, card.id if ID.fullmatch(card.id) else "")
    return card


def _card(top: Table, folder: Path, digest: str) -> Card:
    if top.whole("card", None, 1, 1) == 1 and top.has("bundle"):
        top.fault("bundle", top.text("bundle"), "MONAI bundles are not yet supported", "bundle-unsupported")
    device_uid = top.text("device_uid")
    if device_uid and not _uid(device_uid).is_valid:
        top.fault("device_uid", device_uid, "must be a UID of at most 64 characters (PS3.5 9)", "device-uid-form")
    status = top.choice("status", ("demonstration", "research", "validated-here"))
    inputs = tuple(_input(each) for each in top.tables("input"))
    if len(inputs) != 1:
        top.fault("input", len(inputs), "one [[input]] is supported; several are not yet", "input-count")
    engine = _engine(top.table("engine"), folder)
    prepare = tuple(_step(each) for each in top.tables("prepare"))
    findings = tuple(_finding(each) for each in top.tables("finding"))
    if not findings:
        top.fault("finding", None, "a card needs a [[finding]]", "finding-absent")
    card = Card(
        id=top.text("id", matching=ID),
        version=top.text("version"),
        name=top.text("name"),
        maker=top.text("maker"),
        licence=top.text("licence"),
        device_uid=device_uid,
        status=status,  # type: ignore[arg-type]  # the closed set above
        use=top.text("use"),
        not_for=top.texts("not_for", ()),
        inputs=inputs,
        prepare=prepare,
        engine=engine,
        findings=findings,
        triage=tuple(_triage(each, {one.code.value for one in findings}) for each in top.tables("triage")),
        evidence=tuple(each.anything() for each in top.tables("evidence")),
        golden=_golden(top.table("golden"), folder) if top.has("golden") else None,
        folder=folder,
        digest=digest,
    )
    top.done()
    _hold_together(card, top)
    return card


def _hold_together(card: Card, top: Table) -> None:
    """Rules between tables."""
    several = [(at, set(each.modality)) for at, each in enumerate(card.inputs) if each.images != "each"]
    together = [at for at, modalities in several if modalities and modalities <= FILMS]
    for at in together:
        rule = 'films are taken one by one, by images = "each"; best and all of them are not yet supported'
        top.fault(f"input[{at}].images", card.inputs[at].images, rule, "images-unsupported")
    is_volume = card.is_volume and not together
    _prepare_holds(card, top, "volume" if is_volume else "film")
    for at, finding in enumerate(card.findings):
        if (finding.kind == "segment") != is_volume:
            rule = 'of volumes only as = "segment" is supported yet, of films only as = "label"'
            top.fault(f"finding[{at}].as", finding.kind, rule, "as-dimensions")
    times = Counter(finding.code.value for finding in card.findings)
    for name in sorted(name for name, count in times.items() if count > 1):
        top.fault("finding", name, "two findings have this code", "finding-repeated")


def _prepare_holds(card: Card, top: Table, dimensions: str) -> None:
    """Each step prepares what the model takes, and what changes places comes before what changes values."""
    for at, step in enumerate(card.prepare):
        if step.do in STEPS and dimensions not in STEPS[step.do].takes:
            top.fault(f"prepare[{at}].do", step.do, f"does not prepare a {dimensions}", "do-dimensions")
    first = {step.do for step in card.prepare[: sum(step.do in GEOMETRY for step in card.prepare)]}
    if late := [step.do for step in card.prepare if step.do in GEOMETRY and step.do not in first]:
        top.fault("prepare", late, "must come before steps that change values", "prepare-order")


def _input(table: Table) -> Input:
    images = table.choice("images", ("all", "each", "best"), "all")
    role = table.text("role")
    modality = table.texts("modality")
    sop_class_uids = _sop_classes(table)
    gates = tuple(_gate(each) for each in table.tables("gate"))
    slices = _range(table, "slices")
    gap = table.number("max_gap_mm", 0.0, 0.0, 1000.0)
    made = Input(
        role=role,
        modality=modality,
        sop_class_uids=sop_class_uids,
        images=images,  # type: ignore[arg-type]  # the closed set above, as in the next ones
        gates=gates,
        slices=(int(slices[0]), int(min(slices[1], 100_000))) if slices else None,
        extent_mm=_range(table, "extent_mm"),
        max_gap_mm=gap or None,
        missing=table.choice("missing", ("refuse", "interpolate"), "refuse"),  # type: ignore[arg-type]
        contrast=table.choice("contrast", ("any", "yes", "no"), "any"),  # type: ignore[arg-type]
        weighting=table.choice("weighting", ("", "t1", "t2", "pd", "flair"), ""),
        derived=table.flag("derived", False),
        prefer=table.texts("prefer", (), PREFERENCES),
    )
    table.done()
    return made


def _range(table: Table, key: str) -> tuple[float, float] | None:
    if not table.has(key):
        return None
    inner = table.table(key)
    least, most = inner.number("min", 0.0, 0.0, 1e6), inner.number("max", 1e6, 0.0, 1e6)
    if least > most:
        table.fault(key, [least, most], "min must not exceed max", f"{rule_name(key)}-range")
    inner.done()
    return least, most


def _sop_classes(table: Table) -> tuple[str, ...]:
    """UIDs of the keywords (or UIDs) in `sop_class`."""
    uids = []
    for name in table.texts("sop_class", ()):
        uid = getattr(pydicom.uid, name, name)
        if not isinstance(uid, str) or _uid(uid).type != "SOP Class":
            table.fault("sop_class", name, "is no SOP Class that PS3.6 names", "sop-class-unknown")
        uids.append(str(uid))
    return tuple(uids)


def _uid(text: str) -> pydicom.uid.UID:
    return pydicom.uid.UID(text, validation_mode=pydicom.config.IGNORE)  # a fault of ours says it, not a warning


def _gate(table: Table) -> Gate:
    tag = table.text("tag")
    if tag not in GATES:
        table.fault("tag", tag, f"must be one of {', '.join(GATES)}", "tag-unknown")
        table.anything()
        return Gate(tag)
    made = Gate(
        tag=tag,
        any=table.texts("any", ()),
        min=table.number("min", None, -1e6, 1e6) if table.has("min") else None,
        max=table.number("max", None, -1e6, 1e6) if table.has("max") else None,
        absent=table.choice("absent", ("refuse", "pass", "doubt"), "refuse"),  # type: ignore[arg-type]
    )
    if not made.any and made.min is None and made.max is None:
        table.fault("any", None, "a gate needs any, min or max", "gate-empty")
    _, keys, _ = GATES[tag]
    for key, value in (("any", made.any), ("min", made.min), ("max", made.max)):
        if key not in keys and value not in ((), None):
            table.fault(key, value, f"{tag} is asked by {' and '.join(keys)}", "gate-kind")
    table.done()
    return made


def _step(table: Table) -> Step:
    """A step of the closed set with its options checked by the step's own rules."""
    do = table.text("do")
    if do not in STEPS:
        known = do in ("crop-foreground", "stack")
        rule = "is not yet supported" if known else f"must be one of {', '.join(STEPS)}"
        table.fault("do", do, rule, "do-unsupported" if known else "do-unknown")
        table.anything()
        return Step(do)
    made = Step(do, STEPS[do].options(table))
    table.done()
    return made


def _engine(table: Table, folder: Path) -> Engine:
    kind = table.choice("kind", ("onnx",))
    file = table.text("file")
    sha256 = table.text("sha256", matching=DIGEST)
    _weights(table, folder, file, sha256)
    made = Engine(
        kind=kind,  # type: ignore[arg-type]  # the closed set above
        file=file,
        sha256=sha256,
        input=table.text("input"),
        output=table.text("output"),
        precision=table.choice("precision", ("f32",), "f32"),
        batch=table.whole("batch", 1, 1, 1024),
        memory_mb=table.whole("memory_mb", 1000, 1, 1_000_000),
        seconds=table.number("seconds", 60.0, 0.1, 86_400.0),
        window=_window(table.table("window")) if table.has("window") else None,
    )
    table.done()
    return made


def _weights(table: Table, folder: Path, file: str, sha256: str) -> None:
    path = _inside(table, "file", folder, file)
    if path is None or not DIGEST.fullmatch(sha256):
        return
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        table.fault("file", file, f"cannot be read: {error.strerror}", "file-unreadable")
        return
    if found != sha256:
        table.fault("sha256", sha256, f"{file} has the digest {found}", "sha256-differs")


def _inside(table: Table, key: str, folder: Path, name: str) -> Path | None:
    """The file or folder `name` of the model's own folder; a link or `..` may not lead out of it."""
    try:
        path = (folder / name).resolve()
        is_there = path.exists()
    except (OSError, RuntimeError, ValueError):  # a folder closed to us, a link to itself, a name that no file can have
        table.fault(key, name, "cannot be reached", f"{rule_name(key)}-unreachable")
        return None
    if not name or not path.is_relative_to(folder.resolve()):
        table.fault(key, name, "must lie in the model's folder", f"{rule_name(key)}-outside")
        return None
    if not is_there:
        table.fault(key, name, "is not in the model's folder", f"{rule_name(key)}-missing")
        return None
    return path


def _window(table: Table) -> Window:
    roi = table.numbers("roi", 3, 1, whole=True)
    made = Window(
        roi=(int(roi[0]), int(roi[1]), int(roi[2])),
        overlap=table.number("overlap", 0.25, 0.0, 0.9),
        blend=table.choice("blend", ("gaussian", "constant"), "gaussian"),  # type: ignore[arg-type]
        batch=table.whole("batch", 1, 1, 64),
    )
    table.done()
    return made


def _finding(table: Table) -> FindingSpec:
    kind = table.text("as", "label")
    if kind not in ("label", "segment"):
        unsupported = kind in ("boxes", "number")
        rule = "is not yet supported" if unsupported else "must be label or segment"
        table.fault("as", kind, rule, "as-unsupported" if unsupported else "as-unknown")
    made = FindingSpec(
        channel=table.whole("channel", None, 0, 10_000),
        code=_code(table.table("code")),
        activation=table.choice("activation", ("sigmoid", "softmax", "none"), "sigmoid"),  # type: ignore[arg-type]
        kind="segment" if kind == "segment" else "label",
        calibration=_calibration(table.table("calibration")) if table.has("calibration") else None,
        threshold=table.number("threshold", 0.5, 0.0, 1.0),
        chosen=table.text("chosen", ""),
        site=_code(table.table("site")) if table.has("site") else None,
        mask_at=table.number("mask_at", 0.5, 0.0, 1.0),
        min_ml=table.number("min_ml", 0.0, 0.0, 10_000.0),
        measure=table.texts("measure", (), MEASURES),
        present=_present(table.table("present")) if table.has("present") else {},
        probability=table.choice("probability", ("", "max-component-mean"), ""),
    )
    table.done()
    return made


def _code(table: Table) -> Code:
    made = Code(table.text("scheme"), table.text("value"), table.text("meaning"))
    limits: tuple[tuple[str, str, int], ...] = (
        ("scheme", made.scheme, 16), ("value", made.value, 16), ("meaning", made.meaning, 64),
    )  # fmt: skip
    for key, text, most in limits:
        if len(text) > most:
            table.fault(key, text, f"has more than {most} characters (PS3.3 Table 8.8-1)", f"{key}-length")
    table.done()
    return made


def _calibration(table: Table) -> Calibration:
    made = Calibration(
        kind=table.choice("kind", ("platt",)),  # type: ignore[arg-type]  # the closed set
        a=table.number("a", None, -1e3, 1e3),
        b=table.number("b", None, -1e3, 1e3),
        data=table.text("data", ""),
    )
    table.done()
    return made


def _present(table: Table) -> dict[str, float]:
    least = {}
    for key in (each for each in CONDITIONS if table.has(each)):
        rule = table.text(key)
        match = AT_LEAST.fullmatch(rule)
        if match:
            least[key] = float(match[1])
        else:
            table.fault(key, rule, 'must read ">=1.0"', "present-form")
    table.done()
    return least


def _triage(table: Table, findings: set[str]) -> TriageRule:
    when = table.table("when")
    finding, probability = when.text("finding"), when.text("probability")
    if finding and finding not in findings:
        when.fault("finding", finding, "is no finding's code value", "triage-finding")
    match = AT_LEAST.fullmatch(probability)
    if probability and (not match or float(match[1]) > 1):
        when.fault("probability", probability, 'must read ">=0.8", at most 1', "triage-probability")
    when.done()
    triage = TriageClass(table.choice("class", tuple(TriageClass)))
    table.done()
    return TriageRule(finding, float(match[1]) if match else 1.0, triage)


def _golden(table: Table, folder: Path) -> Golden:
    made = Golden(table.text("input"), table.text("output"), table.number("tolerance", 1e-3, 0.0, 1.0))
    for key, name in (("input", made.input), ("output", made.output)):
        _inside(table, key, folder, name)
    table.done()
    return made
