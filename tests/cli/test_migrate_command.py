"""A ledger that is made, is brought up to date, or cannot be used."""

import stat
from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult

from imaging.ledger import migrate


def test_a_ledger_is_its_owners_alone_in_whichever_folder(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    run("migrate", "--home", tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("ledger.sqlite*")} == {0o600}


def test_migrate_makes_a_ledger_and_says_from_where_to_where(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    assert run("migrate", "--home", tmp_path / "new").out == f"schema none -> {migrate.HEAD}\n"
    assert run("migrate", "--home", tmp_path / "new").out == f"schema {migrate.HEAD} -> {migrate.HEAD}\n"


def test_a_ledger_that_cannot_be_used_is_a_failure_in_words(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    for command in ("status", "migrate"):
        result = run(command, "--home", tmp_path)
        assert (result.status, "not a database" in result.err) == (1, True)
