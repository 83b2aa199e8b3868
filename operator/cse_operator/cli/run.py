"""`cse-operator run`: settings, logging, event loop, operator."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from cse_operator.cloud.endpoints import EndpointSettingError
from cse_operator.kube.errors import KubeError
from cse_operator.runtime import logs
from cse_operator.runtime.settings import Settings

logger = logging.getLogger(__name__)

USAGE_ERROR = 2


def main(arguments: Sequence[str]) -> int:
    """Run the operator until it is told to stop; returns the exit code."""
    settings = read_settings("cse-operator run", arguments)
    if settings is None:
        return USAGE_ERROR
    logs.configure(form=settings.log_format, level=settings.log_level)
    try:
        return _run(settings)
    except EndpointSettingError as error:
        return _say(error, USAGE_ERROR)
    except (KubeError, OSError) as error:
        return _say(error, 1)


def _say(error: Exception, code: int) -> int:
    """A sentence for the person who started the operator; a traceback would hide it."""
    logger.error("cannot run: %s", error)
    return code


def read_settings(program: str, arguments: Sequence[str]) -> Settings | None:
    """Settings from flags and environment; None, after saying why, when they are no good."""
    try:
        source: CliSettingsSource[Settings] = CliSettingsSource(
            Settings, cli_prog_name=program, cli_parse_args=list(arguments)
        )
        return Settings(_cli_settings_source=source)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "--" + "-".join(str(part) for part in problem["loc"]).replace("_", "-")
            message = problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"{name}: {message}\n" if problem["loc"] else f"{message}\n")
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
    return None


def _run(settings: Settings) -> int:
    # Imported only once the settings are good: the parts take a second to load.
    from cse_operator.runtime.app import run  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))
