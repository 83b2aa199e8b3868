"""Reads settings from the command line and the environment, and writes their help."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from cse_operator.runtime import variables
from cse_operator.runtime.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)

USAGE_ERROR: Final = 2
"""The exit code for invalid flags or variables."""

EPILOG: Final = (
    "Each flag is also an environment variable: --poll-interval is CSE_OPERATOR_POLL_INTERVAL.\n"
    "A flag wins over a variable. Lists are separated by commas, durations are in seconds."
)

_METAVARS: Final = {
    "namespaces": "NAME,…",
    "allowed_regions": "REGION,…",
    "sites": "PATTERN=DOMAIN,…",
    "cse_endpoint": "URL",
    "iam_endpoint": "URL",
    "sts_endpoint": "URL",
    "pod_identity_namespaces": "NAME,…",
    "https_proxy": "URL",
    "no_proxy": "DOMAIN,…",
    "ca_bundle": "FILE",
    "listen": "ADDRESS:PORT",
    "probe_listen": "ADDRESS:PORT",
    "metrics_tls": "FOLDER",
}
_METAVARS_BY_TYPE: Final = {"float": "NUMBER", "int": "NUMBER", "str": "NAME", "Path": "FILE"}
_UNSAID_DEFAULT: Final = re.compile(
    r" \(default(?: factory)?: (?:None|False|\(\)|[^ ]*<lambda>)?\)$"
)


def read_settings(
    kind: type[AnySettings], program: str, arguments: Sequence[str], *, description: str
) -> AnySettings | None:
    """Read settings from flags and environment; if they are invalid, print why and return None.

    Args:
        kind: The class of the settings.
        program: The command, as in "cse-operator run".
        arguments: The arguments after the command.
        description: The first text of `--help`.
    """
    try:
        source: CliSettingsSource[Any] = CliSettingsSource(
            kind,
            cli_prog_name=program,
            add_argument_method=_add_argument,
            formatter_class=lambda prog: RawDescriptionHelpFormatter(prog, max_help_position=34),
        )
        parser: ArgumentParser = source.root_parser
        parser.usage = f"{program} [flags]"
        parser.description = description
        parser.epilog = EPILOG
        given = source(args=list(arguments))  # answers `--help` even if a variable is invalid
        mistakes = variables.misspelt(os.environ)
        if not mistakes:
            return kind(_cli_settings_source=given)
        sys.stderr.writelines(f"{mistake}\n" for mistake in mistakes)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "--" + "-".join(str(part) for part in problem["loc"]).replace("_", "-")
            message = problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"{name}: {message}\n" if problem["loc"] else f"{message}\n")
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
    return None


def _add_argument(parser: ArgumentParser, *names: str, **options: Any) -> object:
    """Add a flag whose placeholder names its value, not the Python type."""
    metavar = options.get("metavar")
    if metavar is not None and not metavar.startswith("{"):
        in_seconds = metavar in {"int", "float"} and options["help"].startswith("seconds")
        by_type = "SECONDS" if in_seconds else _METAVARS_BY_TYPE.get(metavar, "VALUE")
        options["metavar"] = _METAVARS.get(options["dest"], by_type)
    options["help"] = _UNSAID_DEFAULT.sub("", options["help"])
    return parser.add_argument(*names, **options)
