"""A MONAI bundle's configuration, as data: nothing in it is run, imported or looked up by its name.

Of MONAI's language are understood: references (`@id::key`, also with `#`), the same copied as text (`%id::key`), and
expressions (`$...`) of constants, lists, references, subscripts, `len`, arithmetic, comparison and choice: what
published configurations compute sizes, spacings and names with. Whatever else stands there, in the parts that are read,
is refused by its text and its place. Parts that nobody asks for are not looked at.
"""

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_FILE: Final = 4 << 20
"""Bytes of a configuration; the largest that is published has 60,000."""
DEEPEST: Final = 60
"""References within references, and lists within lists."""
MAX_VALUES: Final = 100_000
"""That are looked at in one configuration: references to references multiply."""
MAX_NUMBER: Final = 2**63
LONGEST: Final = 10_000
"""Of a text or list that an expression makes."""

REFERENCE: Final = re.compile(r"[@%]([A-Za-z_]\w*(?:(?:::|#)\w+)*)")
TO_DEVICE: Final = re.compile(r"\$\s*(@[\w:#]+)\.to\(\s*(?:@[\w:#]+|'cpu'|\"cpu\")\s*\)\s*")
"""How bundles name the network on its device. Which device that is, is ours to say."""


class Refused(Exception):
    """What cannot be read: `place`, as in `preprocessing.transforms[3].keys`, `value`, `rule` and the rule's `name`.

    Of lists and tables no more is told than that they are such: in YAML a few lines hold one of any size.
    """

    def __init__(self, place: str, value: object, rule: str, name: str) -> None:
        self.value = value if _is_single(value) else type(value).__name__
        self.place, self.rule, self.name = place, rule, name
        super().__init__(f"{place}: {rule}")


@dataclass(frozen=True)
class Node:
    """A value as it stands in the file, references in it unfollowed, and its place there."""

    value: Any
    place: str


