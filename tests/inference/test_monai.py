"""MONAI as the oracle of the sliding window."""

from typing import Literal

import numpy as np
import pytest
from bundles import need_monai

from imaging.domain.card import Window
from imaging.inference.window import slide
from imaging.preparation.array import Tensor


def uneven(patches: Tensor) -> Tensor:
    """A network whose output differs with the place in the patch, so that blending shows: two channels."""
    ramp = np.linspace(0.5, 1.5, patches[0, 0].size, dtype=np.float32).reshape(patches.shape[2:])
    return np.concatenate([patches * ramp, patches + ramp], axis=1)


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.625])
@pytest.mark.parametrize("shape", [(24, 40, 33), (17, 16, 50), (16, 16, 16)])
def test_a_volume_in_patches_is_what_monai_makes_of_it(
    shape: tuple[int, int, int], overlap: float, blend: Literal["gaussian", "constant"]
) -> None:
    need_monai()
    import torch
    from monai.inferers import sliding_window_inference

    values = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    window = Window((16, 16, 16), overlap, blend, batch=3)
    ours, patches = slide(lambda arrays: {"y": uneven(arrays["x"])}, {"x": values}, window)
    theirs = sliding_window_inference(
        torch.from_numpy(values)[None],
        window.roi,
        3,
        lambda each: torch.from_numpy(uneven(each.numpy())),
        overlap=overlap,
        mode=blend,
    )
    assert patches >= 1
    np.testing.assert_allclose(ours["y"], theirs[0].numpy(), rtol=1e-5, atol=1e-5)
