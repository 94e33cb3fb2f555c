"""A bundle gives what MONAI's own reading of it gives: the same series, the same weights, the same masks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import BRATS, balance, brats, changed, digest, need_monai, parser, published, save_weights, write_card
from inference_cases import source_of, write_series
from numpy.typing import NDArray
from pydicom import dcmread

from imaging.domain.card import Card, SegmentSpec
from imaging.domain.faults import PublicError
from imaging.domain.findings import Answer, State
from imaging.domain.measures import VOLUME
from imaging.domain.source import Source
from imaging.inference import golden
from imaging.inference.analyser import Analyser
from imaging.inference.decoders.segment import segment_of
from imaging.inference.decoders.values import values_of
from imaging.inference.golden_case import write_case
from imaging.inference.prepared import StackItem
from imaging.inference.running import through
from imaging.models.reading import read_card
from imaging.phantoms.head import draw_head

pytestmark = pytest.mark.filterwarnings("ignore")
"""MONAI's own, of its deprecations."""

Mask = NDArray[np.bool_]
Edit = Callable[[dict[str, Any]], None]
OBLIQUE = (0.9848077530, 0.1736481777, 0.0, -0.1736481777, 0.9848077530, 0.0)
SPACING = (5.0, 0.937, 0.937)
"""Of slices, rows and columns: hardly a voxel lies amid two of the networks' grids, where either is the nearest."""


def drawn(folder: Path, modality: str = "CT", factor: float = 1.0, **elements: Any) -> list[Source]:
    """The middle of a drawn head, turned by ten degrees: two patches of the bundles that take 1.5 mm.

    Instance Numbers rise with the slices, by which MONAI's reader sorts.
    """
    values = draw_head(1, True, 24, 256).values[:, 68:188, 36:220]
    values = values if modality == "CT" else (factor * np.clip(values + 1000, 0, None)).astype(np.int16)
    along = SPACING[0] * np.arange(len(values))
    how: dict[str, Any] = {"orientation": OBLIQUE, "spacing": SPACING[1:], "modality": modality}
    sources = write_series(folder, values, along, **how, **elements)
    for number, source in enumerate(sources, 1):
        image = dcmread(source.path)
        image.InstanceNumber = number
        image.save_as(source.path)
    return sources


