"""A role is whole or not there."""

import subprocess
import sys
from pathlib import Path

DYING_THREAD = """
import sys, threading
from functools import partial
from pathlib import Path
from imaging.domain.faults import fingerprint
from imaging.roles import child

child.quiet_logging("test")
threading.excepthook = partial(child._thread_died, Path(sys.argv[1]))
target = fingerprint if sys.argv[2] == "ours" else int
thread = threading.Thread(target=target, args=["Nguyen"])
thread.start()
thread.join()
sys.exit(7)
"""


def died(error_file: Path, identity: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DYING_THREAD, str(error_file), identity]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_thread_of_ours_that_dies_ends_its_process_and_says_where(tmp_path: Path) -> None:
    done = died(tmp_path / "error", "ours")
    assert done.returncode == 1
    assert "faults.py" in (tmp_path / "error").read_text()
    assert "Nguyen" not in done.stderr


def test_a_librarys_thread_that_dies_does_not(tmp_path: Path) -> None:
    done = died(tmp_path / "error", "a library's")
    assert done.returncode == 7
    assert "uncaught error=ValueError" in done.stderr
    assert "Nguyen" not in done.stderr
