"""The wheel works without the checkout: weights, pages, catalogues and migrations travel inside."""

import json
import os
import subprocess
import sys
import urllib.request
import venv
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from peers import ROOT, missing_peer

from imaging.phantoms.study import film_study


def run(*command: str | Path, at: Path, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """A command from a folder outside the checkout, with nothing of the tests' own environment on its path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "IMAGING_"))}
    return subprocess.run(
        [str(each) for each in command],
        cwd=at,
        env=environment | {"HOME": str(at)} | ({"PIP_CACHE_DIR": pip_cache()} if pip_cache() else {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def pip_cache() -> str:
    """Where pip keeps what it has fetched before; its home is another one here."""
    text = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False
    ).stdout
    return text.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel as a release builds it: the checkout's sdist, and the wheel from it alone."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named hatchling" in built.stderr:
        missing_peer("hatchling")
    assert built.returncode == 0, built.stderr
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", str(sdist), "-C", str(folder)], check=True)
    (source,) = [each for each in folder.iterdir() if each.is_dir()]
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, at=source)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that was empty before the wheel came."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    done = run(programs / "python", "-m", "pip", "install", "--disable-pip-version-check", wheel, at=folder)
    if "NewConnectionError" in done.stderr or "No matching distribution found" in done.stderr:
        missing_peer("the package index")
    assert done.returncode == 0, done.stderr
    return programs


def test_all_that_the_package_reads_lies_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    read = [
        each.relative_to(ROOT)
        for folder in ("web/templates", "web/static", "web/catalogues", "ledger/migrations")
        for each in (ROOT / "imaging" / folder).rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    ]
    assert len(read) > 10
    assert [str(each) for each in read if str(each) not in names] == []


def test_each_model_of_the_checkout_lies_in_the_wheel_with_its_notice(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    for card in (ROOT / "weights").glob("*/card.toml"):
        for file in card.parent.rglob("*"):
            if file.is_file() and file.suffix in (".toml", ".onnx", ".json", ".dcm", ".txt", ".md"):
                assert f"imaging/{file.relative_to(ROOT)}" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_an_empty_environment_gets_no_training_framework(installed: Path) -> None:
    done = run(installed / "python", "-m", "pip", "list", "--format", "json", at=installed.parent)
    names = {each["name"].lower() for each in json.loads(done.stdout)}
    assert "imaging" in names
    assert names & {"torch", "monai", "tensorflow", "onnx", "pytest", "playwright"} == set()


def test_the_shipped_models_are_listed(installed: Path) -> None:
    done = run(installed / "imaging", "models", "list", "--json", at=installed.parent)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert {each["id"] for each in value["models"]} == {
        each.parent.name for each in (ROOT / "weights").glob("*/card.toml")
    }
    assert value["disabled"] == {}


def test_a_film_is_analysed_by_a_shipped_model(installed: Path, tmp_path: Path) -> None:
    (image,) = film_study(2, frozenset({"effusion"}), datetime.now(UTC), run="wheel").instances
    image.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    done = run(installed / "imaging", "analyse", "film.dcm", "--output", "results", "--json", at=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["studies"][0]["results"]
    assert result["model"] == "chest-film"
    assert result["state"] == "analysed"
    effusion = next(each for each in result["findings"] if each["meaning"] == "Pleural effusion")
    assert effusion["present"]
    assert Path(result["sr"]).read_bytes()[128:132] == b"DICM"


def test_a_node_gets_ready_and_its_page_answers(installed: Path, tmp_path: Path) -> None:
    command = ["imaging", "serve", "--home", "home", "--dicom-port", "0", "--web-port", "0", "--language", "en"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "IMAGING_"))}
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            [str(installed / command[0]), *command[1:]],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert node.stdout is not None
    try:
        ready = node.stdout.readline()
        assert ready.startswith("ready dicom="), (tmp_path / "log").read_text()
        url = ready.split("web=")[1].strip()
        with urllib.request.urlopen(url, timeout=10) as page:
            assert "Worklist" in page.read().decode()
        with urllib.request.urlopen(f"{url}static/style.css", timeout=10) as style:
            assert style.status == 200
    finally:
        node.terminate()
    assert node.wait(timeout=15) == 0
