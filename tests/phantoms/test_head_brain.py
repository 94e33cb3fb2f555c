"""What the drawn heads and brains promise."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.phantoms.brain import draw_brain
from imaging.phantoms.head import BLEEDS, REACH_MM, draw_head
from imaging.phantoms.skull import Ellipsoid, draw_skull
from imaging.phantoms.volume import Grid, Phantom, blur, fullest, smooth_noise

SMALL = {"slices": 20, "size": 96}
DRAWINGS = pytest.mark.parametrize("draw", [draw_head, draw_brain], ids=["head", "brain"])


def near(mask: NDArray[np.bool_], phantom: Phantom, reach_mm: float) -> NDArray[np.bool_]:
    """The mask, grown by `reach_mm` along each axis (at least one voxel)."""
    for axis, step in enumerate(phantom.spacing_mm):
        for _ in range(max(1, round(reach_mm / step))):
            grown = mask.copy()
            for way in (1, -1):
                grown |= np.roll(mask, way, axis)
            mask = grown
    return mask


@DRAWINGS
def test_the_same_seed_gives_the_same_bytes(draw: Callable[..., Any]) -> None:
    once, again = draw(7, True, **SMALL), draw(7, True, **SMALL)
    assert once.values.tobytes() == again.values.tobytes()
    assert once.mask.tobytes() == again.mask.tobytes()


@DRAWINGS
def test_another_seed_gives_another_head(draw: Callable[..., Any]) -> None:
    assert draw(7, False, **SMALL).values.tobytes() != draw(8, False, **SMALL).values.tobytes()


@DRAWINGS
def test_without_a_lesion_the_mask_is_empty(draw: Callable[..., Any]) -> None:
    phantom = draw(7, False, **SMALL)
    assert not phantom.mask.any()
    assert (phantom.volume_ml, phantom.kind) == (0.0, "normal")


@DRAWINGS
@pytest.mark.parametrize("seed", range(4))
def test_the_volume_is_that_of_the_mask(draw: Callable[..., Any], seed: int) -> None:
    phantom = draw(seed, True, **SMALL)
    assert phantom.volume_ml == pytest.approx(phantom.mask.sum() * np.prod(phantom.spacing_mm) / 1000)
    assert 0.9 < phantom.volume_ml < 62


@DRAWINGS
def test_values_are_16_bit_and_of_the_size_that_was_asked_for(draw: Callable[..., Any]) -> None:
    phantom = draw(3, True, slices=14, size=64)
    assert phantom.values.dtype == np.int16
    assert phantom.values.shape == phantom.mask.shape == (14, 64, 64)


def test_few_slices_cover_less_rather_than_lie_far_apart() -> None:
    assert draw_head(1, False, slices=14, size=64).spacing_mm[0] == 7.0
    assert draw_head(1, False, slices=50, size=64).spacing_mm[0] == 3.0


@pytest.mark.parametrize("seed", range(8))
def test_a_bleed_changes_only_its_neighbourhood(seed: int) -> None:
    clean, bleeding = draw_head(seed, False, **SMALL), draw_head(seed, True, **SMALL)
    far = ~near(bleeding.mask, bleeding, REACH_MM)
    assert far.any()
    assert np.array_equal(clean.values[far], bleeding.values[far])


@pytest.mark.parametrize("seed", range(4))
def test_a_bleed_is_denser_than_what_it_replaces(seed: int) -> None:
    clean, bleeding = draw_head(seed, False, **SMALL), draw_head(seed, True, **SMALL)
    assert bleeding.values[bleeding.mask].mean() > clean.values[bleeding.mask].mean() + 8


def test_every_kind_of_bleed_is_drawn() -> None:
    assert {draw_head(seed, True, slices=14, size=48).kind for seed in range(30)} == set(BLEEDS)


@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_changes_its_neighbourhood_and_its_ghost_only_faintly_elsewhere(seed: int) -> None:
    clean, ill = draw_brain(seed, False, **SMALL), draw_brain(seed, True, **SMALL)
    change = np.abs(clean.values.astype(float) - ill.values)
    far = ~near(ill.mask, ill, 6)
    assert change[far].max() < 60  # a ghost of one part in twenty
    assert change[ill.mask].mean() > 60


def test_index_grows_toward_superior_posterior_and_left() -> None:
    """An ellipsoid on the left, at the back, above, is found at high indices."""
    grid = Grid((30, 64, 64), (5.0, 3.75, 3.75))
    head = draw_skull(np.random.default_rng(0), grid)
    (slices, rows, columns), value = head.inside(Ellipsoid((40, 50, 60), (6, 6, 6)))
    assert (value < 1).any()
    assert slices.start > 15
    assert rows.start > 32
    assert columns.start > 32


def test_smooth_noise_has_unit_deviation_and_no_grain() -> None:
    noise = smooth_noise(np.random.default_rng(1), Grid((20, 96, 96), (5.0, 2.5, 2.5)), 20)
    assert noise.shape == (20, 96, 96)
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(noise, axis=2)).max() < 1


def test_blur_keeps_a_constant() -> None:
    assert np.allclose(blur(np.full((3, 4, 5), 7, np.float32), (0, 1, 2)), 7)


def test_fullest_takes_the_best_of_what_is_allowed() -> None:
    score = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    allowed = np.array([[[True, True, True], [True, False, False]]])
    assert np.flatnonzero(fullest(score, allowed, 2)).tolist() == [2, 3]
    assert fullest(score, allowed, 99).sum() == 4


def test_a_head_is_drawn_in_half_a_second() -> None:
    """Processor time, so that a busy machine does not fail it; five times the time it takes."""
    started = time.thread_time()
    draw_head(1, True)
    assert time.thread_time() - started < 1.0
