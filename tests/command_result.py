"""What a command printed."""

import json
from typing import Any


class CommandResult:
    """What a command printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def finding(self, what: str) -> tuple[bool, str, str]:
        """What the doctor says of one thing."""
        (found,) = [each for each in self.json["findings"] if each["what"] == what]
        return found["is_well"], found["said"], found["mend"]
