"""What a file of torch's weights asks for beside tensors: read from its own bytes, so that nothing of it is run.

`torch.save` writes a zip archive with a pickle in it, which names what it is built of. Weights name tensors' parts
alone; whatever else stands there would be imported and called by whoever unpickles it.
"""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGEST: Final = 64 << 20
"""Bytes of the pickle, which holds names and shapes; numbers lie beside it."""
_STORAGES: Final = (
    "FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage", "ShortStorage",
    "CharStorage", "ByteStorage", "BoolStorage",
)  # fmt: skip
WEIGHTS: Final = frozenset({
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter", "torch Size", *(f"torch {each}" for each in _STORAGES),
})  # fmt: skip
"""What files of weights name."""


class NotWeights(Exception):
    """The text says why a file holds no weights, or more than weights."""


def hold_weights(path: Path) -> None:
    """Raises NotWeights for a file that is not `torch.save`'s, or whose pickle names anything but tensors; OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(each.filename.endswith("/constants.pkl") for each in archive.infolist()):
                raise NotWeights("is TorchScript, which is a program: save only the weights, as a state_dict")
            found = [each for each in archive.infolist() if each.filename.rpartition("/")[2] == "data.pkl"]
            if len(found) != 1 or found[0].file_size > LARGEST:
                raise NotWeights("is not a weights file as torch.save writes it")
            with archive.open(found[0]) as pickle:
                raw = pickle.read(LARGEST + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NotWeights("is not a weights file in the zip format that torch.save has written since 1.6") from error
    others = sorted({each for each in _named(raw) if each not in WEIGHTS})
    if others:
        names = ", ".join(each.replace(" ", ".") for each in others[:5])
        raise NotWeights(f"contains more than weights, and would run {names}: save only its state_dict")


def _named(raw: bytes) -> Iterator[str]:
    """What a pickle imports, as "module name". Raises NotWeights where that does not stand in it as text."""
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument)
            elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                yield f"{opcode.name} (a computed name)"
    except (ValueError, UnicodeDecodeError, IndexError, KeyError) as error:
        raise NotWeights("contains a damaged pickle") from error
