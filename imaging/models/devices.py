"""On which device networks run: `--device auto|cpu|cuda[:N]`. Looked up without loading any library."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from imaging.models.machine import version_of

CPU: Final = "cpu"
FORM: Final = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
MEND: Final = (
    "for ONNX files: pip uninstall onnxruntime, then pip install onnxruntime-gpu (they are one module, so only one of "
    "them may be installed); for bundles: torch's build for CUDA"
)


class NoDevice(ValueError):
    """The device that was asked for cannot be used; the text says what is missing."""


def device_of(
    setting: str, worker: int, folder: Path = Path("/dev"), version: Callable[[str], str] = version_of
) -> str:
    """Of a worker by its number, from 0 on: "cpu" or "cuda:N". A worker has one device; of several devices each worker
    takes the next, and a device that is named is everybody's.

    `folder`: where devices are; `version`: of an installed distribution. Raises NoDevice where CUDA was asked for and a
    device or what runs networks on it is missing; `auto` is then the CPU.
    """
    if setting == CPU:
        return CPU
    numbers = sorted(int(each.name[6:]) for each in folder.glob("nvidia*") if each.name[6:].isdecimal())
    _, colon, wanted = setting.partition(":")
    if colon and int(wanted) not in numbers:
        found = f"here {'is' if len(numbers) == 1 else 'are'} {', '.join(f'cuda:{each}' for each in numbers) or 'none'}"
        raise NoDevice(f"{folder}/nvidia{int(wanted)} is not there: {found}")
    has_library = bool(version("onnxruntime-gpu")) or "+cu" in version("torch")
    if numbers and has_library:
        return f"cuda:{int(wanted) if colon else numbers[worker % len(numbers)]}"
    if setting == "auto":
        return CPU
    if not numbers:
        raise NoDevice(
            f"there is no NVIDIA device here ({folder}/nvidia0): install its driver, or run with --device cpu"
        )
    raise NoDevice(f"nothing that is installed runs networks on CUDA: {MEND}")


def number_of(device: str) -> int | None:
    """Of a CUDA device; None for the CPU."""
    return int(device.partition(":")[2]) if device.startswith("cuda:") else None
