"""ONNX Runtime on the CPU."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Card
from imaging.domain.faults import PublicError, is_out_of_memory
from imaging.domain.outputs import fed_type_fault, shape_fault, type_fault
from imaging.inference.engines.engine import Arrays, Identity, processor
from imaging.models.copies import copied
from imaging.preparation.array import Tensor

PROVIDER: Final = "CPUExecutionProvider"


def identity(card: Card, threads: int) -> Identity:
    """What runs a card's network here."""
    version = _onnxruntime().__version__
    return Identity("onnxruntime", version, PROVIDER, card.engine.precision, processor(), threads)


class OnnxEngine:
    """ONNX Runtime on the CPU. Threads do not spin between runs, so that receiving is not disturbed.

    The network runs in the precision of its file, and is fed in the element types and the layout that it wants; what it
    gives comes back as float32, channels first.

    A lone film takes all threads. Where more are waiting each takes one, which costs a tenth less CPU a film, and they
    run side by side. Batches gain nothing on a processor (DenseNet121: 54.4 ms of CPU a film alone, 56.8 in eights)
    and hold eight times the memory.
    """

    def __init__(self, card: Card, threads: int) -> None:
        """Raises PublicError: the weights are not those of the card, or the runtime cannot load them."""
        self._card, self.identity = card, identity(card, threads)
        onnxruntime = _onnxruntime()
        onnxruntime.set_default_logger_severity(4)  # what it logs of a failed run may hold values; we say it ourselves
        is_beside = card.lane.is_side_by_side
        with copied(card) as folder:
            self._session = self._load(folder, threads)
            has_both = threads > 1 and card.engine.batch > 1 and is_beside
            self._narrow = self._load(folder, 1) if has_both else self._session
        self._run_options: Any = onnxruntime.RunOptions()
        if not is_beside:  # an arena keeps what its largest job took; giving it back costs a film 5 ms
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._hold_types()
        self._batch = self._fixed_batch()
        self.max_batch = self._batch or 1

    def _load(self, folder: Path, threads: int) -> Any:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = folder / self._card.engine.file
        with _in_its_words("the network cannot be loaded", lambda text: text.replace(f"{folder}/", "")):
            return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])

    def _hold_types(self) -> None:
        """Refuses a network whose inputs or outputs have other names or types than can be fed and read. Raises
        PublicError.
        """
        engine = self._card.engine
        given = {each.name: _type_of(each) for each in self._session.get_inputs()}
        made = {each.name: _type_of(each) for each in self._session.get_outputs()}
        wanted = list(engine.roles)
        if not {*wanted} <= {*given} or not {*engine.outputs} <= {*made}:
            has = f"{engine.file} has the input {', '.join(given)} and the output {', '.join(made)}"
            wants = f"the card expects input {', '.join(wanted)} and output {', '.join(engine.outputs)}"
            raise PublicError(f"{has}; {wants}")
        for name in wanted:
            if text := fed_type_fault(given[name]):
                raise PublicError(f"the network's input {name} is {given[name]}; {text}")
        for name in engine.outputs:
            if text := type_fault(self._card, name, made[name]):
                raise PublicError(f"the network's output {name} is {made[name]}: {text}")
        if unfed := [name for name in given if name not in wanted]:
            raise PublicError(f"{engine.file} also takes {', '.join(unfed)}, which the card does not feed")
        self._types = {name: np.dtype(given[name]) for name in wanted}

    def _fixed_batch(self) -> int | None:
        """The batch that the network is made for; None where it takes any."""
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        sizes = [shapes[name][0] for name in self._card.engine.roles if shapes[name]]
        return next((size for size in sizes if isinstance(size, int)), None)

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """As the Protocol says. A network of a fixed batch size gets it, filled up with zeros."""
        session, fixed = (self._session if is_alone else self._narrow), self._batch
        count = len(next(iter(arrays.values())))
        if fixed is None or fixed == count:
            return self._run(session, arrays)
        parts = []
        for first in range(0, count, fixed):
            part = {name: each[first : first + fixed] for name, each in arrays.items()}
            done = self._run(session, {name: _filled(each, fixed) for name, each in part.items()})
            parts.append({name: each[: min(fixed, count - first)] for name, each in done.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in self._card.engine.outputs}

    def _run(self, session: Any, arrays: Arrays) -> Arrays:
        names, given = self._card.engine.outputs, next(iter(arrays.values())).shape
        fed = {name: self._fed(name, values) for name, values in arrays.items()}
        with _in_its_words("the network cannot be run", _without_values):
            came = session.run(list(names), fed, self._run_options)
        done = {name: self._channels_first(name, values) for name, values in zip(names, came, strict=True)}
        for name, values in done.items():
            if fault := shape_fault(self._card, name, given, values.shape):
                raise PublicError(fault)
        return {name: values.astype(np.float32, copy=False) for name, values in done.items()}

    def _fed(self, name: str, values: Tensor) -> NDArray[Any]:
        """An input in the network's element type and layout."""
        if self._card.engine.is_channels_last:
            axes = self._card.input(self._card.engine.roles[name][0]).axes
            values = np.moveaxis(values, -1 - axes, -1)
        return np.ascontiguousarray(_cast(name, values, self._types[name]))

    def _channels_first(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """An output as it is read: a map of a network with the channels last has them first."""
        is_map = any(each.is_map for each in self._card.read_of(name))
        is_last = self._card.engine.is_channels_last and is_map and values.ndim > 1
        return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if is_last else values

    def close(self) -> None:
        """As the Protocol says."""
        self._session = self._narrow = None


def _type_of(port: Any) -> str:
    """What an input or output of a session is: by numpy's name where it is a tensor of numbers."""
    text: str = port.type
    inner = text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _cast(name: str, values: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    """Values in another element type: whole ones by the nearest. Raises PublicError where they do not fit into it."""
    if kind in (np.float32, np.float64):
        return values.astype(kind, copy=False)
    if kind.kind == "f":
        low, high = -float(np.finfo(np.float16).max), float(np.finfo(np.float16).max)
    else:
        low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
        values = np.rint(values)
    if values.size and not (values.min() >= low and values.max() <= high):
        rule = f"it holds {low:g} to {high:g}: prepare them for it, by window and scale"
        raise PublicError(f"the values prepared for the network's input {name} do not fit into {kind}: {rule}")
    return values.astype(kind)


def _filled(array: Tensor, count: int) -> Tensor:
    """The batch with zeros up to a count."""
    full = np.zeros((count, *array.shape[1:]), np.float32)
    full[: len(array)] = array
    return full


@contextmanager
def _in_its_words(what: str, redact: Callable[[str], str]) -> Iterator[None]:
    """Says what the runtime says of an error, by as much of it as may be told. Lack of memory stays what it is."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(redact(_NOISE.sub(" ", str(error))).split())
        raise PublicError(f"{what}: {text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + '...'}") from error


_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : "  # a status by its number
    r"|/onnxruntime_src/\S+ (?:[^()]*onnxruntime::[^()]*\([^()]*\)(?: const)? )?"  # where in its own source
)
_MAX_TEXT: Final = 500
"""Characters of the runtime's words that are told."""


def _without_values(text: str) -> str:
    """What the runtime says of a failed run, without numbers that are no shape: they may come from the pixels."""
    if "invalid dimensions for input" in text:
        return text
    return _NUMBER.sub(lambda match: match["shape"] or "#", text)


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
