"""kill -9 at random of node, worker, delivery and supervisor while studies stream in; then counts what is missing.

`make kills N=100` runs it and prints its figures as JSON, for docs. One seed draws the same order of victims; where
in their work it meets them is chance.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from films import a_film, doubled, encoded, predecessors, reports, send_until_acknowledged
from peers import Node, Orthanc, command_of, eventually
from pydicom import Dataset, dcmread
from small_models import write_models

VICTIMS: Final = ["node"] * 7 + ["worker"] * 7 + ["deliver"] * 4 + ["supervisor"] * 2
"""The deck that is drawn from. A supervisor's death ends all, and the test starts it again on the same home."""
BETWEEN_S: Final = (0.1, 1.0)
SENDERS: Final = 2
PAUSE_S: Final = 0.1
"""Between two films of one sender."""


class Modality:
    """Sends one film after the other, each until it is acknowledged."""

    def __init__(self, site: "Site", number: int) -> None:
        self.acknowledged: list[str] = []
        self.sent = 0
        self._site, self._number = site, number
        self._stop = threading.Event()
        self._image = dcmread(BytesIO(a_film(2 * number, "kills")[1]))
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.wait(PAUSE_S):
            study_uid = self._renew(self._image)
            self.sent += send_until_acknowledged(lambda: self._site.node.dicom_port, encoded(self._image))
            self.acknowledged.append(study_uid)

    def _renew(self, image: Dataset) -> str:
        name = f"2.25.{time.time_ns()}{self._number}"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = f"{name}1", f"{name}2", f"{name}3"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientID = f"KILLS{name[-12:]}"
        return str(image.StudyInstanceUID)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class Site:
    """A served home and its PACS."""

    def __init__(self, folder: Path, orthanc: str) -> None:
        self.pacs = Orthanc(orthanc, folder / "orthanc")
        self._home = folder / "home"
        self._options = ["--models", str(write_models(folder / "models")), "--deliver-to", f"PACS={self.pacs.address}"]
        self.node = Node(self._home, self._options)
        self._options += ["--dicom-port", str(self.node.dicom_port)]
        self.children = set(self.node.children().values())

    def kill(self, victim: str) -> None:
        if victim == "supervisor":
            self.node.kill()
            self.node = Node(self._home, self._options)
        else:
            pid = eventually(lambda: self.node.children().get(victim), 60.0, f"a {victim} to kill")
            with contextlib.suppress(ProcessLookupError):  # it died of itself just now
                os.kill(pid, signal.SIGKILL)
        self.children |= set(self.node.children().values())

    def orphans(self) -> list[int]:
        """Children of supervisors that are dead, still there."""
        ours = set(self.node.children().values())
        return [pid for pid in self.children - ours if b"imaging.roles.child" in command_of(pid)]

    def stop(self) -> None:
        self.node.stop()
        self.pacs.stop()


def run(kills: int, folder: Path, orthanc: str, seed: int = 13) -> dict[str, Any]:
    """The figures of so many kills."""
    draw = random.Random(seed)
    site = Site(folder, orthanc)
    modalities = [Modality(site, number) for number in range(SENDERS)]
    began, pause = time.monotonic(), threading.Event()
    victims: Counter[str] = Counter()
    try:
        for victim in _drawn(draw, kills):
            pause.wait(draw.uniform(*BETWEEN_S))
            site.kill(victim)
            victims[victim] += 1
        killed_s = time.monotonic() - began
    finally:
        for each in modalities:
            each.stop()
    try:
        value = eventually(site.node.at_rest, 120.0, "an end of the work")
        return _figures(site, modalities, value) | {
            "kills": dict(victims),
            "seed": seed,
            "kills_took_s": round(killed_s, 1),
            "rest_after_s": round(time.monotonic() - began - killed_s, 1),
        }
    finally:
        site.stop()


def _drawn(draw: random.Random, kills: int) -> list[str]:
    decks = [draw.sample(VICTIMS, len(VICTIMS)) for _ in range(1 + kills // len(VICTIMS))]
    return [victim for deck in decks for victim in deck][:kills]


def _figures(site: Site, modalities: list[Modality], data: dict[str, Any]) -> dict[str, Any]:
    found = reports(site.pacs)
    acknowledged = [uid for each in modalities for uid in each.acknowledged]
    return {
        "acknowledged": len(acknowledged),
        "sent": sum(each.sent for each in modalities),
        "lost": sum(uid not in found for uid in acknowledged),
        "duplicates": sum(doubled(each) for each in found.values()),
        "successors": sum(bool(predecessors(report)) for each in found.values() for report in each),
        "failed": data["jobs"]["failed"],
        "dead_letters": data["deliveries"]["dead"],
        "orphans": len(site.orphans()),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100, metavar="N", help="how many kills; default 100")
    parser.add_argument("--seed", type=int, default=13, metavar="N", help="draws the victims; default 13")
    options = parser.parse_args(arguments)
    orthanc = shutil.which("/usr/sbin/Orthanc")
    if orthanc is None:
        print("kills: /usr/sbin/Orthanc is missing: apt install orthanc", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        figures = run(options.kills, Path(folder), orthanc, options.seed)
    print(json.dumps(figures))
    return 1 if figures["lost"] or figures["duplicates"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
