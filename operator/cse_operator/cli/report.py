"""The findings of a check, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Mark(Enum):
    """The severity of a finding: its word, and its colour on a terminal."""

    OK = ("ok", "green")
    NOTE = ("note", "yellow")
    PROBLEM = ("PROBLEM", "bold red")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    mark: Mark
    sentence: str
    way_out: str = ""


def ok(subject: str, sentence: str) -> Finding:
    """Return the finding that something is as it should be."""
    return Finding(subject, Mark.OK, sentence)


def note(subject: str, sentence: str, way_out: str = "") -> Finding:
    """Return the finding that something was not checked, or may be intended."""
    return Finding(subject, Mark.NOTE, sentence, way_out)


def problem(subject: str, sentence: str, way_out: str) -> Finding:
    """Return the finding that something keeps the operator from working."""
    return Finding(subject, Mark.PROBLEM, sentence, way_out)


def show(findings: list[Finding], console: Console) -> None:
    """Show all findings: as a table on a terminal, elsewhere as lines that programs can read."""
    if console.is_terminal:
        console.print(_table(findings))
        return
    for finding in findings:
        mark, _ = finding.mark.value
        line = f"{mark:<8} {finding.subject}: {finding.sentence}"
        console.print(Text(line), soft_wrap=True)
        if finding.way_out:
            console.print(Text(f"{'':8} → {finding.way_out}"), soft_wrap=True)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = finding.mark.value
        way_out = ("\n→ " + finding.way_out, "bold") if finding.way_out else ("", "")
        found = Text.assemble(finding.sentence, way_out)
        table.add_row(Text(mark, style), Text(finding.subject), found)
    return table
