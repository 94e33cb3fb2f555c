"""ONNX files by OpenVINO, which `make test` installs under REQUIRE_PEERS=1: the answers of ONNX Runtime, in the
precision that is asked for.
"""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from peers import ROOT, missing_peer, program
from small_models import FILM, write_beside, write_card, write_models, write_network

from imaging.confined.analyser import ConfinedAnalyser
from imaging.confined.client import Confined
from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.tuning import Setup
from imaging.inference.engines.registry import identity, load
from imaging.models.machine import has_bf16
from imaging.models.reading import read_card


@pytest.fixture(autouse=True)
def _openvino() -> None:
    if not find_spec("openvino"):
        missing_peer("openvino: pip install 'imaging[openvino]'")


def network(folder: Path, batch: object = "n") -> Card:
    """A film model of one convolution of 7x7 and a mean, whose weights are no powers of two."""
    kernel = np.random.default_rng(3).normal(0, 0.2, (4, 1, 7, 7)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["seen"], pads=[3] * 4),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    write_card(folder, FILM, 7, write_network(folder, nodes, weights, [batch, 1, 32, 32], [batch, 4]))
    return read_card(folder)


def by_openvino(card: Card, precision: str = "f32", at_once: int = 1) -> Card:
    return Setup("openvino", precision, 1, at_once).applied_to(card)


def images(count: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(5).normal(size=(count, 1, 32, 32)).astype(np.float32)}


@pytest.mark.parametrize("threads", [1, 2])
def test_it_gives_what_onnx_runtime_gives_alone_and_beside_others(tmp_path: Path, threads: int) -> None:
    card = network(tmp_path / "film")
    wanted = load(card, threads).run(images(3))["y"]
    engine = load(by_openvino(card), threads)
    for is_alone in (True, False):
        assert np.abs(engine.run(images(3), is_alone=is_alone)["y"] - wanted).max() < 1e-5


def test_it_computes_in_the_precision_that_it_is_told_and_in_no_other(tmp_path: Path) -> None:
    card = network(tmp_path / "film")
    assert identity(by_openvino(card, "f32")).proof != identity(by_openvino(card, "bf16")).proof
    exact = load(card, 1).run(images(8))["y"]
    error = {}
    for precision in ("f32", "bf16") if has_bf16() else ("f32",):
        engine = load(by_openvino(card, precision), 1)
        assert engine.identity.precision == precision
        error[precision] = float(np.abs(engine.run(images(8))["y"] - exact).max())
    assert error["f32"] < 1e-5
    if has_bf16():
        assert 1e-5 < error["bf16"] < 0.1
    else:
        with pytest.raises(PublicError, match="computes in f32 on this processor, and not in bf16"):
            load(by_openvino(card, "bf16"), 1)


def test_a_network_of_a_fixed_batch_gets_it(tmp_path: Path) -> None:
    card = network(tmp_path / "film", batch=4)
    engine = load(by_openvino(card), 1)
    assert engine.max_batch == 4
    assert np.abs(engine.run(images(6))["y"] - load(card, 1).run(images(6))["y"]).max() < 1e-5


def test_as_many_studies_go_through_the_network_at_once_as_tuning_found(tmp_path: Path) -> None:
    card = network(tmp_path / "film")
    assert [load(by_openvino(card, at_once=count), 1).max_batch for count in (1, 4)] == [1, 4]


def test_weights_beside_the_file_are_read_from_the_kept_copy(tmp_path: Path) -> None:
    card = read_card(write_beside(tmp_path / "beside", bias=-2.0))
    assert load(by_openvino(card), 1).run(images(1))["y"].item() == pytest.approx(-2.0)


def test_what_the_card_names_and_the_network_lacks_is_told(tmp_path: Path) -> None:
    card = network(tmp_path / "film")
    other = replace(card, engine=replace(by_openvino(card).engine, outputs=("z",)))
    with pytest.raises(PublicError, match="has the input x and the output y; the card expects input x and output z"):
        load(other, 1)


def test_an_operator_that_it_lacks_is_told_in_its_own_words_without_our_folders(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    nodes = [helper.make_node("Undreamt", ["x"], ["y"], domain="far.away")]
    write_card(folder, FILM, 7, write_network(folder, nodes, [], ["n", 1, 32, 32], ["n", 1]))
    card = read_card(folder)
    with pytest.raises(PublicError, match=r"the network cannot be loaded.*Undreamt") as told:
        load(by_openvino(card), 1)
    assert str(tmp_path) not in str(told.value)
    assert "/src/" not in str(told.value)


def test_a_card_may_ask_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    network(folder)
    text = (folder / "card.toml").read_text()
    (folder / "card.toml").write_text(text.replace('kind = "onnx"', 'kind = "openvino"\nprecision = "f32"'))
    card = read_card(folder)
    assert identity(card).name == "openvino"
    assert load(card, 1).run(images(2))["y"].shape == (2, 4)


def test_it_runs_within_the_limits_of_the_confined_process(tmp_path: Path) -> None:
    card = read_card(write_models(tmp_path / "models") / "small-volume")
    with Confined([card], threads=2, memory_mb=4000) as process:
        assert process.confinement.is_complete
        reference = ConfinedAnalyser(process, card).observe(30)
        analyser = ConfinedAnalyser(process, card, setup=Setup("openvino", "f32", 2, 2))
        analyser.warm()
        assert "openvino" in analyser.proof()
        assert analyser.parity(reference, 30).dice == 1.0


LOADS_A_MODEL = """
import sys
from pathlib import Path
from imaging.domain.tuning import Setup
from imaging.inference.engines.registry import load
from imaging.models.reading import read_card
load(Setup("openvino", "f32", 1, 1).applied_to(read_card(Path(sys.argv[1]))), 1)
"""


def test_it_looks_up_no_host_and_leaves_no_file_of_its_maker(tmp_path: Path) -> None:
    model = write_models(tmp_path / "models") / "small-film"
    trace, scratch = tmp_path / "trace", tmp_path / "scratch"
    scratch.mkdir()
    options = ["-f", "-e", "trace=network", "-o", str(trace)]
    command = [program("/usr/bin/strace"), *options, sys.executable, "-c", LOADS_A_MODEL, str(model)]
    environment = {
        "PATH": "/usr/bin:/bin", "TMPDIR": str(scratch), "HOME": str(scratch), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    subprocess.run(command, check=True, env=environment)
    assert "AF_INET" not in trace.read_text()
    assert list(scratch.iterdir()) == []
