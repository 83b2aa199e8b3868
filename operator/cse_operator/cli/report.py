"""What a check has found, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Mark(Enum):
    """How a finding is to be taken: the word, and its colour on a terminal."""

    OK = ("ok", "green")
    NOTE = ("note", "yellow")
    PROBLEM = ("PROBLEM", "bold red")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer."""

    subject: str
    mark: Mark
    sentence: str
    way_out: str = ""


def ok(subject: str, sentence: str) -> Finding:
    """Something is as it should be."""
    return Finding(subject, Mark.OK, sentence)


def note(subject: str, sentence: str, way_out: str = "") -> Finding:
    """Something was not looked at, or may be what is wanted."""
    return Finding(subject, Mark.NOTE, sentence, way_out)


def problem(subject: str, sentence: str, way_out: str) -> Finding:
    """Something keeps the operator from working."""
    return Finding(subject, Mark.PROBLEM, sentence, way_out)


def show(findings: list[Finding], console: Console) -> None:
    """Show all findings: as a table on a terminal, as lines to be read by programs elsewhere."""
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
    with_ways_out = any(finding.way_out for finding in findings)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("WHAT", no_wrap=True)
    table.add_column("FOUND", ratio=3)
    if with_ways_out:
        table.add_column("WAY OUT", ratio=2)
    for finding in findings:
        mark, style = finding.mark.value
        cells = [Text(mark, style), Text(finding.subject), Text(finding.sentence)]
        table.add_row(*cells, *([Text(finding.way_out)] if with_ways_out else []))
    return table
