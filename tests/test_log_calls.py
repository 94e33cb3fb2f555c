"""No line of a log quotes the text of an error that is not ours: libraries quote values, which are patients' data."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "imaging"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
OUR_WORDS = {
    "Unreadable",
    "Mismatch",
    "SpoolFull",
    "TooLarge",
    "NoAssociate",
    "Malformed",
    "PublicError",
    "CannotReport",
}
"""Errors of ours whose texts name tags, sizes and titles, never a value of an object."""
TELLING = {"type", "fingerprint"}
FIELDS = {"strerror", "errno"}
"""Of an OSError: the system's words, without the file's name."""


def quoted(source: str) -> list[int]:
    """The lines of calls of a log that are given an error's text, or the error itself, in a handler of it."""
    tree = ast.parse(source)
    handlers = [each for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler) and each.name]
    return sorted({line for handler in handlers if not caught(handler) <= OUR_WORDS for line in texts_of(handler)})


def caught(handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in kinds if each}


def texts_of(handler: ast.ExceptHandler) -> Iterator[int]:
    for node in ast.walk(handler):
        if is_log(node) and any(says_text(argument, handler.name or "") for argument in node.args):
            yield node.lineno


def is_log(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether it is a call such as `log.error(...)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
        return False
    return isinstance(node.func.value, ast.Name) and node.func.value.id in ("log", "logging")


def says_text(node: ast.AST, name: str) -> bool:
    """Whether an expression has the error in it, other than its type, its place or the system's words."""
    if isinstance(node, ast.Name):
        return node.id == name
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
        return node.attr not in FIELDS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELLING:
        return False
    return any(says_text(each, name) for each in ast.iter_child_nodes(node))


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_log_quotes_an_errors_text(file: Path) -> None:
    assert quoted(file.read_text()) == []


@pytest.mark.parametrize(
    ("handler", "given", "is_found"),
    [
        ("ValueError", "error", True),
        ("ValueError", "str(error)", True),
        ("ValueError", "f'{error}'", True),
        ("ValueError", "repr(error)", True),
        ("ValueError", "error.args[0]", True),
        ("(Unreadable, ValueError)", "error", True),
        ("(Unreadable, Mismatch)", "error", False),
        ("ValueError", "type(error).__name__", False),
        ("ValueError", "fingerprint(error)", False),
        ("OSError", "error.strerror", False),
        ("OSError", "error.filename", True),
    ],
)
def test_what_quotes_is_found(handler: str, given: str, is_found: bool) -> None:
    source = f"try:\n    pass\nexcept {handler} as error:\n    log.error('x why=%s', {given})\n"
    assert bool(quoted(source)) == is_found
