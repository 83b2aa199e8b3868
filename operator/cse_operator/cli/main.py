"""The command `cse-operator` and its subcommands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cse_operator import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code.

    What a subcommand needs is imported only when it runs: `crd` needs no event loop, and the
    operator no table drawing.
    """
    parser = argparse.ArgumentParser(
        prog="cse-operator",
        description="Keeps Huawei Cloud CSE engines at the version declared in Git.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the operator", add_help=False)
    commands.add_parser("check", help="check settings, credentials, CRD and rights", add_help=False)
    commands.add_parser("crd", help="print the CustomResourceDefinition", add_help=False)
    commands.add_parser("demo", help="show an upgrade end to end, locally", add_help=False)
    known, rest = parser.parse_known_args(arguments)
    return _dispatch(known.command, rest)


def _dispatch(command: str, rest: list[str]) -> int:
    match command:
        case "run":
            from cse_operator.cli.run import main as run  # noqa: PLC0415

            return run(rest)
        case "crd":
            from cse_operator.api.crd import render  # noqa: PLC0415

            sys.stdout.write(render())
            return 0
        case _:
            raise AssertionError(command)
