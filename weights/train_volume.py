"""How the two head models were made: drawn volumes in, a card, weights, golden case and figures out.

Shared by `head-ct-bleed/train.py` and `brain-mr-lesion/train.py`. Never imported by the package
and never run in CI. Needs the extra `[train]`; `--data DIR` is the folder that holds
`synthetic.py`, the second source of drawings, and the studies that are only looked at.

What a card states under [[evidence]] is measured on the network's grid here. Once the model runs, `drawn_tables.py`
writes the test seeds as studies, and `imaging models evaluate` measures them through the whole pipeline: those figures
then take the place of these, in the card and in figures.md.

Conventions, which the runtime shares:

- a volume is float32 [slice, row, column]; its index grows toward superior, posterior, left;
- `orient SAR`: the last axis then grows toward the patient's right, the middle one toward
  anterior, the first toward superior;
- `resample`: linear, at true positions; the centre of the first voxel stays, an axis of n voxels
  d mm apart gets round((n - 1) d / new) + 1 voxels; outside is -1024 (CT) or 0 (MR);
- `zscore nonzero`: mean and deviation of the voxels that are not 0; those that are stay 0;
- a prepared volume smaller than the window is padded at the end of each axis, with the least
  value of the prepared volume; windows step by int(roi * (1 - overlap)), the last one ends with
  the volume, and are blended by a Gaussian of sigma roi / 8.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pydicom
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from imaging.phantoms.study import PhantomStudy
from imaging.phantoms.volume import Phantom

Array = NDArray[Any]
SPACE = uuid.UUID("0f5f5bd2-8f10-5f1e-9a7b-0d1c2f1f6a55")


@dataclass(frozen=True)
class Stage:
    """Some steps of training: highest learning rate, share of crops that get a neck, weight of thin bleeds."""

    steps: int
    rate: float = 4e-3
    neck: float = 0.0
    thin: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """What differs between the two models. Axes z, y, x; mm; ml."""

    id: str
    modality: str  # CT or MR
    spacing_mm: tuple[float, float, float]
    roi: tuple[int, int, int]
    own: Callable[[int, bool, int, int], Phantom]  # the project's drawing
    study: Callable[..., PhantomStudy]  # the same as a study, for the golden case
    golden: dict[str, Any]
    truth: str  # what the golden study holds
    min_ml: float  # components below it are dropped
    present_ml: float  # what remains must add up to it
    sensitivity: float  # the threshold is the highest that reaches it on the validation seeds
    card: str  # template of card.toml
    notes: str  # end of figures.md
    slices: tuple[int, int] = (20, 60)
    sizes: tuple[int, ...] = (112, 128, 160, 192)
    window: tuple[float, float] = (0.0, 140.0)  # HU that become 0 and 1; CT alone
    stages: tuple[Stage, ...] = (Stage(1100),)
    drawn: tuple[int, int] = (90, 60)  # training drawings of each source, with and without a lesion
    thick: float = 0.0  # share of them whose slices are averaged in pairs


@dataclass(frozen=True)
class Sample:
    """One prepared volume with its truth; `values` and `mask` on the network's grid."""

    source: str
    seed: int
    values: Array
    mask: Array
    ml: float
    kind: str
    spacing_mm: tuple[float, float, float]
    drawn_mask: Array = field(repr=False)  # on the drawing's own grid, oriented SAR
    visible: bool = True  # whether more than half of a bleed is darker than BONE; CT alone


# Preparation, as the runtime does it ------------------------------------------------------


def resample(values: Array, spacing: tuple[float, ...], target: tuple[float, ...], outside: float) -> Array:
    """`values` on a grid of `target` mm, linear; see the conventions above."""
    size = [round((n - 1) * d / t) + 1 for n, d, t in zip(values.shape, spacing, target, strict=True)]
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing([float(d) for d in spacing[::-1]])
    grid = (size[::-1], sitk.Transform(), sitk.sitkLinear, (0.0, 0.0, 0.0), [float(t) for t in target[::-1]])
    return sitk.GetArrayFromImage(sitk.Resample(image, *grid, image.GetDirection(), outside))


def prepare(recipe: Recipe, oriented: Array, spacing: tuple[float, ...]) -> Array:
    """A volume oriented SAR, in HU or arbitrary units, as the network takes it."""
    if recipe.modality == "CT":
        low, high = recipe.window
        return np.clip((resample(oriented, spacing, recipe.spacing_mm, -1024.0) - low) / (high - low), 0, 1)
    volume = resample(oriented, spacing, recipe.spacing_mm, 0.0)
    some = volume != 0
    return np.where(some, (volume - volume[some].mean()) / max(volume[some].std(), 1e-6), 0).astype(np.float32)


def oriented(values: Array) -> Array:
    """From (superior, posterior, left) to (superior, anterior, right)."""
    return np.ascontiguousarray(values[:, ::-1, ::-1])


# Drawings ---------------------------------------------------------------------------------


