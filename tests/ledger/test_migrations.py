"""The schema: migrations make what the tables say, on both databases, and nobody works with another one."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from imaging.cli import main
from imaging.ledger import indexes, migrate, tables
from imaging.ledger.store import Ledger
from imaging.ledger.unusable import SchemaDiffers, Unusable
from imaging.roles.child import MODULES
from imaging.settings import ROLES, Settings
from imaging.supervise import child_config


def test_migrations_end_at_the_tables_that_the_code_works_with(ledger: Ledger) -> None:
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, indexes.metadata) == []


def test_migrations_make_every_check_constraint(ledger: Ledger) -> None:
    with ledger.read() as connection:
        for table in tables.metadata.sorted_tables:
            made = {each["name"] for each in inspect(connection).get_check_constraints(table.name)}
            wanted = {str(each.name) for each in table.constraints if type(each).__name__ == "CheckConstraint"}
            assert made == wanted, table.name


def test_the_version_that_the_code_names_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(migrate.configuration()).get_current_head() == migrate.HEAD


def test_migrating_twice_changes_nothing(ledger: Ledger) -> None:
    migrate.migrate(ledger)
    assert migrate.version(ledger) == migrate.HEAD


def of_another_version(ledger: Ledger) -> Ledger:
    with ledger.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    return ledger


@pytest.fixture
def foreign(migrated_file: Path, tmp_path: Path) -> Ledger:
    """A ledger that a newer version of imaging was at."""
    ledger = Ledger(tmp_path)
    migrate.migrate(ledger)
    return of_another_version(ledger)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_meets_another_schema_says_so_and_ends(foreign: Ledger, tmp_path: Path, role: str) -> None:
    config = child_config(role, 0, Settings(home=tmp_path), tmp_path)
    with pytest.raises(SchemaDiffers, match=r"schema 9999, this version works with \d+.*imaging migrate"):
        importlib.import_module(MODULES[role]).run(config, None)


@pytest.mark.parametrize("command", ["status", "associations", "replay", "migrate"])
def test_a_command_that_meets_another_schema_says_so(
    foreign: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--home", str(tmp_path)]) == 1
    assert "the ledger has schema 9999" in capsys.readouterr().err


def test_a_home_of_the_first_schema_is_brought_up_with_what_it_holds(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    config = migrate.configuration()
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('boot', 'before')"))
    migrate.migrate(ledger)
    migrate.check(ledger)
    with ledger.read() as connection:
        assert connection.scalar(select(tables.meta.c.value)) == "before"
    ledger.close()


def test_a_newer_schema_is_left_alone(foreign: Ledger) -> None:
    with pytest.raises(SchemaDiffers, match="9999"):
        migrate.migrate(foreign)
    assert migrate.version(foreign) == "9999"


def test_a_file_that_is_no_ledger_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(Unusable, match="not a database"):
        migrate.check(Ledger(tmp_path))


def test_a_database_that_does_not_answer_is_named_as_such(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    nobody = Ledger(tmp_path, f"postgresql+psycopg://nobody@/none?host={tmp_path}")
    with pytest.raises(Unusable, match="cannot be used"):
        migrate.check(nobody)


def test_a_url_that_names_no_database_is_refused(tmp_path: Path) -> None:
    for url in ("nonsense", "oracle+nothing://here"):
        with pytest.raises(Unusable, match=r"postgresql\+psycopg://"):
            Ledger(tmp_path, url)


def test_a_kill_inside_a_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    def interrupted() -> None:
        with ledger.write() as connection:
            config = migrate.configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert migrate.version(ledger) is None
    migrate.migrate(ledger)
    assert migrate.version(ledger) == migrate.HEAD


def test_ledgers_of_one_home_see_each_others_rows(open_ledger: Callable[[], Ledger]) -> None:
    one, other = open_ledger(), open_ledger()
    one.begin_boot()
    with other.read() as connection:
        assert connection.execute(text("SELECT value FROM meta WHERE key = 'boot'")).scalar() == "first boot"
