"""torch on the CPU, for the networks of bundles: built by their names, with weights that are nothing but weights."""

import importlib.metadata
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from imaging.domain.card import Card
from imaging.domain.faults import PublicError, is_out_of_memory
from imaging.domain.outputs import shape_fault
from imaging.inference.engines.engine import Arrays, Identity
from imaging.models.bundle_parts import NETWORKS
from imaging.models.copies import copied
from imaging.models.machine import processor
from imaging.models.pickles import NotWeights, hold_weights

WRAPPED: Final = ("model", "state_dict", "network")
"""Under which name trainers keep the weights in a file with other things."""
_LONGEST: Final = 500
"""Characters of torch's words that are told."""


def identity(card: Card, threads: int) -> Identity:
    """What runs a card's network here."""
    version = importlib.metadata.version("torch")
    return Identity("torch", version, f"cpu, monai {importlib.metadata.version('monai')}", "f32", processor(), threads)


class TorchEngine:
    """A network of MONAI's on the CPU, in f32, without autocast. Calls run one after another, each on all threads."""

    def __init__(self, card: Card, threads: int) -> None:
        """Raises PublicError: the weights are not those of the card, hold more than weights, or do not fit the
        network.
        """
        self._card, self._threads, self.identity = card, threads, identity(card, threads)
        self.max_batch = 1
        self._turn = threading.Lock()
        with copied(card) as folder:
            weights = _weights(folder / card.engine.file)
        self._network: Any = _built(card)
        try:
            self._network.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise PublicError(f"{card.engine.file} does not fit {_name(card)}: {_short(error)}") from error
        self._network.eval()

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        """As the Protocol says."""
        import torch

        (values,) = arrays.values()
        flat = self._card.engine.window.flat if self._card.engine.window is not None else None
        with self._turn, torch.inference_mode():
            if torch.get_num_threads() != self._threads:  # of this thread alone
                torch.set_num_threads(self._threads)
            given = torch.from_numpy(np.ascontiguousarray(values))
            try:
                came = self._network(given if flat is None else given.squeeze(2 + flat))
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
        return {name: done.float().numpy()}

    def close(self) -> None:
        """As the Protocol says."""
        self._network = None


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
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    import torch

    try:
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