def load_synthetic(data: Path) -> ModuleType:
    """`synthetic.py` of the data folder, without running it."""
    spec = importlib.util.spec_from_file_location("synthetic", data / "synthetic.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def other_drawing(recipe: Recipe, synthetic: ModuleType, seed: int, lesion: bool, slices: int, size: int) -> Phantom:
    """The same kind of study as `synthetic.py` draws it (in HU for CT)."""
    shape = (slices, size, size)
    if recipe.modality == "CT":
        spacing = (160 / slices, 240 / size, 240 / size)
        pixels, mask, _, kind, _ = synthetic.make_ct(seed, lesion, None, None, None, shape, spacing)
        values = pixels.astype(np.int16) - 1024
    else:
        spacing = (144 / slices, 230 / size, 230 / size)
        drawn, mask, _, kind, _ = synthetic.make_mr(seed, lesion, None, None, ("flair",), shape, spacing)
        values = drawn["flair"].astype(np.int16)
    return Phantom(values, spacing, mask, float(mask.sum() * np.prod(spacing) / 1000), kind if lesion else "normal")


def draw(recipe: Recipe, synthetic: ModuleType, source: str, seed: int, lesion: bool, rough: bool) -> Sample:
    """One prepared drawing; `rough` (training) thickens slices and cuts the air of MR to 0, in some."""
    rng = np.random.default_rng((seed, 77))
    slices, size = int(rng.integers(recipe.slices[0], recipe.slices[1] + 1)), int(rng.choice(recipe.sizes))
    thick = rough and rng.random() < recipe.thick
    fine_slices = 2 * int(min(slices, 36)) if thick else slices
    if source == "own":
        phantom = recipe.own(seed, lesion, fine_slices, size)
    else:
        phantom = other_drawing(recipe, synthetic, seed, lesion, fine_slices, size)
    if thick:
        phantom = in_pairs(phantom)
    values = oriented(phantom.values).astype(np.float32)
    if rough and recipe.modality == "MR" and rng.random() < 0.4:
        values[values < rng.uniform(0.05, 0.14) * np.percentile(values, 99)] = 0
    mask = oriented(phantom.mask)
    fine = resample(mask.astype(np.float32), phantom.spacing_mm, recipe.spacing_mm, 0.0) >= 0.5
    prepared = prepare(recipe, values, phantom.spacing_mm).astype(np.float16)
    apart = fine & (prepared < BONE) if recipe.modality == "CT" else fine
    visible = bool(apart.sum() >= 0.5 * fine.sum())
    truth = apart if rough else fine
    return Sample(source, seed, prepared, truth, phantom.volume_ml, phantom.kind, phantom.spacing_mm, mask, visible)


BONE = 0.75  # of the CT window, 105 HU: denser than any bleed drawn


def in_pairs(phantom: Phantom) -> Phantom:
    """Each two slices made one: true partial volume, as thick slices have it."""
    values, mask = (array[: len(array) // 2 * 2].reshape(-1, 2, *array.shape[1:]).mean(1)
                    for array in (phantom.values.astype(np.float32), phantom.mask.astype(np.float32)))
    spacing = (2 * phantom.spacing_mm[0], *phantom.spacing_mm[1:])
    return Phantom(np.rint(values).astype(np.int16), spacing, mask >= 0.5, phantom.volume_ml, phantom.kind)


SPLITS = {"train": (100_000, 0, 0), "validation": (200_000, 30, 30), "test": (300_000, 50, 50)}


def drawings(recipe: Recipe, synthetic: ModuleType, split: str) -> Iterator[Sample]:
    """The seeds of a split: from both sources, with and without a lesion."""
    first, lesions, clean = SPLITS[split]
    if split == "train":
        lesions, clean = recipe.drawn
    for source, number in product(("own", "synthetic.py"), range(max(lesions, clean))):
        for lesion in (True, False):
            if number < (lesions if lesion else clean):
                yield draw(recipe, synthetic, source, first + number, lesion, split == "train")


# The network ------------------------------------------------------------------------------


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    layers = (nn.Conv3d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class SmallUNet(nn.Module):
    """A U-Net that works at half the in-plane resolution and sees the full one once, at the end."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        stem = (nn.Conv3d(1, w, (3, 4, 4), (1, 2, 2), (1, 1, 1), bias=False), nn.BatchNorm3d(w), nn.ReLU(inplace=True))
        self.stem = nn.Sequential(*stem)
        self.first = _conv(w, w)
        self.down_second = nn.Sequential(nn.MaxPool3d(2), _conv(w, 2 * w), _conv(2 * w, 2 * w))
        self.down_third = nn.Sequential(nn.MaxPool3d(2), _conv(2 * w, 4 * w), _conv(4 * w, 4 * w))
        self.up_second = nn.ConvTranspose3d(4 * w, 2 * w, 2, 2)
        self.second = _conv(4 * w, 2 * w)
        self.up_first = nn.ConvTranspose3d(2 * w, w, 2, 2)
        self.last = _conv(2 * w, w)
        self.up = nn.ConvTranspose3d(w, 8, (1, 2, 2), (1, 2, 2))
        self.fine = nn.Conv3d(1, 4, (1, 3, 3), padding=(0, 1, 1))
        self.head = nn.Conv3d(12, 2, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, D, H, W), D a multiple of 4, H and W of 8, to logits (N, 2, D, H, W)."""
        first = self.first(self.stem(x))
        second = self.down_second(first)
        third = self.up_second(self.down_third(second))
        second = self.up_first(self.second(torch.cat((second, third), 1)))
        coarse = self.up(self.last(torch.cat((first, second), 1)))
        return self.head(F.relu(torch.cat((coarse, self.fine(x)), 1)))


CROP = (24, 80, 80)


def crop_of(rng: np.random.Generator, sample: Sample) -> tuple[Array, Array]:
    """A part of a volume, in half the cases about a lesion; beyond the volume lies its least value."""
    values, mask = sample.values.astype(np.float32), sample.mask
    places = np.argwhere(mask) if mask.any() and rng.random() < 0.6 else None
    if places is not None:
        middle = places[rng.integers(len(places))] + rng.integers(-8, 9, 3)
    else:
        middle = np.array([rng.integers(0, n) for n in values.shape])
    starts = [int(np.clip(m - c // 2, -c // 4, max(n - 3 * c // 4, 0)))
              for m, c, n in zip(middle, CROP, values.shape, strict=True)]
    edge = float(values.min()) if rng.random() < 0.7 else 0.0
    cut_values, cut_mask = np.full(CROP, edge, np.float32), np.zeros(CROP, np.float32)
    source = tuple(slice(max(s, 0), min(s + c, n)) for s, c, n in zip(starts, CROP, values.shape, strict=True))
    target = tuple(slice(part.start - s, part.stop - s) for part, s in zip(source, starts, strict=True))
    cut_values[target], cut_mask[target] = values[source], mask[source]
    return cut_values, cut_mask


def roughened(rng: np.random.Generator, values: Array, mask: Array, modality: str, neck: float = 0.0) -> tuple[Array, Array]:
    """A crop as another scanner might have made it: mirrored, turned, scaled, blurred, noisy, shaded."""
    if rng.random() < 0.5:
        values, mask = values[:, :, ::-1], mask[:, :, ::-1]
    if rng.random() < 0.35:
        values, mask = _turned(rng, values, mask)
    if rng.random() < 0.25:
        values = ndimage.uniform_filter1d(ndimage.uniform_filter1d(values, 2, 1), 2, 2)
    if modality == "MR":
        ramp = np.linspace(-1, 1, values.shape[1])[:, None] * rng.normal(0, 0.15)
        ramp = ramp + np.linspace(-1, 1, values.shape[2])[None, :] * rng.normal(0, 0.15)
        values = values * rng.uniform(0.8, 1.25) + ramp + rng.normal(0, 0.2)
        return values + rng.normal(0, rng.uniform(0, 0.15), values.shape), mask
    if rng.random() < neck:
        values, mask = _with_neck(rng, values, mask)
    noisy = values * rng.uniform(0.94, 1.06) + rng.normal(0, 0.025) + rng.normal(0, rng.uniform(0, 0.04), values.shape)
    return np.clip(noisy, 0, 1), mask


def _with_neck(rng: np.random.Generator, values: Array, mask: Array) -> tuple[Array, Array]:
    """The lowest slices replaced by blobs of muscle, fat, bone and air, as dense as blood or denser."""
    depth = int(rng.integers(3, 13))
    noise = rng.standard_normal((depth, *values.shape[1:]))
    kinds, grain = ndimage.gaussian_filter(noise, (0.7, 3, 3)), ndimage.gaussian_filter(noise[::-1], (0.5, 1, 1))
    kinds, grain = kinds / kinds.std(), grain / grain.std()
    muscle = rng.uniform(0.3, 0.52) + 0.04 * grain  # 42 to 73 HU in the CT window
    blobs = np.where(kinds > 1.2, 1.0, np.where(np.abs(kinds) < 0.9, muscle, 0.0))
    values, mask = values.copy(), mask.copy()
    values[:depth], mask[:depth] = np.clip(blobs, 0, 1), 0
    return values, mask


def _turned(rng: np.random.Generator, values: Array, mask: Array) -> tuple[Array, Array]:
    angle, tilt, scale = rng.normal(0, 0.15), rng.normal(0, 0.05), rng.uniform(0.9, 1.12, 3)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[1, tilt, 0], [0, cosine, -sine], [0, sine, cosine]]) * scale
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - matrix @ middle
    turned = ndimage.affine_transform(values, matrix, offset, order=1, mode="nearest")
    return turned, ndimage.affine_transform(mask, matrix, offset, order=1) >= 0.5


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice of the lesion over the batch."""
    chance = logits.softmax(1)[:, 1]
    overlap = 2 * (chance * truth).sum() + 50
    return F.cross_entropy(logits, truth.long()) * 2 + 1 - overlap / (chance.sum() + truth.sum() + 50)


THIN = ("subdural", "subarachnoid")


def batch_of(rng: np.random.Generator, recipe: Recipe, samples: list[Sample], stage: Stage, size: int = 4
             ) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops and their masks; three in five are of drawings with a lesion."""
    lesions = [sample for sample in samples if sample.mask.any()]
    weights = np.array([stage.thin if sample.kind in THIN else 1.0 for sample in lesions])
    pairs = []
    for _ in range(size):
        if rng.random() < 0.6:
            sample = lesions[rng.choice(len(lesions), p=weights / weights.sum())]
        else:
            sample = samples[rng.integers(len(samples))]
        pairs.append(roughened(rng, *crop_of(rng, sample), recipe.modality, stage.neck))
    x = torch.from_numpy(np.stack([np.ascontiguousarray(values, np.float32) for values, _ in pairs])[:, None])
    return x, torch.from_numpy(np.stack([np.ascontiguousarray(mask, np.float32) for _, mask in pairs]))


def train(recipe: Recipe, samples: list[Sample], net: SmallUNet, stage: Stage) -> None:
    """Some more steps on crops of `samples`, on one thread, from fixed seeds."""
    rng = np.random.default_rng(7)
    net.to(memory_format=torch.channels_last_3d).train()
    optimiser = torch.optim.AdamW(net.parameters(), stage.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, stage.rate, total_steps=stage.steps, pct_start=0.15)
    started, losses = time.monotonic(), []
    for step in range(stage.steps):
        x, y = batch_of(rng, recipe, samples, stage)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last_3d))
        loss = loss_of(logits.float(), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 25 == 24:
            print(f"step {step + 1}: loss {np.mean(losses[-25:]):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    net.eval().to(memory_format=torch.contiguous_format)


def settle(recipe: Recipe, net: SmallUNet, samples: list[Sample]) -> None:
    """Batch statistics anew from 60 batches of crops, in float32 as the runtime computes.

    Over whole windows, which hold more air, they were worse (Dice 0.1 lower on bleeds).
    """
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.reset_running_stats()
            layer.momentum = None
    net.train()
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for _ in range(60):
            net(batch_of(rng, recipe, samples, Stage(0))[0])
    net.eval()


# Running it, as the runtime does ------------------------------------------------------------


def padded(volume: Array, roi: tuple[int, int, int]) -> Array:
    """At least as large as the window; padded at the ends with the volume's least value."""
    wide = [(0, max(0, r - n)) for n, r in zip(volume.shape, roi, strict=True)]
    return np.pad(volume, wide, constant_values=float(volume.min()))


def windows(volume: Array, roi: tuple[int, int, int], overlap: float = 0.25) -> Iterator[tuple[Any, Array]]:
    """The windows of a padded volume and where they lie."""
    axes = []
    for size, span in zip(volume.shape, roi, strict=True):
        step = max(1, int(span * (1 - overlap)))
        axes.append(sorted({min(start, size - span) for start in range(0, size - span + step, step)}))
    for starts in product(*axes):
        place = tuple(slice(start, start + span) for start, span in zip(starts, roi, strict=True))
        yield place, volume[place]


def gaussian(roi: tuple[int, int, int]) -> Array:
    """Weight of a window's voxels: sigma roi / 8 about the centre, never below 0.001."""
    lines = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in roi]
    return np.maximum(lines[0][:, None, None] * lines[1][:, None] * lines[2], 1e-3).astype(np.float32)


def infer(session: onnxruntime.InferenceSession, recipe: Recipe, prepared: Array) -> Array:
    """The lesion's probability per voxel of a prepared volume."""
    volume = padded(prepared.astype(np.float32), recipe.roi)
    weight = gaussian(recipe.roi)
    total = np.zeros((2, *volume.shape), np.float32)
    weights = np.zeros(volume.shape, np.float32)
    for place, window in windows(volume, recipe.roi):
        total[(slice(None), *place)] += session.run(["y"], {"x": window[None, None]})[0][0] * weight
        weights[place] += weight
    logits = (total / weights)[(slice(None), *(slice(0, n) for n in prepared.shape))]
    return 1 / (1 + np.exp(np.clip(logits[0] - logits[1], -60, 60)))


@dataclass(frozen=True)
class Answer:
    """What the decoder says of one volume."""

    probability: float
    volume_ml: float  # of all components kept, on the network's grid
    mask: Array


def decode(recipe: Recipe, chance: Array) -> Answer:
    """`max-component-mean`: see the card's comment, which defines it."""
    voxel = float(np.prod(recipe.spacing_mm)) / 1000
    labels, count = ndimage.label(chance >= 0.5, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    kept = sizes * voxel >= recipe.min_ml
    if not kept.any():
        return Answer(0.0, 0.0, np.zeros(chance.shape, np.bool_))
    mask = kept[labels]
    return Answer(float(chance[labels == sizes.argmax()].mean()), float(mask.sum()) * voxel, mask)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """One thread on the CPU, as the figures are stated."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def export(recipe: Recipe, net: SmallUNet, path: Path) -> None:
    """ONNX with a free batch axis and the window's fixed size, weights inside."""
    example = torch.zeros((2, 1, *recipe.roi))
    batch = torch.export.Dim("n", min=1, max=64)
    torch.onnx.export(net, (example,), path, input_names=["x"], output_names=["y"], dynamo=True,
                      external_data=False, dynamic_shapes={"x": {0: batch}}, opset_version=18, verbose=False)
    without_traces(path)


def without_traces(path: Path) -> None:
    """The network without the exporter's stack traces, which name the folders of the machine that trained it."""
    model = onnx.load(path)
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]
    for part in [model, model.graph, *model.graph.node, *values]:
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


# Measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """One test drawing and what was said of it."""

    source: str
    seed: int
    kind: str
    ml: float
    visible: bool
    probability: float
    volume_ml: float
    dice: float | None

    @property
    def has_lesion(self) -> bool:
        return self.ml > 0


def score(recipe: Recipe, session: onnxruntime.InferenceSession, samples: Iterator[Sample]) -> list[Scored]:
    """Every sample through the exported network and the decoder."""
    rows = []
    for sample in samples:
        answer = decode(recipe, infer(session, recipe, sample.values))
        both = float(answer.mask.sum() + sample.mask.sum())
        dice = 2 * float((answer.mask & sample.mask).sum()) / max(both, 1.0) if sample.ml else None
        rows.append(Scored(sample.source, sample.seed, sample.kind, sample.ml, sample.visible, answer.probability,
                           answer.volume_ml, dice))
    return rows


def choose_threshold(recipe: Recipe, rows: list[Scored]) -> float:
    """The highest probability, in steps of 0.01, that meets the stated sensitivity for lesions apart from bone."""
    lesions = [row for row in rows if row.has_lesion and row.visible]
    for threshold in np.arange(0.99, 0.5, -0.01):
        if np.mean([is_present(recipe, row, threshold) for row in lesions]) >= recipe.sensitivity:
            return round(float(threshold), 2)
    return 0.5


def is_present(recipe: Recipe, row: Scored, threshold: float) -> bool:
    """The card's rule."""
    return row.probability >= threshold and row.volume_ml >= recipe.present_ml


def auc_of(rows: list[Scored]) -> float:
    """Area under the ROC curve of the probability; ties count half."""
    hit = np.array([row.probability for row in rows if row.has_lesion])
    miss = np.array([row.probability for row in rows if not row.has_lesion])
    if not len(hit) or not len(miss):
        return float("nan")
    return float(((hit[:, None] > miss) + 0.5 * (hit[:, None] == miss)).mean())


def bootstrap(rows: list[Scored], rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of the AUC; seeds, not drawings, are drawn again."""
    rng = np.random.default_rng(11)
    by_seed: dict[int, list[Scored]] = {}
    for row in rows:
        by_seed.setdefault(row.seed, []).append(row)
    groups = list(by_seed.values())
    draws = [[row for i in rng.integers(0, len(groups), len(groups)) for row in groups[i]] for _ in range(rounds)]
    low, high = np.nanpercentile([auc_of(draw) for draw in draws], (2.5, 97.5))
    return round(float(low), 3), round(float(high), 3)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not total:
        return 0.0, 1.0
    z, share = 1.96, hits / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return round(float(middle - half), 3), round(float(middle + half), 3)


BINS = ((0.0, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 15.0), (15.0, 1000.0))


def figures_of(recipe: Recipe, rows: list[Scored], threshold: float) -> dict[str, Any]:
    """All that is stated of one source's test seeds."""
    lesions, clean = [r for r in rows if r.has_lesion], [r for r in rows if not r.has_lesion]
    found = [row for row in lesions if is_present(recipe, row, threshold)]
    alarms = [row for row in clean if is_present(recipe, row, threshold)]
    by_volume = []
    for low, high in BINS:
        some = [row for row in lesions if low <= row.ml < high]
        hits = sum(is_present(recipe, row, threshold) for row in some)
        if some:
            by_volume.append({"from_ml": low, "to_ml": high, "n": len(some), "sensitivity": round(hits / len(some), 3),
                              "ci95": wilson(hits, len(some))})
    kinds = {kind: f"{sum(r.kind == kind for r in found)}/{sum(r.kind == kind for r in lesions)}"
             for kind in sorted({row.kind for row in lesions})}
    seen = [row for row in lesions if row.visible]
    seen_found = sum(is_present(recipe, row, threshold) for row in seen)
    ratio = [row.volume_ml / row.ml for row in found]
    return {"n": len(rows), "positives": len(lesions), "auc": round(auc_of(rows), 3), "ci95": bootstrap(rows),
            "sensitivity": round(len(found) / len(lesions), 3), "sensitivity_ci95": wilson(len(found), len(lesions)),
            "apart": len(seen), "sensitivity_apart": round(seen_found / max(len(seen), 1), 3),
            "sensitivity_apart_ci95": wilson(seen_found, len(seen)),
            "specificity": round(1 - len(alarms) / len(clean), 3),
            "specificity_ci95": wilson(len(clean) - len(alarms), len(clean)),
            "dice": round(float(np.mean([row.dice for row in lesions])), 3), "by_volume": by_volume, "kinds": kinds,
            "volume_ratio": [round(float(v), 2) for v in np.percentile(ratio, (10, 50, 90))] if ratio else []}


HARDER = 5


def stressed(recipe: Recipe, synthetic: ModuleType) -> Iterator[tuple[str, Iterator[Sample]]]:
    """Test seeds made harder, one way at a time; HARDER seeds of each source, with and without."""
    rng = np.random.default_rng(5)
    sd = 6.0 if recipe.modality == "CT" else 25.0
    ways: dict[str, Callable[[Array], Array]] = {
        "as drawn": lambda v: v,
        "more noise": lambda v: v + rng.normal(0, sd, v.shape),
        "blurred in plane": lambda v: ndimage.gaussian_filter(v, (0, 1.2, 1.2)),
        "turned 10 degrees in plane": lambda v: ndimage.rotate(v, 10, (1, 2), reshape=False, order=1, mode="nearest"),
        "12 % larger in plane": lambda v: ndimage.affine_transform(
            v, np.array((1, 0.89, 0.89)), np.array((0, *(0.055 * np.array(v.shape[1:])))), order=1, mode="nearest"),
        "shifted 15 mm": lambda v: ndimage.shift(v, (0, 10, -10), order=0, mode="nearest"),
    }
    if recipe.modality == "MR":
        ways["shaded"] = lambda v: v * np.linspace(0.7, 1.3, v.shape[2])[None, None, :]
        ways["air cut to 0"] = lambda v: np.where(v < 0.08 * np.percentile(v, 99), 0, v)
    else:
        ways["4 HU up"] = lambda v: v + 4
    for name, way in ways.items():
        yield name, _stressed(recipe, synthetic, way, 28, 160)
    yield "slices averaged in pairs", _stressed(recipe, synthetic, lambda v: v, 48, 160, pairs=True)
    for slices, size in ((22, 512), (24, 96), (80, 128)):
        yield f"{slices} slices of {size} pixels", _stressed(recipe, synthetic, lambda v: v, slices, size)


def _stressed(recipe: Recipe, synthetic: ModuleType, way: Callable[[Array], Array], slices: int, size: int,
              pairs: bool = False) -> Iterator[Sample]:
    for source, number, lesion in product(("own", "synthetic.py"), range(HARDER), (True, False)):
        seed = 400_000 + number
        if source == "own":
            phantom = recipe.own(seed, lesion, slices, size)
        else:
            phantom = other_drawing(recipe, synthetic, seed, lesion, slices, size)
        if pairs:
            phantom = in_pairs(phantom)
        values = np.asarray(way(oriented(phantom.values).astype(np.float32)), np.float32)
        prepared = prepare(recipe, values, phantom.spacing_mm)
        nothing = np.zeros(prepared.shape, np.bool_)
        yield Sample(source, seed, prepared, nothing, phantom.volume_ml, phantom.kind, phantom.spacing_mm, nothing)


# Studies on disk ----------------------------------------------------------------------------


def read_axial(datasets: list[pydicom.Dataset]) -> tuple[Array, tuple[float, float, float]]:
    """An axial series oriented SAR and its spacing; tilt and uneven gaps are undone by interpolation.

    A stand-in for the runtime's Volume, used for the golden case and the studies looked at.
    """
    row = np.array(datasets[0].ImageOrientationPatient[:3], float)
    column = np.array(datasets[0].ImageOrientationPatient[3:], float)
    normal = np.cross(row, column)
    datasets = sorted(datasets, key=lambda d: float(normal @ np.array(d.ImagePositionPatient, float)))
    places = np.array([d.ImagePositionPatient for d in datasets], float)
    values = np.stack([d.pixel_array * float(d.get("RescaleSlope", 1)) + float(d.get("RescaleIntercept", 0))
                       for d in datasets]).astype(np.float32)
    down, across = (float(v) for v in datasets[0].PixelSpacing)
    heights = (places - places[0]) @ normal
    gap = float(np.median(np.diff(heights)))
    slant = (places[-1] - places[0]) / heights[-1]
    drift = slant @ column / down, slant @ row / across  # pixels per mm along the normal
    if np.abs(np.diff(heights) - gap).max() > 0.02 * gap or max(map(abs, drift)) * heights[-1] > 0.5:
        even = np.arange(0, heights[-1] + 1e-6, gap := min(gap, 4.0))
        index = np.interp(even, heights, np.arange(len(heights)))
        grid = list(np.meshgrid(index, *(np.arange(n, dtype=float) for n in values.shape[1:]), indexing="ij"))
        grid[1] -= even[:, None, None] * drift[0]
        grid[2] -= even[:, None, None] * drift[1]
        values = ndimage.map_coordinates(values, grid, order=1, cval=float(values.min()))
    return oriented(values), (gap, down, across)


def analyse(recipe: Recipe, session: onnxruntime.InferenceSession, datasets: list[pydicom.Dataset]) -> dict[str, Any]:
    """Probability and volume of a study; the volume is counted on the study's own grid."""
    values, spacing = read_axial(datasets)
    answer = decode(recipe, infer(session, recipe, prepare(recipe, values, spacing)))
    return {"probability": round(answer.probability, 4),
            "volume_ml": round(float(on_grid(recipe, answer.mask, values.shape, spacing).sum()) * np.prod(spacing) / 1e3, 3)}


def on_grid(recipe: Recipe, mask: Array, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Array:
    """The mask on the study's oriented grid, nearest voxel."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(recipe.spacing_mm[::-1])
    grid = (shape[::-1], sitk.Transform(), sitk.sitkNearestNeighbor, (0.0, 0.0, 0.0), [float(d) for d in spacing[::-1]])
    return sitk.GetArrayFromImage(sitk.Resample(image, *grid, image.GetDirection(), 0))


# What is written ------------------------------------------------------------------------------


def write_golden(recipe: Recipe, session: onnxruntime.InferenceSession, folder: Path, code: str) -> dict[str, Any]:
    """A small drawn study and what the model says of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    study = recipe.study(**recipe.golden, now=datetime(2026, 11, 24, 8, 0), run="golden")
    assert study.truth == recipe.truth, study.truth
    for number, dataset in enumerate(study.instances, 1):
        dataset.save_as(folder / f"{number:02d}.dcm", enforce_file_format=True)
    answer = analyse(recipe, session, [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))])
    text = json.dumps({"findings": [{"code": code, **answer}]}, indent=1)
    (folder / "expected.json").write_text(text + "\n")
    return answer


def toml_list(values: Any) -> str:
    return "[" + ", ".join(f"{value}" for value in values) + "]"


def evidence(code: str, source: str, figures: dict[str, Any]) -> str:
    """One [[evidence]] table."""
    bins = ",\n".join(
        "  {" + f"from_ml = {b['from_ml']}, to_ml = {b['to_ml']}, n = {b['n']}, sensitivity = {b['sensitivity']}, "
        f"ci95 = {toml_list(b['ci95'])}" + "}" for b in figures["by_volume"])
    return f"""[[evidence]]
finding = "{code}"
auc = {figures["auc"]}
ci95 = {toml_list(figures["ci95"])}
method = "bootstrap-patient"          # a seed stands for a patient
n = {figures["n"]}
positives = {figures["positives"]}
data = "synthetic: {source}"
split = "seed"
sensitivity = {figures["sensitivity"]}
sensitivity_ci95 = {toml_list(figures["sensitivity_ci95"])}
apart_from_bone = {figures["apart"]}                         # more than half below 105 HU, apart from bone
sensitivity_apart = {figures["sensitivity_apart"]}
sensitivity_apart_ci95 = {toml_list(figures["sensitivity_apart_ci95"])}
specificity = {figures["specificity"]}
specificity_ci95 = {toml_list(figures["specificity_ci95"])}
dice = {figures["dice"]}
sensitivity_by_volume = [
{bins},
]
"""


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Figures of the test seeds, as Markdown."""
    lines = ["| drawings | n (with lesion) | AUC [95 %] | sensitivity [95 %] | of those apart from bone | specificity [95 %] | Dice | volume found / drawn, 10-50-90 % | found by kind |",
             "|---|--:|---|---|---|---|--:|---|---|"]
    for source, f in figures.items():
        kinds = ", ".join(f"{kind} {share}" for kind, share in f["kinds"].items())
        lines.append(f"| {source} | {f['n']} ({f['positives']}) | {f['auc']} {list(f['ci95'])} | {f['sensitivity']} "
                     f"{list(f['sensitivity_ci95'])} | {f['sensitivity_apart']} of {f['apart']} | {f['specificity']} {list(f['specificity_ci95'])} | {f['dice']} | "
                     f"{f['volume_ratio']} | {kinds} |")
    lines += ["", "Sensitivity by drawn volume, all lesions:", "", "| drawings | ml | n | sensitivity [95 %] |", "|---|---|--:|---|"]
    for source, f in figures.items():
        lines += [f"| {source} | {b['from_ml']:g} to {b['to_ml']:g} | {b['n']} | {b['sensitivity']} {list(b['ci95'])} |"
                  for b in f["by_volume"]]
    return "\n".join(lines)


def main(recipe: Recipe, code: str, folder: Path, looked_at: list[str]) -> None:
    """Train (or take `--weights`), measure, and write the model's folder."""
    parser = argparse.ArgumentParser(description=f"Make {recipe.id} from drawn volumes.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds synthetic.py")
    parser.add_argument("--weights", type=Path, help="a state dict to measure instead of training")
    parser.add_argument("--keep", type=Path, help="where to keep the state dict")
    options = parser.parse_args()
    torch.set_num_threads(1)
    synthetic = load_synthetic(options.data)
    net = _network(recipe, synthetic, options.weights, options.keep)
    model = folder / "model.onnx"
    export(recipe, net, model)
    session = session_of(model)
    threshold = choose_threshold(recipe, score(recipe, session, drawings(recipe, synthetic, "validation")))
    started = time.monotonic()
    rows = score(recipe, session, drawings(recipe, synthetic, "test"))
    print(f"scored {len(rows)} test drawings in {time.monotonic() - started:.0f} s", flush=True)
    for row in rows:
        if is_present(recipe, row, threshold) != row.has_lesion:
            print(f"  wrong: {asdict(row)}", flush=True)
    figures = {source: figures_of(recipe, [row for row in rows if row.source == source], threshold)
               for source in ("own", "synthetic.py")}
    stress = {name: figures_of(recipe, score(recipe, session, some), threshold)
              for name, some in stressed(recipe, synthetic)}
    golden = write_golden(recipe, session, folder / "golden", code)
    looks = {name: _look(recipe, session, options.data / name) for name in looked_at}
    _write_card(recipe, folder, code, threshold, figures)
    _write_figures(recipe, folder, threshold, figures, stress, looks, golden, _seconds(session, recipe))


def _network(recipe: Recipe, synthetic: ModuleType, weights: Path | None, keep: Path | None) -> SmallUNet:
    if weights:
        net = SmallUNet().eval()
        net.load_state_dict(torch.load(weights, weights_only=True))
        return net
    samples = [sample for sample in drawings(recipe, synthetic, "train") if sample.visible]
    print(f"{len(samples)} drawings", flush=True)
    torch.manual_seed(7)
    net = SmallUNet()
    for stage in recipe.stages:
        train(recipe, samples, net, stage)
    settle(recipe, net, samples)
    if keep:
        torch.save(net.state_dict(), keep)
    return net


def _look(recipe: Recipe, session: onnxruntime.InferenceSession, folder: Path) -> dict[str, Any]:
    answer = analyse(recipe, session, [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))])
    print(folder, answer, flush=True)
    return answer


