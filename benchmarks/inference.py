"""Measures what a volume takes in the network and around it.

1. A sliding window over a volume of 160x160x128 with a network of MONAI's (UNet, 4.8 million weights drawn by chance,
   as in its spleen bundle), patches of 96x96x96, overlap 0.25: MONAI's SlidingWindowInferer with torch f32, ours with
   torch f32, and ours as `imaging models tune` may choose it (bf16, channels-last), in turns. With each, the Dice
   coefficient of its mask to MONAI's. This part needs torch and MONAI: pip install 'imaging[monai]'.
2. A head CT of 300 slices of 512x512 through the shipped model: the stages of a job, beside the engine alone on the
   same patches, and the most memory that the process had.

python -m benchmarks.inference
python -m benchmarks.inference --rounds 5 --json

Exit status: 0 measured; 2 asked wrongly.
"""

import hashlib
import importlib.util
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import volume
from imaging.cli.parsing import Parser, UsageError, add_json, table
from imaging.domain.card import CHANNELS_LAST, CONTIGUOUS, Card, Window
from imaging.domain.findings import Answer, State
from imaging.domain.tuning import Setup
from imaging.inference.analyser import Analyser
from imaging.inference.engines.engine import Arrays, Engine
from imaging.inference.engines.registry import load
from imaging.inference.prepared import Prepared, StackItem
from imaging.inference.window import slide
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.models.reading import read_card
from imaging.roles.analysis import collect
from imaging.roles.cores import cores

SHAPE: Final = (160, 160, 128)
ROI: Final = (96, 96, 96)
NETWORK: Final = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
CONFIG: Final = {
    "device": "$torch.device('cpu')",
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -57,
                "a_max": 164,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": list(ROI), "sw_batch_size": 1, "overlap": 0.25},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
}
METADATA: Final = {
    "version": "1.0.0",
    "name": "Benchmark",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "modality": "CT", "num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "organ"}}},
    },
}
CARD: Final = """card = 1
id = "benchmark"
licence = "Apache-2.0"
maker = "imaging"
use = "Measuring. Its weights are drawn by chance."
device_uid = "2.25.31415926535897932384626434"
status = "research"

[[input]]
role = "image"

[engine]
kind = "bundle"
folder = "bundle"
sha256 = "{sha256}"

[[finding]]
channel = "organ"
code = {{scheme = "99BENCH", value = "organ", meaning = "Organ"}}
measure = ["volume_ml"]
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures. Returns the exit status."""
    parser = Parser("python -m benchmarks.inference", __doc__)
    parser.add_argument("--slices", metavar="N", default="300", help="of the head CT (default 300)")
    parser.add_argument("--rounds", metavar="N", default="3", help="in which all take turns (default 3)")
    add_json(parser)
    try:
        plan = parser.parse(sys.argv[1:] if arguments is None else arguments)
        slices, rounds = volume.count(plan, "slices", volume.FEWEST), volume.count(plan, "rounds", 1)
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    results = run(slices, rounds)
    print(json.dumps(results, indent=2) if plan.json else as_text(results))
    return 0


def run(slices: int, rounds: int) -> dict[str, Any]:
    """Both parts; the first is left out where torch or MONAI is missing."""
    missing = [name for name in ("torch", "monai") if importlib.util.find_spec(name) is None]
    return {
        "cores": cores(),
        "missing": missing,
        "job": job(slices, rounds),
        "window": {} if missing else sliding_window(rounds),
    }


# A sliding window


def sliding_window(rounds: int) -> dict[str, Any]:
    """Seconds of each way over the same volume, with the Dice coefficient of its mask to MONAI's."""
    import torch
    from monai.inferers import SlidingWindowInferer

    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory(prefix="imaging-inference-") as folder:
        card = _bundle(Path(folder), values := _values())
        inferer = SlidingWindowInferer(roi_size=ROI, sw_batch_size=1, overlap=0.25, mode="constant")
        network = _network()
        network.load_state_dict(torch.load(Path(folder, "bundle", "models", "model.pt"), weights_only=True))
        network.eval()

        def monai() -> NDArray[Any]:
            with torch.inference_mode():
                done: NDArray[Any] = inferer(torch.from_numpy(values[None]), network)[0].numpy()
            return done

        ways: dict[str, Callable[[], NDArray[Any]]] = {"MONAI, torch f32": monai}
        for name, precision, memory_format in (
            ("ours, torch f32", "f32", CONTIGUOUS),
            ("ours, torch f32, channels-last", "f32", CHANNELS_LAST),
            ("ours, torch bf16, channels-last", "bf16", CHANNELS_LAST),
        ):
            setup = Setup("torch", precision, cores(), 1, memory_format).applied_to(card)
            ways[name] = _ours(load(setup, cores()), setup, values)
        return _in_turns(ways, rounds)


def _ours(engine: Engine, card: Card, values: NDArray[Any]) -> Callable[[], NDArray[Any]]:
    window = card.engine.window
    assert isinstance(window, Window)
    (name,) = card.engine.inputs.values()
    (output,) = card.engine.outputs
    return lambda: slide(engine.run, {name: values}, window)[0][output]


