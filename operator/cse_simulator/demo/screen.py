"""The demo's output: headings, commands, and the resources as they change.

On a terminal the resources are a table that changes in place; elsewhere each change is a line.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_COLUMNS: Final = ("NAME", "DESIRED", "CURRENT", "PHASE", "JOB", "RESULT", "MESSAGE")
_LINE: Final = "  {:>7}  {:<11} {:<9} {:<9} {:<11} {:<6} {:<10} {}"
_STYLES: Final = {
    "UpToDate": "green",
    "Succeeded": "green",
    "Failed": "red",
    "TimedOut": "red",
    "Rejected": "red",
    "Submitting": "yellow",
    "Upgrading": "yellow",
    "Waiting": "yellow",
}

Row = tuple[str, ...]
Resources = Sequence[Mapping[str, Any]]


def row_of(resource: Mapping[str, Any]) -> Row:
    """Return a resource as one row, similar to `kubectl get mse -o wide`."""
    status = resource.get("status", {})
    return (
        resource["metadata"]["name"],
        resource["spec"]["version"],
        status.get("currentVersion", ""),
        status.get("phase", ""),
        str(status.get("jobId", "")),
        status.get("result", ""),
        status.get("message", ""),
    )


class Screen:
    """Prints the demo to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._in_place = console.is_terminal and not console.is_dumb_terminal
        self._shown: dict[str, Row] = {}

    @property
    def interactive(self) -> bool:
        """Whether the demo can ask a person."""
        return self._console.is_terminal

    @property
    def elapsed(self) -> str:
        """The time since the demo began, such as `12.3 s`."""
        return f"{time.monotonic() - self._began:.1f} s"

    def title(self, text: str, explanation: str) -> None:
        """Print the demo's title and a line of explanation."""
        self._print(Text(text, "bold"))
        self._print(Text(explanation, "dim"))

    def heading(self, text: str) -> None:
        """Print the name of the next part."""
        self._print()
        self._print(Text.assemble((text, "bold cyan"), (f"   {self.elapsed}", "dim")))

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(Text(f"  {text}"))

    def command(self, text: str, remark: str = "") -> None:
        """Print a command as a user would type it, and its purpose."""
        aside = (f"  # {remark}", "dim") if remark else ("", "")
        self._print(Text.assemble(("  $ ", "dim"), (text, "bold"), aside))

    def verdict(self, text: str, *, good: bool) -> None:
        """Print a sentence about a result."""
        mark = ("  ✓ ", "bold green") if good else ("  ✗ ", "bold red")
        self._print(Text.assemble(mark, text))

    def ask(self, question: str) -> bool:
        """Ask a person yes or no; any answer but `y` and `yes` means no."""
        answer = self._console.input(f"  [bold]{escape(question)}[/] [dim]\\[y/N][/] ")
        return answer.strip().lower() in {"y", "yes"}

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show a status on a terminal during the `with` block."""
        if self._in_place:
            with self._console.status(what):
                yield
        else:
            yield

    @contextmanager
    def table(self) -> Iterator[_View]:
        """Show the resources during the `with` block."""
        if self._in_place:
            with Live(
                console=self._console, auto_refresh=False, vertical_overflow="visible"
            ) as live:
                yield _Table(live, self)
        else:
            if not self._shown:
                self._print(Text(_LINE.format("", *_COLUMNS).rstrip()))
            yield _Lines(self)

    def changed(self, row: Row) -> None:
        """Print a row as a line if it differs from its last printed version."""
        if self._shown.get(row[0]) != row:
            self._shown[row[0]] = row
            self._print(Text(_LINE.format(self.elapsed, *(cell or "-" for cell in row))))

    def _print(self, text: Text | str = "") -> None:
        # Never wrapped, so that a command to copy stays on one line.
        self._console.print(text, soft_wrap=True, highlight=False)


class _View(ABC):
    """Shows resources."""

    @abstractmethod
    def show(self, resources: Resources) -> None:
        """Show the current state of the resources."""


class _Lines(_View):
    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def show(self, resources: Resources) -> None:
        for resource in resources:
            self._screen.changed(row_of(resource))


class _Table(_View):
    def __init__(self, live: Live, screen: Screen) -> None:
        self._live = live
        self._screen = screen

    def show(self, resources: Resources) -> None:
        self._live.update(self._drawn(resources), refresh=True)

    def _drawn(self, resources: Resources) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), caption_justify="left", expand=True)
        for column in _COLUMNS:
            wide = column == "MESSAGE"
            table.add_column(
                column,
                no_wrap=not wide,
                ratio=1 if wide else None,
                min_width=30 if wide else None,
                header_style="dim",
            )
        for resource in resources:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row_of(resource)))
        table.caption = Text(f"{self._screen.elapsed}", style="dim")
        return table
