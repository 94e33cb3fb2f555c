"""`imaging models add`: takes a model as it was published into a folder of its own, with a card."""

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from imaging.cli.parsing import Arguments, CommandError, Parser, settings_of
from imaging.confined.analyser import check, load_fault
from imaging.confined.client import Confined
from imaging.domain.card import Card
from imaging.models.adding import Plan, faults_of, is_of_machine, plan
from imaging.models.draft import Asked, shown
from imaging.models.reading import ID
from imaging.models.taking import NotTaken, refuse_there, taken
from imaging.roles.cores import cores
from imaging.settings import Settings

FOLDER: Final = "models"
"""Where models are added unless somebody says: in the folder where one is, as the card is for a person to write on. The
home is the node's, which keeps copies there that it removes again.
"""
_CANNOT_LOAD: Final = (
    "the network cannot be loaded",
    " cannot be loaded as weights alone",
    " is not a state_dict",
    " cannot be built from its configuration",
    " does not fit ",
)
"""What engines say of files that they do not understand at all, and of weights that are not this network's."""
_SHOWN_EVERY_S: Final = 0.2


def options(parser: Parser) -> None:
    """Adds the arguments that are only for this."""
    parser.add_argument("--to", metavar="DIR", type=Path, help=f"add: the folder of models (default ./{FOLDER})")
    parser.add_argument("--id", metavar="ID", help="add: the model's id (default: made of its name)")


def unused(arguments: Arguments) -> list[str]:
    """Faults of arguments that are given to what is not for them."""
    return [f"--{each}: is only for add" for each in ("to", "id") if getattr(arguments, each) is not None]


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    path, into, settings = _asked(arguments)
    try:
        made = plan(path, arguments.id or "")
        folder = into / made.id
        refuse_there(folder)
        if folder.resolve().is_relative_to(path.resolve()):
            raise NotTaken(f"--to {into}: lies within {path}, which would be copied into itself: choose another")
        progress = _Progress(made.id)
        with taken(made.files, folder.absolute(), progress) as (copy, digests):
            progress.end()
            notes = _proved(made, copy, path, digests, settings.memory_of_a_worker_mb)
        progress.end()
    except NotTaken as why:
        raise CommandError(str(why).replace("\n", "\nimaging models: ")) from None
    document = _document(made, folder, digests, notes)
    print(json.dumps(document, indent=2, ensure_ascii=False) if arguments.json else _text(made, path, document))
    return 0


def _asked(arguments: Arguments) -> tuple[Path, Path, Settings]:
    faults = []
    if len(arguments.ids) != 1:
        faults.append("add: expected one path: imaging models add PATH [--to DIR] [--id ID]")
    faults += [f"{each}: no such file or folder" for each in arguments.ids if not Path(each).expanduser().exists()]
    if arguments.id is not None and not ID.fullmatch(arguments.id):
        faults.append(f"--id {arguments.id!r}: must match {ID.pattern}")
    if arguments.models:
        faults.append("--models: is of models that are there; add takes --to DIR")
    into = (arguments.to or Path(FOLDER)).expanduser()
    if into.exists() and not into.is_dir():
        faults.append(f"--to {into}: is not a folder")
    return Path(arguments.ids[0] if arguments.ids else "").expanduser(), into, settings_of(arguments, faults)


def _proved(made: Plan, copy: Path, path: Path, digests: Mapping[str, str], memory_mb: float | None) -> list[str]:
    """Writes the card once the files have shown that they can be run; what is of note about them. Raises NotTaken."""
    file, notes = copy / "card.toml", list[str]()
    if made.trial is not None:
        file.write_text(made.trial(digests), encoding="utf-8")
        card, faults = faults_of(copy)
        _refuse(faults, copy, path)
        notes += _ran(card, path, memory_mb) if card is not None else []
    file.write_text(made.card(digests), encoding="utf-8")
    _, faults = faults_of(copy)
    _refuse(faults, copy, path)
    return [*notes, *dict.fromkeys(each.partition(": ")[2] for each in faults if is_of_machine(each))]


