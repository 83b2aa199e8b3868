"""The verbs of `kubectl cse` and their flags."""

from __future__ import annotations

import argparse
import re
from typing import Final

VERBS: Final[dict[str, tuple[str, bool]]] = {
    "status": ("show the state of engines, and what holds them", True),
    "wait": ("wait until engines are at their versions, or need a person", True),
    "upgrade": ("set another version, unless Git manages the resource", True),
    "suspend": ("start no new upgrades; running jobs are followed", True),
    "resume": ("end the suspension", True),
    "retry": ("unlock a failed or refused upgrade once", True),
    "approve": ("approve the desired version of a resource", True),
    "refresh": ("have the operator look at the engine now", True),
    "history": ("show the last upgrades and how they ended", True),
    "doctor": ("say what is missing here, and what to do", False),
    "completion": ("print the script that completes these commands", False),
}
"""Each verb with its meaning, and whether it takes names of resources."""

EPILOG: Final = """\
exit codes: 0 done; 1 failed, or a person is needed; 2 invalid flags;
3 nothing to do, or refused; 124 timed out; 130 interrupted"""

_PASSED_ON: Final = (
    ("context", "the kubeconfig's context"),
    ("kubeconfig", "the kubeconfig"),
    ("cluster", "the kubeconfig's cluster"),
    ("user", "the kubeconfig's user"),
    ("as", "the user to impersonate"),
    ("request-timeout", "how long one request may take, such as 10s"),
)
"""Flags that are passed on to kubectl unchanged."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parser(version: str) -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = argparse.ArgumentParser(
        prog="kubectl cse",
        description="Shows and steers the upgrades that cse-operator makes of CSE engines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"kubectl-cse {version}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (meaning, _) in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=meaning,
            description=f"{meaning[0].upper()}{meaning[1:]}.",
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _own(verb, name)
        _shared(verb)
    return top


def _own(verb: argparse.ArgumentParser, name: str) -> None:
    match name:
        case "status":
            verb.add_argument("names", nargs="*", metavar="NAME", help="(all of the namespace)")
            verb.add_argument("-w", "--watch", action="store_true", help="show each change")
            verb.add_argument(
                "-v", "--verbose", action="store_true", help="show each in full, not in groups"
            )
        case "wait":
            verb.add_argument("names", nargs="+", metavar="NAME")
            verb.add_argument(
                "--timeout", type=_seconds, default=7200.0, help="such as 90s, 30m, 2h (2h)"
            )
        case "upgrade":
            verb.add_argument("name", metavar="NAME")
            verb.add_argument("version", metavar="VERSION")
            verb.add_argument("-y", "--yes", action="store_true", help="do not ask")
        case "suspend" | "resume" | "retry" | "refresh":
            verb.add_argument("names", nargs="+", metavar="NAME")
        case "approve":
            verb.add_argument("name", metavar="NAME")
            verb.add_argument("version", nargs="?", metavar="VERSION", help="the desired version")
        case "history":
            verb.add_argument("names", nargs="*", metavar="NAME", help="(all of the namespace)")
        case "completion":
            verb.add_argument("for_whom", choices=("kubectl",), help="for kubectl's own completion")
    if name in {"upgrade", "suspend", "resume"}:
        verb.add_argument(
            "--force-local", action="store_true", help="change it here even if Git manages it"
        )


def _shared(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("-n", "--namespace", help="the namespace (kubectl's own)")
    verb.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    verb.add_argument("-o", "--output", choices=("text", "json", "yaml", "name"), default="text")
    verb.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    for name, meaning in _PASSED_ON:
        verb.add_argument(f"--{name}", help=meaning, dest=f"kubectl_{name}", metavar="VALUE")


def passed_on(arguments: argparse.Namespace) -> list[str]:
    """Return the flags for kubectl."""
    given = ((name, getattr(arguments, f"kubectl_{name}")) for name, _ in _PASSED_ON)
    return [f"--{name}={value}" for name, value in given if value is not None]


def options_of(verb: str | None) -> list[tuple[str, str]]:
    """Return the long flags of a verb with their meanings, for completion."""
    one = argparse.ArgumentParser(add_help=False)
    if verb is not None:
        _own(one, verb)
        _shared(one)
    return [
        (option, action.help or "")
        for action in one._actions  # noqa: SLF001 - argparse has no other way to list them
        for option in action.option_strings
        if option.startswith("--")
    ]


def _seconds(value: str) -> float:
    if not re.fullmatch(r"([0-9]+[hms])+", value, re.ASCII):
        raise argparse.ArgumentTypeError(f"{value!r} is not a duration such as 90s, 30m or 2h")
    parts = re.findall(r"([0-9]+)([hms])", value)
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
