"""Makes docs/worklist.png: a node on a home of its own, drawn studies sent to it, and its page in Chromium.

Run as `python -m scripts.picture [FILE]`. Nobody's data is in it: patients and images are drawn.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from imaging.cli.simulate import drawn, encoded
from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted

FILE: Final = Path(__file__).resolve().parents[1] / "docs" / "worklist.png"
CHROMIUM: Final = "/usr/bin/chromium"
LARGEST: Final = 300_000
WIDTH, HEIGHT = 1280, 742
STUDIES: Final = 9
CHILD: Final = 3
"""Which study's patient is made a child: the film model does not read it, and the list says why."""
MAX_S: Final = 300.0


def main(file: Path) -> int:
    with tempfile.TemporaryDirectory() as home, node(Path(home)) as (port, url):
        send(port)
        wait(Path(home))
        data = small(screenshot(url))
    file.write_bytes(data)
    print(f"{file}: {len(data)} bytes")
    return int(len(data) > LARGEST)


@contextmanager
def node(home: Path) -> Iterator[tuple[int, str]]:
    """`imaging serve` on free ports: its DICOM port and its page."""
    command = [sys.executable, "-m", "imaging", "serve", "--home", str(home), "--dicom-port", "0", "--web-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        facts = dict(each.split("=", 1) for each in process.stdout.readline().split()[1:])
        yield int(facts["dicom"].rpartition(":")[2]), facts["web"]
    finally:
        process.terminate()
        process.wait(timeout=15)


def send(port: int) -> None:
    """Films, head CTs and brain MRs, with and without findings; the same seeds give the same pictures."""
    sender = Sender(Address("IMAGING", "127.0.0.1", port), "PICTURE")
    for number, study in enumerate(drawn(STUDIES, ["film", "head", "brain"], seed=1, run_id="picture")):
        for dataset in study.instances if number == CHILD else ():
            dataset.PatientAge = "008Y"
        for data in encoded(study):
            answer = sender.send(data)
            assert isinstance(answer, Accepted), answer
        sender.close()


def wait(home: Path) -> None:
    """Until every study has its answers."""
    until, pause = time.monotonic() + MAX_S, threading.Event()
    while time.monotonic() < until:
        command = [sys.executable, "-m", "imaging", "status", "--home", str(home), "--json"]
        data: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        if not data["studies"]["receiving"] + data["jobs"]["queued"] + data["jobs"]["leased"]:
            return
        pause.wait(0.5)
    raise TimeoutError(f"the studies have no answers after {MAX_S:g} s")


def screenshot(url: str) -> bytes:
    """The list in English as a reader sees it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}?lang=en")
        page.locator("#live.is-live").wait_for()
        data: bytes = page.screenshot()
        browser.close()
        return data


def small(png: bytes) -> bytes:
    """The same picture in at most 256 colours."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE))
