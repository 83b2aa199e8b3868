"""Writes the output of a command to standard output, whole."""

from __future__ import annotations

import sys
from typing import Final

_PIECE: Final = 1024
"""Characters of a piece: at most 4,096 bytes in UTF-8, which a pipe takes whole or not at all."""


def write_out(text: str) -> None:
    """Write a text to standard output.

    With PYTHONUNBUFFERED, as in the image, Python makes one system call of each write. If a signal
    interrupts a large one, a part of the text is lost without an error.
    """
    for begin in range(0, len(text), _PIECE):
        sys.stdout.write(text[begin : begin + _PIECE])
