"""torch, for the networks of bundles: built by their names, with weights that are nothing but weights."""

import importlib.metadata
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from imaging.domain.card import CHANNELS_LAST, Card
from imaging.domain.faults import PublicError, is_out_of_memory
from imaging.domain.outputs import shape_fault
from imaging.inference.engines.engine import Arrays, Identity, threads_of
from imaging.models.bundle_parts import NETWORKS
from imaging.models.copies import copied
from imaging.models.devices import CPU, MEND
from imaging.models.machine import processor
from imaging.models.pickles import NotWeights, hold_weights

WRAPPED: Final = ("model", "state_dict", "network")
"""Under which name trainers keep the weights in a file with other things."""
_LONGEST: Final = 500
"""Characters of torch's words that are told."""


def identity(card: Card, threads: int) -> Identity:
    """What runs a card's network here."""
    version = importlib.metadata.version("torch")
    name, monai = card.engine.device.partition(":")[0], importlib.metadata.version("monai")
    device = processor() if name == CPU else card.engine.device
    layout = f", {CHANNELS_LAST}" if card.engine.memory_format == CHANNELS_LAST else ""
    return Identity("torch", version, f"{name}, monai {monai}{layout}", card.engine.precision, device, threads)


class TorchEngine:
    """A network of MONAI's, in f32 or bf16 throughout, never by autocast. Calls run one after another."""

    def __init__(self, card: Card, threads: int) -> None:
        """Raises PublicError: the weights are not those of the card, hold more than weights, or do not fit the
        network.
        """
        self._card, self.identity = card, identity(card, threads)
        self._threads = threads_of(card, threads)[0]
        self.max_batch = card.engine.at_once
        import torch

        if card.engine.device != CPU and not torch.cuda.is_available():
            raise PublicError(f"torch cannot use {card.engine.device}: {MEND}")
        self._kind = {
            "device": card.engine.device,
            "dtype": torch.bfloat16 if card.engine.precision == "bf16" else torch.float32,
        }
        self._turn = threading.Lock()
        with copied(card) as folder:
            weights = _weights(folder / card.engine.file)
        self._network: Any = _built(card)
        try:
            self._network.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise PublicError(f"{card.engine.file} does not fit {_name(card)}: {_short(error)}") from error
        self._network.eval()
        self._network.to(**self._kind)
        for each in self._network.parameters():
            each.data = _laid_out(each.data, card.engine.memory_format)

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """As the Protocol says."""
        import torch

        (values,) = arrays.values()
        flat = self._card.engine.window.flat if self._card.engine.window is not None else None
        with self._turn, torch.inference_mode():
            if torch.get_num_threads() != self._threads:  # of this thread alone
                torch.set_num_threads(self._threads)
            given = torch.from_numpy(np.ascontiguousarray(values)).to(**self._kind)
            given = given if flat is None else given.squeeze(2 + flat)
            try:
                came = self._network(_laid_out(given, self._card.engine.memory_format))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                raise PublicError(
                    f"the network cannot be run on {tuple(values.shape)}: {type(error).__name__}"
                ) from error
        (name,) = self._card.engine.outputs
        if not isinstance(came, torch.Tensor):
            raise PublicError(f"{_name(self._card)} does not return a single tensor")
        done = came if flat is None else came.unsqueeze(2 + flat)
        if fault := shape_fault(self._card, name, values.shape, tuple(done.shape)):
            raise PublicError(fault)
        return {name: done.float().cpu().contiguous().numpy()}

    def close(self) -> None:
        """As the Protocol says."""
        self._network = None


def _laid_out(values: Any, memory_format: str) -> Any:
    """The same tensor as it is to lie in memory, if it has the axes of images or volumes."""
    import torch

    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if memory_format != CHANNELS_LAST or values.dim() not in formats:
        return values
    return values.contiguous(memory_format=formats[values.dim()])


def _built(card: Card) -> Any:
    """The network, its weights drawn by chance until they are loaded. Raises PublicError."""
    network = card.engine.network
    if network is None or network.name not in NETWORKS:
        raise PublicError("the card has no supported network")
    import monai.networks.nets

    try:
        return getattr(monai.networks.nets, network.name)(**network.options)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise PublicError(f"{network.name} cannot be built from its configuration: {_short(error)}") from error


def _weights(path: Path) -> dict[str, Any]:
    """Tensors by their names. Nothing in the file is run: its names are looked at before torch opens it.

    Raises PublicError.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        hold_weights(path)
        value = torch.load(path, map_location="cpu", weights_only=True)
    except NotWeights as error:
        raise PublicError(f"{path.name} {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise PublicError(f"{path.name} cannot be loaded as weights alone: {type(error).__name__}") from error
    inner = next((value[key] for key in WRAPPED if isinstance(value, dict) and isinstance(value.get(key), dict)), value)
    if not isinstance(inner, dict) or not all(isinstance(each, torch.Tensor) for each in inner.values()):
        raise PublicError(f"{path.name} is not a state_dict: tensors by their names")
    return inner


def _name(card: Card) -> str:
    return card.engine.network.name if card.engine.network is not None else "the network"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