def monais_own(bundle: Path, series: Path | Sequence[Path], balanced: Sequence[float]) -> tuple[Any, NDArray[Any]]:
    """MONAI's network, its weights saved, and the labels that it finds in the series, (column, row, slice)."""
    import torch

    torch.manual_seed(20)
    torch.set_num_threads(2)
    config = parser(bundle)
    config["network_def"].pop("img_size", None)
    config["preprocessing"]["transforms"][0]["reader"] = "PydicomReader"
    after = config["postprocessing"]["transforms"]
    config["postprocessing"]["transforms"] = [each for each in after if each["_target_"] != "SaveImaged"]
    files = str(series) if isinstance(series, Path) else [str(each) for each in series]
    data = config.get_parsed_content("preprocessing")({"image": files})
    network = config.get_parsed_content("network_def")
    image = data["image"][None].as_tensor()
    flat = config["network_def"].get("spatial_dims") == 2
    image = image[..., image.shape[-1] // 2] if flat else image
    balance(network, image[tuple(slice(0, size // 32 * 32 or size) for size in image.shape)], balanced)
    with torch.inference_mode():
        data["pred"] = config.get_parsed_content("inferer")(data["image"][None], network)[0]
    return network, np.asarray(config.get_parsed_content("postprocessing")(data)["pred"])


def ours(card: Card, sources: Sequence[Source]) -> dict[int, Mask]:
    """By channel, the masks that are measured, (column, row, slice)."""
    analyser = Analyser(card, threads=2)
    analyser.warm()
    prepared = analyser.prepare(sources)
    (item,) = prepared.items
    assert isinstance(item, StackItem)
    (ran,) = through(analyser._loaded(), card, [item])
    assert not isinstance(ran.outputs, Exception), ran.outputs
    return {spec.channel: _mask(spec, ran.outputs["pred"], item) for spec in card.findings if _is_segment(spec)}


def _is_segment(spec: Any) -> bool:
    return isinstance(spec, SegmentSpec)


def _mask(spec: Any, output: NDArray[Any], item: StackItem) -> Mask:
    mask = np.zeros(item.volume.values.shape, np.bool_)
    segment = segment_of(spec, values_of(spec, output), item)
    if segment is not None:
        box = tuple(slice(start, start + size) for start, size in zip(segment.first, segment.labels.shape, strict=True))
        mask[box] = segment.labels > 0
    return mask.transpose(2, 1, 0)


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def test_the_spleen_bundle_gives_monais_own_answer(tmp_path: Path) -> None:
    need_monai()
    sources = drawn(tmp_path / "series")
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    network, theirs = monais_own(bundle, tmp_path / "series", [0.5, 0.5])
    card = read_card(write_card(bundle, save_weights(bundle, network), ["spleen"]))
    mask = ours(card, sources)[1]
    spleen = theirs[0] == 1
    assert 0.05 < spleen.mean() < 0.95
    assert dice(np.roll(mask, 1, axis=0), spleen) < 0.9  # it has structure: a voxel beside its place is another mask
    assert dice(mask, spleen) >= 0.99
    answer = Analyser(card, threads=2).analyse(sources)
    assert answer.state is State.ANALYSED, answer.why
    volume = VOLUME.value_in(answer.findings[0])
    assert volume == pytest.approx(float(spleen.sum()) * np.prod(SPACING) / 1000, rel=0.01)
    assert answer.facts["engine"].startswith("torch 2.13")


def whole_body(data: dict[str, Any]) -> None:
    """As published, at its lower resolution, with a network that takes seconds."""
    data["displayable_configs"]["highres"] = False
    data["network_def"] |= {"init_filters": 8, "out_channels": 12}


def prostate(data: dict[str, Any]) -> None:
    """As published, at a lower resolution, with a network that takes seconds: its labels are inverted linearly, which
    makes of neighbours 0 and 2 the label 1 between them.
    """
    data["network_def"] |= {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1}
    data["preprocessing"]["transforms"][3]["pixdim"] = [2.2, 2.2, 3.0]


def prostate_by_nearest(data: dict[str, Any]) -> None:
    """The same with its labels inverted as labels are."""
    prostate(data)
    data["postprocessing"]["transforms"][2]["nearest_interp"] = True


def by_slices(data: dict[str, Any]) -> None:
    """As the bundles of ventricles are: no directions, two dimensions, slice by slice."""
    data["network_def"] = {
        "_target_": "UNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 4,
        "channels": [8, 16, 32],
        "strides": [2, 2],
        "num_res_units": 2,
    }
    read = {"keys": "image"}
    data["preprocessing"]["transforms"] = [
        {"_target_": "LoadImaged", "image_only": False, **read},
        {"_target_": "EnsureChannelFirstd", **read},
        {"_target_": "ScaleIntensityd", **read},
        {"_target_": "EnsureTyped", "device": "@device", **read},
    ]
    data["inferer"] = {"_target_": "SliceInferer", "roi_size": [128, 128], "spatial_dim": 2, "overlap": 0.5}


def of_foreground(data: dict[str, Any]) -> None:
    """As bundles of the abdomen are: what holds anything is cut out, and DynUNet's patches overlap much."""
    data["network_def"] = {
        "_target_": "monai.networks.nets.DynUNet",
        "spatial_dims": "$len(@inferer#roi_size)",
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, [2, 2, 1]],
        "upsample_kernel_size": [2, [2, 2, 1]],
        "filters": [8, 16, 32],
        "norm_name": "instance",
        "res_block": True,
        "deep_supervision": False,
    }
    data["preprocessing"]["transforms"][3]["pixdim"] = [2.0, 2.0, 3.0]
    crop = {"_target_": "CropForegroundd", "keys": ["image"], "source_key": "image", "mode": ["minimum"]}
    data["preprocessing"]["transforms"].insert(5, crop)
    data["inferer"] |= {"roi_size": [32, 32, 32], "overlap": 0.75, "mode": "gaussian"}


def of_swin(data: dict[str, Any]) -> None:
    """As bundles that were made before MONAI 1.5 are: with the size of the patches among the network's options."""
    data["network_def"] = {
        "_target_": "SwinUNETR",
        "img_size": 64,
        "in_channels": 1,
        "out_channels": 3,
        "feature_size": 12,
        "spatial_dims": 3,
    }
    data["preprocessing"]["transforms"][3]["pixdim"] = [2.0, 2.0, 3.0]
    data["inferer"] |= {"roi_size": [64, 64, 64]}


def of_size(data: dict[str, Any]) -> None:
    """As bundles are that bring every volume to the network's size, whole, whatever its spacing is."""
    data["network_def"] |= {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1, "out_channels": 3}
    size = {"_target_": "Resized", "keys": "image", "spatial_size": [64, 56, 48], "mode": "trilinear"}
    data["preprocessing"]["transforms"][3] = size
    data["inferer"] = {"_target_": "SimpleInferer"}


@pytest.mark.parametrize(
    ("name", "edit", "count", "modality"),
    [
        ("wholeBody_ct_segmentation", whole_body, 12, "CT"),
        ("prostate_mri_anatomy", prostate, 3, "MR"),
        ("prostate_mri_anatomy", prostate_by_nearest, 3, "MR"),
        ("spleen_ct_segmentation", by_slices, 4, "CT"),
        ("spleen_ct_segmentation", of_foreground, 3, "CT"),
        ("spleen_ct_segmentation", of_swin, 3, "CT"),
        ("spleen_ct_segmentation", of_size, 3, "CT"),
    ],
    ids=["whole body", "prostate", "prostate by nearest", "slice by slice", "foreground", "swin", "resized"],
)
def test_bundles_of_other_kinds_give_monais_own_answer(
    tmp_path: Path, name: str, edit: Edit, count: int, modality: str
) -> None:
    need_monai()
    sources = drawn(tmp_path / "series", modality)
    bundle = published(name, tmp_path / "model")
    changed(bundle, edit)
    network, theirs = monais_own(bundle, tmp_path / "series", [0.5] * count)
    model = write_card(bundle, save_weights(bundle, network), range(1, count))
    masks = ours(read_card(model), sources)
    labels = np.round(theirs[0])  # linear inversion leaves fractions, which whoever reads them as labels rounds
    alike = {label: dice(mask, labels == label) for label, mask in masks.items() if (labels == label).any()}
    assert len(alike) >= count // 2
    assert min(alike.values()) >= 0.99, alike


def decided_first(data: dict[str, Any]) -> None:
    """Overlapping channels, of which masks are made on the network's grid, each cut to its largest component."""
    data["network_def"] |= {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1}
    data["preprocessing"]["transforms"][3]["pixdim"] = [2.0, 2.0, 3.0]
    softmax, invert, argmax, save = data["postprocessing"]["transforms"]
    largest = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [0], "is_onehot": True}
    sigmoid, cut = {**softmax, "softmax": False, "sigmoid": True}, {**argmax, "argmax": False, "threshold": 0.5}
    data["postprocessing"]["transforms"] = [sigmoid, cut, largest, invert, save]


def test_masks_that_are_inverted_linearly_give_monais_own_answer(tmp_path: Path) -> None:
    need_monai()
    sources = drawn(tmp_path / "series")
    bundle = published("spleen_ct_segmentation", tmp_path / "model")
    changed(bundle, decided_first)
    network, theirs = monais_own(bundle, tmp_path / "series", [0.5, 0.5])
    masks = ours(read_card(write_card(bundle, save_weights(bundle, network), [0, 1])), sources)
    assert all(0.01 < np.round(each).mean() < 0.95 for each in theirs)
    assert min(dice(masks[channel], np.round(theirs[channel]) == 1) for channel in (0, 1)) >= 0.99


def test_four_series_give_monais_own_answer(tmp_path: Path) -> None:
    need_monai()
    sources = []
    for number, (role, elements) in enumerate(BRATS.items()):
        uid = f"1.2.3.{number}"
        sources += drawn(tmp_path / role, "MR", 1.0 - number / 10, SeriesInstanceUID=uid, **elements)
    bundle = published("brats_mri_segmentation", tmp_path / "brats")
    changed(bundle, brats)
    unmerged = published("brats_mri_segmentation", tmp_path / "unmerged")
    changed(unmerged, brats)
    changed(unmerged, lambda data: data["postprocessing"]["transforms"].pop(3))  # what is reported, before the merge
    network, theirs = monais_own(unmerged, [tmp_path / role for role in BRATS], [0.5] * 3)
    card = write_card(bundle, save_weights(bundle, network), [0, "Whole tumor", 2]) / "card.toml"
    inputs = "".join(f'[[input]]\nrole = "{role}"\nweighting = "{role.rstrip("c")}"\n' for role in BRATS).replace(
        '"t1c"\nweighting = "t1"', '"t1c"\nweighting = "t1"\ncontrast = "yes"'
    )
    inputs = inputs.replace('"t1"\nweighting = "t1"', '"t1"\nweighting = "t1"\ncontrast = "no"')
    text = card.read_text()
    card.write_text(text[: text.index("[[input]]")] + inputs + text[text.index("[engine]") :])
    read = read_card(card.parent)
    masks = ours(read, [source_of(each.path) for each in sources])
    alike = [dice(masks[channel], theirs[channel] == 1) for channel in range(3)]
    assert all(0.05 < (each == 1).mean() < 0.95 for each in theirs)
    assert min(alike) >= 0.99, alike
    answer = Analyser(read).analyse([each for each in sources if each.path.parent.name != "flair"])
    assert answer.why == "input-missing: flair"

    def analyse(sources: Sequence[Source], *, is_chosen: bool = False) -> Answer:
        analyser = Analyser(read, threads=2)
        prepared = analyser.prepared(sources, is_chosen=is_chosen)
        return prepared if isinstance(prepared, Answer) else analyser.run([prepared])[0]

    case = write_case(read, [source_of(each.path) for each in sources], analyse)
    assert {each.parent.name for each in case.images} == set(BRATS)
    assert len(case.images) == len(sources)
    assert golden.check(read_card(card.parent), threads=2).faults == ()


def test_weights_as_safetensors_give_the_same(tmp_path: Path) -> None:
    need_monai()
    import torch
    from safetensors.torch import save_file

    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    torch.manual_seed(20)
    network = parser(bundle).get_parsed_content("network_def")
    given = {"image": np.random.default_rng(1).random((1, 1, 96, 96, 96), np.float32)}
    model = write_card(bundle, save_weights(bundle, network), ["spleen"])
    first = Analyser(read_card(model), threads=2)._loaded().run(given)["pred"]
    (bundle / "models" / "model.pt").unlink()
    save_file(network.state_dict(), bundle / "models" / "model.safetensors")
    write_card(bundle, digest(bundle / "models" / "model.safetensors"), ["spleen"])
    again = Analyser(read_card(model), threads=2)._loaded().run(given)["pred"]
    np.testing.assert_array_equal(first, again)


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    need_monai()
    import torch

    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    card = read_card(write_card(bundle, save_weights(bundle, torch.nn.Linear(2, 2)), ["spleen"]))
    with pytest.raises(PublicError, match=r"model\.pt does not fit UNet: .*Missing key"):
        Analyser(card).warm()
