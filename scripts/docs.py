"""Writes the docs that come from the code; `--check` says which of them differ.

docs/configuration.md from the settings, docs/states.md from the transition tables, docs/cli.md from --help.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "100"  # so that --help wraps alike everywhere

from imaging import settings
from imaging.cli.asking import Parser
from imaging.cli.main import COMMANDS
from imaging.domain import states

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = "<!-- Written by `make docs`; do not edit. -->\n\n"


def configuration() -> str:
    """Every setting with its three spellings."""
    lines = [
        "# Configuration",
        "",
        "Flags are stronger than the environment, which is stronger than the file. The file is TOML, named by",
        '`--config`; its keys are the flags with underscores, at top level: `deliver_to = ["PACS=PACS@10.0.0.5:104"]`.',
        "In the environment a list is written with commas. An unknown key is an error, an unknown variable a warning.",
        "",
        "| flag | environment | form | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, each in settings.table().items():
        notes = each.metadata
        default = "none" if each.default in ("", ()) else str(each.default).replace(str(Path.home()), "~")
        form = notes["form"] + (", repeatable" if notes["many"] else "")
        variable = f"{settings.PREFIX}{name.upper()}"
        lines.append(f"| `{settings.flag(name)}` | `{variable}` | `{form}` | `{default}` | {notes['meaning']} |")
    return HEAD + "\n".join(lines) + "\n"


def diagrams() -> str:
    """The state diagrams, drawn from the tables that the ledger applies."""
    parts = ["# States\n\nEach transition is one guarded UPDATE; whoever finds another state drops its work.\n"]
    for title, table in (("Study", states.STUDY), ("Job", states.JOB), ("Delivery", states.DELIVERY)):
        parts.append(_diagram(title, table))
    return HEAD + "\n".join(parts)


def _diagram(title: str, table: Mapping[tuple[Any, Any], StrEnum]) -> str:
    first = next(iter(table))[0]
    arrows = [f"    {before} --> {after}: {event}" for (before, event), after in table.items()]
    rows = [f"| {before} | {event} | {after} |" for (before, event), after in table.items()]
    drawing = "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, "```"])
    return "\n".join([f"## {title}", "", drawing, "", "| from | when | to |", "|---|---|---|", *rows, ""])


def commands() -> str:
    """Each command's --help."""
    parts = ["# Commands\n\nExit status: 0 done, 1 failed, 2 asked wrongly.\n"]
    for name, meaning in COMMANDS.items():
        command = importlib.import_module(f"imaging.cli.{name}")
        parser = Parser(prog=f"imaging {name}", description=command.__doc__)
        command.options(parser)
        text = parser.format_help().replace(str(Path.home()), "~")
        parts.append(f"## imaging {name}\n\n{meaning[0].upper()}{meaning[1:]}.\n\n```\n{text}```\n")
    return HEAD + "\n".join(parts)


def main(check: bool) -> int:
    """Writes, or compares; the number of files that differ is the exit status."""
    stale = []
    for name, make in (("configuration.md", configuration), ("states.md", diagrams), ("cli.md", commands)):
        file, text = DOCS / name, make()
        if not file.exists() or file.read_text() != text:
            stale.append(name)
            if not check:
                DOCS.mkdir(exist_ok=True)
                file.write_text(text)
    if stale and check:
        print(f"docs differ from the code: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return len(stale) if check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