def _seconds(session: onnxruntime.InferenceSession, recipe: Recipe) -> float:
    """Median time of one window on one thread."""
    window, times = np.zeros((1, 1, *recipe.roi), np.float32), []
    for _ in range(7):
        started = time.monotonic()
        session.run(["y"], {"x": window})
        times.append(time.monotonic() - started)
    return float(np.median(times))


def _write_card(recipe: Recipe, folder: Path, code: str, threshold: float, figures: dict[str, dict[str, Any]]) -> None:
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    names = {"own": "imaging.phantoms", "synthetic.py": "synthetic.py"}
    tables = "\n".join(evidence(code, names[source], f) for source, f in figures.items())
    card = (recipe.card.replace("@SHA256@", digest).replace("@UID@", f"2.25.{uuid.uuid5(SPACE, digest).int}")
            .replace("@THRESHOLD@", f"{threshold}").replace("@MIN_ML@", f"{recipe.min_ml}")
            .replace("@PRESENT_ML@", f"{recipe.present_ml}").replace("@SENSITIVITY@", f"{recipe.sensitivity}")
            .replace("@LOW@", f"{recipe.window[0]:g}").replace("@HIGH@", f"{recipe.window[1]:g}")
            .replace("@SPACING@", toml_list(recipe.spacing_mm)).replace("@ROI@", toml_list(recipe.roi))
            .replace("@EVIDENCE@", tables.rstrip()))
    (folder / "card.toml").write_text(card)


