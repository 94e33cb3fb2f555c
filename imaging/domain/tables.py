"""Reading a TOML table by rules, so that all its faults come out at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class CardError(Exception):
    """A card that cannot be served, with all that is wrong with it. `model_id`: as it says itself, where it does."""

    def __init__(self, faults: Sequence[str], model_id: str = "") -> None:
        self.faults, self.model_id = tuple(faults), model_id
        super().__init__("\n".join(faults))


class Faults:
    """Collects what is wrong with one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._open: list[str] = []

    def leave_open(self, key: str, value: object, rule: str, name: str) -> None:
        """The one line about a key without a value yet: what else would be wrong with it, or in it, is not said."""
        self.add(key, value, rule, name)
        self._open.append(key)

    @property
    def has_open(self) -> bool:
        """Whether any key has no value yet, so that nobody can say whether values fit each other."""
        return bool(self._open)

    def add(self, key: str, value: object, rule: str, name: str) -> None:
        """One line; long values are cut."""
        if any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in self._open):
            return
        shown = "absent" if value is None else repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        self.lines.append(f"{self.path}: {key} = {shown}: {rule} ({name})")


class Table:
    """One TOML table while it is read: each key is taken once, and what is left over at the end is unknown.

    A value that breaks its rule is noted, and something harmless stands in for it until the error is raised.
    """

    def __init__(self, content: Mapping[str, Any], path: str, faults: Faults) -> None:
        self._left = dict(content)
        self.path = path
        self._faults = faults

    def fault(self, key: str, value: object, rule: str, name: str) -> None:
        """Notes a fault of one of the table's keys."""
        self._faults.add(self.key(key), value, rule, name)

    def add(self, faults: Faults) -> None:
        """Notes the faults of a file that this one names."""
        self._faults.lines += faults.lines

    @property
    def is_faultless(self) -> bool:
        """Whether nothing is wrong with the file so far."""
        return not self._faults.lines

    @property
    def has_open(self) -> bool:
        """Whether any key of the file has no value yet."""
        return self._faults.has_open

    def key(self, key: str) -> str:
        """The key with its path from the top: `input[0].gate[1].tag`."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Whether the key is given and not yet taken."""
        return key in self._left

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are given and not yet taken, in the file's order."""
        return tuple(self._left)

    def untaken(self, key: str) -> Any:
        """What is given for the key and not yet taken, whatever it is."""
        return self._left.get(key)

    def taken(self, key: str) -> Any:
        """What is given for the key, whatever it is; None where nothing is."""
        return self._left.pop(key, None)

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], rule: str) -> Any:
        """The key's value if it is of that kind; `default` if absent (None: it must be there) or wrong."""
        value = self._left.pop(key, None)
        if value is None:
            if default is None:
                self.fault(key, None, f"is required: {rule}", f"{rule_name(key)}-absent")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fault(key, value, f"must be {rule}", f"{rule_name(key)}-type")
            return default
        return value

    def text(self, key: str, default: str | None = None, matching: re.Pattern[str] | None = None) -> str:
        """A text, not empty unless `default` is, that matches the pattern."""
        value = self._take(key, default, str, "text")
        if value == "" and default is None:
            self.fault(key, value, "must not be empty", f"{rule_name(key)}-empty")
        if value and matching and not matching.fullmatch(value):
            self.fault(key, value, f"must match {matching.pattern}", f"{rule_name(key)}-form")
        return value or ""

    def choice(self, key: str, among: Iterable[str], default: str | None = None) -> str:
        """A member of a closed set."""
        among = tuple(among)
        value = self.text(key, default)
        if value and value not in among:
            self.fault(key, value, f"must be one of {', '.join(among)}", f"{rule_name(key)}-unknown")
        return value if value in among else among[0]

    def number(self, key: str, default: float | None, minimum: float, maximum: float) -> float:
        """A number within the bounds; without a default it must be given."""
        value = self._take(key, default, (int, float), "a number")
        if value is not None and not minimum <= value <= maximum:
            self.fault(key, value, f"must lie in {minimum:g}..{maximum:g}", f"{rule_name(key)}-range")
            value = None
        return float(minimum if value is None else value)

    def integer(self, key: str, default: int | None, minimum: int, maximum: int) -> int:
        """A whole number within the bounds; without a default it must be given."""
        value = self._take(key, default, int, "a whole number")
        if value is not None and not minimum <= value <= maximum:
            self.fault(key, value, f"must lie in {minimum}..{maximum}", f"{rule_name(key)}-range")
            value = None
        return int(minimum if value is None else value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, default, bool, "true or false"))

    def texts(self, key: str, default: Sequence[str] | None = None, among: Iterable[str] = ()) -> tuple[str, ...]:
        """A list of texts, each one of `among` where that is given."""
        values = self._take(key, default, list, "a list of texts") or ()
        closed = tuple(among)
        for value in values:
            if not isinstance(value, str) or (closed and value not in closed):
                rule = f"must be one of {', '.join(closed)}" if closed else "must be text"
                self.fault(key, value, rule, f"{rule_name(key)}-unknown")
        return tuple(str(value) for value in values)

    def numbers(self, key: str, count: int, minimum: float, *, whole: bool = False) -> tuple[float, ...]:
        """A list of exactly `count` numbers, each at least `minimum`."""
        kind = "whole numbers" if whole else "numbers"
        values = self._take(key, None, list, f"{count} {kind}")
        types = int if whole else (int, float)
        if values is not None and (
            len(values) != count
            or not all(isinstance(v, types) and not isinstance(v, bool) and v >= minimum for v in values)
        ):
            self.fault(key, values, f"must be {count} {kind} of at least {minimum:g}", f"{rule_name(key)}-form")
            values = None
        return tuple(values) if values is not None else (max(minimum, 1),) * count

    def one_or_more(self, key: str, minimum: float, maximum: float) -> tuple[float, ...]:
        """A number, or a list of them with one for each channel."""
        value = self._take(key, None, (int, float, list), "a number, or one for each channel")
        values = value if isinstance(value, list) else [minimum if value is None else value]
        are_numbers = values and all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
        if not are_numbers or not all(minimum <= each <= maximum for each in values):
            self.fault(key, value, f"must be numbers in {minimum:g}..{maximum:g}, one for each channel", f"{key}-range")
            return (max(minimum, 1.0),)
        return tuple(float(each) for each in values)

    def table(self, key: str) -> "Table":
        """An inner table; empty where it is absent."""
        return Table(self._take(key, {}, dict, "a table"), self.key(key), self._faults)

    def tables(self, key: str) -> list["Table"]:
        """The tables of an array, in their order."""
        values = self._take(key, [], list, "a list of tables")
        if any(not isinstance(value, dict) for value in values):
            self.fault(key, values, "must be a list of tables", f"{rule_name(key)}-type")
            return []
        return [Table(value, f"{self.key(key)}[{at}]", self._faults) for at, value in enumerate(values)]

    def anything(self) -> dict[str, Any]:
        """All that is left: a free-form table."""
        left, self._left = self._left, {}
        return left

    def done(self, name: str = "key-unknown", rule: str = "is not a key of a card") -> None:
        """Ends the reading: what was not taken is no key of a card."""
        for key, value in self._left.items():
            self.fault(key, value, rule, name)


def rule_name(key: str) -> str:
    """The name of a rule about a key, as in `memory-mb-range`."""
    return key.replace("_", "-")