def _refuse(faults: Sequence[str], copy: Path, path: Path) -> None:
    """Raises NotTaken for what is wrong with a copy, named as what was copied."""
    wrong = [each for each in faults if not is_of_machine(each)]
    for written, original in ((copy / "card.toml", path), (copy / path.name, path), (copy, path)):
        wrong = [each.replace(str(written), str(original)) for each in wrong]
    if wrong:
        raise NotTaken("\n".join(wrong))


def _ran(card: Card, path: Path, memory_mb: float | None) -> list[str]:
    """What the engine says of the network and an empty image; of a bundle, whose patches may take a minute, of the
    network alone. Raises NotTaken where it cannot even load it.
    """
    with Confined([card], threads=cores(), memory_mb=memory_mb) as confined:
        said = check(confined, card) if card.engine.kind == "onnx" else (load_fault(confined, card),)
    faults = [each for each in said if each and not each.startswith("unproven")]
    if refused := [each for each in faults if any(part in each for part in _CANNOT_LOAD)]:
        raise NotTaken(f"{path}: {refused[0]}")
    how = (
        "run on an empty image, with the examples in place of what is open" if card.engine.kind == "onnx" else "loaded"
    )
    return [f"{how}: {each}" for each in faults]


class _Progress:
    """How much is copied, on a terminal; elsewhere nothing."""

    def __init__(self, name: str) -> None:
        self._name, self._next, self._is_shown = name, time.monotonic() + _SHOWN_EVERY_S, False

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty() or time.monotonic() < self._next:
            return
        self._next, self._is_shown = time.monotonic() + _SHOWN_EVERY_S, True
        share = done / max(total, 1)
        print(f"\r{self._name}: copied {share:4.0%} of {size(total)}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clears the line."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


# What is printed ---------------------------------------------------------------------------------------------


def _document(made: Plan, folder: Path, digests: Mapping[str, str], notes: Sequence[str]) -> dict[str, Any]:
    weights = {name: digests[name] for name in made.weights if name in digests}
    return {
        "model": made.id,
        "folder": str(folder),
        "card": str(folder / "card.toml"),
        "digest": next(iter(weights.values()), None),
        "weights": weights,
        "files": len(made.files),
        "bytes": sum((folder / each).stat().st_size for each in made.files),
        "known": dict(made.known),
        "to_fill_in": [{"key": each.key, **asdict(each.wanted)} for each in made.asked],
        "may_be_added": [{"key": key, **asdict(each)} for key, each in made.may.items()],
        "changed": list(made.changed),
        "notes": list(notes),
    }


def _text(made: Plan, path: Path, document: Mapping[str, Any]) -> str:
    folder = Path(document["folder"])
    files = "1 file" if document["files"] == 1 else f"{document['files']} files"
    lines = [f"{folder}: {made.kind} from {path}: {files}, {size(document['bytes'])}"]
    lines += [f"  {name}: {digest}" for name, digest in document["weights"].items()]
    lines += ["", "What the files tell:", *(f"  {name}: {shown(value)}" for name, value in made.known.items())]
    lines += ["", "Changed in the card:", *(f"  {each}" for each in made.changed)] if made.changed else []
    if made.asked:
        lines += ["", f"To fill in, in {document['card']}, where it says FILL IN (until then the model is disabled):"]
        lines += [f"  {keys}: {why}\n      {example}" for why, example, keys in _grouped(made.asked)]
    lines += ["", "Note:", *(f"  {each}" for each in document["notes"])] if document["notes"] else []
    return "\n".join([*lines, "", *_then(made, folder)])


def _grouped(asked: Sequence[Asked]) -> Iterator[tuple[str, str, str]]:
    """Keys that ask the same with the same example, once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in asked:
        groups.setdefault((each.wanted.why, each.wanted.example), []).append(each.key)
    yield from ((why, example, ", ".join(keys)) for (why, example), keys in groups.items())


def _then(made: Plan, folder: Path) -> list[str]:
    named, beside = shlex.quote(str(folder)), shlex.quote(f"+{folder}")
    golden = [] if made.known.get("golden_case") else [f"  imaging models golden {made.id} STUDY --models {named}"]
    return [
        "Then (the model is in shadow: its answers are stored, and neither shown nor sent):",
        f"  imaging models list --models {named}",
        *golden,
        f"  imaging models check --models {named}",
        f"  imaging serve --models {beside}",
    ]
