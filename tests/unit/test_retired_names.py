"""Retired names do not come back: readers grep for the field's words."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RETIRED = {
    "wish": "the desired version (`Desired`)",
    "wishes": "the desired versions",
    "rival": "the other owner (`Owner`)",
    "rivals": "the other owners",
    "heed": "obey, or ignore",
    "heeds": "obeys, or ignores",
    "heeded": "obeyed, or ignored",
    "news": "a change (`Change`)",
    "announcer": "the recorder (`Recorder`)",
    "judgement": "the classified answer (`cloud/answers.py`)",
    "stage_of": "state_of",
    "Standing": "ConditionType",
    "Spell": "Period",
}
"""Each retired name, and its replacement. A name in lower case is refused in any case."""

_NAME = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])")
_ELSEWHERE = {"tests/unit/test_retired_names.py", "CODE_OF_CONDUCT.md"}
_SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".lua", ".go", ".sh", ".tpl", ".txt", ""}


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if Path(name).suffix in _SUFFIXES]


def _retired_in(line: str) -> list[str]:
    """Return the retired names in a line, also as a part of a longer name."""
    words = {*re.findall(r"\w+", line), *_NAME.findall(line)}
    return [name for name in RETIRED if name in words or name in {w.lower() for w in words}]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("the wish of a person", ["wish"]),
        ("class Wish:", ["wish"]),
        ("def test_a_newer_wish_waits():", ["wish"]),
        ("self._same_wish", ["wish"]),
        ("from core import stage_of", ["stage_of"]),
        ("wishful, renews, arrivals", []),
    ],
)
def test_a_retired_name_is_found_in_words_and_in_longer_names(line: str, found: list[str]) -> None:
    assert _retired_in(line) == found


def test_no_retired_name_comes_back() -> None:
    came_back = []
    for name in _tracked():
        path = ROOT / name
        if name in _ELSEWHERE or not path.is_file():
            continue
        lines = [name, *path.read_text(errors="replace").splitlines()]
        for number, line in enumerate(lines):
            came_back += [
                f"{name}:{number}: {word}: say {RETIRED[word]}" for word in _retired_in(line)
            ]
    assert not came_back, "\n".join(came_back)
