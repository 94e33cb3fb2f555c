"""Commands run in this process, on homes of their own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_result import CommandResult
from drawn_film import drawn, write
from small_models import write_models

from imaging.cli import main
from imaging.ledger import migrate
from imaging.ledger.store import Ledger


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables, and the umask that `serve` sets ends with the test."""
    for name in os.environ:
        if name.startswith("IMAGING_"):
            monkeypatch.delenv(name)
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Runs a command in this process."""

    def call(*arguments: object) -> CommandResult:
        capsys.readouterr()
        status = main([str(each) for each in arguments])
        return CommandResult(status, *capsys.readouterr())

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


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film and a file that is not DICOM."""
    folder = tmp_path_factory.mktemp("films")
    write(folder / "film.dcm", drawn())
    (folder / "readme.txt").write_text("no DICOM")
    return folder
