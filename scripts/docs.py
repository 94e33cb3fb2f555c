"""Writes the docs that come from the code; `--check` says which of them differ.

docs/configuration.md comes from the settings, docs/states.md from the transition tables, docs/cli.md from --help,
docs/parts.svg from `scripts/parts.py`. In pages that people write, what stands between `<!-- NAME: by make docs -->`
and `<!-- /NAME -->` comes from the code.
"""

import importlib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "100"  # so that --help wraps alike everywhere

from imaging import settings
from imaging.cli.main import COMMANDS
from imaging.cli.parsing import Parser
from imaging.domain import reasons, retry, states, uids
from imaging.domain.alarms import RULES, Kind
from imaging.domain.codes import PRIVATE_SCHEME, Code
from imaging.domain.gates import GATES
from imaging.domain.ranking import PREFERENCES
from imaging.domain.transfer_syntaxes import DECODABLE
from imaging.intake import storing
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.preparation.registry import STEPS
from imaging.results import concepts
from imaging.results.expected import SR_CLASS
from scripts import parts

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HEAD = "<!-- Written by `make docs`; do not edit. -->\n\n"


def configuration() -> str:
    """Every setting with its three spellings."""
    lines = [
        "# Configuration",
        "",
        "Flags override the environment, which overrides the file. The file is TOML, given by `--config`; its keys are",
        'the flags with underscores, at top level: `deliver_to = ["PACS=PACS@10.0.0.5:104"]`. In environment',
        "variables, lists are separated by commas. An unknown key is an error, an unknown variable a warning.",
        "",
        "A destination may also be a table of the file; `--deliver-to` adds to the tables, and a name that comes twice",
        "is an error. `outcomes` and `times` are optional; `--deliver-outcomes` and `--deliver-times` override them:",
        "",
        "```toml",
        "[[destination]]",
        'name = "PACS"',
        'address = "PACS@10.0.0.5:104"',
        'outcomes = ["positive", "failed"]',
        'times = "accept:90+response:600"',
        "```",
        "",
        "| flag | environment | form | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, each in settings.table().items():
        notes = each.metadata
        default = "none" if each.default in ("", (), None) else str(each.default).replace(str(Path.home()), "~")
        form = notes["form"] + (", repeatable" if notes["many"] else "")
        variable = f"{settings.PREFIX}{name.upper()}"
        lines.append(f"| `{settings.flag(name)}` | `{variable}` | `{form}` | `{default}` | {notes['meaning']} |")
    return HEAD + "\n".join(lines) + "\n"


def diagrams() -> str:
    """The state diagrams, drawn from the tables that the ledger applies."""
    parts = [
        "# States\n\nEach transition is one UPDATE that names the state it expects; a process that finds another\n"
        "state drops its work. Every change of a study locks its row first (`imaging.ledger.studies`).\n"
    ]
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
    parts = ["# Commands\n\nExit status: 0 success, 1 failure, 2 invalid arguments or settings.\n"]
    for name, meaning in COMMANDS.items():
        command = importlib.import_module(f"imaging.cli.{name}")
        parser = Parser(prog=f"imaging {name}", description=command.__doc__)
        command.options(parser)
        text = parser.format_help().replace(str(Path.home()), "~")
        parts.append(f"## imaging {name}\n\n{meaning[0].upper()}{meaning[1:]}.\n\n```\n{text}```\n")
    return HEAD + "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(each) for each in line) + " |" for line in lines)


def shipped() -> str:
    """What the cards of the shipped models state as evidence."""
    rows = []
    for card in load_models([shipped_folder()]).models:
        for each in card.evidence:
            finding = next(one for one in card.findings if one.code.value == each["finding"])
            positives = f"{each['n']} ({each['positives']})"
            figures = [_with_interval(each, name) for name in ("auc", "sensitivity", "specificity")]
            alone = each.get("metadata_auc", "–")
            rows.append([card.id, finding.code.meaning, finding.threshold, positives, *figures, alone, each["data"]])
    head = ["model", "finding", "threshold", "n (with it)", "AUC", "sensitivity", "specificity"]
    return _table([*head, "AUC of age, sex, view alone", "measured on"], rows)


def _with_interval(evidence: Mapping[str, Any], name: str) -> str:
    interval = evidence.get("ci95" if name == "auc" else f"{name}_ci95")
    value = f"{evidence[name]:.2f}" if name in evidence else "–"
    return f"{value} [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else value


def gates() -> str:
    """What a gate may ask of a header."""
    rows = [[f"`{tag}`", f"`{'`, `'.join(keys)}`", f"`{reason}`"] for tag, (reason, keys, _) in GATES.items()]
    return _table(["tag", "keys", "reason if it does not pass"], rows)


def steps() -> str:
    """The closed set of preparation."""
    rows = [[f"`{name}`", ", ".join(kind.takes), "first" if kind.is_geometry else ""] for name, kind in STEPS.items()]
    return _table(["do", "for", "order"], rows)


def wishes() -> str:
    """What `prefer` may wish."""
    return ", ".join(f"`{each}`" for each in sorted(PREFERENCES))


def not_analysed() -> str:
    """The closed list of reasons, as the page says them."""
    texts = tomllib.loads((ROOT / "imaging" / "web" / "catalogues" / "en.toml").read_text())
    rows = [[f"`{code}`", texts["reason"][code], texts["mend"][code]] for code in sorted(reasons.REASONS)]
    return _table(["code", "meaning", "remedy"], rows)


def private_codes() -> str:
    """Codes of our own that reports use, other than reasons and findings."""
    found = {each for each in vars(concepts).values() if isinstance(each, Code) and each.scheme == PRIVATE_SCHEME}
    found |= {each["en"] for each in (concepts.NOT_A_DIAGNOSIS, concepts.NEAR_CHANCE, concepts.UNPROVEN)}
    rows = [[f"`{each.value}`", each.meaning] for each in sorted(found)]
    rows += [[f"`{code.value}`", f"reason `{reason}`"] for reason, code in concepts.REASON_CODES.items()]
    return _table(["99IMAGING", "meaning"], rows)


def priorities() -> str:
    """The triage classes as reports code them."""
    rows = [[each, code.value, code.scheme, code.meaning] for each, code in concepts.PRIORITIES.items()]
    return _table(["class", "code", "scheme", "meaning"], rows)


def entity() -> str:
    """How we name ourselves on an association."""
    rows = [
        ["Implementation Class UID", f"`{uids.IMPLEMENTATION_CLASS_UID}`"],
        ["Implementation Version Name", f"`{uids.IMPLEMENTATION_VERSION_NAME}`"],
        ["SOP class of results", f"Comprehensive 3D SR Storage, `{SR_CLASS}`"],
    ]
    return _table(["", "value"], rows)


def statuses() -> str:
    """What C-STORE requests are answered with."""
    rows = [
        [f"0x{storing.SUCCESS:04X}", "stored: bytes and row are on disk"],
        [f"0x{storing.PROCESSING_FAILURE:04X}", "an error in imaging; the Error Comment has its type and location"],
        [
            f"0x{storing.OUT_OF_RESOURCES:04X}",
            "the disk is at its reserve, the disk or the ledger cannot be written, or the object is too large",
        ],
        [f"0x{storing.MISMATCH:04X}", "a UID in the command differs from the one in the data set"],
        [
            f"0x{storing.CANNOT_UNDERSTAND:04X}",
            "the data set cannot be identified: a UID is missing, malformed or duplicated, or Patient ID is duplicated",
        ],
    ]
    return _table(["status", "when"], rows)


def judgements() -> str:
    """What the statuses of a peer that we send to mean for a delivery."""
    texts = {
        retry.Accepted: "delivered",
        retry.Transient: "retried",
        retry.Permanent: "dead letter",
        retry.Duplicate: "delivered if an earlier attempt may have stored this object there, otherwise dead letter",
        retry.SopClassRefused: "sent as Comprehensive SR if the peer accepts that, otherwise dead letter",
    }
    known = (0x0000, 0x0110, 0x0111, 0x0122, 0x0124, 0xA700, 0xA900, 0xB000, 0xB006, 0xB007, 0xC000, 0xFE00)
    return _table(
        ["status", "result of the delivery"], [[f"0x{each:04X}", texts[type(retry.judged(each))]] for each in known]
    )


def syntaxes() -> str:
    """Transfer syntaxes whose grey pixels can be decoded."""
    from pydicom.uid import UID

    return _table(["UID", "transfer syntax"], [[f"`{uid}`", UID(uid).name] for uid in sorted(DECODABLE)])


def alarms() -> str:
    """What `imaging status --check` and the others tell of, the most pressing first."""
    rows = [[f"`{kind}`", rule.when, rule.mend] for kind, rule in ((each, RULES[each]) for each in Kind)]
    return _table(["alarm", "when", "what to do"], rows)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"figures": shipped},
    "docs/models.md": {"gates": gates, "steps": steps, "prefer": wishes, "reasons": not_analysed},
    "docs/operating.md": {"alarms": alarms},
    "docs/results.md": {"priorities": priorities, "codes": private_codes},
    "docs/conformance.md": {
        "entity": entity,
        "statuses": statuses,
        "judgements": judgements,
        "syntaxes": syntaxes,
    },
}


