"""The main job on real input: a film goes in by DCMTK's dcmsend and comes out of Orthanc as an accepted SR."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from conftest import program
from peers import Node, Orthanc, eventually
from pydicom import dcmread


def test_a_film_sent_by_dcmsend_comes_out_of_orthanc_as_an_accepted_sr(
    serve: Callable[..., Node], pacs: Orthanc, shared: Path, tools: Path, tmp_path: Path
) -> None:
    node = serve("--deliver-to", f"PACS={pacs.address}")
    film = shared / "cxr" / "dicom" / "dx01.dcm"
    command = [program("/usr/bin/dcmsend"), "-dn", "127.0.0.1", str(node.dicom_port), str(film)]
    subprocess.run(command, check=True, capture_output=True)

    instance = eventually(lambda: pacs.instances("SR"), what="the SR in Orthanc")[0]
    data = pacs.file(instance)
    sr, image = dcmread(BytesIO(data)), dcmread(film)
    assert sr.StudyInstanceUID == image.StudyInstanceUID
    assert sr.PatientName == image.PatientName

    file = tmp_path / "sr.dcm"
    file.write_bytes(data)
    verdict = subprocess.run(
        [sys.executable, str(tools / "check_sr"), str(file)], capture_output=True, text=True, check=False
    )
    assert verdict.returncode == 0, verdict.stdout
    with urllib.request.urlopen(node.url, timeout=10) as page:
        assert "Nguyễn" in page.read().decode()
    eventually(lambda: node.status()["deliveries"]["delivered"] == 1, what="the delivery's end")
    assert node.stop() == 0
