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
    """Run the demo and return its exit code; a requested stop is as good an end as any."""
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
    """Begin to end, once: what is then cleaned up is not to be disturbed."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise StopRequested


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cse_simulator.demo",
        description="Shows an upgrade of three sample engines end to end, against a simulated "
        "vendor: nothing leaves this machine, and nothing stays on it.",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="stay up afterwards, for your own kubectl from another terminal, until Ctrl-C",
    )
    parser.add_argument(
        "--cluster",
        choices=("local", "current"),
        default="local",
        help="local: an API server of the demo's own (the default; built on first use); current: "
        "the cluster that kubectl is set to, in a namespace of its own that it removes",
    )
    parser.add_argument(
        "--yes", action="store_true", help="with --cluster current: do not ask whether it is right"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
