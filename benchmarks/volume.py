"""Measures how fast a CT series becomes a volume: from its files in the spool to values in HU, in their places.

A head CT of 512x512 slices is drawn and written uncompressed, as JPEG 2000 and as JPEG-LS, both without loss. Ours,
pydicom's plain loop (dcmread, pixel_array, rescale, stack), and SimpleITK's series reader read it in turns, from memory
that the system holds; all have to give the same values. With each, its CPU seconds: a reader that uses both cores may
take as much of them.

python -m benchmarks.volume
python -m benchmarks.volume --slices 100 --rounds 3 --json

ours      as the confined process reads a job: headers are known from receiving, the files are read and decoded
          on as many threads as there are cores
pydicom   3.x with the decoders that it finds here (GDCM, pylibjpeg) for what is compressed
SimpleITK ImageSeriesReader over the names in their order

Exit status: 0 measured; 1 the readers disagree; 2 asked wrongly.
"""

import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from imaging.cli.parsing import Arguments, Parser, UsageError, add_json, parsed, positive_number, table
from imaging.domain.card import Card, VolumeInput
from imaging.domain.fitting import verdicts
from imaging.domain.gates import Verdict
from imaging.domain.source import Source
from imaging.inference.acquisitions import read_study
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import head_study
from imaging.roles.analysis import collect
from imaging.roles.cores import cores

Values = NDArray[Any]
SYNTAXES: Final = {
    "uncompressed": ExplicitVRLittleEndian,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG-LS": JPEGLSLossless,
}
DRAWN: Final = 20
FEWEST: Final = 14
EXTENT_MM: Final = 91.0
"""What the shipped head CT model asks of a series at least."""
MAX_BYTES: Final = 4 << 30


class Disagreement(Exception):
    """Two readers give other values; the text says which."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures. Returns the exit status."""
    parser = Parser("python -m benchmarks.volume", __doc__)
    parser.add_argument("--slices", metavar="N", default="300", help="of the series (default 300)")
    parser.add_argument("--rounds", metavar="N", default="5", help="in which all take turns (default 5)")
    add_json(parser)
    try:
        plan = parser.parse(sys.argv[1:] if arguments is None else arguments)
        slices, rounds = count(plan, "slices", FEWEST), count(plan, "rounds", 1)
        results = run(slices, rounds)
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    except Disagreement as why:
        print(f"volume: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(results, indent=2) if plan.json else as_text(results))
    return 0


def count(plan: Arguments, name: str, least: int) -> int:
    """An option that counts. Raises UsageError."""
    found = parsed(plan.faults, positive_number, f"--{name}", getattr(plan, name)) or 0
    if plan.faults or found != int(found) or found < least:
        raise UsageError("\n".join(plan.faults) or f"--{name}: expected a whole number from {least}")
    return int(found)


def run(slices: int, rounds: int) -> dict[str, Any]:
    """The seconds of each reader with each transfer syntax. Raises Disagreement."""
    drawn = series(slices)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="imaging-volume-") as folder:
        for name, syntax in SYNTAXES.items():
            files = written(Path(folder, name.replace(" ", "-")), drawn, syntax)
            print(f"{name}: {sum(each.stat().st_size for each in files) / 2**20:.0f} MiB", file=sys.stderr)
            found[name] = _measured(_readers(files), rounds)
    return {"cores": cores(), "slices": slices, "syntaxes": found}


def series(slices: int) -> list[Dataset]:
    """A head of so many slices: some are drawn, which takes long, and come again and again."""
    apart_mm = max(1.0, EXTENT_MM / (slices - 1))
    drawn = head_study(1, True, datetime.now(UTC), "", min(slices, DRAWN), 512).instances
    made = []
    for number in range(slices):
        one = copy.deepcopy(drawn[number % len(drawn)])
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{drawn[0].SOPInstanceUID}.{number}"
        one.InstanceNumber = number + 1
        one.ImagePositionPatient = [*one.ImagePositionPatient[:2], number * apart_mm]
        made.append(one)
    return made


