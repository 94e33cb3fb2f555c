"""The main job on real input: films go in by DCMTK's dcmsend and come out of Orthanc as accepted SRs."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from peers import Node, Orthanc, eventually, program
from pydicom import Dataset, dcmread


def test_real_films_sent_by_dcmsend_come_out_of_orthanc_as_accepted_srs(
    serve: Callable[..., Node], pacs: Orthanc, shared: Path, tools: Path, tmp_path: Path
) -> None:
    node = serve("--deliver-to", f"PACS={pacs.address}")
    films = {film.StudyInstanceUID: film for film in map(header, sorted((shared / "cxr" / "dicom").glob("*.dcm")))}
    command = [program("/usr/bin/dcmsend"), "-dn", "+sd", "+r", "+sp", "*.dcm", "127.0.0.1", str(node.dicom_port)]
    subprocess.run([*command, str(shared / "cxr" / "dicom")], check=True, capture_output=True)

    eventually(lambda: len(pacs.instances("SR")) >= len(films), what="an SR of each film in Orthanc")
    files = []
    for number, instance in enumerate(pacs.instances("SR")):
        files.append(tmp_path / f"sr{number}.dcm")
        files[-1].write_bytes(pacs.file(instance))
    reports = {report.StudyInstanceUID: report for report in map(header, files)}
    assert reports.keys() == films.keys()
    for uid, film in films.items():
        assert reports[uid].PatientName == film.PatientName
        assert reports[uid].PatientID == film.PatientID

    check = [sys.executable, str(tools / "check_sr"), "--require-all", *map(str, files)]
    verdict = subprocess.run(check, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout
    with urllib.request.urlopen(node.url, timeout=10) as page:
        assert "Nguyễn" in page.read().decode()
    eventually(lambda: node.status()["deliveries"]["delivered"] == len(films), what="the deliveries' end")
    assert node.stop() == 0


def header(file: Path) -> Dataset:
    return dcmread(BytesIO(file.read_bytes()), stop_before_pixels=True)
