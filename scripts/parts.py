"""Draws docs/parts.svg, the picture of the parts on the first page of the docs; `make docs` writes it.

The processes are those that `serve` starts: one that is not drawn here, or is drawn and gone, is an error.
"""

from dataclasses import dataclass
from html import escape
from typing import Final

from imaging.roles.child import MODULES

WIDTH, HEIGHT = 960, 452


@dataclass(frozen=True)
class Box:
    """A part: where it lies, in pixels from the top left, its name and what it does, a line each."""

    x: int
    y: int
    width: int
    height: int
    name: str
    lines: tuple[str, ...] = ()
    kind: str = "process"

    def svg(self) -> str:
        middle = self.x + self.width / 2
        size, down = ("inside", 19) if self.kind == "inner" else ("name", 22)
        elements = [f'<text x="{middle:g}" y="{self.y + down}" class="{size}">{escape(self.name)}</text>']
        elements += [
            f'<text x="{middle:g}" y="{self.y + 42 + 17 * at}" class="line">{escape(line)}</text>'
            for at, line in enumerate(self.lines)
        ]
        place = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6"'
        return "\n".join([f'<rect {place} class="{self.kind}"/>', *elements])


@dataclass(frozen=True)
class Arrow:
    """From one point to another, with words beside its middle."""

    x1: int
    y1: int
    x2: int
    y2: int
    words: str = ""
    dx: int = 0
    dy: int = -7

    def svg(self) -> str:
        line = f'<line x1="{self.x1}" y1="{self.y1}" x2="{self.x2}" y2="{self.y2}" marker-end="url(#head)"/>'
        if not self.words:
            return line
        x, y = (self.x1 + self.x2) / 2 + self.dx, (self.y1 + self.y2) / 2 + self.dy
        return f'{line}\n<text x="{x:g}" y="{y:g}" class="words">{escape(self.words)}</text>'


PROCESSES: Final = (
    Box(200, 62, 150, 100, "node", ("receives objects,", "tells when a study", "is complete")),
    Box(380, 62, 150, 100, "worker", ("takes jobs, builds", "and verifies reports")),
    Box(560, 62, 150, 100, "deliver", ("sends reports,", "tries again")),
    Box(380, 368, 330, 54, "web", ("the worklist, alarms",)),
)
OTHERS: Final = (
    Box(388, 126, 134, 30, "pixels, networks: confined", (), "inner"),
    Box(10, 77, 130, 70, "modality", ("or PACS: sends", "studies"), "outside"),
    Box(800, 77, 150, 70, "PACS", ("takes the reports",), "outside"),
    Box(800, 360, 150, 70, "radiologist", ("reads by the list",), "outside"),
    Box(200, 240, 150, 70, "spool", ("objects as files,", "written once"), "store"),
    Box(
        380,
        240,
        330,
        70,
        "ledger",
        ("SQLite or PostgreSQL: studies, jobs,", "answers, what is still to be sent"),
        "store",
    ),
)
ARROWS: Final = (
    Arrow(140, 112, 196, 112, "C-STORE", -16, 55),
    Arrow(710, 112, 796, 112, "C-STORE", 12, 55),
    Arrow(710, 395, 796, 395, "HTTP", 8),
    Arrow(250, 162, 250, 236, "bytes", -22, 6),
    Arrow(310, 162, 400, 236, "rows", 4, -14),
    Arrow(345, 240, 400, 166),
    Arrow(440, 236, 440, 166, "jobs", 19, 6),
    Arrow(500, 162, 500, 236, "answers", 30, 6),
    Arrow(635, 236, 635, 166, "outbox", 26, 6),
    Arrow(545, 310, 545, 364),
)

_STYLE: Final = """
text { font-family: sans-serif; text-anchor: middle; fill: #1d2733; }
.name { font-size: 16px; font-weight: bold; }
.line { font-size: 13px; }
.words { font-size: 12px; fill: #44566c; }
.process { fill: #e3eefb; stroke: #2f6db5; stroke-width: 1.5; }
.store { fill: #fdf3dc; stroke: #a9781c; stroke-width: 1.5; }
.inside { font-size: 10px; }
.inner { fill: #ffffff; stroke: #a33a2c; stroke-width: 1.5; }
.outside { fill: #ffffff; stroke: #6b7a8c; stroke-width: 1.5; }
.serve { fill: none; stroke: #2f6db5; stroke-dasharray: 6 4; }
.home { fill: none; stroke: #a9781c; stroke-dasharray: 6 4; }
line { stroke: #44566c; stroke-width: 1.5; }
"""


def picture() -> str:
    """The picture as SVG. Raises ValueError where the processes are not those that are drawn."""
    drawn = {each.name for each in PROCESSES}
    if drawn != set(MODULES):
        raise ValueError(f"the parts are {sorted(MODULES)}, drawn are {sorted(drawn)}")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        "<title>The parts: who sends, the processes, where they keep things, who gets the results</title>"
        f"<style>{_STYLE}</style>"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#44566c"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        '<rect x="176" y="14" width="558" height="424" rx="10" class="serve"/>'
        '<text x="455" y="38" class="words">imaging serve: a supervisor starts these and starts again what ends</text>'
        '<rect x="188" y="222" width="534" height="116" rx="10" class="home"/>'
        '<text x="275" y="329" class="words">the home, one folder</text>'
    )
    return "\n".join([head, *(each.svg() for each in (*PROCESSES, *OTHERS, *ARROWS)), "</svg>"]) + "\n"
