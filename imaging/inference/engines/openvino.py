"""OpenVINO on the CPU, for ONNX files: an extra. It computes in the precision that it is told, never in one of its own.

On a processor that computes in bf16 itself it would choose that by default, and its answers would be others.
"""

import re
import sys
import threading
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
from imaging.models.machine import processor, version_of

DEVICE: Final = "CPU"


def identity(card: Card, threads: int) -> Identity:
    """What runs a card's network here."""
    version = version_of("openvino")
    return Identity("openvino", version, DEVICE, card.engine.precision, processor(), threads)


class OpenVinoEngine:
    """OpenVINO on the CPU. A lone film takes all threads; films that wait run side by side, each on one.

    Its threads are not bound to cores, which are shared with what receives and sends.
    """

    def __init__(self, card: Card, threads: int) -> None:
        """Raises PublicError: the weights are not those of the card, or the library cannot load or run them so."""
        self._card, self.identity = card, identity(card, threads)
        core = _openvino().Core()
        with copied(card) as folder:
            network = _read(core, folder, card.engine.file)
            _hold_ports(card, network)
            alone, beside = threads_of(card, threads)
            self._lone = _Compiled(core, network, card.engine.precision, alone, 1)
            is_apart = beside < alone  # as many at once then as there are threads
            self._beside = _Compiled(core, network, card.engine.precision, alone, alone) if is_apart else self._lone
        self._batch = _fixed_batch(card, network)
        self.max_batch = self._batch or card.engine.at_once

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """As the Protocol says. A network of a fixed batch size gets it, filled up with zeros."""
        compiled = self._lone if is_alone else self._beside
        return in_fixed_batches(lambda part: self._run(compiled, part), arrays, self._batch)

    def _run(self, compiled: "_Compiled", arrays: Arrays) -> Arrays:
        given = next(iter(arrays.values())).shape
        with in_its_words("the network cannot be run", lambda text: without_values(_plain(text))):
            done = compiled.run(arrays, self._card.engine.outputs)
        for name, values in done.items():
            if fault := shape_fault(self._card, name, given, values.shape):
                raise PublicError(fault)
        return done

    def close(self) -> None:
        """As the Protocol says."""
        del self._lone, self._beside


class _Compiled:
    """A network, made ready for so many runs at once on so many threads in all."""

    def __init__(self, core: Any, network: Any, precision: str, threads: int, runs: int) -> None:
        wanted = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": runs,
            "ENABLE_CPU_PINNING": False,
        }
        with in_its_words("the network cannot be loaded", _plain):
            self._network = core.compile_model(network, DEVICE, wanted)
            has = self._network.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if has != precision:
            raise PublicError(f"OpenVINO computes in {has} on this processor, and not in {precision} as it was told")
        self._free: list[Any] = []
        self._turn = threading.Lock()

    def run(self, arrays: Arrays, outputs: tuple[str, ...]) -> Arrays:
        """The outputs of these names. Calls from several threads are safe."""
        with self._turn:
            request = self._free.pop() if self._free else self._network.create_infer_request()
        came = request.infer({name: np.ascontiguousarray(each) for name, each in arrays.items()}, share_inputs=True)
        done = {name: np.array(came[self._network.output(name)], np.float32) for name in outputs}
        with self._turn:
            self._free.append(request)
        return done


def _read(core: Any, folder: Path, file: str) -> Any:
    with in_its_words("the network cannot be loaded", lambda text: _plain(text).replace(f"{folder}/", "")):
        return core.read_model(folder / file)


def _hold_ports(card: Card, network: Any) -> None:
    """Refuses a network whose inputs or outputs have other names or types than can be fed and read. Raises
    PublicError.
    """
    engine = card.engine
    given, made = _types(network.inputs), _types(network.outputs)
    wanted = list(dict.fromkeys(engine.inputs.values()))
    if not {*wanted} <= {*given} or not {*engine.outputs} <= {*made}:
        has = f"{engine.file} has the input {', '.join(given)} and the output {', '.join(made)}"
        wants = f"the card expects input {', '.join(wanted)} and output {', '.join(engine.outputs)}"
        raise PublicError(f"{has}; {wants}")
    for name in wanted:
        if given[name] != "float32":
            raise PublicError(f"the network's input {name} is {given[name]}; expected float32")
    for name in engine.outputs:
        if text := type_fault(card, name, made[name]):
            raise PublicError(f"the network's output {name} is {made[name]}: {text}")


def _types(ports: Any) -> dict[str, str]:
    """By name, numpy's name of the element type of each input or output."""
    return {name: np.dtype(port.get_element_type().to_dtype()).name for port in ports for name in port.get_names()}


def _fixed_batch(card: Card, network: Any) -> int | None:
    """The batch that the network is made for; None where it takes any."""
    for name in card.engine.inputs.values():
        shape = network.input(name).get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0].is_static:
            return int(shape[0].get_length())
    return None


_NOISE: Final = re.compile(r"Exception from \S+:\d+:|Check '[^']*' failed at \S+:\d+:|\S*src/\S+:\d+:?")
"""Where in the library's own source."""


def _plain(text: str) -> str:
    return _NOISE.sub(" ", text)


def _openvino() -> Any:
    """The library, imported when the first network is loaded, without its tools for converting networks: these report
    their use to their maker, and nothing leaves a hospital that was not configured.
    """
    for name in ("openvino_telemetry", "openvino.tools.ovc"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # to import it is then an error, which is expected
    import openvino

    return openvino
