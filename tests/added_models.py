"""What somebody with an editor does after `imaging models add`."""

from pathlib import Path
from typing import Any

from imaging.models.to_fill_in import FILL_IN


def filled_in(answer: Any, **others: str) -> Path:
    """Puts each example in its place in the card that the command's JSON names; the card. `others`: lines instead of
    the examples, by key.
    """
    card = Path(answer["card"])
    lines = card.read_text().splitlines()
    for each in answer["to_fill_in"]:
        key = each["key"].rpartition(".")[2]
        lines[lines.index(f'{key} = "{FILL_IN}"')] = others.get(key, each["example"])
    card.write_text("\n".join(lines))
    return card
