"""What the validators in Debian's packages say of an SR, but for what they are known to be wrong in.

Each line of error or warning counts. `KNOWN` names the exceptions, each with its reason.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from peers import program

KNOWN: Final = {
    r"\[(?:LO|SH|PN|ST|LT)\] = <.*[^\x00-\x7F].*> - Length invalid for this VR": (
        "dciodvfy counts bytes of UTF-8, PS3.5 6.2 counts characters"
    ),
    r"The VR checker does not support this Specific Character Set: ISO_IR 192": (
        "DCMTK up to 3.6.7 cannot measure UTF-8 values, and says so"
    ),
    r"Missing attribute or value that would be needed to build DICOMDIR": (
        "type 2 attributes may be empty (PS3.5 7.4.3); only who builds a DICOMDIR needs a value"
    ),
    r"Unrecognized defined term = <(99IMAGING|RADLEX)>": "defined terms may be extended (PS3.3 8.2)",
    r"ContributingEquipmentSequence\(0018,a001\)\[\d+\]/DeviceUID.*not present in standard DICOM IOD": (
        "Device UID is in PS3.3 C.12.1 today, and was not in 2022"
    ),
}


def complaints(file: Path) -> list[str]:
    """What dciodvfy (dicom3tools) and dsrdump (DCMTK) have against an SR; nothing where it is fit to be sent."""
    texts = [*_lines(["/usr/bin/dciodvfy", "-new"], file, "Error|Warning|Abort")]
    texts += _lines(["/usr/bin/dsrdump"], file, "[EFW]: ")
    return [line for line in texts if not any(re.search(pattern, line) for pattern in KNOWN)]


def _lines(command: Sequence[str], file: Path, which: str) -> Iterator[str]:
    done = subprocess.run(
        [program(command[0]), *command[1:], str(file)], capture_output=True, check=False, env={"LC_ALL": "C.UTF-8"}
    )
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    yield from (line for line in text.splitlines() if re.match(which, line))
    if done.returncode < 0:
        yield f"{command[0]} ended with signal {-done.returncode}"
