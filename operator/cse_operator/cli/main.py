"""The command `cse-operator` and its subcommands."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cse_operator import __version__
from cse_operator.cli.loading import without_garbage_collection

Command = Callable[[Sequence[str]], int]
"""The function of a command: it gets the arguments and returns the exit code."""


def _run() -> Command:
    from cse_operator.cli.run import main  # noqa: PLC0415

    return main


def _check() -> Command:
    from cse_operator.cli.check import main  # noqa: PLC0415

    return main


def _plan() -> Command:
    from cse_operator.cli.planning.command import main  # noqa: PLC0415

    return main


def _import() -> Command:
    from cse_operator.cli.importing.command import main  # noqa: PLC0415

    return main


def _versions() -> Command:
    from cse_operator.cli.versions import main  # noqa: PLC0415

    return main


def _crd() -> Command:
    from cse_operator.cli.crd import main  # noqa: PLC0415

    return main


# Each command imports its modules only when it runs: `crd` needs no event loop, and `run` draws no
# tables.
_COMMANDS: Final[dict[str, tuple[str, Callable[[], Command]]]] = {
    "run": ("run the operator until it is told to stop", _run),
    "check": ("check settings, rights, endpoint and credentials", _check),
    "plan": ("say what manifests would start; it starts nothing", _plan),
    "import": ("write manifests of the engines of a project", _import),
    "versions": ("list the versions that the vendor offers, for people and Renovate", _versions),
    "crd": ("print the CustomResourceDefinitions, for kubectl apply -f -", _crd),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        arguments: The arguments after the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in _COMMANDS:
        _, load = _COMMANDS[given[0]]
        with without_garbage_collection():
            command = load()
        return command(given[1:])
    parser = _parser()
    if not given:
        parser.print_help(sys.stderr)
        return 2
    if not given[0].startswith("-"):
        parser.error(_no_such_command(given[0]))
    parser.parse_args(given)
    return 0


def _no_such_command(name: str) -> str:
    near = difflib.get_close_matches(name, _COMMANDS, n=1)
    hint = f": did you mean {near[0]}?" if near else f". Commands: {', '.join(_COMMANDS)}"
    return f"there is no command {name!r}{hint}"


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<8} {what}" for name, (what, _) in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="cse-operator",
        usage="cse-operator COMMAND [flags]",
        description="Keeps Huawei Cloud CSE engines at the version declared in Git.",
        epilog=f"commands:\n{commands}\n\n`cse-operator COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cse-operator {__version__}")
    return parser
