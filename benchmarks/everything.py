"""Prints the figures of the README, each beside its limit and its peers; `make bench` calls it.

The node is measured from outside with a network of DenseNet121's size (benchmarks.end_to_end), then receiving alone
beside Orthanc and DCMTK's storescp (benchmarks.ingest), reading a CT beside pydicom and SimpleITK (benchmarks.volume),
and a volume in the network beside MONAI (benchmarks.inference). About ten minutes; nothing else should run meanwhile.

python -m benchmarks.everything            prints
python -m benchmarks.everything --write    ... and keeps the run in docs/performance.md

Exit status: 0 measured; 1 a part of it failed; 2 asked wrongly.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import end_to_end, inference, ingest, model, volume
from imaging.cli.parsing import Parser, UsageError, add_json

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_BLOCK: Final = re.compile("(<!-- last run: by make bench ARGS=--write -->\n).*?(<!-- /last run -->)", re.DOTALL)


def main() -> int:
    parser = Parser("python -m benchmarks.everything", __doc__)
    parser.add_argument("--write", action="store_true", help="keep the run in docs/performance.md")
    parser.add_argument("--studies", metavar="N", default="60", help="of each mode of end_to_end (default 60)")
    parser.add_argument("--rounds", metavar="N", default="3", help="of ingest (default 3)")
    add_json(parser)
    try:
        plan = parser.parse(sys.argv[1:])
        results = run(plan.studies, plan.rounds)
    except UsageError as wrong:
        print(f"{parser.format_usage()}{wrong}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"everything: {' '.join(map(str, error.cmd[2:4]))} ended with {error.returncode}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(results, indent=2) if plan.json else as_text(results))
    if plan.write:
        PAGE.write_text(_BLOCK.sub(rf"\1\n```\n{as_text(results)}\n```\n\n\2", PAGE.read_text()))
    return 0


def run(studies: str, rounds: str) -> dict[str, Any]:
    """What each program measured. Raises CalledProcessError where one failed."""
    with tempfile.TemporaryDirectory(prefix="imaging-bench-") as folder:
        model.write(Path(folder))
        measured = {
            "end_to_end": _measured("end_to_end", "--models", folder, "--studies", studies),
            "ingest": _measured("ingest", "--rounds", rounds),
            "volume": _measured("volume", "--rounds", rounds),
            "inference": _measured("inference", "--rounds", rounds),
        }
    return {"at": datetime.now(UTC).isoformat(timespec="minutes"), "machine": _machine(), **measured}


def _measured(program: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{program}", *options, "--json"]
    data: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return data


def _machine() -> str:
    """The processor, as Linux names it, and Python."""
    match = re.search("model name\\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{match[1] if match else platform.machine()}, Python {platform.python_version()}"


def as_text(results: dict[str, Any]) -> str:
    """The run for a reader."""
    head = f"{results['at']}, {results['machine']}"
    parts = [(end_to_end, "end_to_end"), (ingest, "ingest"), (volume, "volume"), (inference, "inference")]
    return "\n\n".join([head, *(each.as_text(results[name]) for each, name in parts)])


if __name__ == "__main__":
    sys.exit(main())
