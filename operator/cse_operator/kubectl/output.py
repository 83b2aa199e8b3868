"""Writes results: text for people; JSON, YAML and names for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TextIO

from cse_operator.api.names import GROUP, SINGULAR

WIDTH: Final = 80
"""Columns of an output whose width is not known."""
_PIECE: Final = 1024
"""Characters of a piece: at most 4,096 bytes in UTF-8, which a pipe takes whole or not at all."""
_PLAIN: Final = re.compile(r"(?!(true|false|yes|no|on|off|null|y|n)$)[a-z][a-z0-9]*", re.IGNORECASE)
_UNPRINTABLE: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff]")


class Output:
    """Standard output in the requested form."""

    def __init__(
        self, form: str = "text", colour: str = "auto", *, out: TextIO | None = None
    ) -> None:
        """Choose form and colours.

        Args:
            form: text, json, yaml or name.
            colour: auto, always or never.
            out: The stream to write to; None: standard output.
        """
        self.form = form
        self._out = out or sys.stdout
        on_terminal = self._out.isatty() and not os.environ.get("NO_COLOR")
        self.is_terminal = self._out.isatty()
        self._colours = colour == "always" or (colour == "auto" and on_terminal)

    @property
    def width(self) -> int:
        """The width of the terminal in columns."""
        return shutil.get_terminal_size((WIDTH, 24)).columns

    def paint(self, text: str, code: str) -> str:
        """Return the text in a colour, if colours are on."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def write(self, text: str) -> None:
        """Write lines for people."""
        lines = text if text.endswith("\n") or not text else f"{text}\n"
        # In pieces, as `cse_operator.cli.output` does: an unbuffered pipe may lose a part of more.
        for begin in range(0, len(lines), _PIECE):
            self._out.write(lines[begin : begin + _PIECE])
        self._out.flush()

    def show(self, content: Sequence[Mapping[str, Any]], text: str) -> None:
        """Show a result: the text, or the content if another form was requested.

        Args:
            content: One mapping for each resource, with `namespace` and `name`.
            text: The same result for people.
        """
        match self.form:
            case "json":
                self.write(json.dumps(content, indent=2, ensure_ascii=False))
            case "yaml":
                self.write("\n".join(_yaml(list(content))))
            case "name":
                names = dict.fromkeys(f"{SINGULAR}.{GROUP}/{one['name']}" for one in content)
                self.write("\n".join(names))
            case _:
                self.write(text)


def say(sentence: str) -> None:
    """Write a sentence for the person to standard error."""
    sys.stderr.write(f"{sentence}\n")


def wrapped(text: str, width: int, indent: str) -> str:
    """Return the text in lines of a width, all but the first indented."""
    lines = textwrap.wrap(printable(text), max(width - len(indent), 20), break_on_hyphens=False)
    return f"\n{indent}".join(lines)


def printable(text: str) -> str:
    """Return the text without control characters: engines' names may hold some for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return lines whose columns are as wide as their widest cell."""
    lines = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "   ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield JSON data as lines of YAML; texts are quoted as JSON, which YAML reads the same."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            name = key if _PLAIN.fullmatch(str(key)) else json.dumps(key)
            if isinstance(item, Mapping | list) and item:
                yield f"{indent}{name}:"
                yield from _yaml(item, f"{indent}  ")
            else:
                yield f"{indent}{name}: {_scalar(item)}"
    elif isinstance(value, list) and value:
        for item in value:
            lines = list(_yaml(item))
            yield f"{indent}- {lines[0]}"
            yield from (f"{indent}  {line}" for line in lines[1:])
    else:
        yield f"{indent}{_scalar(value)}"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
