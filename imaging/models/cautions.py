"""What is odd about a card, and no fault: it is served, and whoever brings it is warned.

Whether a card's steps fit the values that enter them: those of films are 0..1, of CT Hounsfield units, of other
volumes what is stored, after rescale. A step for another range leaves next to nothing of an image, and is warned of: a
network may have been trained so all the same, so that it is no fault.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from imaging.domain.card import Card, Step
from imaging.preparation.ranges import Range, entering
from imaging.preparation.registry import STEPS


def warnings(card: Card) -> tuple[str, ...]:
    """What is odd about the card, as `key = value: why (rule-name)`, each once."""
    of_steps = (
        line for each in card.inputs for values in entering(each) for line in _of_steps(card.prepare, values, each.role)
    )
    return tuple(dict.fromkeys([*of_steps, *_of_evidence(card), *_of_weights(card)]))


def _of_weights(card: Card) -> Iterator[str]:
    """What lies beside an ONNX file may be exchanged, and no digest on the card would say so."""
    if card.engine.kind == "onnx" and (bare := [each for each in card.engine.beside if not each.is_on_card]):
        digests = ", ".join(f'"{each.name}" = "{each.sha256}"' for each in bare)
        names = ", ".join(each.name for each in bare)
        why = f"the card has no digest of {names}, so that an exchanged file is served: add external = {{{digests}}}"
        yield f"engine.external = absent: {why} (external-unstated)"


def _of_evidence(card: Card) -> Iterator[str]:
    """What was measured of nobody's finding limits none: a typing error here would hide that one is near chance."""
    values = {each.code.value for each in card.findings}
    for at, each in enumerate(card.evidence):
        if each.get("finding") not in values:
            text, wanted = repr(each.get("finding", "absent")), ", ".join(sorted(values))
            yield f"evidence[{at}].finding = {text}: is not the code value of a finding: {wanted} (evidence-finding)"


def _of_steps(steps: Sequence[Step], values: Range, role: str) -> Iterator[str]:
    for at, step in ((at, step) for at, step in enumerate(steps) if step.is_of(role)):
        why, after = STEPS[step.do].range(values, step.options)
        if why:
            text = ", ".join(f"{key} = {_as_toml(value)}" for key, value in step.options.items())
            yield f"prepare[{at}] = {step.do}, {text}: {why}; its input is {values} (range-{step.do})"
        if why or after is None:
            return
        values = after


def _as_toml(value: Any) -> str:
    return f"[{', '.join(f'{each:g}' for each in value)}]" if isinstance(value, tuple) else f"{value:g}"
