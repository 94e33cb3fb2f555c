"""`normalize`: (value - mean) / std, each channel with its own, or all with one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imaging.domain.card import Input
from imaging.domain.tables import Table
from imaging.preparation.array import Array, Tensor
from imaging.preparation.ranges import FINEST, Range
from imaging.preparation.step import BOTH, Fault, Options, StepKind


def _options(table: Table) -> dict[str, Any]:
    mean, std = table.one_or_more("mean", -1e6, 1e6), table.one_or_more("std", 1e-6, 1e6)
    if len(mean) != len(std):
        table.fault("std", list(std), f"has {len(std)} numbers, and mean has {len(mean)}", "std-length")
        std = (1.0,) * len(mean)
    return {"mean": mean, "std": std}


def _run(array: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    each = (-1, *([1] * (array.values.ndim - 1)))
    done: Tensor = array.values - np.array(mean, np.float32).reshape(each)
    done /= np.array(std, np.float32).reshape(each)
    return array.having(done)


def _faults(options: Options, card_input: Input, channels: int) -> Iterator[Fault]:
    count = len(options["mean"])
    if count not in (1, channels):
        mend = ': put "repeat-channels" before it' if channels == 1 else ""
        rule = f"is for {count} channels, but there is {channels} here{mend}"
        yield "mean", list(options["mean"]), rule, "mean-channels"


def _range(values: Range, options: Options) -> tuple[str, Range]:
    ends = []
    for mean, std in zip(options["mean"], options["std"], strict=True):
        if not values.low <= mean <= values.high:
            return f"has the mean {mean:g}, which no image has", values
        if not FINEST * values.width <= std <= values.width:
            return f"has the deviation {std:g}, which no image has", values
        ends += [(values.low - mean) / std, (values.high - mean) / std]
    return "", Range(min(ends), max(ends), "normalized values")


STEP = StepKind(BOTH, _options, _run, faults=_faults, range=_range)
