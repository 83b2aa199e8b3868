"""A wall clock for an operator that a test moves while it runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from support import processes

SKEWED = Path(__file__).parent / "faults" / "skewed"


class MovedClock:
    """The wall clock of a process; its steady clocks stay as they are.

    Args:
        directory: where the file is kept that tells the process how far its clock is ahead.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "skew"
        sources = processes.python_environment()["PYTHONPATH"]
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(SKEWED), sources]),
            "SKEW_FILE": str(self._file),
        }
        """What the process is started with."""

    def move_to(self, moment: datetime) -> None:
        """Have the process read this moment from now on, and go on from there."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str((moment - datetime.now(UTC)).total_seconds()))
        fresh.replace(self._file)
