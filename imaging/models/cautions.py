"""What is odd about a card, and no fault: it is served, and whoever brings it is warned.

Whether a card's steps fit the values that enter them: those of films are 0..1, of CT Hounsfield units, of other
volumes what is stored, after rescale. A step for another range leaves next to nothing of an image, and is warned of: a
network may have been trained so all the same, so that it is no fault.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from imaging.domain.card import Card, Step
from imaging.domain.image_kind import FILMS

LEAST_SHARE: Final = 0.05
"""Of 0..1, or of a window: what an image's values must take of it at least to be more than one grey."""
FINEST: Final = 1 / 400
"""Of the values' range: a window, or a deviation, that is finer makes two greys of an image. About 10 HU."""
ADAPTS: Final = frozenset({"zscore", "percentile"})
"""Steps that take any values, and after which these are the image's own statistics."""


@dataclass(frozen=True)
class Values:
    """The range that values lie in. `said`: what they are, in words."""

    low: float
    high: float
    said: str

    @property
    def width(self) -> float:
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.said}, {self.low:g} to {self.high:g}"


FILM: Final = Values(0.0, 1.0, "a film's values, black to white as shown")
CT: Final = Values(-1024.0, 3071.0, "a CT's Hounsfield units")
OTHER: Final = Values(0.0, 4095.0, "stored values of 12 bits, after rescale")


def warnings(card: Card) -> tuple[str, ...]:
    """What is odd about the card, as `key = value: why (rule-name)`, each once."""
    return tuple(dict.fromkeys([*_of_all_steps(card), *_of_evidence(card)]))


def _of_evidence(card: Card) -> Iterator[str]:
    """What was measured of nobody's finding limits none: a typing error here would hide that one is near chance."""
    values = {each.code.value for each in card.findings}
    for at, each in enumerate(card.evidence):
        if each.get("finding") not in values:
            said, wanted = repr(each.get("finding", "absent")), ", ".join(sorted(values))
            yield f"evidence[{at}].finding = {said}: is no finding's code value: {wanted} (evidence-finding)"


def _of_all_steps(card: Card) -> Iterator[str]:
    modalities = sorted({each for one in card.inputs for each in one.modality})
    entering = [_entering(each) for each in modalities] if card.is_volume else [FILM]
    return (line for values in entering for line in _of_steps(card.prepare, values))


def _entering(modality: str) -> Values:
    return FILM if modality in FILMS else CT if modality == "CT" else OTHER


def _of_steps(steps: tuple[Step, ...], values: Values) -> Iterator[str]:
    for at, step in enumerate(steps):
        if step.do in ADAPTS:
            return
        if step.do not in _LOOKS:
            continue
        why, after = _LOOKS[step.do](values, step.options)
        if why:
            said = ", ".join(f"{key} = {_said(value)}" for key, value in step.options.items())
            yield f"prepare[{at}] = {step.do}, {said}: {why}; into it come {values} (range-{step.do})"
            return
        values = after


def _window(values: Values, options: Mapping[str, Any]) -> tuple[str, Values]:
    low, high = float(options["low"]), float(options["high"])
    shared, after = min(high, values.high) - max(low, values.low), Values(0.0, 1.0, "what the window gives")
    if shared <= LEAST_SHARE * (high - low):
        return "leaves one grey of it" if shared <= 0 else "leaves less than a twentieth of 0..1", after
    return "makes black and white of it" if high - low < FINEST * values.width else "", after


def _scale(values: Values, options: Mapping[str, Any]) -> tuple[str, Values]:
    factor, offset = float(options["factor"]), float(options["offset"])
    low, high = sorted((factor * values.low + offset, factor * values.high + offset))
    return "leaves less than a twentieth of 0..1" if high - low < LEAST_SHARE else "", Values(
        low, high, "scaled values"
    )


def _normalize(values: Values, options: Mapping[str, Any]) -> tuple[str, Values]:
    ends = []
    for mean, std in zip(options["mean"], options["std"], strict=True):
        if not values.low <= mean <= values.high:
            return f"has the mean {mean:g}, which no image has", values
        if not FINEST * values.width <= std <= values.width:
            return f"has the deviation {std:g}, which no image has", values
        ends += [(values.low - mean) / std, (values.high - mean) / std]
    return "", Values(min(ends), max(ends), "normalized values")


_LOOKS: Final = {"window": _window, "scale": _scale, "normalize": _normalize}


def _said(value: Any) -> str:
    return f"[{', '.join(f'{each:g}' for each in value)}]" if isinstance(value, tuple) else f"{value:g}"