def filled(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """A page with its blocks written anew. Raises ValueError where it lacks one."""
    for name, make in blocks.items():
        begin, end = f"<!-- {name}: by make docs -->", f"<!-- /{name} -->"
        block = f"{begin}\n{make()}\n{end}".replace("\\", r"\\")  # as it is: nothing in it names a group
        text, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", block, text, flags=re.S)
        if count != 1:
            raise ValueError(f"{begin} ... {end} is wanted once")
    return text


def pages() -> dict[Path, str]:
    """Each file as it should be."""
    whole = {
        "configuration.md": configuration,
        "states.md": diagrams,
        "cli.md": commands,
        "parts.svg": parts.picture,
    }
    made = {DOCS / name: make() for name, make in whole.items()}
    return made | {ROOT / name: filled((ROOT / name).read_text(), blocks) for name, blocks in BLOCKS.items()}


def dangling() -> list[str]:
    """What pages name and is not there: files that links lead to, and tests as `test_file.py::test_name`."""
    found = []
    for page in sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")]):
        text = page.read_text()
        links = [each.partition("#")[0] for each in re.findall(r"\]\(([^)]+)\)", text)]
        gone = [each for each in links if each and "://" not in each and not (page.parent / each).exists()]
        for file, name in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", text):
            tests = [each for each in (ROOT / "tests").rglob(file) if not name or f"def {name}(" in each.read_text()]
            gone += [] if tests else [f"{file}::{name}" if name else file]
        found += [f"{page.relative_to(ROOT)}: {each} is not there" for each in gone]
    return found


def main(check: bool) -> int:
    """Writes, or compares; the number of files that differ and of names that lead nowhere is the exit status."""
    stale = [(file, text) for file, text in pages().items() if not file.exists() or file.read_text() != text]
    for file, text in [] if check else stale:
        file.write_text(text)
    if stale and check:
        names = ", ".join(str(file.relative_to(ROOT)) for file, _ in stale)
        print(f"docs differ from the code: {names}; run `make docs`", file=sys.stderr)
    lost = dangling()
    print("".join(f"{each}\n" for each in lost), end="", file=sys.stderr)
    return len(lost) + (len(stale) if check else 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
