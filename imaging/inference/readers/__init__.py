"""From a study to what a network takes of it: a reader for each kind of input, which `registry` names."""
