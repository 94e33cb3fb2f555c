"""How much heed is paid to who calls from an address that nobody named."""

from collections import deque
from typing import Final

REQUESTS: Final = 5
WITHIN_S: Final = 60.0
_MAX_ADDRESSES: Final = 256


class RateLimit:
    """Which connections from addresses that nobody named are heard: a few a minute of each address."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def admits(self, address: str, now: float) -> bool:
        """Whether one more of this address is heard. `now`: seconds of a clock that does not step."""
        times = self._times.get(address)
        if times is None:
            if not self._has_capacity(now):
                return False
            times = self._times[address] = deque(maxlen=REQUESTS)
        if len(times) == REQUESTS and now - times[0] < WITHIN_S:
            return False
        times.append(now)
        return True

    def _has_capacity(self, now: float) -> bool:
        """Whether one more address can be kept in mind, those that were quiet forgotten."""
        if len(self._times) >= _MAX_ADDRESSES:
            self._times = {address: times for address, times in self._times.items() if now - times[-1] < WITHIN_S}
        return len(self._times) < _MAX_ADDRESSES
