"""Adding a model as it was published: what lies at a path, the card that its files write, and what they leave open."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imaging.domain.card import Card
from imaging.domain.modes import Mode
from imaging.domain.tables import CardError, Faults, Table
from imaging.models import draft_bundle, draft_onnx, onnx_facts
from imaging.models.bundle_config import config_of
from imaging.models.draft import Asked, Draft
from imaging.models.files import located
from imaging.models.network import Signature, signature
from imaging.models.onnx_facts import OnnxFacts
from imaging.models.reading import ID, read_card
from imaging.models.taking import NotTaken, files_in
from imaging.models.to_fill_in import TO_FILL_IN, Wanted, is_open, open_keys, wanted

_NOT_INSTALLED: Final = ("(engine-absent)", "(engine-old)")
"""Faults that the machine has, not the model."""


@dataclass(frozen=True)
class Plan:
    """What is copied and written. `files`: by their names in the model's folder; `weights`: which of them the network
    is loaded from; `card`: its text, by the digests of what was copied; `trial`: the same with examples in place of
    what is open, None where nothing can be tried.
    """

    id: str
    kind: str
    files: Mapping[str, Path]
    weights: Sequence[str]
    known: Mapping[str, Any]
    asked: Sequence[Asked]
    card: Callable[[Mapping[str, str]], str]
    trial: Callable[[Mapping[str, str]], str] | None = None
    may: Mapping[str, Wanted] = field(default_factory=dict)
    changed: Sequence[str] = ()


def plan(path: Path, model_id: str = "") -> Plan:
    """What adding the model at a path does. Raises NotTaken, a line for each reason; OSError."""
    path = path.absolute()
    if path.is_dir():
        if (path / "card.toml").is_file():
            return _of_card(path, model_id)
        if config_of(path.resolve()) is not None or (path / "configs").is_dir():
            return _of_bundle(path.resolve(), model_id or id_of(path.name))
    elif (network := signature(path)) is not None and (facts := onnx_facts.facts(path)) is not None:
        return _of_onnx(path, model_id or id_of(_stem(path)), network, facts)
    raise NotTaken(f"{path}: is no model: {_hint(path)}")


def id_of(name: str) -> str:
    """A model's id of the name of its files. Raises NotTaken where none can be made of it."""
    made = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    if not ID.fullmatch(made):
        raise NotTaken(f"{name}: no id can be made of this name: give one with --id")
    return made


def _hint(path: Path) -> str:
    wanted = "expected the folder of a MONAI bundle (configs/, models/), an ONNX file, or a folder with a card.toml"
    if path.suffix == ".onnx":
        return "it is damaged, or no ONNX file: export or download it again"
    if not path.is_dir():
        return wanted + ("; unpack it first" if path.suffix in (".zip", ".gz", ".tar", ".tgz") else "")
    models = [each.parent for each in sorted(path.glob("*/card.toml"))]
    bundles = [each.parents[1] for each in sorted(path.glob("*/configs/inference.*"))]
    near = next(iter([*sorted(path.glob("*.onnx")), *models, *bundles, *sorted(path.glob("*/*.onnx"))]), None)
    return wanted + (f"; did you mean {near}?" if near is not None else "")


def faults_of(folder: Path) -> tuple[Card | None, list[str]]:
    """A card that is read, or what is wrong with it but for keys that are open."""
    try:
        return read_card(folder), []
    except CardError as error:
        return None, [each for each in error.faults if not each.endswith(f"({TO_FILL_IN})")]


def is_of_machine(fault: str) -> bool:
    """Whether a fault says that something is not installed here, which keeps nobody from adding a model."""
    return fault.endswith(_NOT_INSTALLED)


_INSTEAD: Final = (
    "nothing was added: no code of a bundle is run, and docs/models.md (MONAI bundles) lists what is supported; a "
    "network exported to ONNX may be added as that file"
)
# Bundles -----------------------------------------------------------------------------------------------------


def _of_bundle(path: Path, model_id: str) -> Plan:
    bundle, faults = draft_bundle.read(path)
    if bundle is None or faults:
        of_config = f"{config_of(path)}: "
        raise NotTaken("\n".join([*faults, _INSTEAD] if any(each.startswith(of_config) for each in faults) else faults))
    inner = files_in(path)
    files = {f"{path.name}/{name}": file for name, file in inner.items()}
    weights = [bundle.weights, *(each.name for each in bundle.files)]
    return _drafted(draft_bundle.draft(model_id, bundle, inner), files, weights)


def _drafted(draft: Draft, files: Mapping[str, Path], weights: Sequence[str]) -> Plan:
    return Plan(
        draft.id,
        draft.kind,
        files,
        weights,
        draft.known,
        draft.asked,
        draft.text,
        draft.filled,
        draft.may,
    )


