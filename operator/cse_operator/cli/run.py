"""`cse-operator run`: settings, logging, event loop, operator."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

import uvloop

from cse_operator.cli.flags import USAGE_ERROR, read_settings
from cse_operator.cli.loading import without_garbage_collection
from cse_operator.cloud.endpoints import EndpointSettingError
from cse_operator.kube.errors import KubeError
from cse_operator.runtime import logs, variables
from cse_operator.runtime.settings import Settings

logger = logging.getLogger(__name__)

DESCRIPTION = "Runs the operator until it is told to stop. All settings:"


def main(arguments: Sequence[str]) -> int:
    """Run the operator until it is told to stop, and return the exit code."""
    settings = read_settings(Settings, "cse-operator run", arguments, description=DESCRIPTION)
    if settings is None:
        return USAGE_ERROR
    logs.configure(form=settings.log_format, level=settings.log_level)
    for warning in (*settings.warnings, *variables.unused(os.environ)):
        logger.warning("%s", warning)
    try:
        return _run(settings)
    except EndpointSettingError as error:
        return _say(error, USAGE_ERROR)
    except (KubeError, OSError) as error:
        return _say(error, 1)


def _say(error: Exception, code: int) -> int:
    """Log why the operator cannot run, without a traceback that would hide it."""
    logger.error("cannot run: %s", error)
    return code


def _run(settings: Settings) -> int:
    # Imported only after the settings are valid: these modules take a second to load.
    with without_garbage_collection():
        from cse_operator.runtime.manager import run  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))