def _write_figures(recipe: Recipe, folder: Path, threshold: float, figures: dict[str, dict[str, Any]],
                   stress: dict[str, dict[str, Any]], looks: dict[str, dict[str, Any]], golden: dict[str, Any],
                   seconds: float) -> None:
    first, (lesions, clean) = SPLITS["train"][0], recipe.drawn
    steps = " + ".join(str(stage.steps) for stage in recipe.stages)
    size = (folder / "model.onnx").stat().st_size / 1e6
    stress_rows = "\n".join(f"| {name} | {f['sensitivity']} | {f['specificity']} | {f['auc']} |"
                            for name, f in stress.items())
    look_rows = "\n".join(
        f"| {name} | {look['probability']} | {look['volume_ml']} | "
        f"{'yes' if look['probability'] >= threshold and look['volume_ml'] >= recipe.present_ml else 'no'} |"
        for name, look in looks.items())
    (folder / "figures.md").write_text(f"""# {recipe.id}: figures

Written by `train.py`; every figure is on **drawings**, none on patients. It says how well the model tells
drawn lesions from drawn mimics, and nothing of how it would do in a hospital.

- Training: seeds {first} and up of `imaging.phantoms` and of `synthetic.py`, from each {lesions} drawings with and
  {clean} without a lesion; {steps} steps of 4 crops {CROP} on one CPU thread in bfloat16.
- Validation: seeds 200000 and up ({SPLITS["validation"][1]} with, {SPLITS["validation"][2]} without, each source):
  threshold {threshold}, the highest that reaches a sensitivity of {recipe.sensitivity} for lesions apart
  from bone (see the end), never below 0.5.
- Test: seeds 300000 and up. {recipe.slices[0]} to {recipe.slices[1]} slices of {recipe.sizes[0]} to {recipe.sizes[-1]} pixels.
- The network's file: {size:.1f} MB. One window {recipe.roi} takes {seconds:.2f} s on one thread of a busy machine;
  a head of 150 mm in a field of 250 mm is one window.

## Test seeds

{table(figures)}

## The same kind of drawing, made harder

{HARDER} seeds of each source, each with and without a lesion, 28 slices of 160 pixels unless stated.

| what | sensitivity | specificity | AUC |
|---|--:|--:|--:|
{stress_rows}

## Studies looked at, never trained on

| study | probability | ml | called present |
|---|--:|--:|---|
{look_rows}

Golden case ({recipe.truth}): probability {golden["probability"]}, {golden["volume_ml"]} ml.

{recipe.notes.strip()}
""")
