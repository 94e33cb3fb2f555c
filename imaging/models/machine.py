"""This machine, as far as what was measured or proven on it holds for it alone."""

import importlib.metadata
import platform
from functools import lru_cache
from pathlib import Path
from typing import Final

LIBRARIES: Final = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "monai")
"""Distributions that run networks."""


@lru_cache(1)
def processor() -> str:
    """The kind of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


@lru_cache(1)
def has_bf16() -> bool:
    """Whether the processor computes in bfloat16 itself; else a library would only imitate it, slowly."""
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def version_of(library: str) -> str:
    """Of an installed distribution; empty where there is none."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Of the libraries here that run networks."""
    return {name: version for name in LIBRARIES if (version := version_of(name))}
