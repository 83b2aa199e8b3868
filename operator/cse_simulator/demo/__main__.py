"""`python -m cse_simulator.demo`, which `make demo` runs."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from cse_simulator.control_plane import ControlPlaneError
from cse_simulator.demo.errors import DemoError, StopRequested
from cse_simulator.demo.screen import Screen
from cse_simulator.demo.story import Options, tell

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code; a requested stop is a success."""
    given = _parser().parse_args(arguments)
    options = Options(
        keep=given.keep, current_cluster=given.cluster == "current", assume_yes=given.yes
    )
    screen = Screen(Console())
    for number in _SIGNALS:
        signal.signal(number, _request_stop)
    try:
        with tempfile.TemporaryDirectory(prefix="cse-demo-") as folder:
            return tell(screen, Path(folder), options)
    except StopRequested:
        screen.heading("Stopped. Nothing is left of the demo.")
        return 0
    except (DemoError, ControlPlaneError) as error:
        sys.stderr.write(f"\ndemo: {error}\n")
        return 1


def _request_stop(*_: Any) -> None:
    """Stop the demo; ignore further signals, which would disturb the clean-up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise StopRequested


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cse_simulator.demo",
        description="Shows an upgrade of three sample engines end to end, against a simulated "
        "vendor. Nothing leaves this machine, and nothing stays on it.",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="stay up afterwards until Ctrl-C, for your kubectl in another terminal",
    )
    parser.add_argument(
        "--cluster",
        choices=("local", "current"),
        default="local",
        help="local: start an API server for the demo (the default; built on first use); current: "
        "use kubectl's current cluster, in a new namespace that the demo removes",
    )
    parser.add_argument(
        "--yes", action="store_true", help="with --cluster current: do not ask for confirmation"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
