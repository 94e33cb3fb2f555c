"""On which device a worker runs networks."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from imaging.models.devices import FORM, NoDevice, device_of, number_of
from imaging.settings import load as settings_of
from imaging.supervise import CannotServe, serve


def device(setting: str, folder: Path, worker: int = 0, libraries: Mapping[str, str] | None = None) -> str:
    has = {"onnxruntime-gpu": "1.32.0"} if libraries is None else libraries
    return device_of(setting, worker, folder, lambda name: has.get(name, ""))


def devices(folder: Path, *names: str) -> Path:
    for each in names:
        (folder / each).touch()
    return folder


def test_auto_is_cuda_where_a_device_and_what_runs_networks_on_it_are_there(tmp_path: Path) -> None:
    assert device("auto", tmp_path) == "cpu"
    devices(tmp_path, "nvidiactl", "nvidia-uvm", "nvidia0")
    assert device("auto", tmp_path) == "cuda:0"
    assert device("auto", tmp_path, libraries={"torch": "2.13.0+cu128"}) == "cuda:0"
    assert device("auto", tmp_path, libraries={"onnxruntime": "1.32.0", "torch": "2.13.0+cpu"}) == "cpu"
    assert device("cpu", tmp_path) == "cpu"


def test_each_worker_takes_the_next_device_unless_one_is_named(tmp_path: Path) -> None:
    devices(tmp_path, "nvidia0", "nvidia1", "nvidiactl")
    assert [device("cuda", tmp_path, worker) for worker in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [device("cuda:1", tmp_path, worker) for worker in range(2)] == ["cuda:1", "cuda:1"]
    assert number_of("cuda:1") == 1
    assert number_of("cpu") is None


def test_cuda_where_something_is_missing_says_what(tmp_path: Path) -> None:
    with pytest.raises(NoDevice, match="there is no NVIDIA device here"):
        device("cuda", tmp_path)
    devices(tmp_path, "nvidia0")
    with pytest.raises(NoDevice, match="pip uninstall onnxruntime, then pip install onnxruntime-gpu"):
        device("cuda", tmp_path, libraries={})
    with pytest.raises(NoDevice, match="nvidia3 is not there: here is cuda:0"):
        device("cuda:3", tmp_path)


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "CUDA", "", "cpu:0"])
def test_what_is_no_device_is_none(text: str) -> None:
    assert not FORM.fullmatch(text)


def test_a_node_that_is_to_use_a_device_that_is_not_there_does_not_start(tmp_path: Path) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has an NVIDIA device")
    with pytest.raises(CannotServe, match="--device cuda: there is no NVIDIA device here"):
        serve(settings_of({"home": str(tmp_path / "home"), "device": "cuda"}), sys.stdout)
    assert not (tmp_path / "home").exists()
