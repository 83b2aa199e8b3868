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
    # kopf tells of each failure by a traceback; the watch says the same in a sentence.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
