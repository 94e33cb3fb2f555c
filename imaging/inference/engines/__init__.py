"""What runs weights: `engine` is the one form of it, and `registry` names the kinds that a card may ask for."""
