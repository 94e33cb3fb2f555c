"""Commands run in this process, on homes of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from said import Said
from small_models import write_models

from imaging.cli import main
from imaging.ledger import migrate
from imaging.ledger.store import Ledger


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        status = main([str(each) for each in arguments])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that was served."""
    folder = tmp_path / "home"
    folder.mkdir()
    ledger = Ledger(folder)
    migrate.migrate(ledger)
    ledger.begin_boot()
    ledger.close()
    return folder


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    found = Ledger(home)
    yield found
    found.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))
