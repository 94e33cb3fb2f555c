"""Reads volumes: each stack of slices is an item, those of one acquisition around each other."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from imaging.domain.card import Card, Input, VolumeInput
from imaging.domain.gates import Verdict
from imaging.domain.grid import Grid
from imaging.domain.source import Source
from imaging.inference.acquisitions import read_study
from imaging.inference.prepared import Prepared, StackItem
from imaging.inference.timing import timed
from imaging.inference.volume import Volume
from imaging.preparation.registry import axes_of, prepare


def read(
    card: Card, card_input: Input, sources: Sequence[Source], verdict_by_uid: Mapping[str, Verdict], threads: int
) -> Prepared:
    """As `Reader` says. Slices are decoded on so many threads."""
    assert isinstance(card_input, VolumeInput)
    timings: dict[str, float] = {}
    with timed(timings, "read"):
        study = read_study(sources, card_input, verdict_by_uid, card.engine.memory_mb << 20, threads)
    acquired = [[part.volume for part in each.parts] for each in study.acquired]
    with timed(timings, "prepare"):
        items = tuple(
            _item(card, card_input.role, each, whole, number) for number, whole in enumerate(acquired) for each in whole
        )
    images = tuple(dict.fromkeys(image for each in items for image in each.images))
    return Prepared(images, study.coverage, items, _facts(items, [len(each) for each in acquired]), timings)


def _item(card: Card, role: str, volume: Volume, whole: Sequence[Volume], acquisition: int) -> StackItem:
    others = [each for each in whole if each is not volume]
    array = prepare(partial(volume.array, beside=others), card.prepare)
    assert isinstance(array.grid, Grid)  # a volume's is one
    return StackItem({role: array.values}, volume.images, volume, array.grid, acquisition, axes_of(card))


def _facts(items: Sequence[StackItem], stacks: Sequence[int]) -> dict[str, str]:
    """How each stack was made, stack by stack where there are several. `stacks`: of each acquisition, how many."""
    every = [facts_of(each.volume) for each in items]
    names = sorted({name for each in every for name in each})
    facts = {name: "; ".join(dict.fromkeys(each[name] for each in every if name in each)) for name in names}
    facts["slices"] = "; ".join(each["slices"] for each in every)
    made = ("x".join(f"{length:.4g}" for length in each.grid.spacing_mm) for each in items)
    facts["prepared_mm"] = "; ".join(dict.fromkeys(made))
    if len(items) > 1:
        facts["stacks"] = "; ".join(map(str, stacks))
    return facts


def facts_of(volume: Volume) -> dict[str, str]:
    """How a volume was made."""
    laid, (row, column) = volume.laid, volume.spacing_mm
    gaps = laid.gaps_mm
    gap = f"{np.median(gaps):.3g}" if laid.kind == "even" else f"{gaps.min():.3g}-{gaps.max():.3g}"
    data = {
        "slices": str(len(volume.values)),
        "spacing_mm": f"{gap}x{row:.4g}x{column:.4g}",
        "volume": laid.kind,
        "tilt_degrees": f"{laid.tilt_degrees:.1f}" if laid.tilt_degrees else "",
        "padding_voxels": str(volume.padding or ""),
        "slices_repeated": str(volume.dropped or ""),
        "slices_missing": str(laid.missing or ""),
    }
    return {name: value for name, value in data.items() if value}
