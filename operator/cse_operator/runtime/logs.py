"""Logging: one line per transition, as text or JSON; never a request or response body."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

# At debug level these libraries log whole objects, headers or URLs. kopf logs the body of each
# object: none is a Secret, but a body may hold a Secret's name beside its values.
_QUIET = ("kopf", "aiohttp", "httpx", "httpcore", "asyncio", "kubernetes", "urllib3")


def _in_one_line(record: logging.LogRecord) -> bool:
    """Strip the traceback from kopf's records, so that a failure takes one line."""
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
        level: the least severe level of the operator's own messages to show.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_Json() if form == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Only kopf reports the failures that it retries itself, such as a forbidden watch.
    logging.getLogger("kopf").setLevel(logging.ERROR)
    handler.addFilter(_in_one_line)
