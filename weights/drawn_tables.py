"""Writes the drawn studies that a head model was judged on as DICOM, with a table of labels for each source.

    python weights/drawn_tables.py head-ct-bleed --out /tmp/head --data /path/to/shared/data
    imaging models evaluate head-ct-bleed /tmp/head --labels /tmp/head/own.csv
    imaging models evaluate head-ct-bleed /tmp/head --labels /tmp/head/synthetic.csv

Run from the repository's root. The seeds, slices and sizes are those of the split "test" in `train_volume.py`: 300000
and up, 50 with a lesion and 50 without. One seed draws one head with and without; it stands for a patient. Without
`--data`, the folder that holds `synthetic.py`, only our own drawings are written. About a gigabyte; a few minutes.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imaging.phantoms.study import brain_study, head_study

FIRST, SEEDS = 300_000, 50
SIZES = (112, 128, 160, 192)
MODELS: dict[str, tuple[Callable[..., Any], str, tuple[int, int]]] = {
    "head-ct-bleed": (head_study, "ct-head", (20, 60)),
    "brain-mr-lesion": (brain_study, "mr-brain", (20, 48)),
}


def shape(seed: int, slices: tuple[int, int]) -> tuple[int, int]:
    """Slices, and rows and columns, of a seed's drawings; `train_volume.draw` draws the same."""
    rng = np.random.default_rng((seed, 77))
    return int(rng.integers(slices[0], slices[1] + 1)), int(rng.choice(SIZES))


def write_own(model: str, seed: int, lesion: bool, folder: Path) -> None:
    """A study of `imaging.phantoms`."""
    study, _, slices = MODELS[model]
    count, size = shape(seed, slices)
    folder.mkdir(parents=True)
    made = study(seed, lesion, datetime(2026, 11, 30, 8, 0), "held-out", count, size)
    for number, dataset in enumerate(made.instances, 1):
        dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)


def write_synthetic(model: str, seed: int, lesion: bool, folder: Path, generate: Callable[..., Any]) -> None:
    """A study of `synthetic.py`."""
    _, kind, slices = MODELS[model]
    count, size = shape(seed, slices)
    generate(str(folder), kind, lesion, seed, count, size)


def generator(data: Path) -> Callable[..., Any]:
    """What `synthetic.py` draws a study with."""
    spec = importlib.util.spec_from_file_location("synthetic", data / "synthetic.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.generate
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--out", type=Path, required=True, help="a new folder, outside the repository")
    parser.add_argument("--data", type=Path, help="folder that holds synthetic.py")
    asked = parser.parse_args()
    sources = ["own", *(["synthetic"] if asked.data else [])]
    generate = generator(asked.data) if asked.data else None
    for source in sources:
        lines = []
        for seed in range(FIRST, FIRST + SEEDS):
            for lesion in (True, False):
                name = f"{source}/{seed}-{'with' if lesion else 'without'}"
                if generate is not None and source == "synthetic":
                    write_synthetic(asked.model, seed, lesion, asked.out / name, generate)
                else:
                    write_own(asked.model, seed, lesion, asked.out / name)
                lines.append((name, int(lesion), seed))
                print(f"\r{name}", end="", file=sys.stderr, flush=True)
        with (asked.out / f"{source}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "patient_id"), *lines])
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
