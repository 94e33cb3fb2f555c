"""The main job on real input: films go in by DCMTK's dcmsend and come out of Orthanc as accepted SRs."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from peers import ROOT, Node, Orthanc, eventually, program
from pydicom import Dataset, dcmread
from validators import complaints

CHECK_SR = ROOT.parent / "shared" / "tools" / "check_sr"


def test_films_sent_by_dcmsend_come_out_of_orthanc_as_accepted_srs(
    serve: Callable[..., Node], pacs: Orthanc, chest_films: Sequence[Path], tmp_path: Path
) -> None:
    node = serve("--deliver-to", f"PACS={pacs.address}")
    films = {film.StudyInstanceUID: film for film in map(header, chest_films)}
    command = [program("/usr/bin/dcmsend"), "-dn", "+sd", "+r", "+sp", "*.dcm", "127.0.0.1", str(node.dicom_port)]
    subprocess.run([*command, str(chest_films[0].parent)], check=True, capture_output=True)

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

    assert [complaint for file in files for complaint in complaints(file)] == []
    if CHECK_SR.is_file():
        verdict = subprocess.run(
            [sys.executable, str(CHECK_SR), "--require-all", *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert verdict.returncode == 0, verdict.stdout
    with urllib.request.urlopen(node.url, timeout=10) as answer:
        page = answer.read().decode()
    assert all(str(film.PatientName).split("^")[0] in page for film in films.values())
    eventually(lambda: node.status()["deliveries"]["delivered"] == len(films), what="the deliveries' end")
    assert node.stop() == 0


def header(file: Path) -> Dataset:
    return dcmread(BytesIO(file.read_bytes()), stop_before_pixels=True)
