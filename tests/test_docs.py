"""The docs are true: what comes from the code is its newest, and what people write names all that is there."""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))  # `scripts` is of the checkout, not of the package

from imaging import settings  # noqa: E402
from imaging.cli.main import COMMANDS  # noqa: E402
from imaging.domain import states  # noqa: E402
from scripts import docs  # noqa: E402

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"Pillow": "PIL", "SQLAlchemy": "sqlalchemy", "Jinja2": "jinja2"}


def names(requirements: Iterable[str]) -> set[str]:
    """The packages of requirements such as `psycopg[binary]>=3.2`."""
    return {re.split(r"[\[<>=~! ;]", each)[0] for each in requirements}


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by their first cell."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in rows[2:]}


def test_docs_that_come_from_the_code_are_its_newest(capsys: pytest.CaptureFixture[str]) -> None:
    stale = docs.main(check=True)
    assert stale == 0, capsys.readouterr().err


def test_every_command_setting_and_transition_is_documented() -> None:
    commands, configuration = (DOCS / "cli.md").read_text(), (DOCS / "configuration.md").read_text()
    assert [name for name in COMMANDS if f"\n## imaging {name}\n" not in commands] == []
    assert [name for name in settings.table() if f"`{settings.flag(name)}`" not in configuration] == []
    drawn = (DOCS / "states.md").read_text()
    for transitions in (states.STUDY, states.JOB, states.DELIVERY):
        for (before, event), after in transitions.items():
            assert f"| {before} | {event} | {after} |" in drawn


PAGES = [*sorted(DOCS.glob("*.md")), *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`(?:[\w/]+/)?(\w+\.py)::(\w+)`", page.read_text())
    absent = [
        f"{file}::{name}"
        for file, name in named
        if not any(f"\ndef {name}(" in each.read_text() for each in (ROOT / "tests").rglob(file))
    ]
    assert absent == []


def test_the_page_on_security_names_a_test_for_each_of_its_claims() -> None:
    claims = (DOCS / "security.md").read_text().split("which test shows it\n")[1].partition("\n## ")[0]
    paragraphs = [each for each in claims.split("\n**") if "**" in each]
    assert len(paragraphs) >= 8
    assert [each for each in paragraphs if "::test_" not in each] == []


def test_the_unit_keeps_the_node_where_a_worker_is_ended_for_its_memory() -> None:
    unit = (DOCS / "operating.md").read_text().partition("```ini\n")[2].partition("```")[0]
    assert "\nOOMPolicy=continue\n" in unit


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"imaging {name}" not in readme and f"`{name}`" not in readme] == []


@pytest.mark.parametrize(
    ("heading", "named"),
    [
        ("Base", names(PROJECT["dependencies"])),
        ("Extras", set().union(*(names(each) for each in PROJECT["optional-dependencies"].values()))),
    ],
)
def test_every_dependency_has_its_reason(heading: str, named: set[str]) -> None:
    data = table((DOCS / "dependencies.md").read_text(), heading)
    assert set(data) == named
    for package, cells in data.items():
        assert len(cells) == 3, package
        assert all(cells), package


def test_every_extra_is_named_with_the_packages_that_it_brings() -> None:
    data = table((DOCS / "dependencies.md").read_text(), "Extras")
    for extra, requirements in PROJECT["optional-dependencies"].items():
        for package in names(requirements):
            assert f"`[{extra}]`" in data[package][0], f"{package} in [{extra}]"


def test_what_the_base_install_brings_is_used() -> None:
    text = "\n".join(each.read_text() for each in (ROOT / "imaging").rglob("*.py"))
    unused = [
        package
        for package in names(PROJECT["dependencies"])
        if not re.search(rf"^\s*(import|from) {IMPORTED_AS.get(package, package)}\b", text, re.MULTILINE)
    ]
    assert unused == []
