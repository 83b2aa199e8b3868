"""`cse-operator demo`: becomes the demo, which is no part of the operator (docs/adr/0007)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEMO: Final = "cse_simulator.demo"
_PACKAGES: Final = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Replace this process by the demo's, so that signals reach it directly."""
    # The demo is found also where only this process's import path leads to it.
    path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    sys.stdout.flush()
    command = [sys.executable, "-m", DEMO, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - this very interpreter
