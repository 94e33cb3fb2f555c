"""What to do where a port to listen on cannot be had."""

import errno
from typing import Final

FIRST_FREE_FOR_ALL: Final = 1024
"""Linux lets processes without CAP_NET_BIND_SERVICE listen from here on (net.ipv4.ip_unprivileged_port_start)."""


def advice(port: int, error: OSError, flag: str) -> str:
    """What to do about an error of binding."""
    if error.errno == errno.EACCES and port < FIRST_FREE_FOR_ALL:
        return (
            f"ports below {FIRST_FREE_FOR_ALL} need CAP_NET_BIND_SERVICE, as in the unit of docs/operating.md "
            f"(AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose a higher port with {flag}"
        )
    return f"stop the program that uses it, or choose another port with {flag}, or 0"
