"""ONNX Runtime on the CPU."""

import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.outputs import shape_fault, type_fault
from imaging.inference.engines.batches import in_fixed_batches
from imaging.inference.engines.engine import Arrays, Identity, threads_of
from imaging.inference.engines.words import in_its_words, without_values
from imaging.models.copies import copied
from imaging.models.devices import CPU, MEND, number_of
from imaging.models.machine import processor

PROVIDER: Final = "CPUExecutionProvider"
CUDA_PROVIDER: Final = "CUDAExecutionProvider"


def identity(card: Card, threads: int) -> Identity:
    """What runs a card's network here."""
    version, number = _onnxruntime().__version__, number_of(card.engine.device)
    provider, device = (PROVIDER, processor()) if number is None else (CUDA_PROVIDER, card.engine.device)
    return Identity("onnxruntime", version, provider, card.engine.precision, device, threads)


class OnnxEngine:
    """ONNX Runtime on the CPU. Threads do not spin between runs, so that receiving is not disturbed.

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
            alone, beside = threads_of(card, threads)
            self._session = self._load(folder, alone)
            has_both = beside < alone and card.engine.device == CPU and max(card.engine.batch, card.engine.at_once) > 1
            self._narrow = self._load(folder, beside) if has_both else self._session
        self._run_options: Any = onnxruntime.RunOptions()
        if not is_beside:  # an arena keeps what its largest job took; giving it back costs a film 5 ms
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._hold_types()
        self._batch = self._fixed_batch()
        self.max_batch = self._batch or card.engine.at_once

    def _load(self, folder: Path, threads: int) -> Any:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = folder / self._card.engine.file
        with in_its_words("the network cannot be loaded", lambda text: _plain(text).replace(f"{folder}/", "")):
            session = onnxruntime.InferenceSession(str(path), options, providers=_providers(self._card))
        if (has := session.get_providers()[0]) != self.identity.provider:
            raise PublicError(f"ONNX Runtime cannot use {self._card.engine.device}, and would run on {has}: {MEND}")
        return session

    def _hold_types(self) -> None:
        """Refuses a network whose inputs or outputs have other names or types than can be fed and read. Raises
        PublicError.
        """
        engine = self._card.engine
        given = {each.name: _type_of(each) for each in self._session.get_inputs()}
        made = {each.name: _type_of(each) for each in self._session.get_outputs()}
        wanted = list(engine.inputs.values())
        if not {*wanted} <= {*given} or not {*engine.outputs} <= {*made}:
            has = f"{engine.file} has the input {', '.join(given)} and the output {', '.join(made)}"
            wants = f"the card expects input {', '.join(wanted)} and output {', '.join(engine.outputs)}"
            raise PublicError(f"{has}; {wants}")
        for name in wanted:
            if given[name] != "float32":
                raise PublicError(f"the network's input {name} is {given[name]}; expected float32")
        for name in engine.outputs:
            if text := type_fault(self._card, name, made[name]):
                raise PublicError(f"the network's output {name} is {made[name]}: {text}")

    def _fixed_batch(self) -> int | None:
        """The batch that the network is made for; None where it takes any."""
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        sizes = [shapes[name][0] for name in self._card.engine.inputs.values() if shapes[name]]
        return next((size for size in sizes if isinstance(size, int)), None)

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """As the Protocol says. A network of a fixed batch size gets it, filled up with zeros."""
        session = self._session if is_alone else self._narrow
        return in_fixed_batches(lambda part: self._run(session, part), arrays, self._batch)

    def _run(self, session: Any, arrays: Arrays) -> Arrays:
        names, given = self._card.engine.outputs, next(iter(arrays.values())).shape
        with in_its_words("the network cannot be run", _without_values):
            came = session.run(list(names), dict(arrays), self._run_options)
        for name, values in zip(names, came, strict=True):
            if fault := shape_fault(self._card, name, given, values.shape):
                raise PublicError(fault)
        return {name: values.astype(np.float32, copy=False) for name, values in zip(names, came, strict=True)}

    def close(self) -> None:
        """As the Protocol says."""
        self._session = self._narrow = None


def _providers(card: Card) -> list[Any]:
    """What computes: on a CUDA device the CPU still does what that provider has no operators for."""
    number = number_of(card.engine.device)
    return [PROVIDER] if number is None else [(CUDA_PROVIDER, {"device_id": number}), PROVIDER]


def _type_of(port: Any) -> str:
    """What an input or output of a session is: by numpy's name where it is a tensor of numbers."""
    text: str = port.type
    inner = text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text
    return {"float": "float32", "double": "float64"}.get(inner, inner)


_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : "  # a status by its number
    r"|/onnxruntime_src/\S+ (?:[^()]*onnxruntime::[^()]*\([^()]*\)(?: const)? )?"  # where in its own source
)


def _plain(text: str) -> str:
    return _NOISE.sub(" ", text)


def _without_values(text: str) -> str:
    """What the runtime says of a failed run, without numbers that may come from the pixels."""
    plain = _plain(text)
    return plain if "invalid dimensions for input" in plain else without_values(plain)


def _onnxruntime() -> Any:
    """The engine's module, imported when the first network is loaded.

    Its wheel reports its use to its maker; the variable, set before the import, is what stops that (its own call
    does not). Nothing leaves a hospital that was not configured.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
