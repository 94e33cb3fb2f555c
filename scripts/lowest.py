"""Prints pip constraints that hold each dependency at the lowest version that pyproject.toml allows.

For `make lowest`, which runs tests with them: a bound that is never tried is a guess.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def constraints(requirements: list[str]) -> list[str]:
    """`name==lowest` for each requirement. Raises ValueError where one has no lower bound."""
    return [f"{each.name}=={_lowest(each)}" for each in map(Requirement, requirements)]


def _lowest(requirement: Requirement) -> str:
    for each in requirement.specifier:
        if each.operator in (">=", "=="):
            return each.version
    raise ValueError(f"{requirement.name} has no lower bound in pyproject.toml")


if __name__ == "__main__":
    print("\n".join(constraints(tomllib.loads(_PYPROJECT.read_text())["project"]["dependencies"])))
