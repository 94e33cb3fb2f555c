"""A card as far as a model's files write it, and the one text that it becomes.

Where the files say nothing and a default would be an answer that nobody gave, it says FILL IN, below a comment that
says what is wanted, with a line that may stand in its place.
"""

import json
import re
import textwrap
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from imaging.domain.modes import Mode
from imaging.models.to_fill_in import FILL_IN, Wanted, is_open, wanted

WIDTH: Final = 118
_HOW: Final = (
    f"{FILL_IN} stands where only a person can tell what is right: put a value in its place. Until then the model is "
    "disabled."
)


@dataclass(frozen=True)
class DigestOf:
    """A value that is known once a file is copied: its digest. `file`: by its name from the model's folder."""

    file: str


@dataclass(frozen=True)
class Asked:
    """A key that only a person can fill in, as faults name it."""

    key: str
    wanted: Wanted


@dataclass(frozen=True)
class Section:
    """A table of a card. `head`: its line, empty for the top; `path`: as faults name it. `notes`: comments before it.
    `about`: what it is about, as the files call it.
    """

    head: str
    path: str
    values: Mapping[str, Any]
    notes: Sequence[str] = ()
    about: str = ""

    @property
    def asked(self) -> list[Asked]:
        """Its keys that are still to be filled in."""
        keys = [(f"{self.path}.{key}" if self.path else key) for key, value in self.values.items() if is_open(value)]
        return [Asked(key, wanted(key, self.values, self.about)) for key in keys]

    def lines(self, digests: Mapping[str, str]) -> Iterator[str]:
        """Its text."""
        for note in self.notes:
            yield from commented(note)
        if self.head:
            yield self.head
        asked = {each.key.rpartition(".")[2]: each.wanted for each in self.asked}
        for key, value in self.values.items():
            if key in asked:
                yield from commented(f"{asked[key].why}. Example:")
                yield f"#   {asked[key].example}"
            yield f"{key} = {toml(value, digests)}"


@dataclass(frozen=True)
class Draft:
    """`kind`: what it was made of. `known`: what the files tell, as JSON. `may`: what may be added to it, by key."""

    kind: str
    id: str
    sections: Sequence[Section]
    known: Mapping[str, Any]
    may: Mapping[str, Wanted] = field(default_factory=dict)

    @property
    def asked(self) -> list[Asked]:
        """What is still to be filled in, in the card's order."""
        return [each for section in self.sections for each in section.asked]

    def text(self, digests: Mapping[str, str]) -> str:
        """The card, by the digests of the files that were copied."""
        head = [*commented(f"Written by `imaging models add` from {self.kind}. {_HOW}"), "# What the files tell:"]
        for name, value in self.known.items():
            head += commented(f"{name}: {shown(value)}", "    ")
        may = []
        for each in self.may.values():
            lines = [f"#   {line}" for line in each.example.splitlines()]
            may.append("\n".join([*commented(f"Optional: {each.why}. Example:"), *lines]))
        sections = ["\n".join(section.lines(digests)) for section in self.sections]
        return "\n\n".join(["\n".join(head), *sections, *may]) + "\n"

    def filled(self, digests: Mapping[str, str]) -> str:
        """The card with the examples in place of what is open: to try the files with, never to be served."""
        lines = self.text(digests).splitlines()
        for at, each in enumerate(lines):
            if not each.startswith("#") and each.endswith(f' = "{FILL_IN}"'):
                lines[at] = lines[at - 1].removeprefix("#").strip()
        return "\n".join(lines) + "\n"


def may_be_added(condition: str) -> dict[str, Wanted]:
    """What a card may have besides. `condition`: of a triage rule, as its findings allow."""
    rule = f'[[triage]]\nwhen = {{finding = "CODE VALUE", {condition}}}\nclass = "urgent"'
    return {**_MAY_BE_ADDED, "triage": Wanted(_MAY_BE_ADDED["triage"].why, rule)}


_MAY_BE_ADDED: Final[Mapping[str, Wanted]] = {
    "not_for": Wanted("whom and what it is not for (a key of the top of the card)", 'not_for = ["children"]'),
    "triage": Wanted(
        "when a study is urgent. No rule counts without evidence, nor while the model is in shadow",
        "",
    ),
    "evidence": Wanted(
        "what was measured, on images that the model was not made with; docs/models.md has the keys",
        '[[evidence]]\nfinding = "CODE VALUE"\nauc = 0.85\nci95 = [0.80, 0.90]\ndata = "500 studies of this site"',
    ),
}


def top(model_id: str, facts: Mapping[str, str | None]) -> Section:
    """The first keys of a card. `facts`: of version, name, maker and use, what the files say; None: leave it out."""
    values: dict[str, Any] = {"card": 1, "id": model_id}
    for key in ("version", "name", "maker"):
        if (value := facts.get(key, FILL_IN)) is not None:
            values[key] = value
    values |= {"licence": FILL_IN, "device_uid": f"2.25.{uuid.uuid4().int}", "status": "research"}
    values["mode"] = str(Mode.SHADOW)
    if (use := facts.get("use", FILL_IN)) is not None:
        values["use"] = use
    return Section("", "", values)


def commented(text: str, indent: str = "  ") -> list[str]:
    """Lines of a comment; `indent`: of the second line on. Nothing of the text leaves it, whatever it holds."""
    return textwrap.wrap(_printable(text), WIDTH, initial_indent="# ", subsequent_indent=f"# {indent}") or ["#"]


def shown(value: object) -> str:
    """A value in a line for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(each, Mapping) for each in value) else ", ").join(map(shown, value))
    return "any" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Texts of files, without what would end a comment's line or change a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def toml(value: object, digests: Mapping[str, str]) -> str:
    """A value as TOML writes it."""
    if isinstance(value, DigestOf):
        return toml(digests[value.file], digests)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = value.encode("utf-8", "replace").decode()
        return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml(each, digests)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(each, digests) for each in value)}]"
    return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else toml(name, {})
