"""What runs weights: a narrow Protocol, and ONNX Runtime behind it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Card
from imaging.domain.faults import Told, is_out_of_memory
from imaging.domain.outputs import shape_fault
from imaging.models.copies import copied

Tensor = NDArray[np.float32]


class Engine(Protocol):
    """A loaded network. Calls from several threads are safe, and one input gives one output on one machine."""

    @property
    def description(self) -> str:
        """Kind and version, as reports state it: "onnxruntime 1.32.0"."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(batch, channels, ...); None where the network takes any size."""

    @property
    def together(self) -> int:
        """How many films it had best be given at once."""

    def run(self, batch: Tensor, *, is_alone: bool = True) -> Tensor:
        """The outputs for a batch, float32, in the shape that the card wants. `is_alone`: no other call is expected
        meanwhile. Raises Told.
        """

    def close(self) -> None:
        """Gives the memory back. Nothing may be run afterwards."""


@dataclass
class OnnxEngine:
    """ONNX Runtime on the CPU. Threads do not spin between runs, so that receiving is not disturbed.

    A lone film takes all threads. Where more are waiting each takes one, which costs a tenth less CPU a film, and they
    run side by side. Batches gain nothing on a processor (DenseNet121: 54.4 ms of CPU a film alone, 56.8 in eights)
    and hold eight times the memory.
    """

    card: Card
    threads: int

    def __post_init__(self) -> None:
        """Raises Told: the weights are not those of the card, or the runtime cannot load them."""
        onnxruntime = _onnxruntime()
        onnxruntime.set_default_logger_severity(4)  # what it logs of a failed run may hold values; we say it ourselves
        with copied(self.card) as folder:
            self._session = self._load(folder, self.threads)
            side_by_side = self.threads > 1 and self.card.engine.batch > 1 and not self.card.is_volume
            self._narrow = self._load(folder, 1) if side_by_side else self._session
        self._run_options: Any = onnxruntime.RunOptions()
        if self.card.is_volume:  # an arena keeps what its largest job took; giving it back costs a film 5 ms
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.description = f"onnxruntime {onnxruntime.__version__}"
        self.input_shape = self._input_shape()
        self.together = self.input_shape[0] or 1

    def _load(self, folder: Path, threads: int) -> Any:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = folder / self.card.engine.file
        with _in_its_words("the network cannot be loaded", lambda said: said.replace(f"{folder}/", "")):
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _input_shape(self) -> tuple[int | None, ...]:
        named = {each.name: each for each in self._session.get_inputs()}
        engine = self.card.engine
        if engine.input not in named or engine.output not in {each.name for each in self._session.get_outputs()}:
            given = ", ".join(named)
            gives = ", ".join(each.name for each in self._session.get_outputs())
            wanted = f"the card wants input {engine.input} and output {engine.output}"
            raise Told(f"{engine.file} has the input {given} and the output {gives}; {wanted}")
        return tuple(size if isinstance(size, int) else None for size in named[engine.input].shape)

    def run(self, batch: Tensor, *, is_alone: bool = True) -> Tensor:
        """As the Protocol says. A network of a fixed batch size gets it, filled up with zeros."""
        session, fixed = (self._session if is_alone else self._narrow), self.input_shape[0]
        if fixed is None or fixed == len(batch):
            return self._run(session, batch)
        parts = []
        for first in range(0, len(batch), fixed):
            part = batch[first : first + fixed]
            full = np.zeros((fixed, *batch.shape[1:]), np.float32)
            full[: len(part)] = part
            parts.append(self._run(session, full)[: len(part)])
        return np.concatenate(parts)

    def _run(self, session: Any, batch: Tensor) -> Tensor:
        engine = self.card.engine
        with _in_its_words("the network cannot be run", _without_values):
            came = session.run([engine.output], {engine.input: batch}, self._run_options)[0]
        if not isinstance(came, np.ndarray) or came.dtype.kind not in "fiub":
            raise Told(f"the network's output {engine.output} is no tensor of numbers")
        if fault := shape_fault(self.card, batch.shape, came.shape):
            raise Told(fault)
        return came.astype(np.float32, copy=False)

    def close(self) -> None:
        """As the Protocol says."""
        self._session = self._narrow = None


@contextmanager
def _in_its_words(what: str, told: Callable[[str], str]) -> Iterator[None]:
    """Says what the runtime says of an error, by as much of it as may be told. Lack of memory stays what it is."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        said = " ".join(told(_NOISE.sub(" ", str(error))).split())
        raise Told(f"{what}: {said if len(said) <= _LONGEST else said[:_LONGEST] + '...'}") from error


_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : "  # a status by its number
    r"|/onnxruntime_src/\S+ (?:[^()]*onnxruntime::[^()]*\([^()]*\)(?: const)? )?"  # where in its own source
)
_LONGEST: Final = 500
"""Characters of the runtime's words that are told."""


def _without_values(said: str) -> str:
    """What the runtime says of a failed run, without numbers that are no shape: they may come from the pixels."""
    if "invalid dimensions for input" in said:
        return said
    return _NUMBER.sub(lambda found: found["shape"] or "#", said)


_NUMBER: Final = re.compile(
    r"(?P<shape>\{[\d,\s]*\}|\b\d+ by \d+\b)"  # as the runtime writes shapes
    r"|(?<![A-Za-z_\d./])-?\d[\d.]*(?:[eE][-+]?\d+)?"  # any other number that stands by itself
)


def _onnxruntime() -> Any:
    """The engine's module, imported when the first network is loaded.

    Its wheel reports its use to its maker; the variable, set before the import, is what stops that (its own call
    does not). Nothing leaves a hospital that was not configured.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def load(card: Card, threads: int) -> Engine:
    """The card's engine on `threads` threads."""
    return OnnxEngine(card, threads)
