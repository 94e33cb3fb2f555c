"""A bundle's network in other precisions and memory formats than its card's: its own answer, nearly."""

from pathlib import Path

import numpy as np
import pytest
from bundles import need_monai, parser, published, save_weights, write_card

from imaging.domain.card import CHANNELS_LAST, CONTIGUOUS, Card
from imaging.domain.tuning import Setup
from imaging.inference.engines.registry import identity, load
from imaging.models import candidates
from imaging.models.machine import has_bf16
from imaging.models.reading import read_card


@pytest.fixture
def card(tmp_path: Path) -> Card:
    need_monai()
    import torch

    torch.manual_seed(11)
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    network = parser(bundle).get_parsed_content("network_def")
    return read_card(write_card(bundle, save_weights(bundle, network), [1], "ABDOMEN"))


@pytest.mark.parametrize(
    ("precision", "layout", "most"),
    [("f32", CHANNELS_LAST, 1e-4), ("bf16", CONTIGUOUS, 0.1), ("bf16", CHANNELS_LAST, 0.1)],
)
def test_it_computes_as_it_is_told(card: Card, precision: str, layout: str, most: float) -> None:
    patch = {"image": np.random.default_rng(0).normal(size=(1, 1, 32, 32, 32)).astype(np.float32)}
    wanted = load(card, 2).run(patch)["pred"]
    other = Setup("torch", precision, 2, 1, layout).applied_to(card)
    got = load(other, 2).run(patch)["pred"]
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    difference = float(np.abs(got - wanted).max())
    assert difference <= most * float(np.abs(wanted).max())
    assert (difference > 1e-4) == (precision == "bf16")
    assert identity(other).proof != identity(card).proof


def test_these_are_what_is_measured_of_a_bundle(card: Card) -> None:
    found = [(each.engine, each.precision, each.memory_format) for each in candidates.others(card, 2)]
    more = [("torch", "bf16", CONTIGUOUS), ("torch", "bf16", CHANNELS_LAST)] if has_bf16() else []
    assert found == [("torch", "f32", CHANNELS_LAST), *more]
