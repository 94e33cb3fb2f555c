"""What runs networks and is not part of the base install: the extras, and how a card is told that one is absent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imaging.domain.tables import Table
from imaging.models.machine import version_of


@dataclass(frozen=True)
class Extra:
    """`needs`: the distributions and the least version of each. `mend`: what installs them."""

    needs: Mapping[str, tuple[int, ...]]
    mend: str

    @property
    def is_installed(self) -> bool:
        """Whether all is here that it needs."""
        return all(_numbers(version_of(name)) >= minimum for name, minimum in self.needs.items())


EXTRAS: Final[Mapping[str, Extra]] = {
    "bundle": Extra({"torch": (2, 13), "monai": (1, 6, 1)}, "pip install 'imaging[monai]'"),
    "openvino": Extra({"openvino": (2026, 4)}, "pip install 'imaging[openvino]'"),
}
"""By the kind of `[engine]` that needs it. Older versions of MONAI have advisories that 1.6 mended."""


def hold_installed(table: Table, kind: str) -> None:
    """Notes as faults of an `[engine]` what is absent of the extra that its kind needs, if it needs one."""
    if kind not in EXTRAS:
        return
    extra = EXTRAS[kind]
    for name, minimum in extra.needs.items():
        wanted, has = ".".join(map(str, minimum)), version_of(name)
        if not has:
            rule = f"needs {name} {wanted} or newer, which is not installed: {extra.mend}"
            table.fault("kind", kind, rule, "engine-absent")
        elif _numbers(has) < minimum:
            rule = f"needs {name} {wanted} or newer, here is {has}: {extra.mend}"
            table.fault("kind", kind, rule, "engine-old")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
