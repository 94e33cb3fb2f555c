"""What the kind of a card's `[engine]` decides of its other tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imaging.domain.card import Engine, FindingSpec, Input, Step
from imaging.domain.tables import Table
from imaging.models.network import Signature
from imaging.preparation.registry import STEPS


@dataclass(frozen=True)
class Parts:
    """A card's parts as its kind of engine has them read.

    `facts`: of the card's other keys, those that the weights' own files answer where the card does not. `network`: what
    the weights' file says of its inputs and outputs, where it says so.
    """

    inputs: tuple[Input, ...]
    engine: Engine
    prepare: tuple[Step, ...]
    findings: tuple[FindingSpec, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    network: Signature | None = None


def read_step(table: Table) -> Step:
    """A step of the closed set with its options checked by the step's own rules."""
    do = table.text("do")
    if do not in STEPS:
        is_stack = do == "stack"
        rule = "is no step: [engine] says it, stack = [roles]" if is_stack else f"must be one of {', '.join(STEPS)}"
        table.fault("do", do, rule, "do-unsupported" if is_stack else "do-unknown")
        table.anything()
        return Step(do)
    roles = table.texts("roles", ())
    made = Step(do, STEPS[do].options(table), roles)
    table.done()
    return made
