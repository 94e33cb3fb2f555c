"""The page of an evaluation stands by itself, says what it is no tool for, and can be read by everybody."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from imaging.domain.evaluation.about import About
from imaging.domain.evaluation.as_json import as_json
from imaging.domain.evaluation.figures import Case, Wanted, evaluated
from imaging.web.evaluation_page import page


def a_page(count: int = 120) -> str:
    generator = np.random.default_rng(2)
    cases = []
    for number in range(count):
        truth = number % 4 == 0
        score = float(np.clip(generator.normal(0.3 + 0.3 * truth, 0.2), 0, 1))
        about = About(sex="F" if number % 9 else "M")
        cases.append(Case(f"secret-{number}", f"patient-{number}", truth, score, score > 0.5, about=about))
    cases.append(Case("secret-x", "patient-x", True, reason="view"))
    evaluation = evaluated(cases, Wanted(by=("sex",)))
    document = {
        "model": "a-model", "version": "1", "digest": "0" * 64, "finding": "f<&>", "meaning": "A <finding> & more",
        "threshold": 0.5, **as_json(evaluation), "ungated": {}, "labels_without_image": 2, "images_without_label": 0,
        "unproven": None,
    }  # fmt: skip
    return page(document, evaluation, cases)


def test_it_has_its_curves_inline_and_no_script_request_or_study(tmp_path: Path) -> None:
    html = a_page()
    assert html.count("<svg ") == 3
    assert "not a medical device" in html
    assert "A &lt;finding&gt; &amp; more" in html
    assert "1 refused: view" in html
    for forbidden in ("<script", "http:", "https:", "url(", "@import", "src=", "href=", "secret-", "patient-"):
        assert forbidden not in html
    assert re.search(r"<tr class=\"few\"><th scope=\"row\">M<", html)


@pytest.mark.parametrize("count", [0, 1])
def test_it_says_so_where_there_is_nothing_to_draw(count: int) -> None:
    assert "<svg" not in a_page(count)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_and_a_narrow_screen_need_not_scroll(browser: Any, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "evaluation.html"
    file.write_text(a_page(), encoding="utf-8")
    context = browser.new_context(color_scheme=scheme, viewport={"width": 400, "height": 800}, bypass_csp=True)
    shown = context.new_page()
    shown.goto(file.as_uri())
    found = Axe().run(shown, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    assert not found.response["violations"], found.generate_report()
    assert shown.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()
