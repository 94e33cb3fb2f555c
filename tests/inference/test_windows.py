"""The sliding window covers each voxel, weighs overlaps alike, and changes nothing that needs no context."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.domain.card import Window
from imaging.inference.engines.engine import Arrays
from imaging.inference.window import importance, places, slide

SIDE = st.integers(1, 20)


def doubled(arrays: Arrays) -> Arrays:
    return {"y": np.concatenate([2 * arrays["x"], -arrays["x"]], axis=1)}


@settings(deadline=None)  # machines are shared
@given(st.tuples(SIDE, SIDE, SIDE), st.tuples(SIDE, SIDE, SIDE), st.sampled_from([0.0, 0.25, 0.5]), st.integers(1, 4))
def test_a_pointwise_network_gives_the_same_by_patches(
    shape: tuple[int, int, int], roi: tuple[int, int, int], overlap: float, batch: int
) -> None:
    values = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    outputs, patches = slide(doubled, {"x": values}, Window(roi, overlap, batch=batch))
    assert patches >= 1
    assert np.allclose(outputs["y"], doubled({"x": values[None]})["y"][0], atol=1e-5)


@settings(deadline=None)  # machines are shared
@given(st.tuples(SIDE, SIDE, SIDE), st.sampled_from([0.0, 0.25, 0.625]))
def test_patches_cover_all_and_end_with_the_volume(roi: tuple[int, int, int], overlap: float) -> None:
    shape = tuple(span + extra for span, extra in zip(roi, (0, 3, 17), strict=True))
    seen = np.zeros(shape, int)
    for place in places(shape, Window(roi, overlap)):
        assert seen[place].shape == roi
        seen[place] += 1
    assert seen.min() >= 1


def test_overlap_and_padding_are_as_the_card_says() -> None:
    assert len(places((96, 96, 96), Window((48, 48, 48), 0.0))) == 8
    assert len(places((84, 48, 48), Window((48, 48, 48), 0.25))) == 2
    seen = []

    def remember(arrays: Arrays) -> Arrays:
        seen.append(arrays["x"].copy())
        return arrays

    slide(remember, {"x": np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2) - 3}, Window((2, 2, 4)))
    assert (seen[0][0, 0, :, :, 2:] == -3).all()  # padded with the least value


def test_several_inputs_are_cut_alike_and_each_output_is_blended_by_itself() -> None:
    def both(arrays: Arrays) -> Arrays:
        return {"sum": arrays["a"] + arrays["b"], "b": arrays["b"]}

    one, other = np.random.default_rng(1).normal(size=(2, 1, 5, 9, 7)).astype(np.float32)
    outputs, _ = slide(both, {"a": one, "b": other}, Window((4, 4, 4), 0.5, batch=3))
    assert np.allclose(outputs["sum"], one + other, atol=1e-5)
    assert np.allclose(outputs["b"], other, atol=1e-5)


def test_weights_fall_from_the_middle_and_never_vanish() -> None:
    weight = importance(Window((16, 16, 16)))
    assert weight.max() == weight[7, 7, 7]
    assert weight.min() >= np.float32(1e-3)
    assert (importance(Window((4, 4, 4), blend="constant")) == 1).all()


@pytest.mark.parametrize("lack", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize("fits", [1, 2, 3])
def test_a_batch_that_memory_does_not_last_for_is_halved_and_the_answer_is_the_same(lack: Exception, fits: int) -> None:
    sizes = []

    def small(arrays: Arrays) -> Arrays:
        sizes.append(len(arrays["x"]))
        if sizes[-1] > fits:
            raise lack
        return doubled(arrays)

    values = np.random.default_rng(1).normal(size=(1, 9, 9, 9)).astype(np.float32)
    window = Window((4, 4, 4), 0.5, batch=4)
    found, patches = slide(small, {"x": values}, window)
    wanted, _ = slide(doubled, {"x": values}, window)
    assert np.array_equal(found["y"], wanted["y"])
    assert sum(each for each in sizes if each <= fits) == patches
    assert sizes.count(4) == 1  # what did not fit once is not tried again


def test_one_patch_that_does_not_fit_is_said_and_another_error_is_not_tried_again() -> None:
    for error, calls in ((MemoryError(), [2, 1]), (ValueError("other"), [2])):
        sizes: list[int] = []

        def failing(arrays: Arrays, sizes: list[int] = sizes, error: Exception = error) -> Arrays:
            sizes.append(len(arrays["x"]))
            raise error

        with pytest.raises(type(error)):
            slide(failing, {"x": np.zeros((1, 9, 9, 9), np.float32)}, Window((4, 4, 4), batch=2))
        assert sizes == calls
