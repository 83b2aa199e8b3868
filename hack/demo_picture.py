"""Records a run of the demo and draws it as the README's picture in motion, an animated SVG.

`make picture` calls it. The picture keeps the run's own times: nothing is sped up or left out
between its first line and its last.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import argparse
import codecs
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator
from fcntl import ioctl
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

FIRST, AFTER_LAST = "Three engines, declared", "All of it is stopped"
"""Words of the first line of the picture, and of the first line that is not in it any more."""

COLUMNS = 120
REST_SECONDS = 8.0
"""How long the last frame stays before the picture begins again."""
SHORTEST_SECONDS = 0.05
"""A frame shown for less is the terminal between an erased line and its new text."""

_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")
_CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}
_STYLE = """\
svg{background:#0d1117}text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d0d7de;\
white-space:pre}.b{font-weight:bold}.d{fill:#8b949e}.r{fill:#ff7b72}.g{fill:#56d364}\
.y{fill:#e3b341}.c{fill:#76e3ea}
.f{visibility:hidden;animation-timing-function:step-end;animation-iteration-count:infinite}
.last{visibility:visible}
@media(prefers-reduced-motion:reduce){.f{animation:none!important}}
"""

Cell = tuple[str, str]
Line = tuple[Cell, ...]


class Frame(NamedTuple):
    """What the terminal shows from one moment on."""

    seconds: float
    lines: tuple[Line, ...]


class Shown(NamedTuple):
    """One text of one line, and from when until when it is shown; `end` None: to the end."""

    row: int
    start: float
    end: float | None
    line: Line


class Terminal:
    """As much of a terminal as the demo uses: lines, colours, the cursor up, a line erased."""

    def __init__(self) -> None:
        self._lines: list[list[Cell]] = [[]]
        self._row = 0
        self._classes = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take in what the program has written; an escape sequence may come in two parts."""
        text = self._rest + text
        cut = re.search(r"\x1b[^A-Za-z]*$", text)
        whole = cut.start() if cut else len(text)
        self._rest = text[whole:]
        for parameters, command, control, plain in _TOKEN.findall(text[:whole]):
            if plain:
                self._lines[self._row] += [(letter, self._classes) for letter in plain]
            elif control == "\n":
                self._row += 1
                if self._row == len(self._lines):
                    self._lines.append([])
            elif command == "A":
                self._row -= int(parameters or 1)
            elif command == "K":
                self._lines[self._row] = []
            elif command == "m":
                found = [_CLASSES[code] for code in parameters.split(";") if code in _CLASSES]
                self._classes = " ".join(found)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines, each as its pieces of one colour."""
        return tuple(_pieces(line) for line in self._lines)


def _pieces(cells: list[Cell]) -> Line:
    grouped = groupby(cells, key=lambda cell: cell[1])
    pieces = [("".join(letter for letter, _ in group), classes) for classes, group in grouped]
    while pieces and not pieces[-1][0].strip():
        pieces.pop()
    return tuple(pieces)


def record(command: list[str]) -> Iterator[tuple[float, str]]:
    """Run a command on a terminal of its own.

    Args:
        command: The program and its arguments.

    Yields:
        What it writes, and when, in seconds since its start.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    began, decoder = time.monotonic(), codecs.getincrementaldecoder("utf-8")()
    with subprocess.Popen(  # noqa: S603 - the demo, by this script's own arguments
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT
    ) as process:
        os.close(theirs)
        while written := _read(ours):
            yield time.monotonic() - began, decoder.decode(written)
    os.close(ours)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO where the last program has closed the terminal.
        return b""


def frames(recording: Iterable[tuple[float, str]]) -> list[Frame]:
    """What is shown from the line with `FIRST` on until the one with `AFTER_LAST` appears.

    Raises:
        ValueError: No line has `FIRST` in it.
    """
    terminal, found = Terminal(), list[Frame]()
    for seconds, text in recording:
        terminal.feed(text)
        lines = terminal.lines
        texts = ["".join(piece for piece, _ in line) for line in lines]
        first = next((row for row, line in enumerate(texts) if FIRST in line), None)
        end = next((row for row, line in enumerate(texts) if AFTER_LAST in line), len(lines))
        if first is not None:
            found.append(Frame(seconds, lines[first:end]))
    if not found:
        raise ValueError(f"the demo did not show {FIRST!r}")
    return [
        frame
        for frame, later in zip(found, [*found[1:], None], strict=True)
        if later is None or later.seconds - frame.seconds >= SHORTEST_SECONDS
    ]


def shown(film: list[Frame]) -> list[Shown]:
    """Each text of each line with its times, in seconds since the first frame."""
    began, found = film[0].seconds, list[Shown]()
    for row in range(max(len(frame.lines) for frame in film)):
        changes = [
            (frame.seconds - began, frame.lines[row] if row < len(frame.lines) else ())
            for frame in film
        ]
        runs = [(line, next(group)[0]) for line, group in groupby(changes, key=lambda at: at[1])]
        ends = [start for _, start in runs[1:]] + [None]
        for (line, start), end in zip(runs, ends, strict=True):
            if line:
                found.append(Shown(row, start, end, line))
    return found


def draw(film: list[Frame]) -> str:
    """The picture: one text element for each text that a line shows, hidden but in its time."""
    total = film[-1].seconds - film[0].seconds + REST_SECONDS
    texts = shown(film)
    spans = sorted({(text.start, text.end) for text in texts}, key=str)
    names = {span: f"k{number}" for number, span in enumerate(spans)}
    rules = [_keyframes(names[span], *span, total) for span in spans]
    width, height = COLUMNS * 7.9 + 24, (max(text.row for text in texts) + 1) * 19 + 26
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}"',
            ' xml:space="preserve" role="img" aria-label="A run of make demo">',
            f"<style>{_STYLE}.f{{animation-duration:{total:.1f}s}}",
            *rules,
            "</style>",
            *(_element(text, names[text.start, text.end]) for text in texts),
            "</svg>\n",
        ]
    )


def _keyframes(name: str, start: float, end: float | None, total: float) -> str:
    steps = ["0%{visibility:hidden}"] if start else []
    steps.append(f"{100 * start / total:.2f}%{{visibility:visible}}")
    if end is not None:
        steps.append(f"{100 * end / total:.2f}%{{visibility:hidden}}")
    return f"@keyframes {name}{{{''.join(steps)}}}"


def _element(text: Shown, name: str) -> str:
    pieces = "".join(
        f'<tspan class="{classes}">{escape(piece)}</tspan>' if classes else escape(piece)
        for piece, classes in text.line
    )
    last = " last" if text.end is None else ""
    place = f'x="12" y="{text.row * 19 + 26}"'
    return f'<text {place} class="f{last}" style="animation-name:{name}">{pieces}</text>'


def main() -> int:
    """Record the demo and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the SVG to write")
    arguments = parser.parse_args()
    film = frames(record([sys.executable, "-m", "cse_simulator.demo"]))
    arguments.output.write_text(draw(film), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
