"""The curves of an evaluation as inline SVG: no script, nothing that is fetched, colours by the page's style.

Every figure is a picture to a screen reader, with a title and a sentence that says what is to be seen.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np

from imaging.domain.evaluation.calibration import Bin

SIDE: Final = 300
_LEFT, _TOP, _BELOW, _RIGHT = 58, 12, 44, 12
_TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_BARS: Final = 20
_WIDE, _HIGH = 620, 200


def roc(points: Sequence[tuple[float, float]], at: tuple[float, float], says: str) -> str:
    """Sensitivity over 1 - specificity. `at`: the card's threshold on it."""
    line = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    drawn = [
        f'<line class="guide" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
        f'<polyline class="curve" points="{line}"/>',
        f'<circle class="point" cx="{_x(at[0]):.1f}" cy="{_y(at[1]):.1f}" r="5"/>',
        *_axes("1 - specificity", "sensitivity"),
    ]
    return _figure("roc", "ROC curve", says, drawn)


def reliability(bins: Sequence[Bin], says: str) -> str:
    """How many have the finding over what was said, with Wilson's intervals; calibrated is the diagonal."""
    drawn = [f'<line class="guide" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for each in bins:
        interval, value = each.found.interval, each.found.value
        if interval is None or value is None:
            continue
        x = f"{_x(each.mean):.1f}"
        drawn.append(f'<line class="bar" x1="{x}" y1="{_y(interval[0]):.1f}" x2="{x}" y2="{_y(interval[1]):.1f}"/>')
        drawn.append(f'<circle class="point" cx="{x}" cy="{_y(value):.1f}" r="4"/>')
    return _figure("reliability", "Reliability", says, [*drawn, *_axes("probability said", "share with the finding")])


def histogram(positive: Sequence[float], negative: Sequence[float], threshold: float, top: float, says: str) -> str:
    """Scores from 0 to `top`: with the finding upward, without it downward, each as a share of its own kind."""
    parts = [
        np.histogram(np.clip(each, 0, top), _BARS, (0, top))[0] / max(1, len(each)) for each in (positive, negative)
    ]
    highest = max(0.01, *(float(each.max()) for each in parts))
    middle, width = _TOP + _HIGH / 2, (_WIDE - _LEFT - _RIGHT) / _BARS
    drawn = []
    for name, shares, direction in (("with", parts[0], -1), ("without", parts[1], 1)):
        for number, share in enumerate(shares):
            height = float(share) / highest * (_HIGH / 2 - 4)
            if height:
                y = middle - height if direction < 0 else middle
                x = _LEFT + number * width + 1
                drawn.append(
                    f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{height:.1f}"/>'
                )
    drawn.append(f'<line class="axis" x1="{_LEFT}" y1="{middle}" x2="{_WIDE - _RIGHT}" y2="{middle}"/>')
    for tick in _TICKS:
        x = _LEFT + tick * (_WIDE - _LEFT - _RIGHT)
        drawn.append(f'<text x="{x:.1f}" y="{_TOP + _HIGH + 16}" text-anchor="middle">{tick * top:g}</text>')
    if 0 <= threshold <= top:
        place = f"{_LEFT + threshold / top * (_WIDE - _LEFT - _RIGHT):.1f}"
        drawn.append(f'<line class="threshold" x1="{place}" y1="{_TOP}" x2="{place}" y2="{_TOP + _HIGH}"/>')
    drawn += [
        _text(_LEFT - 6, middle - _HIGH / 4, "with", "end"),
        _text(_LEFT - 6, middle + _HIGH / 4, "without", "end"),
        _text((_WIDE + _LEFT) / 2, _TOP + _HIGH + 36, "score (dashed: the card's threshold)", "middle"),
    ]
    return _figure("histogram", "Scores", says, drawn, _WIDE, _TOP + _HIGH + _BELOW)


def _x(value: float) -> float:
    return _LEFT + value * SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * SIDE


def _axes(across: str, up: str) -> Iterable[str]:
    yield f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{SIDE}" height="{SIDE}"/>'
    for tick in _TICKS:
        yield _text(_x(tick), _y(0) + 16, f"{tick:g}", "middle")
        yield _text(_LEFT - 6, _y(tick) + 4, f"{tick:g}", "end")
    yield _text(_x(0.5), _y(0) + 36, across, "middle")
    yield (f'<text transform="translate(12 {_y(0.5)}) rotate(-90)" text-anchor="middle">{escape(up)}</text>')


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _figure(
    name: str,
    title: str,
    says: str,
    drawn: Iterable[str],
    width: float = _LEFT + SIDE + _RIGHT,
    height: float = _TOP + SIDE + _BELOW,
) -> str:
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-says" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-says">{escape(says)}</desc>{"".join(drawn)}</svg>'
    )
