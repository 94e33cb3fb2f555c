"""The colours of the dark theme, as numbers (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

import imaging.web

STATIC = Path(imaging.web.__file__).parent / "static"
COLOURS = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", (STATIC / "style.css").read_text("utf-8")))
BEHIND = ("page", "raised", "row", "row-here")
LINES = ("line", "control-line")


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [name for name in COLOURS if name not in (*BEHIND, *LINES)])
def test_text_has_a_contrast_of_at_least_4_5_on_every_ground(name: str) -> None:
    assert min(contrast(COLOURS[name], COLOURS[ground]) for ground in BEHIND) >= 4.5


def test_the_edges_of_controls_have_a_contrast_of_at_least_3() -> None:
    assert min(contrast(COLOURS["control-line"], COLOURS[ground]) for ground in ("page", "raised")) >= 3


def test_the_pages_own_script_stays_small() -> None:
    assert len((STATIC / "list.js").read_text("utf-8").splitlines()) <= 300
