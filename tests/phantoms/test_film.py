"""Drawn films, and the shipped network on them. Needs numpy, Pillow and onnxruntime, as the base install has."""

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from imaging.phantoms.film import FINDINGS, GREATEST, draw_film

FOLDER = Path(__file__).parents[2] / "weights" / "chest-film"
HELD_OUT = range(1_000, 1_010)  # train.py learns from seeds at and above 100,000
NORMAL = frozenset[str]()
KINDS = [NORMAL, frozenset({"effusion"}), frozenset({"cardiomegaly"}), FINDINGS]
CODE_OF = {"effusion": "60046008", "cardiomegaly": "cardiomegaly"}


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "card.toml").read_text())


@pytest.fixture(scope="module")
def network() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(FOLDER / "model.onnx", options, providers=["CPUExecutionProvider"])


def prepared(film: np.ndarray, card: dict[str, Any]) -> np.ndarray:
    """The card's two steps, written out: stretched to its shape with antialiasing, then z-scored."""
    rows, columns = card["prepare"][0]["shape"]
    grey = Image.fromarray(film.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    values = np.asarray(grey, dtype=np.float32)
    scaled: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-6)
    return scaled


def found(film: np.ndarray, card: dict[str, Any], network: Any) -> set[str]:
    """Code values of the findings that the network reports."""
    logits = network.run(["y"], {"x": prepared(film, card)[None, None]})[0][0]
    return {
        finding["code"]["value"]
        for finding in card["finding"]
        if probability(float(logits[finding["channel"]]), finding["calibration"]) >= finding["threshold"]
    }


def probability(logit: float, calibration: dict[str, float]) -> float:
    return 1 / (1 + math.exp(-(calibration["a"] * logit + calibration["b"])))


def test_the_same_seed_and_findings_draw_the_same_pixels() -> None:
    assert np.array_equal(draw_film(3, FINDINGS, 300, 260), draw_film(3, FINDINGS, 300, 260))


def test_another_seed_draws_another_film() -> None:
    assert not np.array_equal(draw_film(3, NORMAL, 256, 256), draw_film(4, NORMAL, 256, 256))


@pytest.mark.parametrize("shape", [(512, 512), (700, 560), (90, 120), (1024, 1024)])
def test_a_film_has_the_asked_shape_and_uses_twelve_bits(shape: tuple[int, int]) -> None:
    film = draw_film(1, NORMAL, *shape)
    assert film.shape == shape
    assert film.dtype == np.uint16
    assert GREATEST / 2 < film.max() <= GREATEST


def test_an_effusion_whitens_the_lower_lungs_and_leaves_the_rest_alone() -> None:
    plain, fluid = (draw_film(5, kind, 256, 256).astype(int) for kind in (NORMAL, frozenset({"effusion"})))
    assert np.array_equal(plain[:64], fluid[:64])
    assert (fluid - plain)[128:].max() > GREATEST / 5
    assert (fluid - plain).min() > -GREATEST / 50


def test_a_large_heart_whitens_the_middle_only() -> None:
    plain, large = (draw_film(5, kind, 256, 256).astype(int) for kind in (NORMAL, frozenset({"cardiomegaly"})))
    changed = np.abs(large - plain) > GREATEST / 10
    assert changed.any()
    assert not changed[:, :32].any()
    assert not changed[:, -32:].any()


def test_an_unknown_finding_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="fracture"):
        draw_film(1, frozenset({"fracture"}))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "+".join(sorted(kind)) or "normal")
def test_the_shipped_network_is_right_on_held_out_drawn_films(
    kind: frozenset[str],
    card: dict[str, Any],
    network: Any,
) -> None:
    expected = {CODE_OF[name] for name in kind}
    wrong = {seed: answer for seed in HELD_OUT if (answer := found(draw_film(seed, kind), card, network)) != expected}
    assert not wrong
