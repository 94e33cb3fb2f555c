"""A real server on loopback, and a real browser."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from web_site import Site

from imaging.web.settings import WebSettings

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def site_of() -> Iterator[Callable[..., Site]]:
    """Starts sites with settings of the test's own."""
    sites: list[Site] = []

    def start(port: int = 0, **settings: Any) -> Site:
        sites.append(Site(WebSettings(**settings), port))
        sites[-1].start()
        return sites[-1]

    yield start
    for each in sites:
        each.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site(WebSettings(viewer_url="https://viewer.example/?study={study_uid}&patient={patient_id}"))
    site.start()
    yield site
    site.stop()


@pytest.fixture
def site(running: Site) -> Site:
    """A server shared by a module's tests, with the rows that it began with."""
    running.reset()
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for one module: its event loop stands in the way of asyncio elsewhere.

    Skips where there is none; fails instead where REQUIRE_PEERS=1.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    if not CHROMIUM.exists():
        absent(str(CHROMIUM))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        yield chromium
        chromium.close()


def absent(peer: str) -> None:
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(f"{peer} is absent and REQUIRE_PEERS=1")
    pytest.skip(f"{peer} is absent")
