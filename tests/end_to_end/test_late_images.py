"""Late images make a successor that names its predecessor; what comes back from the PACS makes nothing."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from films import predecessors, reports
from peers import Node, Orthanc, eventually, program
from pydicom import Dataset
from small_models import write_models

SHORT = ["--volume-quiet-s", "0.2", "--volume-gap-s", "0.5", "--revision-interval-s", "0.5"]


def dcmsend(port: int, files: list[Path]) -> None:
    command = [program("/usr/bin/dcmsend"), "-dn", "127.0.0.1", str(port), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True)


def wait_for_reports(pacs: Orthanc, count: int) -> list[Dataset]:
    """So many reports of the one study there is, in the order of their answers."""

    def look() -> list[Dataset] | None:
        found = [report for each in reports(pacs).values() for report in each]
        return found if len(found) >= count else None

    found = eventually(look, what=f"{count} reports in the PACS")
    assert len(found) == count
    return sorted(found, key=lambda report: len(predecessors(report)))


def send_back(pacs: Orthanc, node: Node, instances: list[str]) -> dict[str, Any]:
    """Orthanc sends what it holds to the node; its own account of it."""
    peer = json.dumps({"AET": "IMAGING", "Host": "127.0.0.1", "Port": node.dicom_port}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{pacs.http_port}/modalities/NODE", peer, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return dict(pacs.post("/modalities/NODE/store", {"Resources": instances, "Synchronous": True}))


def test_a_late_slice_makes_a_successor_and_the_whole_study_sent_back_makes_nothing(
    serve: Callable[..., Node], pacs: Orthanc, head_ct: Sequence[Path], tmp_path: Path
) -> None:
    node = serve("--deliver-to", f"PACS={pacs.address}", "--models", str(write_models(tmp_path / "models")), *SHORT)
    slices = list(head_ct)
    late = slices.pop()

    dcmsend(node.dicom_port, slices)
    (first,) = wait_for_reports(pacs, 1)
    assert predecessors(first) == []
    dcmsend(node.dicom_port, [late])
    _, second = wait_for_reports(pacs, 2)
    assert predecessors(second) == [first.SOPInstanceUID]

    dcmsend(pacs.dicom_port, [*slices, late])
    held = [*pacs.instances("CT"), *pacs.instances("SR")]
    assert len(held) == len(slices) + 1 + 2
    assert send_back(pacs, node, held)["FailedInstancesCount"] == 0
    (story,) = node.status("--study", str(first.StudyInstanceUID))["studies"]
    assert (story["state"], story["conflicts"]) == ("settled", 0)
    assert [each["number"] for each in story["revisions"]] == [1, 2]
    assert [each["state"] for each in story["results"]] == ["analysed", "analysed"]
    assert node.status()["instances"] == len(held)
    wait_for_reports(pacs, 2)
