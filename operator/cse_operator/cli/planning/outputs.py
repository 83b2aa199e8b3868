"""The plan as text, JSON, a comment in Markdown, and annotations of GitHub. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from cse_operator.cli.planning.verdict import MEANINGS, Change, Kind, Verdict, counts, exit_code

MARKER: Final = "<!-- cse-operator plan -->"
"""The first line of a comment, by which a bot finds its earlier comment."""

COMMENT_LIMIT: Final = 60_000
"""Characters; GitHub cuts a comment at 65,536."""

_SIGNS: Final = {
    Kind.UPGRADE: "►",
    Kind.REFUSED: "✗",
    Kind.UNKNOWN: "?",
    Kind.HELD: "◷",
    Kind.UPGRADING: "►",
    Kind.NOT_OWNER: "✗",
    Kind.NOTHING: "✔",
}
_LEVELS: Final = {
    Kind.UPGRADE: "warning",
    Kind.REFUSED: "error",
    Kind.UNKNOWN: "notice",
    Kind.HELD: "notice",
    Kind.UPGRADING: "notice",
    Kind.NOT_OWNER: "error",
}
_CHANGES: Final = {
    Change.ADDED: "(added)",
    Change.REMOVED: "(removed)",
    Change.SAME: "(by the policies: its manifest stays as it is)",
}


def is_shown(one: Verdict) -> bool:
    """Whether a verdict is worth a line of its own."""
    return one.kind is not Kind.NOTHING or one.change in {Change.ADDED, Change.REMOVED}


def text(verdicts: Sequence[Verdict]) -> str:
    """Return the plan for people; empty if nothing happens."""
    shown = [one for one in verdicts if is_shown(one)]
    if not shown:
        return ""
    rows = [(f"{_SIGNS[one.kind]} {one.key}", one.kind.value, one.versions) for one in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, one in zip(rows, shown, strict=True):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        lines += [f"    {line}" for line in _sentences(one)]
    return "\n".join([*lines, "", summary(verdicts)]) + "\n"


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the plan in one sentence."""
    found = counts(verdicts)
    parts = (f"{number} {MEANINGS[kind]}" for kind, number in found.items())
    policies = sum(1 for one in verdicts if one.policy)
    beside = f" Policies refused or invalid: {policies}." if policies else ""
    engines = len(verdicts) - policies
    return f"Plan for {engines} engines: {', '.join(parts) or 'nothing'}.{beside}"


def as_json(verdicts: Sequence[Verdict]) -> str:
    """Return the plan for programs."""
    content = {
        "exitCode": exit_code(verdicts),
        "counts": {kind.value: number for kind, number in counts(verdicts).items()},
        "engines": [one.to_json() for one in verdicts if not one.policy],
        "policies": [one.to_json() for one in verdicts if one.policy],
    }
    return json.dumps(content, indent=2) + "\n"


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the plan as a comment of bounded length; empty if nothing happens."""
    shown = [one for one in verdicts if is_shown(one)]
    if not shown:
        return ""
    head = [MARKER, f"### {_escaped(summary(verdicts))}", ""]
    if any(one.kind is Kind.UPGRADE for one in shown):
        head += ["An upgrade of an engine cannot be rolled back.", ""]
    head += ["| resource | what happens | version | why |", "|---|---|---|---|"]
    lines, room = [], COMMENT_LIMIT - sum(len(line) + 1 for line in head) - 100
    for place, one in enumerate(shown):
        why = "<br>".join(map(_escaped, _sentences(one)))
        what = f"{_SIGNS[one.kind]} {one.kind.value}"
        line = f"| {_escaped(one.key)} | {what} | {_escaped(one.versions)} | {why} |"
        room -= len(line) + 1
        if room < 0:
            lines += ["", f"And {len(shown) - place} more: see the log."]
            break
        lines.append(line)
    return "\n".join([*head, *lines]) + "\n"


def github(verdicts: Sequence[Verdict]) -> str:
    """Return the plan as GitHub's workflow commands, which it shows beside the changed lines."""
    lines = []
    for one in verdicts:
        if one.kind not in _LEVELS:
            continue
        level = "error" if one.will_be_refused else _LEVELS[one.kind]
        where = {"title": f"{one.key}: {one.kind.value} {one.versions}".rstrip()}
        if one.line is not None:
            where = {"file": one.origin, "line": str(one.line), **where}
        properties = ",".join(f"{name}={_property(value)}" for name, value in where.items())
        lines.append(f"::{level} {properties}::{_data(' '.join(_sentences(one)))}")
    return "".join(f"{line}\n" for line in lines)


FORMS: Final[dict[str, Callable[[Sequence[Verdict]], str]]] = {
    "text": text,
    "json": as_json,
    "markdown": markdown,
    "github": github,
}


def _sentences(one: Verdict) -> list[str]:
    """Return the verdict's reason and its warnings."""
    change = _CHANGES.get(one.change) if one.change else None
    return [" ".join(filter(None, [one.sentence, change])), *one.warnings]


def _escaped(words: str) -> str:
    """Return a text that Markdown shows as written: no mark-up of a manifest takes effect."""
    plain = " ".join(words.split())
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "&#64;")):
        plain = plain.replace(sign, instead)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", plain)


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")
