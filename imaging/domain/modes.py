"""What is done with the answers of a model: how far a site lets it speak."""

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Mode(StrEnum):
    """`LIVE`: shown, sent, and its rules flag studies. `FINDINGS`: shown and sent; its rules flag none. `SHADOW`:
    stored and measured only: no row, report or flag says anything of it.
    """

    LIVE = "live"
    FINDINGS = "findings"
    SHADOW = "shadow"


def parse(text: str) -> tuple[str, Mode]:
    """A model's id and its mode, of an entry `ID=MODE`. Raises ValueError, which says the form wanted."""
    model_id, equals, mode = (each.strip() for each in text.partition("="))
    if not equals or not model_id or mode not in tuple(Mode):
        modes = ", ".join(Mode)
        raise ValueError(f"is not of the form ID=MODE with a mode of {modes}, such as chest-film=live")
    return model_id, Mode(mode)


def modes_of(texts: Sequence[str]) -> Mapping[str, Mode]:
    """The modes that the entries of the setting give, by the models' ids. Raises ValueError."""
    return dict(parse(each) for each in texts)


def contradictions(texts: Sequence[str]) -> list[str]:
    """Models that are given two modes."""
    entries = {parse(each) for each in texts}
    ids = [model_id for model_id, _ in entries]
    return sorted({each for each in ids if ids.count(each) > 1})
