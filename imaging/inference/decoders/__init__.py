"""From a network's outputs to findings: a decoder for each kind of finding, which `registry` names."""
