"""Whether what a network gave can be what its card says, before anything is read out of it."""

from collections.abc import Sequence

from imaging.domain.card import Card


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
