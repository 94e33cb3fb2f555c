"""From pixels to a network's input: the closed set of steps. All that there is to know of a step (its keys in a card,
what must hold of them, what it does, which sizes it leaves) stands in its own module, which `registry` names.
"""