def written(folder: Path, instances: Sequence[Dataset], syntax: pydicom.uid.UID) -> list[Path]:
    """The series as files, in their order."""
    import imagecodecs

    encoders: Mapping[str, Callable[[Values], bytes]] = {
        JPEG2000Lossless: lambda values: bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True)),
        JPEGLSLossless: lambda values: bytes(imagecodecs.jpegls_encode(values)),
    }
    folder.mkdir()
    files = []
    for number, each in enumerate(instances):
        one = copy.deepcopy(each)
        if encoder := encoders.get(syntax):
            signed = np.frombuffer(one.PixelData, np.int16 if one.PixelRepresentation else np.uint16)
            words = signed.reshape(one.Rows, one.Columns).view(np.uint16)
            one.PixelData = encapsulate([encoder(words)])
            one["PixelData"].is_undefined_length = True
        one.file_meta.TransferSyntaxUID = syntax
        files.append(folder / f"{number:04}.dcm")
        one.save_as(files[-1], enforce_file_format=True)
    return files


def _readers(files: Sequence[Path]) -> dict[str, Callable[[], Values]]:
    """What reads the series: (slice, row, column) in HU, the first slice being the lowest."""
    (sources,) = collect([files[0].parent]).studies.values()
    card = next(each for each in load_models([shipped_folder()]).models if each.id == "head-ct-bleed")
    judged = verdicts(card, [each.header for each in sources])
    return {
        "ours": lambda: _ours(card, sources, judged),
        "pydicom": lambda: _pydicom(files),
        "SimpleITK": lambda: _simple_itk(files),
    }


def _ours(card: Card, sources: Sequence[Source], judged: Mapping[str, Verdict]) -> Values:
    (card_input,) = card.inputs
    assert isinstance(card_input, VolumeInput)
    study = read_study(sources, card_input, judged, MAX_BYTES, cores())
    ((acquired,),) = (each.parts for each in study.acquired)
    return acquired.volume.values


def _pydicom(files: Sequence[Path]) -> Values:
    slices = [pydicom.dcmread(each) for each in files]
    slices.sort(key=lambda each: float(each.ImagePositionPatient[2]))
    return np.stack(
        [each.pixel_array * np.float32(each.RescaleSlope) + np.float32(each.RescaleIntercept) for each in slices]
    )


def _simple_itk(files: Sequence[Path]) -> Values:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(each) for each in files])
    image = reader.Execute()
    values: Values = SimpleITK.GetArrayFromImage(image)
    return values


def _measured(readers: Mapping[str, Callable[[], Values]], rounds: int) -> dict[str, Any]:
    walls: dict[str, list[float]] = {name: [] for name in readers}
    cpus: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        first: Values | None = None
        for name in readers if number % 2 else reversed(list(readers)):
            began, spent = time.perf_counter(), time.process_time()
            values = readers[name]()
            if number:  # the first time, libraries are loaded
                walls[name].append(time.perf_counter() - began)
                cpus[name].append(time.process_time() - spent)
            elif first is None:
                first = values
            elif not np.array_equal(first, values):
                raise Disagreement(f"{name} gives other values than what read before it")
    ours = statistics.median(walls["ours"])
    return {
        name: {
            "seconds": round(statistics.median(walls[name]), 3),
            "cpu_s": round(statistics.median(cpus[name]), 3),
            "ours_is_faster_by": round(statistics.median(walls[name]) / ours, 2),
        }
        for name in readers
    }


def as_text(results: dict[str, Any]) -> str:
    """The figures for a reader."""
    rows = [
        [syntax, name, f"{each['seconds']:.3f}", f"{each['cpu_s']:.3f}", f"{each['ours_is_faster_by']:.2f}"]
        for syntax, readers in results["syntaxes"].items()
        for name, each in readers.items()
    ]
    head = f"{results['slices']} slices of 512x512 on {results['cores']} cores"
    return f"{head}\n{table([['as', 'reader', 'seconds', 'CPU s', 'its seconds / ours'], *rows])}"


if __name__ == "__main__":
    raise SystemExit(main())
