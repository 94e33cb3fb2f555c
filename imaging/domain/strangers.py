"""How much heed is paid to who calls from an address that nobody named."""

from collections import deque
from typing import Final

REQUESTS: Final = 5
WITHIN_S: Final = 60.0
_MOST_ADDRESSES: Final = 256


class Allowance:
    """Which connections from addresses that nobody named are heard: a few a minute of each address."""

    def __init__(self) -> None:
        self._heard: dict[str, deque[float]] = {}

    def hears(self, address: str, now: float) -> bool:
        """Whether one more of this address is heard. `now`: seconds of a clock that does not step."""
        heard = self._heard.get(address)
        if heard is None:
            if not self._has_place(now):
                return False
            heard = self._heard[address] = deque(maxlen=REQUESTS)
        if len(heard) == REQUESTS and now - heard[0] < WITHIN_S:
            return False
        heard.append(now)
        return True

    def _has_place(self, now: float) -> bool:
        """Whether one more address can be kept in mind, those that were quiet forgotten."""
        if len(self._heard) >= _MOST_ADDRESSES:
            self._heard = {address: heard for address, heard in self._heard.items() if now - heard[-1] < WITHIN_S}
        return len(self._heard) < _MOST_ADDRESSES
