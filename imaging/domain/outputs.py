"""Whether a network can be fed as its card says, and what it gave be what the card says, before anything is read out of
it.
"""

from collections.abc import Sequence
from typing import Final

from imaging.domain.card import Card, FindingSpec, SegmentSpec

_SHARES: Final = ("float32", "float16", "float64")
_WHOLE: Final = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")

WHOLE: Final = tuple(each for each in _WHOLE if each != "bool")
"""Element types of whole numbers, by numpy's names."""
_FED: Final = (*_SHARES, *WHOLE)


def fed_type_fault(kind: str) -> str:
    """What an input's element type should be, where no image can be cast to this one (by numpy's name); empty where one
    can.
    """
    return "" if kind in _FED else f"expected {', '.join(_FED[:-1])} or {_FED[-1]}"


def type_fault(card: Card, output: str, kind: str) -> str:
    """What an output's element type should be, where this one (by numpy's name) cannot be read; empty where it can.

    Logits and shares of 1 are floating numbers. A network that has decided already gives whole ones, of which no
    probability can be told: a mask alone may be of them (0 and 1, `activation` "none"), if it is asked by its size.
    """
    findings = card.read_of(output)
    if kind in _SHARES or (kind in _WHOLE and all(_is_mask(each) for each in findings)):
        return ""
    rule = f"{', '.join(_SHARES[:-1])} or {_SHARES[-1]} is wanted, as probabilities and logits are"
    is_decided = kind in _WHOLE and all(isinstance(each, SegmentSpec) for each in findings)
    return rule + (_OF_MASKS if is_decided else "")


_OF_MASKS: Final = '; a mask of 0 and 1 goes with activation = "none", and without probability'


def _is_mask(finding: FindingSpec) -> bool:
    return isinstance(finding, SegmentSpec) and finding.activation == "none" and not finding.probability


def shape_fault(card: Card, output: str, given: Sequence[int], came: Sequence[int]) -> str:
    """What is wrong with the shape of an output for inputs of the shape `given`; empty where nothing is.

    Of labels (batch, channels) is wanted, of maps (batch, channels, *grid): for each input its own answer, for each
    voxel its own. Nothing is stretched, cut or picked to make another shape fit.
    """
    findings = card.read_of(output)
    is_map = any(each.is_map for each in findings)
    grid = tuple(given[2:]) if is_map else ()
    # that of each finding, and something to choose from for a softmax
    channels = max(max(each.channel + 1, 2 if each.activation == "softmax" else 1) for each in findings)
    if len(came) == 2 + len(grid) and came[0] == given[0] and came[1] >= channels and tuple(came[2:]) == grid:
        return ""
    names = "(batch, channels, and the input's grid)" if is_map else "(batch, channels)"
    wanted = ", ".join([str(given[0]), f"at least {channels}", *map(str, grid)])
    got = ", ".join(map(str, came))
    return f"the network's output {output} is ({got}), expected ({wanted}): {names}"
