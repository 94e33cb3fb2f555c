"""No command runs a script of the current folder, of a model's folder or of the home, whatever it is called.

Each of these folders gets a trap for every module of Python and of the installed packages: a file of that name, which
leaves a witness when it is run.
"""

import importlib.metadata
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from films import a_film
from peers import ROOT, Node, command_of
from small_models import write_models

from imaging.cli.main import COMMANDS
from imaging.ledger import migrate
from imaging.ledger.store import Ledger
from imaging.start import isolated

TRAP = "import os\nif 'WITNESS' in os.environ:\n    print(__name__, file=open(os.environ['WITNESS'], 'a'))\n"
CONSOLE_SCRIPT = "import sys\nfrom imaging.start import command_line\nsys.exit(command_line())\n"
"""What pip makes of `project.scripts`."""
CALLS: dict[str, tuple[list[str], int]] = {
    "analyse": (["film.dcm", "--models", "."], 0),
    "associations": (["--home", "."], 0),
    "conflicts": (["list", "--home", "."], 0),
    "doctor": (["--home", ".", "--models", ".", "--dicom-port", "0", "--web-port", "0"], 0),
    "migrate": (["--home", "."], 0),
    "models": (["check", "--models", "."], 1),
    "purge": (["--home", ".", "--older-than", "30d"], 0),
    "replay": (["--home", "."], 0),
    "send": (["film.dcm", "--to", "PACS@127.0.0.1:9"], 1),
    "simulate": (["--studies", "3", "--output", "drawn"], 0),
    "status": (["--home", "."], 0),
}
"""Of each command but `serve`: what it is asked in a folder that is home and models at once, and its exit status."""


@cache
def modules_of_python() -> frozenset[str]:
    """What Python itself looks for before it reads a line of ours: what `-m` needs, and a site's own additions."""
    listing = "import runpy, sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", listing]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return frozenset(text.split()) | {"sitecustomize", "usercustomize"}


def set_traps(folder: Path) -> None:
    """Fills the folder with traps."""
    names = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions()}
    for name in names - modules_of_python() - {"imaging"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(TRAP)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder of traps that is a home and a folder of models, and holds a film."""
    folder = tmp_path / "trapped"
    write_models(folder)
    ledger = Ledger(folder)
    migrate.migrate(ledger)
    ledger.close()
    (folder / "film.dcm").write_bytes(a_film(2, "start")[1])
    set_traps(folder)
    set_traps(folder / "small-film")
    return folder


def run(command: list[str], at: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": path, "WITNESS": str(at.parent / "witness")}
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_every_command_is_tried() -> None:
    assert set(CALLS) | {"serve"} == set(COMMANDS)


def test_the_traps_work(trapped: Path) -> None:
    run([sys.executable, "-m", "json"], trapped, "")
    assert "__main__" in (trapped.parent / "witness").read_text()


@pytest.mark.parametrize("command", CALLS)
def test_no_command_runs_a_script_of_the_current_folder(command: str, trapped: Path) -> None:
    arguments, status = CALLS[command]
    done = run([sys.executable, "-m", "imaging", command, *arguments], trapped, f"{ROOT}:")
    assert not (trapped.parent / "witness").exists(), (trapped.parent / "witness").read_text()
    assert done.returncode == status, done.stderr


@pytest.mark.parametrize("path", ["", "{}", ":", "small-film"])
def test_the_installed_command_takes_no_module_from_pythonpath(path: str, trapped: Path, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "imaging"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT)
    at = trapped / "small-film"
    witness = tmp_path / "witness"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{path.format(at)}", "WITNESS": str(witness)}
    command = [sys.executable, str(script), "models", "list", "--models", ".", "--json"]
    done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not witness.exists(), witness.read_text()


def test_neither_serve_nor_its_children_run_a_script_of_a_models_folder(
    trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trapped)
    witness = trapped.parent / "witness"
    environment = {"PYTHONPATH": f"{ROOT}:", "WITNESS": str(witness)}
    node = Node(trapped / "home", ["--models", ".", "--deliver-to", "PACS=PACS@127.0.0.1:9"], environment)
    try:
        commands = {role: command_of(pid).decode().split("\0") for role, pid in node.children().items()}
        assert set(commands) == {"node", "worker", "deliver", "web"}
        assert all(command[1] == "-I" for command in commands.values())
    finally:
        assert node.stop() == 0
    assert not witness.exists(), witness.read_text()


def test_what_is_started_isolated_is_this_very_package(tmp_path: Path) -> None:
    """Though another one may be installed, or none."""
    command = [*isolated("imaging.cli", "--version")]
    assert str(ROOT / "imaging" / "start.py") in command
    copy = tmp_path / "imaging"
    copy.mkdir()
    for name in ("__init__.py", "start.py", "memory.py"):
        (copy / name).write_bytes((ROOT / "imaging" / name).read_bytes())
    (copy / "cli.py").write_text("def main(arguments):\n    print(__file__, *arguments)\n    return 3\n")
    command[command.index(str(ROOT / "imaging" / "start.py"))] = str(copy / "start.py")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (3, [str(copy / "cli.py"), "--version"])


@pytest.mark.parametrize(
    ("variables", "options", "kept"),
    [
        ({"PYTHONUTF8": "1"}, [], "-Xutf8"),
        ({"PYTHONDONTWRITEBYTECODE": "1"}, [], "-B"),
        ({}, ["-X", "faulthandler"], "-Xfaulthandler"),
        ({}, ["-X", "utf8=0"], "-Xutf8=0"),
    ],
)
def test_an_isolated_interpreter_keeps_how_it_was_asked_to_run(
    variables: dict[str, str], options: list[str], kept: str
) -> None:
    asking = "from imaging.start import isolated; print(*isolated('imaging.cli'))"
    command = [sys.executable, *options, "-c", asking]
    done = subprocess.run(command, env=os.environ | variables, cwd=ROOT, capture_output=True, text=True, check=True)
    assert kept in done.stdout.split()


def test_a_command_keeps_its_process_its_input_and_its_signals(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "imaging", "serve", "--home", str(tmp_path / "home"), "--role", "web"]
    process = subprocess.Popen(
        [*command, "--web-port", "0"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout as data:
        assert data.readline().startswith(b"ready")
        assert b"-I" in command_of(process.pid).split(b"\0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
