"""The command `cse-operator` and its subcommands."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cse_operator import __version__


def _run(arguments: Sequence[str]) -> int:
    from cse_operator.cli.run import main  # noqa: PLC0415

    return main(arguments)


def _check(arguments: Sequence[str]) -> int:
    from cse_operator.cli.check import main  # noqa: PLC0415

    return main(arguments)


def _plan(arguments: Sequence[str]) -> int:
    from cse_operator.cli.planning.command import main  # noqa: PLC0415

    return main(arguments)


def _import(arguments: Sequence[str]) -> int:
    from cse_operator.cli.importing.command import main  # noqa: PLC0415

    return main(arguments)


def _versions(arguments: Sequence[str]) -> int:
    from cse_operator.cli.versions import main  # noqa: PLC0415

    return main(arguments)


def _crd(arguments: Sequence[str]) -> int:
    from cse_operator.cli.crd import main  # noqa: PLC0415

    return main(arguments)


# Each command imports its modules only when it runs: `crd` needs no event loop, and `run` draws no
# tables.
_COMMANDS: Final[dict[str, tuple[str, Callable[[Sequence[str]], int]]]] = {
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
        return _COMMANDS[given[0]][1](given[1:])
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
