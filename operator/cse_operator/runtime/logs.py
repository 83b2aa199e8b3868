"""Logging: one line per transition, as text or JSON; no request or response bodies, ever."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

# Libraries that would log whole objects, headers or URLs at debug level. kopf logs the body
# of each object; Secrets are none of them, but a Secret's name beside its values may be.
_QUIET = ("kopf", "aiohttp", "httpx", "httpcore", "asyncio", "kubernetes", "urllib3")


def _in_one_line(record: logging.LogRecord) -> bool:
    """Have kopf tell of a failure in a line and not by a traceback."""
    if record.name.split(".")[0] == "kopf":
        record.exc_info = record.exc_text = record.stack_info = None
    return True


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(*, form: Literal["text", "json"], level: str) -> None:
    """Send all logging to standard error in the wanted form.

    Args:
        form: `text` for people, `json` for collectors.
        level: the least severe level to show of the operator's own messages.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_Json() if form == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # What kopf tries again by itself, such as a watch that is forbidden, only kopf tells of.
    logging.getLogger("kopf").setLevel(logging.ERROR)
    handler.addFilter(_in_one_line)
