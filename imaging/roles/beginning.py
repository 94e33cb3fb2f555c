"""How a worker begins: the process that decodes and runs networks is started before the worker itself is loaded, so
that each loads its libraries while the other does.
"""

from collections.abc import Mapping
from typing import Any

from imaging.memory import importing
from imaging.roles.child import Lifecycle
from imaging.roles.worker_config import WorkerConfig, begin


def run(config: Mapping[str, Any], lifecycle: Lifecycle) -> None:
    """Works until it is told to stop."""
    settings = WorkerConfig(**config)
    begun = begin(settings)
    with importing():
        from imaging.roles import worker
    worker.run(settings, begun, lifecycle)
