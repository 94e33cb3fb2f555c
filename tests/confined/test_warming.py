"""A network is run once before it is served, unless it is known to run here."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from small_models import FILM, write_card, write_network

from imaging.confined.analyser import ConfinedAnalyser
from imaging.confined.client import Confined
from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.models.reading import read_card


@pytest.fixture
def card(tmp_path: Path) -> Card:
    """A network that loads, and fails whenever it is run: it asks for the ninth of two values."""
    beyond = numpy_helper.from_array(np.array([8], np.int64), "ninth")
    two = numpy_helper.from_array(np.zeros(2, np.float32), "two")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("ArgMax", ["flat"], ["zero"], axis=1, keepdims=0),
        helper.make_node("Add", ["zero", "ninth"], ["place"]),
        helper.make_node("Gather", ["two", "place"], ["taken"]),
        helper.make_node("Add", ["flat", "taken"], ["y"]),
    ]
    folder = tmp_path / "failing"
    write_card(folder, FILM, 1, write_network(folder, nodes, [beyond, two], ["n", 1, 32, 32], ["n", 1]))
    return read_card(folder)


def test_a_network_that_fails_as_soon_as_it_runs_is_found_out_before_it_is_served(card: Card) -> None:
    with (
        Confined([card], threads=1, memory_mb=2000) as confined,
        pytest.raises(PublicError, match="out of data bounds"),
    ):
        ConfinedAnalyser(confined, card).warm()


def test_a_network_that_is_proven_here_is_loaded_and_not_run_at_the_start(card: Card) -> None:
    with Confined([card], threads=1, memory_mb=2000) as confined:
        ConfinedAnalyser(confined, card).warm(is_proven=True)  # a run would raise, as above
