"""A wall clock that a test can move while the operator runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from support import processes

SKEWED = Path(__file__).parent / "faults" / "skewed"


class MovedClock:
    """The wall clock of a process; its monotonic clocks are unchanged.

    Args:
        directory: The folder for the file from which the process reads its clock's offset.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "skew"
        sources = processes.python_environment()["PYTHONPATH"]
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(SKEWED), sources]),
            "SKEW_FILE": str(self._file),
        }
        """The environment to start the process with."""

    def move_to(self, moment: datetime) -> None:
        """Set the process's clock to this moment, from which it runs on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str((moment - datetime.now(UTC)).total_seconds()))
        fresh.replace(self._file)
