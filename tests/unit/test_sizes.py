"""Modules, classes and functions stay short enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.repository import ROOT

SOURCES = ROOT / "operator"
MODULE, CLASS, FUNCTION = 350, 250, 40
"""The most lines. All lines count, except those of a function's docstring."""

MODULES = sorted(SOURCES.rglob("*.py"))


def too_long(text: str) -> Iterator[str]:
    """Yield what is too long in a module, with its number of lines."""
    if (lines := len(text.splitlines())) > MODULE:
        yield f"module: {lines}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and (lines := _lines(node)) > CLASS:
            yield f"class {node.name}: {lines}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node) - _lines_of_docstring(node)
            if lines > FUNCTION:
                yield f"function {node.name}: {lines}"


def _lines(node: ast.AST) -> int:
    begins = [node, *getattr(node, "decorator_list", ())]
    return node.end_lineno - min(one.lineno for one in begins) + 1


def _lines_of_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return 0 if ast.get_docstring(node) is None else _lines(node.body[0])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_module_class_or_function_is_too_long(path: Path) -> None:
    assert list(too_long(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1\n" * 350, []),
        ("x = 1\n" * 351, ["module: 351"]),
        ("class A:\n" + "    x = 1\n" * 250, ["class A: 251"]),
        ("@a\nclass A:\n" + "    x = 1\n" * 248, []),
        ("def f():\n" + "    x = 1\n" * 39, []),
        ("@a\nasync def f():\n" + "    x = 1\n" * 39, ["function f: 41"]),
        ('def f():\n    """A."""\n' + "    x = 1\n" * 39, []),
        ("class A:\n    def f(self):\n" + "        x = 1\n" * 40, ["function f: 41"]),
    ],
)
def test_each_line_counts_and_those_of_decorators_too(text: str, found: list[str]) -> None:
    assert list(too_long(text)) == found