def _in_turns(ways: Mapping[str, Callable[[], NDArray[Any]]], rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    masks: dict[str, NDArray[Any]] = {}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(list(ways)):
            began = time.perf_counter()
            done = ways[name]()
            seconds[name].append(time.perf_counter() - began)
            masks[name] = done.argmax(axis=0) == 1
    peer = next(iter(ways))
    of_peer = statistics.median(seconds[peer])
    return {
        name: {
            "seconds": round(statistics.median(each), 3),
            "faster_by": round(of_peer / statistics.median(each), 2),
            "dice": round(_dice(masks[name], masks[peer]), 5),
        }
        for name, each in seconds.items()
    }


def _dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _values() -> NDArray[np.float32]:
    """A volume of smooth values from 0 to 1: (1, *SHAPE)."""
    rough = np.random.default_rng(1).random([side // 16 for side in SHAPE])
    smooth = rough
    for axis in range(3):
        smooth = np.repeat(smooth, 16, axis=axis)
    return smooth.astype(np.float32)[None]


def _network() -> Any:
    import torch
    from monai.networks.nets import UNet

    torch.manual_seed(1)
    return UNet(**{name: value for name, value in NETWORK.items() if name != "_target_"})


def _bundle(folder: Path, values: NDArray[Any]) -> Card:
    """The network as a published bundle, its last layer moved so that half of the volume is in the mask."""
    import torch

    network = _network().eval()
    with torch.inference_mode():
        came = network(torch.from_numpy(values[None, :, : ROI[0], : ROI[1], : ROI[2]]))
    last = [each for each in network.modules() if getattr(each, "bias", None) is not None][-1]
    with torch.no_grad():
        last.bias.sub_(came.transpose(0, 1).flatten(1).median(dim=1).values)
    for part in ("configs", "models"):
        (folder / "bundle" / part).mkdir(parents=True)
    torch.save(network.state_dict(), folder / "bundle" / "models" / "model.pt")
    (folder / "bundle" / "configs" / "inference.json").write_text(json.dumps(CONFIG))
    (folder / "bundle" / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    sha256 = hashlib.sha256((folder / "bundle" / "models" / "model.pt").read_bytes()).hexdigest()
    (folder / "card.toml").write_text(CARD.format(sha256=sha256))
    return read_card(folder)


# A job


def job(slices: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of a head CT's stages, of all of it, and of the engine alone."""
    card = next(each for each in load_models([shipped_folder()]).models if each.id == "head-ct-bleed")
    card = replace(card, engine=replace(card.engine, memory_mb=4000))
    with tempfile.TemporaryDirectory(prefix="imaging-inference-") as folder:
        volume.written(Path(folder, "head"), volume.series(slices), volume.SYNTAXES["uncompressed"])
        (sources,) = collect([Path(folder)]).studies.values()
        analyser, engine = Analyser(card, cores()), load(card, cores())
        analyser.warm()
        stages: list[Mapping[str, float]] = []
        totals, alone = [], []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            prepared = analyser.prepared(sources)
            if isinstance(prepared, Answer):
                raise SystemExit(f"inference: the head was not analysed: {prepared.why}")
            (answer,) = analyser.run([prepared])
            totals.append(1000 * (time.perf_counter() - began))
            if answer.state is not State.ANALYSED:
                raise SystemExit(f"inference: the head was not analysed: {answer.why}")
            stages.append(answer.timings_ms)
            alone.append(_alone_ms(engine, card, prepared))
    middle = {name: round(statistics.median(each[name] for each in stages[1:]), 1) for name in stages[0]}
    engine_ms, total_ms = statistics.median(alone[1:]), statistics.median(totals[1:])
    return {
        "slices": slices,
        "stages_ms": middle,
        "total_ms": round(total_ms, 1),
        "engine_alone_ms": round(engine_ms, 1),
        "infer_to_engine": round(engine_ms / middle["infer"], 3),
        "job_to_engine": round(engine_ms / total_ms, 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _alone_ms(engine: Engine, card: Card, prepared: Prepared) -> float:
    """What the engine takes for the patches of a study, ready beforehand."""
    (item,) = prepared.items
    assert isinstance(item, StackItem)
    assert card.engine.window is not None
    named = {card.engine.inputs[role]: values for role, values in item.arrays.items()}
    batches: list[Arrays] = []

    def keep(arrays: Arrays) -> Arrays:
        batches.append({name: values.copy() for name, values in arrays.items()})
        return engine.run(arrays)

    slide(keep, named, card.engine.window)
    began = time.perf_counter()
    for each in batches:
        engine.run(each)
    return 1000 * (time.perf_counter() - began)


def as_text(results: dict[str, Any]) -> str:
    """The figures for a reader."""
    job = results["job"]
    stages = ", ".join(f"{name} {spent:g}" for name, spent in job["stages_ms"].items())
    lines = [
        f"a head CT of {job['slices']} slices on {results['cores']} cores: {job['total_ms']:g} ms ({stages})",
        f"the engine alone: {job['engine_alone_ms']:g} ms, {job['infer_to_engine']:g} of the stage infer and "
        f"{job['job_to_engine']:g} of the job; {job['peak_memory_mib']} MiB at most",
    ]
    if results["window"]:
        rows = [
            [name, f"{each['seconds']:.2f}", f"{each['faster_by']:.2f}", f"{each['dice']:.5f}"]
            for name, each in results["window"].items()
        ]
        lines.append(table([["sliding window", "seconds", "faster by", "Dice"], *rows]))
    else:
        lines.append(f"sliding window: not measured, missing: {', '.join(results['missing'])}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
