"""Whether what a network gave can be what its card says, before anything is read out of it."""

from collections.abc import Sequence

from imaging.domain.card import Card


def shape_fault(card: Card, given: Sequence[int], came: Sequence[int]) -> str:
    """What is wrong with the shape of an output for an input of the shape `given`; empty where nothing is.

    Of films (batch, channels) is wanted, of volumes (batch, channels, *grid): for each input its own answer, for each
    voxel its own. Nothing is stretched, cut or picked to make another shape fit.
    """
    grid = tuple(given[2:]) if card.is_volume else ()
    channels = _channels(card)
    if len(came) == 2 + len(grid) and came[0] == given[0] and came[1] >= channels and tuple(came[2:]) == grid:
        return ""
    names = "(batch, channels, and the input's grid)" if card.is_volume else "(batch, channels)"
    wanted = ", ".join([str(given[0]), f"at least {channels}", *map(str, grid)])
    got = ", ".join(map(str, came))
    return f"the network's output {card.engine.output} is ({got}), where ({wanted}) is wanted: {names}"


def _channels(card: Card) -> int:
    """How many channels there must be: that of each finding, and something to choose from for a softmax."""
    return max(max(each.channel + 1, 2 if each.activation == "softmax" else 1) for each in card.findings)
