"""What axe-core finds in the pages by WCAG 2.2, levels A and AA, in each language."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from web_site import Site

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.mark.parametrize("lang", ["vi", "fr", "en"])
@pytest.mark.parametrize("path", ["/", "/study/1", "/study/77777"], ids=["list", "study", "no-study"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, site: Site, path: str, lang: str, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        answer = page.goto(f"{site.url}{path}?lang={lang}")
        found = Axe().run(page, options=RULES)
    assert answer.status == (404 if path.endswith("77777") else 200)
    assert {"color-contrast", "html-has-lang"} <= {each["id"] for each in found.response["passes"]}
    assert found.violations_count == 0, found.generate_report()