class Config:
    """A configuration by its top-level keys."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._values = data
        self._looked_at = 0

    @classmethod
    def of_bytes(cls, raw: bytes, suffix: str) -> "Config":
        """Raises ValueError for what is no configuration, ImportError where YAML has no reader."""
        value = json.loads(raw) if suffix == ".json" else _yaml(raw)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError("is not a table of names")
        return cls(value)

    def root(self, *names: str) -> Node | None:
        """What stands under the first of these names that is there, references followed. Raises Refused."""
        name = next((each for each in names if each in self._values), None)
        return None if name is None else self.followed(Node(self._values[name], name))

    def item(self, node: Node, key: str | int) -> Node | None:
        """What stands under a key of a table, or in a place of a list, followed; None where it is not there."""
        child = _child(node, key)
        return None if child is None else self.followed(child)

    def items(self, node: Node) -> list[Node]:
        """The values of a list, each followed. Raises Refused where it is none."""
        if not isinstance(node.value, list | tuple):
            raise Refused(node.place, node.value, "must be a list", "list-type")
        return [self.followed(Node(each, f"{node.place}[{at}]")) for at, each in enumerate(node.value)]

    def followed(self, node: Node, depth: int = 0) -> Node:
        """The value that a reference or an expression stands for. Raises Refused."""
        self._count(node, depth)
        if not isinstance(node.value, str) or node.value[:1] not in ("@", "%", "$"):
            return node
        if node.value[0] == "$":
            if match := TO_DEVICE.fullmatch(node.value):
                return self.followed(Node(match[1], node.place), depth + 1)
            return self.followed(Node(self._evaluated(node, depth), node.place), depth + 1)
        match = REFERENCE.fullmatch(node.value)
        if match is None:
            raise Refused(node.place, node.value, "is not a reference within this file", "reference-form")
        return self.followed(self._named(match[1], node), depth + 1)

    def plain(self, node: Node, depth: int = 0) -> Any:
        """The value with all references in it followed: lists, tables, texts, numbers. Raises Refused."""
        value = self.followed(node, depth)
        if isinstance(value.value, dict):
            if "_target_" in value.value:
                rule = "must be plain values, not an object to be built"
                raise Refused(f"{value.place}._target_", value.value["_target_"], rule, "target-unknown")
            named = [(key, _child(value, key)) for key in value.value]
            return {key: self.plain(each, depth + 1) for key, each in named if each is not None}
        if isinstance(value.value, list | tuple):
            return [self.plain(Node(each, f"{value.place}[{at}]"), depth + 1) for at, each in enumerate(value.value)]
        if value.value is not None and not isinstance(value.value, str | int | float | bool):
            raise Refused(value.place, str(value.value), "is not a text, number, list or table", "value-type")
        return value.value

    def _count(self, node: Node, depth: int) -> None:
        self._looked_at += 1
        if depth > DEEPEST:
            raise Refused(node.place, None, "refers to itself, or is nested too deeply", "reference-depth")
        if self._looked_at > MAX_VALUES:
            raise Refused(node.place, None, "has too many values", "values-many")

    def _named(self, reference: str, request: Node) -> Node:
        first, *keys = re.split("::|#", reference)
        node = Node(self._values.get(first), first) if first in self._values else None
        for key in keys:
            node = self.followed(node) if node is not None else None
            at = int(key) if node is not None and isinstance(node.value, list | tuple) and key.isdigit() else key
            node = _child(node, at) if node is not None else None
        if node is None:
            raise Refused(request.place, request.value, f"there is no {reference} in this file", "reference-unknown")
        return node

    # Expressions ---------------------------------------------------------------------------------------------

    def _evaluated(self, node: Node, depth: int) -> Any:
        names: dict[str, Node] = {}

        def named(match: re.Match[str]) -> str:
            name = f"reference_{len(names)}"
            names[name] = Node(match[0], node.place)
            return name

        if len(node.value) > LONGEST:
            raise Refused(node.place, node.value, "is too long", "expression-long")
        try:
            tree = ast.parse(REFERENCE.sub(named, node.value[1:].strip()), mode="eval")
            return self._worth(tree.body, names, node, depth)
        except (SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
            raise Refused(
                node.place, node.value, f"cannot be computed: {type(error).__name__}", "expression"
            ) from error

    def _worth(self, tree: ast.expr, names: Mapping[str, Node], node: Node, depth: int) -> Any:
        def worth(each: ast.expr) -> Any:
            return self._worth(each, names, node, depth + 1)

        self._count(node, depth)
        match tree:
            case ast.Constant(value=value) if value is None or isinstance(value, str | int | float | bool):
                return _bounded(value)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [worth(each) for each in parts]
            case ast.Name(id=name) if name in names:
                return self.followed(names[name], depth + 1).value
            case ast.Subscript(value=of, slice=at) if not isinstance(at, ast.Slice):
                return worth(of)[worth(at)]
            case ast.UnaryOp(op=op, operand=of) if type(op) in _OF_ONE:
                return _bounded(_OF_ONE[type(op)](worth(of)))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined(worth(left), worth(right))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OF_NUMBERS:
                return _bounded(_OF_NUMBERS[type(op)](_number(worth(left)), _number(worth(right))))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
                return _COMPARED[type(op)](_single(worth(left)), _single(worth(right)))
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(worth(each) for each in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(worth(each) for each in parts)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return worth(body) if worth(test) else worth(orelse)
            case ast.Call(func=ast.Name(id="len"), args=[of], keywords=[]):
                return len(worth(of))
        what = type(tree).__name__
        rule = f"is not a supported expression ({what}): only constants, references, arithmetic, comparison and len are"
        raise Refused(node.place, node.value, rule, "expression-unknown")


_OF_ONE: Final[Mapping[type, Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_OF_NUMBERS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
"""No powers and shifts, which make of two small numbers one that fills the memory."""
_COMPARED: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _bounded(value: Any) -> Any:
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise OverflowError
    return value


def _is_single(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _single(value: Any) -> Any:
    if not _is_single(value):
        raise TypeError("no text or number")
    return value


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError("no number")
    return value


def _joined(left: Any, right: Any) -> Any:
    """A sum of numbers; texts or lists one behind the other."""
    for kind in (str, list):
        if isinstance(left, kind) and isinstance(right, kind):
            if len(left) + len(right) > LONGEST:
                raise OverflowError
            return left + right  # type: ignore[operator]  # both are of the kind
    return _bounded(_number(left) + _number(right))


def _child(node: Node, key: str | int) -> Node | None:
    of: Mapping[Any, Any] | Sequence[Any] = node.value
    if isinstance(of, dict) and key in of:
        return Node(of[key], f"{node.place}.{key}")
    if isinstance(of, list | tuple) and isinstance(key, int) and key < len(of):
        return Node(of[key], f"{node.place}[{key}]")
    return None


def _yaml(raw: bytes) -> Any:
    import yaml  # only where a bundle is written so: `[monai]` brings it

    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {type(error).__name__}") from error


def config_of(folder: Path) -> Path | None:
    """The file that says how a bundle is run; None where there is none."""
    names = ("inference.json", "inference.yaml", "inference.yml")
    return next((folder / "configs" / name for name in names if (folder / "configs" / name).is_file()), None)