# ONNX files --------------------------------------------------------------------------------------------------


_SAYS_NOTHING: Final = frozenset({"model", "network", "net", "weights", "best", "last"})
"""Names of files that are those of the folder."""


def _stem(path: Path) -> str:
    parent = path.absolute().parent.name
    return parent if path.stem.lower() in _SAYS_NOTHING and parent else path.stem


def _of_onnx(path: Path, model_id: str, network: Signature, facts: OnnxFacts) -> Plan:
    """The file with those that it takes weights from, which must lie beside or below it."""
    faults = Faults(path)
    beside = located(Table({}, "", faults), path.parent, path.name)
    if faults.lines:
        raise NotTaken("\n".join(faults.lines))
    try:
        made = draft_onnx.draft(model_id, path.name, network, facts, beside)
    except draft_onnx.NoCard as why:
        raise NotTaken(f"{path}: {why}") from None
    files = {path.name: path.resolve(), **{name: path.parent / name for name in beside}}
    return _drafted(made, files, list(files))


# Folders with a card -----------------------------------------------------------------------------------------


def _of_card(path: Path, model_id: str) -> Plan:
    """A model that has its card keeps it, but for its mode and status: nothing is validated here yet."""
    card, faults = faults_of(path)
    if wrong := [each for each in faults if not is_of_machine(each)]:
        raise NotTaken("\n".join(wrong))
    text = (path / "card.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    wants = {"status": "research", "mode": str(Mode.SHADOW)} | ({"id": model_id} if model_id else {})
    changes = {key: value for key, value in wants.items() if content.get(key) != value}
    made = restated(text, changes)
    if made is None:
        lines = ", ".join(f'{key} = "{value}"' for key, value in changes.items())
        raise NotTaken(f"{path / 'card.toml'}: its first keys cannot be changed in their lines: write {lines} there")
    named = model_id or str(content.get("id", ""))
    if not ID.fullmatch(named):
        raise NotTaken(f"{path / 'card.toml'}: says no id yet: give one with --id")
    files = files_in(path)
    return Plan(
        named,
        "a model's folder",
        {name: file for name, file in files.items() if name != "card.toml"},
        [each.name for each in card.engine.files] if card is not None else _named(content, files),
        _known(card, content),
        [Asked(key, wanted(key, beside)) for key, beside in open_keys(content)],
        lambda _: made,
        changed=[f"{key} = {content.get(key, 'absent')!r} is now {value!r}" for key, value in changes.items()],
    )


def _named(content: Mapping[str, Any], files: Mapping[str, Path]) -> list[str]:
    """The weights that a card names which cannot be served yet."""
    engine = content["engine"] if isinstance(content.get("engine"), dict) else {}
    names = [str(engine.get("file", "")), f"{engine.get('folder', '')}/{engine.get('file', 'models/model.pt')}"]
    return [each for each in names if each in files]


def _known(card: Card | None, content: Mapping[str, Any]) -> dict[str, Any]:
    named = ("version", "name", "maker", "licence", "use")
    facts = {key: content[key] for key in named if isinstance(content.get(key), str) and not is_open(content[key])}
    if card is None:
        return facts
    return {
        **facts,
        "kind": card.engine.kind,
        "modality": sorted({each for one in card.inputs for each in one.modality}),
        "inputs": list(card.engine.inputs.values()),
        "outputs": list(card.engine.outputs),
        "preparation": [each.do for each in card.prepare],
        "findings": [f"{each.code.meaning} ({each.code.scheme} {each.code.value})" for each in card.findings],
        "golden_case": card.golden is not None,
    }


def restated(text: str, changes: Mapping[str, str]) -> str | None:
    """A card with other texts under some of its first keys, all else as it was; None where that cannot be done."""
    lines = text.splitlines(keepends=True)
    end = next((at for at, each in enumerate(lines) if each.lstrip().startswith("[")), len(lines))
    if any(not re.fullmatch(r'[^"\\\x00-\x1f]*', value) for value in changes.values()):
        return None
    head = list(lines[:end])
    for key, value in changes.items():
        at = next((at for at, each in enumerate(head) if re.match(rf"\s*{key}\s*=", each)), None)
        line = f'{key} = "{value}"\n'
        if at is None:
            after = max((number for number, each in enumerate(head) if each.strip()), default=-1) + 1
            head.insert(after, line if not head or head[after - 1].endswith("\n") else f"\n{line}")
        else:
            head[at] = line
    made = "".join([*head, *lines[end:]])
    try:
        is_right = tomllib.loads(made) == {**tomllib.loads(text), **changes}
    except tomllib.TOMLDecodeError:
        is_right = False
    return made if is_right else None
