"""Nothing leaves a hospital that was not configured."""

import subprocess
import sys
from pathlib import Path

from peers import ROOT, program
from small_models import write_models

LOADS_A_MODEL = """
import sys
from pathlib import Path
from imaging.inference.engines.registry import load
from imaging.models.reading import read_card
load(read_card(Path(sys.argv[1])), 1)
"""


def test_the_engine_looks_up_no_host_and_leaves_no_file_of_its_maker(tmp_path: Path) -> None:
    """ONNX Runtime's wheel reports its use, unless it is told not to before it is imported."""
    model = write_models(tmp_path / "models") / "small-film"
    trace, scratch = tmp_path / "trace", tmp_path / "scratch"
    scratch.mkdir()
    command = [
        program("/usr/bin/strace"),
        "-f",
        "-e",
        "trace=network",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        LOADS_A_MODEL,
        str(model),
    ]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment)
    assert "AF_INET" not in trace.read_text()
    assert list(scratch.iterdir()) == []
